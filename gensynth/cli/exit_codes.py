"""How a command ends: what the user or the world did becomes a message and an exit code.

A mistake is one line "error: ..." on stderr and exit code 2; Ctrl-C is exit code 130.
"""

import contextlib
import signal
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
