"""The units that a number may be written with, by the unit of its metric.

    "5ms" "200us" "0.2 s"    "1.5 MiB" "900kB"    "0.05 J" "50mJ"    "40/J"    "3 W"    "20M"

A number without a unit is in the metric's own. Decimal prefixes are powers of ten, Ki, Mi and Gi
powers of two.
"""

from collections.abc import Mapping
from fractions import Fraction

_MIB = 2**20
_TIMES: Mapping[str, Mapping[str, Fraction]] = {
    "": {"k": Fraction(10**3), "K": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9)},
    "%": {"%": Fraction(1)},
    "ms": {
        "ms": Fraction(1), "us": Fraction(1, 10**3), "\N{MICRO SIGN}s": Fraction(1, 10**3),
        "s": Fraction(10**3),
    },
    "MiB": {
        "MiB": Fraction(1), "KiB": Fraction(1, 2**10), "GiB": Fraction(2**10),
        "kB": Fraction(10**3, _MIB), "MB": Fraction(10**6, _MIB), "GB": Fraction(10**9, _MIB),
    },
    "images/s": {"/s": Fraction(1)},
    "J": {"J": Fraction(1), "mJ": Fraction(1, 10**3), "uJ": Fraction(1, 10**6),
          "\N{MICRO SIGN}J": Fraction(1, 10**6)},
    "images/J": {"/J": Fraction(1), "/mJ": Fraction(10**3)},
    "W": {"W": Fraction(1), "mW": Fraction(1, 10**3)},
}  # fmt: skip


def written_with(unit: str) -> tuple[str, ...]:
    """Return what may stand behind a number whose metric has this unit."""
    return tuple(_TIMES.get(unit, ()))


def factor(unit: str, written: str) -> Fraction | None:
    """Return what a number is multiplied by to be in `unit`; None if it cannot be so written.

    Example:
        >>> factor("ms", "us"), factor("ms", ""), factor("ms", "J")
        (Fraction(1, 1000), Fraction(1, 1), None)
    """
    if not written:
        return Fraction(1)
    return _TIMES.get(unit, {}).get(written.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}"))
