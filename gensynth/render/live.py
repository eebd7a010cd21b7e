"""A run while it happens, on stderr: a line a phase, a row a cycle, a bar for what trains.

In a terminal the bar is redrawn in place and gone at the end. In a pipe or a file there
are no bars and no control codes, and a line says when something trained is done.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.highlighter import RegexHighlighter
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment
from rich.text import Text
from rich.theme import Theme

from gensynth.render.cycles import cycle_header, cycle_row
from gensynth.render.figures import duration, wrapped
from gensynth.render.visible import visible

PHASES = {
    "prepare": "reading the data and the prototype",
    "train prototype": "training the prototype",
    "devices": "measuring networks on the devices they are for",
    "initialise": "probing the prototype, and first training of the shared weights",
    "cycles": "learning the generator; scores in %, with 95 % intervals",
    "finalists": "distilling the finalists",
    "certify": "certifying them on the test images",
    "export": "writing ONNX files, and checking that they compute the same",
    "latency": "timing them on this machine",
    "generate": "drawing networks",
    "reach": "reaching the device",
    "reference": "the reference network first: is the board what it was?",
    "load": "loading the networks there, and building engines that are not built yet",
    "measure": "measuring them in turns",
    "check": "asking the device what works",
}
_THEME = Theme({"satisfied": "green", "violated": "red", "unknown": "yellow"})


_LOGGER = logging.getLogger("gensynth")


class Verdicts(RegexHighlighter):
    """Colours the three verdicts, in a terminal that has colours."""

    highlights = [  # noqa: RUF012  (as rich declares it)
        r"\b((?P<satisfied>satisfied)|(?P<violated>violated)|(?P<unknown>unknown))\b"
    ]


def console(
    *, stderr: bool = False, file: IO[str] | None = None, terminal: bool | None = None
) -> Console:
    """Return a console that colours nothing but verdicts and breaks no line.

    Args:
        stderr: whether it writes to stderr; else to stdout.
        file: in place of both.
        terminal: whether that is a terminal; None finds out.

    What goes to stderr is as quiet as the logger "gensynth" is told to be.
    """
    made = Console(
        quiet=stderr and _LOGGER.level > logging.INFO,
        stderr=stderr,
        file=file,
        force_terminal=terminal,
        theme=_THEME,
        highlighter=Verdicts(),
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
    made.push_render_hook(ShowControls())
    return made


class ShowControls(RenderHook):
    """Shows the control characters in all that a console prints; its own still work."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is printed, so that its text is visible."""
        return [one if isinstance(one, Control) else _Shown(one) for one in renderables]


class _Shown:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            shown = segment.text if segment.control else visible(segment.text)
            yield Segment(shown, segment.style, segment.control)


class Left(ProgressColumn):
    """The time that is left, as long as all of it takes as what is done; nothing before 1 %."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        if task.total is None or task.finished or not task.elapsed or task.completed < 0.01:
            return Text("")
        left_s = task.elapsed * (task.total - task.completed) / task.completed
        return Text(f"{duration(left_s)} left")


class Live:
    """A `Listener` that shows; a context manager, which clears the bars at the end.

    Meanwhile what anybody prints goes to stderr: stdout is for results.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._rows = 0
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),  # short of the edge, where the echo of ^C would wrap
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            Left(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal or console.quiet,
        )
        self._elsewhere = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._elsewhere.enter_context(contextlib.redirect_stdout(sys.stderr))
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._elsewhere.close()

    def phase(self, name: str) -> None:
        """Say what begins, and show that it goes on."""
        if name == self._phase:
            return
        self._drop_bars()
        self._phase = name
        self._console.print(PHASES.get(name, name))
        self._show(name, None, "")

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        """Add a row to the table of cycles."""
        self._drop_bars(but=self._phase)
        width = self._console.width
        if self._rows == 0:
            self._console.print(cycle_header(width))
        self._rows += 1
        self._console.print(cycle_row(entry, total, width))
        self._show(self._phase, entry["cycle"] / total, f"{entry['cycle']} of {total}")

    def progress(self, what: str, share: float, text: str) -> None:
        """Show how far something has come."""
        if self._progress.disable:
            if share >= 1 and self._phase != "cycles":
                self._console.print(f"{what}: {text}" if text else what)
        else:
            self._drop_bars(but=self._phase, also=what)
            self._show(what, share, f"{100 * share:.0f} % {text}".rstrip())

    def note(self, text: str) -> None:
        """Say a sentence."""
        self._console.print(wrapped(text, self._console.width))

    def step_aside(self, work: Callable[[], None]) -> None:
        """Let something write to stdout, which is ours while bars are drawn; they go meanwhile."""
        self._progress.stop()
        self._elsewhere.close()
        work()
        self.__enter__()

    def _show(self, name: str, share: float | None, text: str) -> None:
        """Draw a bar; one without a share moves to and fro."""
        if self._progress.disable:
            return
        text = visible(text)
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=None, text=text)
        total = None if share is None else 1.0
        self._progress.update(self._bars[name], total=total, completed=share or 0.0, text=text)

    def _drop_bars(self, *, but: str = "", also: str = "") -> None:
        for name in self._bars.keys() - {but, also}:
            self._progress.remove_task(self._bars.pop(name))
