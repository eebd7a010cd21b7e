"""How a command ends: what the user or the world did becomes a message and an exit code.

A mistake is one line "error: ..." on stderr and exit code 2. Networks that all violate what is
required of them are exit code 1. Ctrl-C is exit code 130, SIGTERM 143, both with the way on.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import typer

from gensynth.errors import GensynthError, Interrupted
from gensynth.render.visible import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gensynth.goals.verdicts import Verdict

STOPPED = 128
"""Added to a signal's number: the exit code of a command that it stopped."""


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the body: within its import, torch aborts the process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}
    came: list[int] = []
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        before[signal.Signals(came[0])](came[0], None)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn what the user or the world did into a message and an exit code."""
    with _terminable() as terminated:
        try:
            yield
        except Interrupted as stop:
            say(str(stop), err=True)
            raise typer.Exit(code=STOPPED + (terminated or [signal.SIGINT])[0]) from stop
        except KeyboardInterrupt as stop:
            say("stopped", err=True)
            raise typer.Exit(code=STOPPED + (terminated or [signal.SIGINT])[0]) from stop
        except GensynthError as error:
            logging.getLogger("gensynth").debug("it came from here", exc_info=error)
            for line in str(error).split("\n"):
                say(line if line.startswith(" ") else f"error: {line}", err=True)
            raise typer.Exit(code=2) from error


@contextlib.contextmanager
def _terminable() -> Iterator[list[int]]:
    """Let SIGTERM and a closed terminal end the body as Ctrl-C does; yield those that came.

    So what it began elsewhere ends, and the way on is said. A signal that somebody else has set, or
    has had ignored as nohup does, stays as it is.
    """
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()
    ]
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        for each in numbers:  # once is enough: what follows cleans up
            signal.signal(each, signal.SIG_IGN)
        came.append(number)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def judged(verdicts: "Iterable[Verdict]") -> None:
    """End the command with 1 if there are networks and every one violates a requirement.

    Args:
        verdicts: of all requirements together, one a network.
    """
    from gensynth.goals.verdicts import Verdict

    if set(verdicts) == {Verdict.VIOLATED}:
        raise typer.Exit(code=1)
