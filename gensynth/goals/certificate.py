"""What a finalist's accuracy is shown to be.

    Certificate     counts on the test split -> point value, bounds, verdict
    certify         counts, requirements, how many share the confidence -> Certificate
    verdicts        certificate and costs -> a verdict a requirement

Nothing here looks at an image: the caller counts, through the `ledger`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gensynth.errors import ConfigError
from gensynth.goals.intervals import lower_bound, shared, wilson
from gensynth.goals.requirements import ACCURACIES, COUNTS, SCORES, Requirement, accuracy_limit
from gensynth.goals.utility import Utility
from gensynth.goals.verdicts import Verdict, judge, judge_accuracy, judge_cost

TABLE_CONFIDENCE = 0.95
"""Of the two-sided interval that stands beside every point value."""


@dataclass(frozen=True)
class Certificate:
    """The accuracy of one network on one split, and what may be claimed from it.

    Attributes:
        correct: images classified correctly.
        n: images in all.
        requirement: the inequality it was judged by; None if accuracy is not limited.
        confidence: that all certificates sharing it hold together.
        sharing: networks certified together.
        metric: what was measured.
        split: where; none of its images was used to train or to choose the network.
        provenance: always "measured": counted, not predicted.
    """

    correct: int
    n: int
    requirement: Requirement | None = None
    confidence: float = 0.95
    sharing: int = 1
    metric: str = "top1"
    split: str = "test"
    provenance: str = "measured"

    @property
    def point_pct(self) -> float:
        """Share of the images that are right, in percent: the paper's own criterion."""
        return 100 * self.correct / self.n

    @property
    def low_pct(self) -> float:
        """Lower end of the two-sided 95 % Wilson interval, in percent, not shared."""
        return 100 * wilson(self.correct, self.n, TABLE_CONFIDENCE)[0]

    @property
    def high_pct(self) -> float:
        """Upper end of the two-sided 95 % Wilson interval, in percent, not shared."""
        return 100 * wilson(self.correct, self.n, TABLE_CONFIDENCE)[1]

    @property
    def lower_bound_pct(self) -> float:
        """The accuracy that is certified: one-sided, at the shared confidence."""
        return 100 * lower_bound(self.correct, self.n, shared(self.confidence, self.sharing))

    @property
    def verdict(self) -> Verdict | None:
        """Whether the requirement is met, by the one-sided bounds; None without one."""
        if self.requirement is None:
            return None
        return judge_accuracy(self.requirement, self.correct, self.n, self.confidence, self.sharing)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, the derived figures included, as JSON values for a card."""
        verdict = self.verdict
        return {
            "metric": self.metric,
            "split": self.split,
            "provenance": self.provenance,
            "correct": self.correct,
            "n": self.n,
            "point_pct": self.point_pct,
            "low_pct": self.low_pct,
            "high_pct": self.high_pct,
            "lower_bound_pct": self.lower_bound_pct,
            "confidence": self.confidence,
            "sharing": self.sharing,
            "requirement": None if self.requirement is None else self.requirement.text,
            "verdict": None if verdict is None else verdict.value,
        }


def certifiable(
    requirement: Requirement, n: int, *, sharing: int = 1, confidence: float = 0.95
) -> Requirement:
    """Return a requirement on accuracy with the limit that a network must reach to be certified.

    The limit is the smallest share of n images whose one-sided bound satisfies the requirement.
    Nothing but the number of images is asked of the test split.

    Raises:
        ConfigError: if n images are too few to certify even a network that is always right.

    Example:
        >>> from gensynth.goals.requirements import parse
        >>> certifiable(parse("top1 >= 89%"), 10_000, sharing=3).limit
        89.67
    """
    if judge_accuracy(requirement, n, n, confidence, sharing) is not Verdict.SATISFIED:
        raise ConfigError(
            f'no network can be certified for "{requirement}" by {n:,} test images, not even one '
            'that is always right; use more of them, or aim = "point"'
        )
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        verdict = judge_accuracy(requirement, middle, n, confidence, sharing)
        low, high = (low, middle) if verdict is Verdict.SATISFIED else (middle + 1, high)
    limit = 100 * low / n
    text = f"{requirement} ({limit:.2f} % for a certificate)"
    return replace(requirement, comparison=">=", limit=limit, text=text)


def certify(
    correct: int,
    n: int,
    requirements: Sequence[Requirement] = (),
    *,
    sharing: int = 1,
    confidence: float = 0.95,
) -> Certificate:
    """Decide what the counts on the test split show about a finalist's accuracy.

    Args:
        correct: test images it classifies correctly.
        n: test images.
        requirements: all of the run's; the one on accuracy is judged.
        sharing: finalists certified together, whether or not they pass.
        confidence: that no false "satisfied" is among them.

    Raises:
        ValueError: if the counts, the sharing or the confidence are impossible.
    """
    lower_bound(correct, n, shared(confidence, sharing))  # refuses what is impossible
    return Certificate(correct, n, accuracy_limit(requirements), confidence, sharing)


def verdicts(
    certificate: Certificate,
    requirements: Sequence[Requirement],
    costs: Mapping[str, float],
    measured: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on a certified network.

    Scores grow with accuracy, so the accuracy's bounds at the shared confidence are
    bounds of the score. What was not measured is unknown.

    Args:
        certificate: of the network.
        requirements: of the run.
        costs: its exact "params" and "macs".
        measured: (low, high) of what a device measured, such as "latency_ms@local".

    Returns:
        A verdict by the requirement's text, in the order given.
    """
    found: dict[str, Verdict] = {}
    for requirement in requirements:
        if requirement.metric in COUNTS:
            verdict = judge_cost(requirement, costs[requirement.metric])
        elif requirement.metric in ACCURACIES:
            verdict = judge_accuracy(
                requirement,
                certificate.correct,
                certificate.n,
                certificate.confidence,
                certificate.sharing,
            )
        elif requirement.metric in SCORES:
            verdict = _judge_score(requirement, certificate, costs)
        else:
            bounds = (measured or {}).get(f"{requirement.metric}@{requirement.device}")
            verdict = Verdict.UNKNOWN if bounds is None else judge(requirement, *bounds)
        found[requirement.text] = verdict
    return found


def _judge_score(
    requirement: Requirement, certificate: Certificate, costs: Mapping[str, float]
) -> Verdict:
    confidence = shared(certificate.confidence, certificate.sharing)
    low, high = wilson(certificate.correct, certificate.n, confidence, sided=1)
    score = Utility(requirement.metric)
    # A score of no accuracy at all is below every limit; NetScore's logarithm has no value.
    worst = score({**costs, "top1": 100 * low}) if low > 0 else float("-inf")
    return judge(requirement, worst, score({**costs, "top1": 100 * high}))
