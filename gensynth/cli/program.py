"""The program: what all of its commands have in common.

-h is --help; what is wrong on the command line is one line "error: ..." and exit code 2, as what is
wrong with what it names; -q and -v say how much is told meanwhile, on stderr.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gensynth.render.visible import say

LOGGER = logging.getLogger("gensynth")
SHORT_HELP = {"help_option_names": ["-h", "--help"]}
_Refused: type[Exception] = typer.BadParameter.__mro__[2]
"""Whatever the parser of the command line refuses."""


class Program(TyperGroup):
    """Commands whose refusals look as those of everything else."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and end the process with its exit code."""
        LOGGER.setLevel(logging.INFO)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.Abort:
            sys.exit(130)
        except _Refused as refused:
            _tell(refused)
            sys.exit(2)
        sys.exit(code or 0)


def _tell(refused: Exception) -> None:
    message: str = refused.format_message()  # type: ignore[attr-defined]
    context = getattr(refused, "ctx", None)
    if type(refused).__name__ == "NoArgsIsHelpError":
        say(message, err=True)
        return
    way = f"; see: {context.command_path} -h" if context is not None else ""
    first = message.strip().rstrip(".")
    say(f"error: {first[:1].lower()}{first[1:]}{way}", err=True)


def _quieten(wanted: bool) -> None:
    if wanted:
        LOGGER.setLevel(logging.WARNING)


def _tell_more(wanted: bool) -> None:
    if wanted:
        form = "%(levelname)s %(name)s: %(message)s"
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form)
        LOGGER.setLevel(logging.DEBUG)


Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Results and errors alone.", callback=_quieten),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Also what libraries log, and where an error came from.",
        callback=_tell_more,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON in place of the table.")]
Csv = Annotated[bool, typer.Option("--csv", help="Rows with commas in place of the table.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run Python that only the run's folder names.")
]
