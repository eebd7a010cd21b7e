"""Requirements that are relative to the prototype, and the limits that they come to.

    macs <= 50%              50 % of the prototype's, counted exactly
    top1 >= prototype - 1    a point less than the prototype's score on the search split

A limit is settled once, before anything is learned, and stands behind what was asked from then on:
"macs <= 50% (6,172,838)". So a run folder, a card and a table say both, and whoever reads the text
again reads the same limit. No look at a test image decides a limit. A search strives for a score's
limit on the split that it is of; what is shown on the test images is the difference from the
prototype there, see `certificate`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from gensynth.errors import ConfigError
from gensynth.goals.requirements import Requirement, parse, together

DECIMALS = 4
"""Of a score's limit, in percent: far less than one image."""


def settle(
    requirements: Iterable[Requirement], prototype: Mapping[str, float]
) -> tuple[Requirement, ...]:
    """Return requirements in which what is relative to the prototype has its limit.

    Args:
        requirements: some may be settled already.
        prototype: its exact costs by metric, and its scores in percent; what is relative to
            anything else stays as it is.

    Raises:
        ConfigError: if a limit on a cost was settled by another prototype; a score's limit is no
            percentage; or limits contradict each other.

    Example:
        >>> from gensynth.goals.requirements import parse_all
        >>> asked = parse_all(["macs <= 50%", "top1 >= prototype - 1"])
        >>> [r.text for r in settle(asked, {"macs": 12_345_676, "top1": 90.5})]
        ['macs <= 50% (6,172,838)', 'top1 >= prototype - 1 (89.5 %)']
    """
    return together(_settled(one, prototype) for one in requirements)


def settled_texts(texts: Iterable[str], prototype: Mapping[str, float]) -> tuple[str, ...]:
    """Return requirements as they were written, the relative ones with their limits behind them.

    Raises:
        ConfigError: as `settle`.
    """
    return tuple(_settled(parse(text), prototype).text for text in texts)


def as_asked(requirement: Requirement | str) -> str:
    """Return the text of a requirement without the limit that it was settled by."""
    return str(requirement).partition("(")[0].strip()


def _settled(one: Requirement, prototype: Mapping[str, float]) -> Requirement:
    asked = parse(as_asked(one))
    if not asked.relative or one.metric not in prototype:
        return one
    value = prototype[one.metric]
    if asked.relative == "points":
        return _quality(asked, value) if one.relative else one
    # As a fraction: a third of 3,000,000 is a million, and in floating point one less.
    limit = float(Fraction(asked.limit).limit_denominator(10**9) * Fraction(value))
    if not one.relative and one.limit != limit:
        raise ConfigError(
            f'"{one}" was settled by another prototype, of this one it is {_written(limit)}; '
            f'write "{asked}"'
        )
    return _at(asked, limit, "")


def _quality(asked: Requirement, value_pct: float) -> Requirement:
    limit = round(value_pct + asked.limit, DECIMALS)
    if not 0 < limit <= 100:
        raise ConfigError(
            f'"{asked}" asks for {_written(limit)} percent, as the prototype reaches '
            f"{value_pct:.2f} % on the search split; a limit must be above 0 and at most 100"
        )
    return _at(asked, limit, " %")


def _at(asked: Requirement, limit: float, unit: str) -> Requirement:
    return replace(asked, limit=limit, relative="", text=f"{asked} ({_written(limit)}{unit})")


def _written(limit: float) -> str:
    """Return a number from which the same one is read again."""
    return f"{limit:,}".removesuffix(".0")
