"""What a network must be: the paper's indicator 1_r, as readable inequalities.

    top1 >= 89%              accuracy, in percent
    macs <= 20M              a count, with k, M or G for 1e3, 1e6, 1e9
    latency_ms@local <= 5    measured on a device, here this machine
    netscore >= 100          a score of accuracy against cost

Costs are bounded from above, qualities and scores from below. Which metrics there are stands in
`metrics`, what evidence says about a requirement in `verdicts`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.goals.metrics import Metric

DEVICES = ("local",)
"""Machines that can measure a device cost: this one."""

EXAMPLES = "write for example 'top1 >= 89%', 'macs <= 20M' or 'latency_ms@local <= 5'"
_GRAMMAR = re.compile(
    r"\s*(?P<metric>[A-Za-z]\w*)(@(?P<device>[\w-]+))?"
    r"\s*(?P<comparison>>=|<=|>|<)"
    r"\s*(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?|[+-]?(?i:inf|infinity|nan))"
    r"\s*(?P<suffix>[%kKMG]?)\s*",
    re.ASCII,
)
_LONGEST = 200
_SUFFIXES = {"": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9)}


@dataclass(frozen=True)
class Requirement:
    """One inequality that a network must fulfil.

    Attributes:
        metric: its name in `gensynth.goals.metrics`.
        comparison: ">=" or ">" where higher is better, "<=" or "<" for costs.
        limit: in the metric's unit: percent, a plain count, milliseconds, or points.
        text: as the user wrote it.
        device: whose measurement decides; empty for what is counted or certified.
    """

    metric: str
    comparison: str
    limit: float
    text: str
    device: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def of(self) -> str:
        """Where values of its metric come from: "task", "network", "device" or "score"."""
        return metrics.find(self.metric, self.text).of

    @property
    def key(self) -> str:
        """The metric with its device, as measurements are kept: "latency_ms@local"."""
        return f"{self.metric}@{self.device}" if self.device else self.metric

    def allows(self, value: float) -> bool:
        """Return whether a value, known exactly, fulfils the inequality."""
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

        METRIC[@DEVICE] (>=|>|<=|<) NUMBER[%|k|K|M|G]

    Suffixes are decimal: 20M is 20,000,000.

    Raises:
        ConfigError: if the text is no such inequality; the metric is unknown, or no run measures
            it, or not on that device; the number does not suit the metric; or a cost is bounded
            from below, accuracy or a score from above.

    Example:
        >>> parse("macs < 20M").limit
        20000000.0
    """
    requirement = _read(text)
    _check_direction(requirement)
    return requirement


def parse_all(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Read requirements that hold together; of two on one metric the stricter stays.

    Raises:
        ConfigError: as `parse`, and if no value can fulfil two of them.
    """
    kept: dict[tuple[str, str, str], Requirement] = {}
    for requirement in map(_read, texts):
        key = (requirement.metric, requirement.device, requirement.comparison[0])
        kept[key] = _stricter(kept[key], requirement) if key in kept else requirement
    for (metric, device, side), low in kept.items():
        high = kept.get((metric, device, "<"))
        if side == ">" and high and not (high.allows(low.limit) and low.allows(high.limit)):
            raise ConfigError(
                f'"{low}" and "{high}" contradict each other: no {metric} fulfils both; '
                "drop one of them"
            )
    for requirement in kept.values():
        _check_direction(requirement)
    return tuple(kept.values())


def cost_limits(requirements: Sequence[Requirement]) -> dict[str, int]:
    """Return the largest allowed whole number of every counted cost that is limited.

    "params < 1k" gives {"params": 999}, and "params <= 1k" gives {"params": 1000}.
    """
    limits: dict[str, int] = {}
    for requirement in requirements:
        if requirement.of == "network":
            strict = requirement.comparison == "<"
            most = math.ceil(requirement.limit) - 1 if strict else math.floor(requirement.limit)
            limits[requirement.metric] = min(most, limits.get(requirement.metric, most))
    return limits


def quality_limit(requirements: Sequence[Requirement], metric: str) -> Requirement | None:
    """Return the requirement on a task's metric, the strictest if there are several."""
    found: Requirement | None = None
    for requirement in requirements:
        if requirement.metric == metric:
            found = requirement if found is None else _stricter(found, requirement)
    return found


def is_as_strict(one: Requirement, other: Requirement) -> bool:
    """Return whether whatever fulfils `one` fulfils `other` too, both on one metric."""
    if (one.key, one.comparison[0]) != (other.key, other.comparison[0]):
        return False
    stricter = _stricter(one, other)
    return (stricter.comparison, stricter.limit) == (one.comparison, one.limit)


def _read(text: str) -> Requirement:
    if len(text) > _LONGEST:
        raise ConfigError(f"a requirement has {len(text):,} characters of at most {_LONGEST}")
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ConfigError(f'requirement "{text.strip()}" cannot be read; {EXAMPLES}')
    metric, device = metrics.find(match["metric"], text), match["device"] or ""
    _check_device(metric, device, text)
    limit = _limit(metric, match["number"], match["suffix"], text)
    if metric.of == "task" and limit == 100 and match["comparison"] == ">":
        raise ConfigError(f'{_noun(metric)} cannot exceed 100 percent, got "{text}"')
    return Requirement(metric.name, match["comparison"], limit, text.strip(), device)


def _noun(metric: Metric) -> str:
    return "accuracy" if metric == metrics.TOP1 else metric.title


def _check_device(metric: Metric, device: str, text: str) -> None:
    name = metric.name
    if metric.of == "device" and not device:
        raise ConfigError(f"{name} in \"{text}\" needs a device; write '{name}@local'")
    if device and metric.of != "device":
        raise ConfigError(f"{name} in \"{text}\" is the same on every device; drop '@{device}'")
    if device and device not in DEVICES:
        raise ConfigError(
            f"a run measures on {DEVICES[0]} alone, got \"{text}\"; write '{name}@{DEVICES[0]}', "
            f"and measure its networks with: gensynth bench RUN --device {device}"
        )


def _limit(metric: Metric, number: str, suffix: str, text: str) -> float:
    """Turn "20" and "M" into a limit that suits the metric."""
    value = Decimal(number)
    if not value.is_finite() or value.is_signed():
        raise ConfigError(f'a limit must be a finite positive number, got {number} in "{text}"')
    if metric.of == "task":
        return _percent(metric, value, suffix, text)
    if suffix and metric.of != "network":
        raise ConfigError(f'{metric.name} takes a plain number, got {number}{suffix} in "{text}"')
    if suffix == "%":
        raise ConfigError(
            f'{metric.name} is a count and takes no percent, got {number}% in "{text}"; '
            f"write for example '{metric.name} <= 20M'"
        )
    if metric.of != "score" and value == 0:
        raise ConfigError(f'a limit on {metric.name} must be above zero, got "{text}"')
    limit = float(value * _SUFFIXES["k" if suffix == "K" else suffix])
    if not math.isfinite(limit) or (metric.of != "score" and limit == 0):
        raise ConfigError(f'a limit must be a number that can be computed with, got "{text}"')
    return limit


def _percent(metric: Metric, value: Decimal, suffix: str, text: str) -> float:
    noun = _noun(metric)
    if suffix not in ("", "%"):
        raise ConfigError(f'{noun} is in percent, got {value}{suffix} in "{text}"; {EXAMPLES}')
    if value > 100:
        raise ConfigError(f'{noun} cannot exceed 100 percent, got {value} in "{text}"')
    if not suffix and 0 < value <= 1:
        raise ConfigError(
            f'{noun} is in percent, so {value} in "{text}" would be {value} percent; '
            f"write {(value * 100).normalize():f}% if that is meant, or {value}%"
        )
    return float(value)


def _check_direction(requirement: Requirement) -> None:
    cost = metrics.find(requirement.metric, requirement.text).better == "lower"
    if cost != requirement.comparison.startswith("<"):
        kind = "a cost" if cost else "an accuracy or score"
        raise ConfigError(
            f'"{requirement}" bounds {kind} from the wrong side: '
            f"costs take <= or <, accuracy and scores take >= or >"
        )


def _stricter(one: Requirement, other: Requirement) -> Requirement:
    if one.limit == other.limit:
        return one if len(one.comparison) == 1 else other
    lower_is_stricter = one.comparison.startswith("<")
    return one if (one.limit < other.limit) == lower_is_stricter else other
