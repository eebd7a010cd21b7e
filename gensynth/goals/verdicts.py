"""What evidence says about a requirement: the paper's indicator 1_r, with a third value.

A requirement is satisfied or violated only where the evidence says so; else it is unknown.
Evidence is an exact cost, a score at a stated confidence, or a range: of a predicted quality, or
of what a device measured. Nothing here measures or counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from gensynth.goals.intervals import bonferroni
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import Score
from gensynth.goals.utility import Utility

Range = tuple[float, float]
"""(low, high) of a value that is known so far; equal where it is known exactly."""


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


def judge_all(
    requirements: Sequence[Requirement],
    quality: Mapping[str, Range],
    costs: Mapping[str, float],
    measured: Mapping[str, Range] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on one network.

    A predicted quality is a range, a point value a range of no width, a certified one the bounds
    at its confidence; scores grow with the quality, so its ends bound them too.

    Args:
        requirements: of the run.
        quality: (low, high) of each metric of the task, fractions in [0, 1]; what scores are
            computed from comes first.
        costs: exact costs by name.
        measured: (low, high) of what a device measured, such as "latency_ms@local".

    Returns:
        A verdict by the requirement's text, in the order given; unknown where the range
        does not decide, or nothing was measured.
    """
    verdicts: dict[str, Verdict] = {}
    for requirement in requirements:
        bounds = _bounds(requirement, quality, costs, measured or {})
        verdicts[requirement.text] = (
            Verdict.UNKNOWN if bounds is None else judge(requirement, *bounds)
        )
    return verdicts


def _bounds(
    requirement: Requirement,
    quality: Mapping[str, Range],
    costs: Mapping[str, float],
    measured: Mapping[str, Range],
) -> Range | None:
    """Return what is known of the value that a requirement limits, in its unit."""
    match requirement.of:
        case "network":
            return costs[requirement.metric], costs[requirement.metric]
        case "device":
            return measured.get(requirement.key)
        case "score":
            metric, (low, high) = next(iter(quality.items()))
            score = Utility(requirement.metric, metric)
            # A score of no quality at all is below every limit; NetScore's logarithm has no value.
            worst, best = (
                score({**costs, metric: 100 * share}) if share > 0 else float("-inf")
                for share in (low, high)
            )
            return worst, best
    if requirement.metric not in quality:
        return None
    low, high = quality[requirement.metric]
    return 100 * low, 100 * high


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the paper's 1_r: satisfied if all are, violated if one is, else unknown."""
    found = set(verdicts)
    if Verdict.VIOLATED in found:
        return Verdict.VIOLATED
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found else Verdict.SATISFIED
