r"""Text of others as a terminal can be given it: control characters are shown, and do nothing.

A board's reason, a node's or a file's name can hold what moves the cursor, clears a line or turns
the direction of writing, and so write "works" over an error. Everything that the command prints
passes through here: `say`, or the console of `live`.
"""

import re

import typer

# Controls but tab and new line; marks of direction and invisible line ends; halves of characters,
# which are bytes of a file's name that are no text and which no stream takes.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return a text whose control characters are written out.

    Example:
        >>> visible("ok\x1b[2K\rerror")
        'ok\\x1b[2K\\x0derror'
    """
    return _CONTROL.sub(_written_out, text)


def say(text: str, *, err: bool = False) -> None:
    """Print a text to stdout, or to stderr."""
    typer.echo(visible(text), err=err)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
