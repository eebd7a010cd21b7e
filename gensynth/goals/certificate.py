"""What a network's quality is shown to be on images that nothing before has looked at.

    certify        a score, how far it is from the prototype's, requirements, how many share the
                   confidence -> Certificate
    verdicts       certificate and costs -> a verdict a requirement
    certifiable    a requirement -> what a network must reach to be certified for it
    promising      a requirement -> the quality from which most networks reach that

What is asked relative to the prototype's score is certified by the difference on the same images,
where that is known: a limit that was settled on the search split would ask for other things of a
network where the test images are harder for both. Elsewhere it is certified by that limit.

Nothing here looks at an image: the caller measures, through the `ledger`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gensynth.errors import ConfigError
from gensynth.goals.difference import Difference
from gensynth.goals.intervals import bonferroni
from gensynth.goals.relative import DECIMALS
from gensynth.goals.requirements import Requirement, quality_limit
from gensynth.goals.score import Score
from gensynth.goals.verdicts import Known, Range, Verdict, judge_all, judge_gained, judge_score

POWER = 0.8
"""Probability that a network that just reaches what a search strives for gets its certificate."""

TABLE_CONFIDENCE = 0.95
"""Of the two-sided interval that stands beside every point value."""


@dataclass(frozen=True)
class Certificate:
    """The quality of one network on the test split, and what may be claimed from it.

    Attributes:
        score: measured; none of its images was used to train or to choose the network.
        requirement: the inequality it was judged by; None if the quality is not limited.
        confidence: that all certificates sharing it hold together.
        sharing: networks certified together.
        difference: from the prototype's score of the same images; None where it is not known.
        claims: on each network: two where both its score and the difference decide something.
    """

    score: Score
    requirement: Requirement | None = None
    confidence: float = 0.95
    sharing: int = 1
    difference: Difference | None = None
    claims: int = 1

    @property
    def point_pct(self) -> float:
        """The point value, in percent: the paper's own criterion."""
        return 100 * self.score.value

    @property
    def interval_pct(self) -> tuple[float, float]:
        """The two-sided 95 % interval, in percent, not shared."""
        low, high = self.score.bounds(TABLE_CONFIDENCE)
        return 100 * low, 100 * high

    @property
    def bounds(self) -> Range:
        """The one-sided bounds at the shared confidence, in [0, 1]; the lower is certified.

        Where the difference alone decides, they hold by themselves and not together with it.
        """
        return self.score.bounds(self._each, sided=1)

    @property
    def gained(self) -> Range | None:
        """The one-sided bounds of the difference at the shared confidence, in points."""
        return None if self.difference is None else self.difference.bounds(self._each, sided=1)

    @property
    def _each(self) -> float:
        return bonferroni(self.confidence, self.sharing * self.claims)

    @property
    def lower_bound_pct(self) -> float:
        """The quality that is certified, in percent."""
        return 100 * self.bounds[0]

    @property
    def verdict(self) -> Verdict | None:
        """Whether the requirement is met, by the one-sided bounds; None without one."""
        if self.requirement is None:
            return None
        if self.gained is not None and is_by(self.requirement, self.difference):
            return judge_gained(self.requirement, *self.gained)
        networks = self.sharing * self.claims
        return judge_score(self.requirement, self.score, self.confidence, networks)

    def to_document(self) -> dict[str, Any]:
        """Return all of it, the derived figures included, as JSON values for a card."""
        verdict = self.verdict
        low_pct, high_pct = self.interval_pct
        return {
            "metric": self.score.metric,
            "split": "test",
            "provenance": "measured",
            **self.score.to_document(),
            "point_pct": self.point_pct,
            "low_pct": low_pct,
            "high_pct": high_pct,
            "lower_bound_pct": self.lower_bound_pct,
            "confidence": self.confidence,
            "sharing": self.sharing,
            "claims": self.claims,
            "requirement": None if self.requirement is None else self.requirement.text,
            "verdict": None if verdict is None else verdict.value,
        }


def certify(
    score: Score,
    requirements: Sequence[Requirement] = (),
    *,
    sharing: int = 1,
    confidence: float = 0.95,
    difference: Difference | None = None,
) -> Certificate:
    """Decide what a score on the test split shows.

    Args:
        score: of the network on the test split.
        requirements: all of the run's; the one on the score's metric is judged.
        sharing: networks certified together, whether or not they pass.
        confidence: that no false "satisfied" is among them.
        difference: of the score from the prototype's of the same images, if it is known.

    Raises:
        ValueError: if the sharing or the confidence are impossible.
    """
    bonferroni(confidence, sharing)  # refuses what is impossible
    decisive = {
        is_by(one, difference)
        for one in requirements
        if one.metric == score.metric or one.of == "score"
    }
    return Certificate(
        score,
        quality_limit(requirements, score.metric),
        confidence,
        sharing,
        difference,
        claims=max(1, len(decisive)),
    )


def is_by(requirement: Requirement, difference: Difference | None) -> bool:
    """Return whether a requirement is judged by the difference from the prototype's score."""
    return requirement.points is not None and difference is not None


def verdicts(
    certificate: Certificate,
    requirements: Sequence[Requirement],
    costs: Mapping[str, float],
    known: Mapping[str, Known] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on a certified network, as `judge_all` does, at its bounds."""
    metric, bounds = certificate.score.metric, certificate.gained
    quality = {metric: certificate.bounds}
    gained = {} if bounds is None else {metric: bounds}
    return judge_all(requirements, quality, costs, known, gained)


def point_verdicts(
    certificate: Certificate,
    requirements: Sequence[Requirement],
    costs: Mapping[str, float],
    known: Mapping[str, Known] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement likewise, at the point values: the paper's own criterion."""
    metric, apart = certificate.score.metric, certificate.difference
    quality = {metric: (certificate.score.value,) * 2}
    gained = {} if apart is None else {metric: (apart.points,) * 2}
    return judge_all(requirements, quality, costs, known, gained)


def certifiable(
    requirement: Requirement,
    n: int,
    anticipated: Callable[[float, int], Score],
    *,
    sharing: int = 1,
    confidence: float = 0.95,
) -> Requirement:
    """Return a requirement on a quality with the limit that gets the certificate.

    The limit is the smallest multiple of 1 / n whose one-sided bound satisfies the requirement.
    Nothing but the number of images is asked of the test split.

    Args:
        requirement: on the metric of a task.
        n: images of the test split.
        anticipated: value, n -> the score to be expected, as `Task.anticipated`.
        sharing: networks that are to be certified together.
        confidence: of the certificates.

    Raises:
        ConfigError: if n images are too few to certify even a network that is always right.

    Example:
        >>> from gensynth.goals.requirements import parse
        >>> from gensynth.goals.score import Proportion
        >>> def anticipated(value: float, n: int) -> Score:
        ...     return Proportion("top1", round(value * n), n)
        >>> certifiable(parse("top1 >= 89%"), 10_000, anticipated, sharing=3).limit
        89.67
    """

    def passes(part: int) -> bool:
        score = anticipated(part / n, n)
        return judge_score(requirement, score, confidence, sharing) is Verdict.SATISFIED

    if not passes(n):
        raise ConfigError(
            f'no network can be certified for "{requirement}" by {n:,} test images, not even one '
            'that is always right; use more of them, or aim = "point"'
        )
    return _for_a_certificate(requirement, _least(passes, n), n)


def promising(
    requirement: Requirement,
    n: int,
    anticipated: Callable[[float, int], Score],
    *,
    chosen_on: int,
    sharing: int = 1,
    confidence: float = 0.95,
    paired: bool = False,
) -> Requirement:
    """Return a requirement on a quality with the limit from which a certificate is to be expected.

    A network that is just certifiable on the m images that it is chosen by gets its certificate on
    half of all test splits. Its values on both are apart by chance as one on n m / (n + m) images
    is from the truth. From this limit on the lower bound of that, one-sided at `POWER`, is
    certifiable; where even that of a network that is always right is not, it is `certifiable`.

    What is certified by the difference from the prototype gets the same margin. A difference varies
    as much as a score does where two networks' answers are correlated by a half, and those of a
    network that was distilled from the prototype mostly are by more: so the margin is rather too
    large than too small. But no more is striven for than the prototype's own score, where fewer
    points than that are asked: a network that answers as the prototype does gains and loses few
    images, and the margin of a score would ask for a better one.

    Args:
        requirement, n, anticipated, sharing, confidence: as `certifiable`.
        chosen_on: images of the search split.
        paired: whether what is relative to the prototype's score is certified by the difference.

    Raises:
        ConfigError: as `certifiable`.
    """
    if paired and requirement.points is not None and requirement.points < 0:
        return _promising_beside(requirement, n, anticipated, chosen_on, sharing, confidence)
    least = certifiable(requirement, n, anticipated, sharing=sharing, confidence=confidence)
    apart = max(1, round(n * chosen_on / (n + chosen_on)))

    def passes(part: int) -> bool:
        return least.allows(100 * anticipated(part / n, apart).bounds(POWER, sided=1)[0])

    return _for_a_certificate(requirement, _least(passes, n), n) if passes(n) else least


def _promising_beside(
    requirement: Requirement,
    n: int,
    anticipated: Callable[[float, int], Score],
    chosen_on: int,
    sharing: int,
    confidence: float,
) -> Requirement:
    """Return `promising` of points less than the prototype's score, which is no more than that."""
    assert requirement.points is not None
    less = max(-requirement.points - 0.1**DECIMALS, 0)  # as a limit is rounded
    own_pct = requirement.limit + less
    try:
        found = promising(
            requirement, n, anticipated, chosen_on=chosen_on, sharing=sharing, confidence=confidence
        )
    except ConfigError:  # no score of so few images is certified, but a difference may be
        return _striven_for(requirement, own_pct)
    return found if found.limit <= own_pct else _striven_for(requirement, own_pct)


def _least(passes: Callable[[int], bool], n: int) -> int:
    """Return the least part of n that passes; n does."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle + 1, high)
    return low


def _for_a_certificate(requirement: Requirement, part: int, n: int) -> Requirement:
    return _striven_for(requirement, 100 * part / n)


def _striven_for(requirement: Requirement, limit: float) -> Requirement:
    text = f"{requirement} ({limit:.2f} % for a certificate)"
    return replace(requirement, comparison=">=", limit=limit, text=text)
