"""The end of a message about an unknown word: the known word that was probably meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'macs'?", or the known words if none is near.

    Example:
        >>> did_you_mean("mac", ["top1", "macs"])
        "did you mean 'macs'?"
        >>> did_you_mean("flops", ["top1", "macs"])
        'known are top1, macs'
    """
    words = list(known)
    lowered = {w.lower(): w for w in reversed(words)}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f"did you mean '{lowered[near[0]]}'?" if near else f"known are {', '.join(words)}"
