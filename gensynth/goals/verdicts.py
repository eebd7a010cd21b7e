"""What evidence says about a requirement: the paper's indicator 1_r, with a third value.

A requirement is satisfied or violated only where the evidence says so; else it is unknown.
Evidence is an exact cost, a score at a stated confidence, a range of a predicted quality, or what
is known of a network on a device: a measurement decides by its whole 95 % interval, an estimate by
the probability that it leaves. Nothing here measures or counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from gensynth.goals import metrics
from gensynth.goals.figure import Figure
from gensynth.goals.intervals import bonferroni
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import Score
from gensynth.goals.utility import Utility, size_mib

Range = tuple[float, float]
"""(low, high) of a value that is known so far; equal where it is known exactly."""

Known = Range | Figure
"""What is known of a network on a device."""

PROBABLE = 0.9
"""The probability from which an estimate satisfies a requirement; it violates one from 1 - 0.9."""


class Verdict(StrEnum):
    """What the evidence says about a requirement."""

    SATISFIED = "satisfied"
    VIOLATED = "violated"
    UNKNOWN = "unknown"


def judge(requirement: Requirement, low: float, high: float) -> Verdict:
    """Judge a value of which one knows only bounds.

    Satisfied if even the worse bound fulfils the inequality, violated if even the better
    one does not, else unknown.

    Raises:
        ValueError: if a bound is NaN or `low` exceeds `high`.
    """
    if not low <= high:
        raise ValueError(f"low must not exceed high, got {low} and {high}")
    allowed = (requirement.allows(low), requirement.allows(high))
    if all(allowed):
        return Verdict.SATISFIED
    return Verdict.UNKNOWN if any(allowed) else Verdict.VIOLATED


def judge_figure(requirement: Requirement, figure: Figure) -> Verdict:
    """Judge what is known of a network on a device.

    A measurement is judged by its 95 % interval, as `judge` does. An estimate satisfies where the
    requirement holds with a probability of `PROBABLE` or more, violates where it fails with as
    much, and one with unknown kernels decides nothing.
    """
    if not is_estimate(figure):
        return judge(requirement, *figure.interval95)
    if figure.unknown:
        return Verdict.UNKNOWN
    holds = figure.probability_below(requirement.limit)
    if requirement.comparison.startswith(">"):
        holds = 1 - holds
    if holds >= PROBABLE:
        return Verdict.SATISFIED
    return Verdict.VIOLATED if holds <= 1 - PROBABLE else Verdict.UNKNOWN


def is_estimate(known: Known | None) -> bool:
    """Return whether what is known is no measurement: what rests on it says "estimated"."""
    return isinstance(known, Figure) and known.provenance.endswith("estimate")


def judge_score(
    requirement: Requirement, score: Score, confidence: float = 0.95, sharing: int = 1
) -> Verdict:
    """Judge a measured quality by its one-sided bounds.

    Satisfied if the lower bound reaches the limit, violated if the upper bound does not,
    else unknown.

    Args:
        requirement: on the score's metric, its limit in percent.
        score: on images unseen in training and in search.
        confidence: of all verdicts that share it, together.
        sharing: networks judged together; each gets its part of the error (Bonferroni).

    Raises:
        ValueError: if the requirement is on another metric.
    """
    if requirement.metric != score.metric:
        raise ValueError(f'requirement must be on {score.metric}, got "{requirement}"')
    low, high = score.bounds(bonferroni(confidence, sharing), sided=1)
    return judge(requirement, 100 * low, 100 * high)


def judge_gained(requirement: Requirement, low: float, high: float) -> Verdict:
    """Judge bounds of the points by which a score is above the prototype's of the same images.

    Raises:
        ValueError: if the requirement is on no points, or as `judge`.
    """
    if requirement.points is None:
        raise ValueError(f'requirement must be relative to a score, got "{requirement}"')
    return judge(replace(requirement, limit=requirement.points), low, high)


def judge_all(
    requirements: Sequence[Requirement],
    quality: Mapping[str, Range],
    costs: Mapping[str, float],
    known: Mapping[str, Known] | None = None,
    gained: Mapping[str, Range] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on one network.

    A predicted quality is a range, a point value a range of no width, a certified one the bounds
    at its confidence; scores grow with the quality, so its ends bound them too.

    Args:
        requirements: of the run.
        quality: (low, high) of each metric of the task, fractions in [0, 1]; what scores are
            computed from comes first.
        costs: exact costs by name.
        known: what is known of it on devices, by key such as "latency_ms@local".
        gained: (low, high) of the points by which a metric of the task is above the prototype's of
            the same images, where that is known; it decides what was asked relative to the
            prototype's score, and the quality where it is not.

    Returns:
        A verdict by the requirement's text, in the order given; unknown where the evidence does
        not decide, or there is none.
    """
    gained = gained or {}
    return {
        r.text: judge_gained(r, *gained[r.metric])
        if r.points is not None and r.metric in gained
        else _verdict(r, quality, costs, known or {})
        for r in requirements
    }


def _verdict(
    requirement: Requirement,
    quality: Mapping[str, Range],
    costs: Mapping[str, float],
    known: Mapping[str, Known],
) -> Verdict:
    evidence: Known | None
    if requirement.relative:  # to a prototype of which it is not known
        return Verdict.UNKNOWN
    match requirement.of:
        case "network":
            evidence = _cost(requirement.metric, costs)
        case "device":
            evidence = known.get(requirement.key)
        case "score":
            evidence = _score(requirement.metric, quality, costs)
        case _:
            evidence = _percent(requirement.metric, quality)
    if evidence is None:
        return Verdict.UNKNOWN
    if isinstance(evidence, Figure):
        return judge_figure(requirement, evidence)
    return judge(requirement, *evidence)


def _cost(metric: str, costs: Mapping[str, float]) -> Range | None:
    """Return an exact cost; a size follows from the parameters, a peak may not be counted yet."""
    if metric == metrics.SIZE.name:
        return (size_mib(costs["params"]),) * 2
    return (costs[metric],) * 2 if metric in costs else None


def _score(metric: str, quality: Mapping[str, Range], costs: Mapping[str, float]) -> Range:
    name, (low, high) = next(iter(quality.items()))
    score = Utility(metric, name)
    # A score of no quality at all is below every limit; NetScore's logarithm has no value.
    worst, best = (
        score({**costs, name: 100 * share}) if share > 0 else float("-inf") for share in (low, high)
    )
    return worst, best


def _percent(metric: str, quality: Mapping[str, Range]) -> Range | None:
    if metric not in quality:
        return None
    low, high = quality[metric]
    return 100 * low, 100 * high


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the paper's 1_r: satisfied if all are, violated if one is, else unknown."""
    found = set(verdicts)
    if Verdict.VIOLATED in found:
        return Verdict.VIOLATED
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found else Verdict.SATISFIED
