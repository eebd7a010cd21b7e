"""Install torch into this environment, its processor-only build where that can be had.

    python .ci/install_torch.py "torch>=2.8,<2.14" https://download.pytorch.org/whl/cpu

Without the index, or if it cannot be reached within five seconds, pip's own configuration
decides: PyPI's Linux build then brings CUDA along, which works as well and takes longer.
"""

import subprocess
import sys
import urllib.request


def reachable(index: str) -> bool:
    """Return whether the index answers."""
    try:
        with urllib.request.urlopen(index, timeout=5):  # noqa: S310 - the user names it
            return True
    except (OSError, ValueError):
        return False


def main(requirement: str, index: str) -> None:
    """Install the requirement, from the index if it is named and answers."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", requirement]
    if index and not reachable(index):
        print(f"{index} cannot be reached; pip takes torch from where it is set up to")
    elif index:
        command += ["--index-url", index]
    sys.exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
