"""How a command ends: what the user or the world did becomes a message and an exit code.

A mistake is one line "error: ..." on stderr and exit code 2; Ctrl-C is exit code 130, SIGTERM 143.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

import typer

from gensynth.errors import GensynthError, Interrupted


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the body: within its import, torch aborts the process."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


class Terminated(KeyboardInterrupt):
    """A signal asked for the end; for all that a body does about it, that is Ctrl-C."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the body as Ctrl-C does: what it began elsewhere ends.

    A signal that somebody else has set, or has had ignored as nohup does, stays as it is.
    """
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()
    ]

    def terminate(number: int, _: object) -> None:
        for each in numbers:  # once is enough: what follows cleans up
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    except Terminated as stop:
        typer.echo("stopped", err=True)
        raise typer.Exit(code=128 + int(stop.args[0])) from stop
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn what the user or the world did into a message and an exit code."""
    try:
        yield
    except Interrupted as stop:
        typer.echo(str(stop), err=True)
        raise typer.Exit(code=130) from stop
    except KeyboardInterrupt as stop:
        typer.echo("stopped", err=True)
        raise typer.Exit(code=130) from stop
    except GensynthError as error:
        for line in str(error).splitlines():
            typer.echo(line if line.startswith(" ") else f"error: {line}", err=True)
        raise typer.Exit(code=2) from error
