"""`python -m gensynth` and the console script: the command `gensynth`, from its first import on."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C is exit code 130 within its imports already."""
    try:
        from gensynth.cli.app import main as run

        run()
    except KeyboardInterrupt:  # outside of a command, so there is nothing to say
        sys.exit(130)


if __name__ == "__main__":
    main()
