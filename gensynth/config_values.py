"""Values of a run file that are more than one number or word: what they may be, said in a sentence.

Arguments    a table of plain values for a function of the user's
Sides        a size of images
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer


def _arguments(given: Any) -> Any:
    """Return a table of plain values as pairs of name and value, lists as tuples: hashable."""
    if isinstance(given, Mapping):
        given = tuple(given.items())
    if not isinstance(given, tuple):
        raise ValueError(f"arguments must be a table such as {{depth = 20}}, got {given!r:.40}")
    pairs = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in given)
    for name, value in pairs:
        parts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(part, bool | int | float | str) for part in parts):
            raise ValueError(
                f"arguments must be numbers, words, true, false or lists of these, got {name} = "
                f"{value!r:.40}"
            )
    return pairs


Arguments = Annotated[
    tuple[tuple[str, Any], ...], BeforeValidator(_arguments), PlainSerializer(dict)
]
"""A table of plain values, such as {depth = 20}, for a function of the user's."""


def _sides(given: Any) -> Any:
    """Return a size of images, a list as a tuple."""
    several = isinstance(given, list | tuple)
    sides = tuple(given) if several else (given,)
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides)
    if given is None or (whole and len(sides) == 1 + several):
        return sides if several else given
    raise ValueError(
        "size must be the side of a square in pixels, or [height, width], of 1 at least, got "
        f"{list(sides) if several else given!r}"
    )


Sides = Annotated[int | tuple[int, int] | None, BeforeValidator(_sides)]
"""A size of images: side of a square, or (height, width)."""
