"""What a network must be: the paper's indicator 1_r, as readable inequalities.

    top1 >= 89%              accuracy, in percent
    macs <= 20M              a count, with k, M or G for 1e3, 1e6, 1e9
    peak_mib <= 1.5          of the graph alone, in MiB
    latency_ms@tx2 <= 5ms    of a device; without a name, of the run's only one
    img_per_joule@tx2 >= 40/J
    netscore >= 100          a score of accuracy against cost
    macs <= 50%              a share of the prototype's, as is params <= 1/4
    top1 >= prototype - 1    points less than the prototype's

Costs are bounded from above, qualities, rates and scores from below. Which metrics there are
stands in `metrics`, what may stand behind a number in `units`, which device is meant in `devices`,
what evidence says about a requirement in `verdicts`. What is asked relative to the prototype has no
limit until `relative` has settled it; the limit then stands behind it, "macs <= 50% (6,172,838)".
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from gensynth.errors import ConfigError
from gensynth.goals import metrics, units
from gensynth.goals.metrics import Metric

EXAMPLES = "write for example 'top1 >= 89%', 'macs <= 20M' or 'latency_ms@local <= 5'"
_GRAMMAR = re.compile(
    r"\s*(?P<metric>[A-Za-z]\w*)(@(?P<device>[\w-]+))?"
    r"\s*(?P<comparison>>=|<=|>|<)"
    r"\s*((?P<part>\d{1,9})\s*/\s*(?P<whole>\d{1,9})"
    r"|prototype(\s*(?P<points>[+-]\s*(\d+\.?\d*|\.\d+)))?"
    r"|(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?|[+-]?(?i:inf|infinity|nan))"
    r"\s*(?P<unit>%|/?[A-Za-z\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}]{1,4}|))"
    r"\s*(\((?P<settled>[\d,.]+(e[+-]\d{1,3})?)( %)?\))?\s*",
    re.ASCII,
)
_DEVICE = re.compile(r"@[\w-]{1,64}", re.ASCII)
_LONGEST = 200
"""Characters of a text, its device left out, which may be named later."""
_COUNTED = {"params": ("params", 1), "macs": ("macs", 1), "size_mib": ("params", 2**18)}
"""What is counted for a metric, and how many of it are in one of the metric's unit."""


@dataclass(frozen=True)
class Requirement:
    """One inequality that a network must fulfil.

    Attributes:
        metric: its name in `gensynth.goals.metrics`.
        comparison: ">=" or ">" where higher is better, "<=" or "<" for costs.
        limit: in the metric's unit, such as percent or milliseconds; of what is relative the
            share of the prototype's cost, or the points above its score.
        text: as the user wrote it.
        device: whose figures decide; empty for what is counted or certified, and until
            `gensynth.goals.devices.placed` has said which one is meant.
        relative: what of the prototype it is until `gensynth.goals.relative.settle` has said what
            that comes to; empty for a limit.
        points: above the prototype's score that were asked, whether or not that is settled; None
            for what is not relative to a score.
    """

    metric: str
    comparison: str
    limit: float
    text: str
    device: str = ""
    relative: Literal["", "share", "points"] = ""
    points: float | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def of(self) -> str:
        """Where values of its metric come from: "task", "network", "device" or "score"."""
        return metrics.find(self.metric, self.text).of

    @property
    def key(self) -> str:
        """The metric with its device, as figures are kept: "latency_ms@local"."""
        return metrics.key_of(self.metric, self.device)

    def on(self, device: str) -> "Requirement":
        """Return it as a requirement on a device's figure, with the device in its text."""
        key = metrics.key_of(self.metric, device)
        return replace(self, device=device, text=self.text.replace(self.metric, key, 1))

    def allows(self, value: float) -> bool:
        """Return whether a value, known exactly, fulfils the inequality.

        Of what is relative the value is so too: a share of the prototype's, or points above it.
        """
        match self.comparison:
            case ">=":
                return value >= self.limit
            case ">":
                return value > self.limit
            case "<=":
                return value <= self.limit
            case _:
                return value < self.limit


def parse(text: str) -> Requirement:
    """Read one requirement.

        METRIC[@DEVICE] (>=|>|<=|<) NUMBER[UNIT]
        COST (<=|<) (NUMBER% | N/N) [(LIMIT)]
        QUALITY (>=|>) prototype [(+|-) POINTS] [(LIMIT)]

    Prefixes of units are decimal: 20M is 20,000,000. Whether there is such a device is not asked.

    Raises:
        ConfigError: if the text is no such inequality; the metric is unknown, or the same on every
            device and has one; the number does not suit the metric; or a cost is bounded from
            below, a quality, a rate or a score from above.

    Example:
        >>> parse("macs < 20M").limit
        20000000.0
    """
    requirement = _read(text)
    _check_direction(requirement)
    return requirement


def parse_all(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Read requirements that hold together, see `together`.

    Raises:
        ConfigError: as `parse` and `together`.
    """
    return together(map(_read, texts))


def together(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Return requirements that hold together; of two on one metric the stricter stays.

    A limit and points of the prototype's score both stay, whatever the points come to: they are
    shown by different figures of the test images.

    Raises:
        ConfigError: if no value can fulfil two of them, or one bounds a metric from the wrong side.
    """
    kept: dict[tuple[str, str, str, bool, str], Requirement] = {}
    for one in requirements:
        key = (one.metric, one.device, one.relative, one.points is None, one.comparison[0])
        kept[key] = _stricter(kept[key], one) if key in kept else one
    for (metric, device, relative, fixed, side), low in kept.items():
        high = kept.get((metric, device, relative, fixed, "<"))
        if side == ">" and high and not (high.allows(low.limit) and low.allows(high.limit)):
            raise ConfigError(
                f'"{low}" and "{high}" contradict each other: no {metric} fulfils both; '
                "drop one of them"
            )
    for requirement in kept.values():
        _check_direction(requirement)
    return tuple(kept.values())


def cost_limits(requirements: Sequence[Requirement]) -> dict[str, int]:
    """Return the largest allowed whole number of every counted cost that is limited by now.

    "params < 1k" gives {"params": 999}, and "params <= 1k" gives {"params": 1000}. A size is that
    of parameters, 4 bytes each: "size_mib <= 1" gives {"params": 262144}. The peak of activations
    is no sum over vertices, and stands in `gensynth.goals.exact`.
    """
    limits: dict[str, int] = {}
    for requirement in requirements:
        if requirement.metric not in _COUNTED or requirement.relative:
            continue
        name, a_unit = _COUNTED[requirement.metric]
        limit = Fraction(requirement.limit) * a_unit
        most = math.ceil(limit) - 1 if requirement.comparison == "<" else math.floor(limit)
        limits[name] = min(most, limits.get(name, most))
    return limits


def quality_limit(requirements: Sequence[Requirement], metric: str) -> Requirement | None:
    """Return the limit on a task's metric, the strictest if there are several."""
    found: Requirement | None = None
    for requirement in requirements:
        if requirement.metric == metric and not requirement.relative:
            found = requirement if found is None else _stricter(found, requirement)
    return found


def is_as_strict(one: Requirement, other: Requirement) -> bool:
    """Return whether whatever fulfils `one` fulfils `other` too, both on one metric."""
    if any(
        getattr(one, what) != getattr(other, what) for what in ("metric", "device", "relative")
    ) or (one.comparison[0] != other.comparison[0]):
        return False
    stricter = _stricter(one, other)
    return (stricter.comparison, stricter.limit) == (one.comparison, one.limit)


def _read(text: str) -> Requirement:
    length = len(_DEVICE.sub("", text, count=1))
    if length > _LONGEST:
        raise ConfigError(f"a requirement has {length:,} characters of at most {_LONGEST}")
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ConfigError(f'requirement "{text.strip()}" cannot be read; {EXAMPLES}')
    metric, device = metrics.find(match["metric"], text), match["device"] or ""
    _check_device(metric, device, text)
    if (asked := _relative(metric, match, text)) is not None:
        kind: Literal["", "share", "points"]
        kind, amount = asked
        points = amount if kind == "points" else None
        if match["settled"] is not None:
            kind, amount = "", _settled(metric, match["settled"], text)
        return Requirement(metric.name, match["comparison"], amount, text.strip(), "", kind, points)
    if match["settled"] is not None:
        raise ConfigError(f'requirement "{text.strip()}" cannot be read; {EXAMPLES}')
    limit = _limit(metric, match["number"], match["unit"], text)
    if metric.of == "task" and limit == 100 and match["comparison"] == ">":
        raise ConfigError(f'{_noun(metric)} cannot exceed 100 percent, got "{text}"')
    return Requirement(metric.name, match["comparison"], limit, text.strip(), device)


def _noun(metric: Metric) -> str:
    return "accuracy" if metric == metrics.TOP1 else metric.title


def _check_device(metric: Metric, device: str, text: str) -> None:
    if device and metric.of != "device":
        raise ConfigError(
            f"{metric.name} in \"{text}\" is the same on every device; drop '@{device}'"
        )


def _relative(
    metric: Metric, match: re.Match[str], text: str
) -> tuple[Literal["share", "points"], float] | None:
    """Return what of the prototype is asked, and how much of it; None for a limit."""
    if match["part"] is None and match["number"] is None:
        if metric.of != "task":
            raise ConfigError(
                f'{metric.name} in "{text}" is no quality that points are taken from; write for '
                f"example 'top1 >= prototype - 1'{_share_of(metric)}"
            )
        return "points", float("".join((match["points"] or "0").split()))
    share = None
    if match["part"] is not None:
        whole = int(match["whole"])
        share = Fraction(int(match["part"]), whole) if whole else Fraction(0)
    elif match["unit"] == "%" and metric.of != "task" and metric.name != "information_density":
        number = Decimal(match["number"])
        finite = number.is_finite() and number < 10**9
        share = Fraction(number) / 100 if finite else Fraction(0)
    if share is None:
        return None
    if metric.of != "network":
        shared = ", ".join(metrics.names("network"))
        raise ConfigError(f'a share is of the prototype\'s {shared}, got "{text}"; {EXAMPLES}')
    if share <= 0:
        raise ConfigError(f'a share of the prototype\'s must be above zero, got "{text}"')
    return "share", float(share)


def _share_of(metric: Metric) -> str:
    return f" or '{metric.name} <= 50%'" if metric.of == "network" else ""


def _settled(metric: Metric, number: str, text: str) -> float:
    """Return the limit that a relative requirement was found to come to."""
    try:
        limit = float(number.replace(",", ""))
    except ValueError:
        limit = 0.0
    if not 0 < limit < math.inf or (metric.of == "task" and limit > 100):
        raise ConfigError(f'"{text}" is settled by a number that is no limit: {number}')
    return limit


def _limit(metric: Metric, number: str, unit: str, text: str) -> float:
    """Turn "20" and "M" into a limit that suits the metric."""
    value = Decimal(number)
    if not value.is_finite() or value.is_signed():
        raise ConfigError(f'a limit must be a finite positive number, got {number} in "{text}"')
    if metric.of == "task":
        return _percent(metric, value, unit, text)
    if metric.of != "score" and value == 0:
        raise ConfigError(f'a limit on {metric.name} must be above zero, got "{text}"')
    try:
        limit = float(Fraction(value) * _factor(metric, number, unit, text))
    except OverflowError:
        limit = math.inf
    if not math.isfinite(limit) or (metric.of != "score" and limit == 0):
        raise ConfigError(f'a limit must be a number that can be computed with, got "{text}"')
    return limit


def _factor(metric: Metric, number: str, unit: str, text: str) -> Fraction:
    """Return what the number of a limit is multiplied by to be in the metric's unit."""
    known = () if metric.of == "score" else units.written_with(metric.unit)
    times = units.factor(metric.unit, unit) if known or not unit else None
    if times is None:
        what = (
            f"a number with {', '.join(known)} or nothing behind it"
            if known
            else ("a plain number")
        )
        raise ConfigError(f'{metric.name} takes {what}, got {number}{unit} in "{text}"')
    return times


def _percent(metric: Metric, value: Decimal, unit: str, text: str) -> float:
    noun = _noun(metric)
    if unit not in ("", "%"):
        raise ConfigError(f'{noun} is in percent, got {value}{unit} in "{text}"; {EXAMPLES}')
    if value > 100:
        raise ConfigError(f'{noun} cannot exceed 100 percent, got {value} in "{text}"')
    if not unit and 0 < value <= 1:
        raise ConfigError(
            f'{noun} is in percent, so {value} in "{text}" would be {value} percent; '
            f"write {(value * 100).normalize():f}% if that is meant, or {value}%"
        )
    return float(value)


def _check_direction(requirement: Requirement) -> None:
    cost = metrics.find(requirement.metric, requirement.text).better == "lower"
    if cost != requirement.comparison.startswith("<"):
        kind = "a cost" if cost else "an accuracy, rate or score"
        raise ConfigError(
            f'"{requirement}" bounds {kind} from the wrong side: '
            f"costs take <= or <, accuracy, rates and scores take >= or >"
        )


def _stricter(one: Requirement, other: Requirement) -> Requirement:
    if one.limit == other.limit:
        return one if len(one.comparison) == 1 else other
    lower_is_stricter = one.comparison.startswith("<")
    return one if (one.limit < other.limit) == lower_is_stricter else other
