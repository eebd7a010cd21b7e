"""A run while it happens, on stderr: a line a phase, a row a cycle, a bar for what trains.

In a terminal the bar is redrawn in place and gone at the end. In a pipe or a file there
are no bars and no control codes, and a line says when something trained is done.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.theme import Theme

from gensynth.render.cycles import cycle_header, cycle_row

PHASES = {
    "prepare": "reading the data and the prototype",
    "train prototype": "training the prototype",
    "initialise": "probing the prototype, and first training of the shared weights",
    "cycles": "learning the generator; top-1 in %, with 95 % intervals",
    "finalists": "distilling the finalists",
    "certify": "certifying them on the test images",
    "export": "writing ONNX files, and checking that they compute the same",
    "latency": "timing them on this machine",
    "generate": "drawing networks",
}
_THEME = Theme({"satisfied": "green", "violated": "red", "unknown": "yellow"})


class Verdicts(RegexHighlighter):
    """Colours the three verdicts, in a terminal that has colours."""

    highlights = [  # noqa: RUF012  (as rich declares it)
        r"\b((?P<satisfied>satisfied)|(?P<violated>violated)|(?P<unknown>unknown))\b"
    ]


def console(*, stderr: bool = False) -> Console:
    """Return a console that colours nothing but verdicts and never breaks a line."""
    return Console(
        stderr=stderr, theme=_THEME, highlighter=Verdicts(), markup=False, emoji=False,
        soft_wrap=True,
    )  # fmt: skip


class Live:
    """A `Watch` that shows; a context manager, which clears the bar at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._rows = 0
        self._bar: TaskID | None = None
        self._what = ""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            transient=True,
            expand=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        """Say what begins."""
        self._drop_bar()
        if name != self._phase:
            self._phase = name
            self._console.print(PHASES.get(name, name))

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        """Add a row to the table of cycles."""
        self._drop_bar()
        width = self._console.width
        if self._rows == 0:
            self._console.print(cycle_header(width))
        self._rows += 1
        self._console.print(cycle_row(entry, total, width))

    def progress(self, what: str, share: float, text: str) -> None:
        """Show how far something has come."""
        if self._progress.disable:
            if share >= 1 and self._phase != "cycles":
                self._console.print(f"  {what}: {text}" if text else f"  {what}")
            return
        if self._bar is None or what != self._what:
            self._drop_bar()
            self._what = what
            self._bar = self._progress.add_task(what, total=1.0, text=text)
        self._progress.update(self._bar, completed=share, text=text)

    def note(self, text: str) -> None:
        """Say a sentence."""
        self._console.print(text)

    def _drop_bar(self) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
