"""What a range of accuracy and exact costs say about every requirement.

A predicted accuracy is a range, a point value a range of no width; either way scores grow
with accuracy, so the range's ends bound them too. What is shown at a stated confidence on
the test split is `certify`'s to say.
"""

from collections.abc import Mapping, Sequence

from gensynth.requirements import COUNTS, DEVICE_COSTS, SCORES, Requirement, Verdict, judge
from gensynth.utility import Utility


def judge_range(
    requirements: Sequence[Requirement],
    accuracy: tuple[float, float],
    costs: Mapping[str, float],
    measured: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on a network whose accuracy lies in a range.

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
