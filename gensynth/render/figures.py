"""Numbers as text, and texts in columns.

A figure is rounded to what its use can tell apart: three digits for a cost, two decimals
for a percentage of thousands of images.
"""

import textwrap
from collections.abc import Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING

from gensynth.goals.verdicts import is_estimate

if TYPE_CHECKING:
    from gensynth.goals.figure import Figure
    from gensynth.space.width_step import WidthStep

GAP = "  "


def count(number: int) -> str:
    """Return a count with three digits and a decimal suffix.

    Example:
        >>> [count(n) for n in (0, 999, 78_042, 999_600, 12_504_640)]
        ['0', '999', '78.0 k', '1.00 M', '12.5 M']
    """
    if number < 1000:
        return f"{number}"
    for suffix, unit in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if number < 999.5 * unit:
            return f"{digits(number / unit)} {suffix}"
    return f"{number / 1e12:,.2f} T"


def step_of_widths(step: "WidthStep") -> str:
    """Return in which steps widths change, and why."""
    unit = "channel" if step.channels == 1 else "channels"
    return f"widths change in steps of {step.channels} {unit}: {step.why}"


def digits(number: float) -> str:
    """Return a number with three significant digits, trailing zeros kept, no exponent.

    Example:
        >>> [digits(x) for x in (0.21, 2.5, 99.96, 1234.5, 0.0)]
        ['0.210', '2.50', '100', '1,234', '0.00']
    """
    size = abs(number)
    if size == 0:
        return "0.00"
    for below, places in (
        (0.0009995, 6),
        (0.009995, 5),
        (0.09995, 4),
        (0.9995, 3),
        (9.995, 2),
        (99.95, 1),
    ):
        if size < below:
            return f"{number:.{places}f}"
    return f"{number:,.0f}"


def decimals(number: float) -> int:
    """Return with how many decimals `digits` writes a number.

    Example:
        >>> [decimals(x) for x in (0.0123, 0.1, 2.5, 1234.5)]
        [4, 3, 2, 0]
    """
    return len(digits(number).partition(".")[2])


def interval(low: float, high: float, places: int = 2) -> str:
    """Return an interval; 100 has no decimals.

    Example:
        >>> interval(87.19, 100.0)
        '87.19-100'
    """
    return f"{_percent(low, places)}-{_percent(high, places)}"


def estimate(low: float, middle: float, high: float) -> str:
    """Return a percentage with its interval.

    Example:
        >>> estimate(78.21, 84.06, 88.93)
        '84.1 [78.2, 88.9]'
    """
    return f"{_percent(middle, 1)} [{_percent(low, 1)}, {_percent(high, 1)}]"


def rough(number: float) -> str:
    """Return a number with two significant digits, which is what an estimate is worth.

    Example:
        >>> [rough(x) for x in (4.123, 5.0, 126.0, 0.000123)]
        ['4.1', '5.0', '130', '0.00012']
    """
    return f"{Decimal(f'{number:.1e}'):f}"


def of_device(figure: "Figure", unit: str = "") -> str:
    """Return what is known of a network on a device; an estimate never looks like a measurement.

    Example:
        >>> from gensynth.goals.figure import Figure
        >>> of_device(Figure(4.1, (4.04, 4.16), (4.0, 4.2), "measured", 1), "ms")
        '4.10 ms (4.00 to 4.20)'
        >>> of_device(Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate"), "ms")
        '~4.1 ms, 80 %: 3.3 to 5.2, estimate, 0 measurements'
    """
    if not is_estimate(figure):
        value, low, high = map(digits, (figure.value, *figure.interval95))
        simulated = f", {figure.provenance}" * (figure.provenance != "measured")
        return f"{f'{value} {unit}'.rstrip()} ({low} to {high}){simulated}"
    value, low, high = map(rough, (figure.value, *figure.interval80))
    count = f"{figure.measurements} measurement" + "s" * (figure.measurements != 1)
    said = f"~{f'{value} {unit}'.rstrip()}, 80 %: {low} to {high}, {figure.provenance}, {count}"
    return said + "".join(f", {name} unknown" for name in figure.unknown)


def duration(seconds: float) -> str:
    """Return a wall time.

    Example:
        >>> [duration(s) for s in (0.04, 2.34, 59.6, 3600, 5423)]
        ['0.04 s', '2.3 s', '1 min 00 s', '1 h 00 min', '1 h 30 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.095 else f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def columns(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return lines in which the cells of one place stand under each other.

    Args:
        rows: cells; a short row ends early.
        left: how many columns, the first ones, begin at their left; numbers end at their right.
    """
    widths = [max(map(len, cells)) for cells in zip_longest(*rows, fillvalue="")]
    return [
        GAP.join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]


def wrapped(text: str, width: int) -> str:
    """Return a sentence on as many lines as it needs, the later ones indented."""
    return textwrap.fill(
        text, width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False
    )


def _percent(value: float, places: int) -> str:
    return "100" if value == 100 else f"{value:,.{places}f}"
