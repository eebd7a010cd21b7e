"""Seeds as a person writes them: 0:50, or 3,7,12."""

import re
from collections.abc import Sequence

from gensynth.errors import ConfigError

MOST = 10_000
"""Seeds of one command; a typing error is likelier than a wish for more."""


def read_seeds(text: str) -> Sequence[int]:
    """Return the seeds that a text names.

    Args:
        text: "FIRST:BEYOND", the second left out as in Python, or numbers with commas.

    Raises:
        ConfigError: if the text is neither, names none, the same twice, or more than `MOST`.

    Example:
        >>> [list(read_seeds(t)) for t in ("0:3", "7", "3,1")]
        [[0, 1, 2], [7], [3, 1]]
    """
    span = re.fullmatch(r"\s*(\d{1,18})\s*:\s*(\d{1,18})\s*", text, re.ASCII)
    some = re.fullmatch(r"\s*\d{1,18}\s*(,\s*\d{1,18}\s*)*", text, re.ASCII)
    if span is not None:
        seeds: Sequence[int] = range(int(span[1]), int(span[2]))
    elif some is not None:
        seeds = [int(number) for number in text.split(",")]
    else:
        raise ConfigError(
            f"seeds must be FIRST:BEYOND such as 0:50, or numbers such as 3,7,12, got '{text}'"
        )
    if not 1 <= len(seeds) <= MOST:
        raise ConfigError(f"seeds must name 1 to {MOST:,} of them, got {len(seeds):,} in '{text}'")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"each seed may be named once, got '{text}'")
    return seeds
