"""What evidence says about a requirement: the paper's indicator 1_r, with a third value.

A requirement is satisfied or violated only where the evidence says so; else it is unknown.
Evidence is an exact cost, counts on a split at a stated confidence, or a range: of predicted
accuracy, or of what a device measured. Nothing here measures or counts: values come from
`cost`, `certify` and `bench`.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from gensynth.goals.intervals import shared, wilson
from gensynth.goals.requirements import ACCURACIES, COUNTS, DEVICE_COSTS, SCORES, Requirement
from gensynth.goals.utility import Utility


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


def judge_cost(requirement: Requirement, value: float) -> Verdict:
    """Judge a cost that is known exactly, such as a number of parameters.

    Raises:
        ValueError: if the requirement is not on a cost, or the value is NaN.
    """
    if requirement.metric not in COUNTS | DEVICE_COSTS:
        raise ValueError(f'requirement must be on a cost, got "{requirement}"')
    return judge(requirement, value, value)


def judge_accuracy(
    requirement: Requirement, correct: int, n: int, confidence: float = 0.95, sharing: int = 1
) -> Verdict:
    """Judge the accuracy behind `correct` of `n` images by one-sided Wilson bounds.

    Satisfied if the lower bound reaches the limit, violated if the upper bound does not,
    else unknown.

    Args:
        requirement: on an accuracy, its limit in percent.
        correct: images classified correctly.
        n: images in all, each unseen in training and in search.
        confidence: of all verdicts that share it, together.
        sharing: networks judged together; each gets its part of the error (Bonferroni).

    Raises:
        ValueError: if the requirement is not on an accuracy, or the counts are impossible.
    """
    if requirement.metric not in ACCURACIES:
        raise ValueError(f'requirement must be on an accuracy, got "{requirement}"')
    low, high = wilson(correct, n, shared(confidence, sharing), sided=1)
    return judge(requirement, 100 * low, 100 * high)


def judge_range(
    requirements: Sequence[Requirement],
    accuracy: tuple[float, float],
    costs: Mapping[str, float],
    measured: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on a network whose accuracy lies in a range.

    A predicted accuracy is a range, a point value a range of no width; either way scores
    grow with accuracy, so the range's ends bound them too.

    Args:
        requirements: of the run.
        accuracy: (low, high), fractions in [0, 1].
        costs: exact "params" and "macs".
        measured: (low, high) of what a device measured, such as "latency_ms@local".

    Returns:
        A verdict by the requirement's text, in the order given; unknown where the range
        does not decide, or nothing was measured.
    """
    low, high = accuracy
    verdicts: dict[str, Verdict] = {}
    for requirement in requirements:
        if requirement.metric in COUNTS:
            bounds: tuple[float, float] | None = (costs[requirement.metric],) * 2
        elif requirement.metric in SCORES:
            score = Utility(requirement.metric)
            # A score of no accuracy at all is below every limit.
            worst, best = (
                score({**costs, "top1": 100 * share}) if share > 0 else float("-inf")
                for share in (low, high)
            )
            bounds = (worst, best)
        elif requirement.metric in DEVICE_COSTS:
            bounds = (measured or {}).get(f"{requirement.metric}@{requirement.device}")
        else:
            bounds = (100 * low, 100 * high)
        verdicts[requirement.text] = (
            Verdict.UNKNOWN if bounds is None else judge(requirement, *bounds)
        )
    return verdicts


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the paper's 1_r: satisfied if all are, violated if one is, else unknown."""
    found = set(verdicts)
    if Verdict.VIOLATED in found:
        return Verdict.VIOLATED
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found else Verdict.SATISFIED
