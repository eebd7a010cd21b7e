"""How far two networks' scores of the same images are apart.

    PairedImages    images that one of them, both or neither have right; bounds by Newcombe
    PairedDraws     any value, its spread by a bootstrap over the same draws of images for both

An image that is hard for one is hard for the other, so a difference is known better than either
value, and holds where other images are harder for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, Protocol

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from gensynth.goals.intervals import newcombe, normal_quantile
from gensynth.goals.score import Proportion, Resampled, Score
from gensynth.outside import Finite, Form, Natural


class Difference(Protocol):
    """How much higher one network scores than another on the same images."""

    @property
    def points(self) -> float:
        """Of the values, in percent points."""

    @property
    def others(self) -> Mapping[str, "Difference"]:
        """The same of the metrics that are told beside the score's own, by name."""

    @property
    def method(self) -> str:
        """What the bounds are by, before the word bound."""

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return (lower, upper) in points, as `gensynth.goals.intervals.wilson` does."""

    def to_document(self) -> dict[str, Any]:
        """Return JSON values from which `read_difference` makes the difference again."""


@dataclass(frozen=True)
class PairedImages:
    """How many more images one network has right than another.

    Attributes:
        both: images that both have right.
        gained: that the network alone has right.
        lost: that the other alone has right.
        neither: that neither has right.
    """

    both: int
    gained: int
    lost: int
    neither: int

    def __post_init__(self) -> None:
        if min(self.both, self.gained, self.lost, self.neither) < 0 or self.n < 1:
            raise ValueError(
                f"counts of images must be natural and not all 0, got {self.both}, {self.gained}, "
                f"{self.lost} and {self.neither}"
            )

    @property
    def n(self) -> int:
        """Images in all."""
        return self.both + self.gained + self.lost + self.neither

    @property
    def points(self) -> float:
        """Of the shares, in percent points."""
        return 100 * (self.gained - self.lost) / self.n

    @property
    def others(self) -> Mapping[str, Difference]:
        """None."""
        return {}

    @property
    def method(self) -> str:
        """Whose bounds they are."""
        return "paired Newcombe"

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return Newcombe's bounds of the difference of two shares of the same images."""
        counts = (self.both, self.gained, self.lost, self.neither)
        low, high = newcombe(*counts, confidence, sided=sided)
        return 100 * low, 100 * high

    def to_document(self) -> dict[str, Any]:
        """Return points, the two-sided 95 % interval and the counts."""
        counts = {
            "both": self.both, "gained": self.gained, "lost": self.lost, "neither": self.neither,
        }  # fmt: skip
        return {**_interval(self), "images": counts}


@dataclass(frozen=True)
class PairedDraws:
    """How much higher a value is than another, on all images and on draws of them.

    Attributes:
        points: of the values, in percent points.
        sd: standard error of the points.
        others: the same of the metrics that are told beside the score's own, by name.
    """

    points: float
    sd: float
    others: Mapping[str, Difference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.isfinite(self.points) or not 0 <= self.sd < np.inf:
            raise ValueError(
                f"points must be finite and their spread so and not negative, got {self.points} "
                f"and {self.sd}"
            )

    @property
    def method(self) -> str:
        """What they are drawn from."""
        return "paired image bootstrap"

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return points -+ z sd, with the z of Wilson's bounds."""
        reach = normal_quantile(confidence, sided=sided) * self.sd
        return self.points - reach, self.points + reach

    def to_document(self) -> dict[str, Any]:
        """Return points and the two-sided 95 % interval, which has their spread in it."""
        others = {name: other.to_document() for name, other in self.others.items()}
        return {**_interval(self), "others": others}


NONE = PairedDraws(0.0, 0.0)
"""Of a network from itself: known exactly."""


def difference(network: Score, prototype: Score) -> Difference | None:
    """Return how far two scores of one split are apart.

    Of counted images by which of them are right; of any other value

        d +- z sd(d_b) sqrt(n / (n - 1)),    d_b of one draw of images for both networks

    None where the scores are not of one metric and as many images, or what they are on single
    images or draws is not known.
    """
    if (network.metric, network.n) != (prototype.metric, prototype.n):
        return None
    match network, prototype:
        case Proportion(), Proportion():
            return _of_images(network, prototype)
        case Resampled(), Resampled():
            return _of_draws(network, prototype)
    return None


def _of_images(network: Proportion, prototype: Proportion) -> PairedImages | None:
    if not network.right or not prototype.right:
        return None
    pair = (int.from_bytes(network.right), int.from_bytes(prototype.right))
    both, either = (pair[0] & pair[1]).bit_count(), (pair[0] | pair[1]).bit_count()
    return PairedImages(both, network.correct - both, prototype.correct - both, network.n - either)


def _of_draws(network: Resampled, prototype: Resampled) -> PairedDraws | None:
    count = len(network.resamples)
    if count == 0 or count != len(prototype.resamples):
        return None

    def sd(first: tuple[float, ...], second: tuple[float, ...]) -> float:
        widened = np.sqrt(network.n / max(1, network.n - 1))
        return float(100 * np.std(np.subtract(first, second)) * widened)

    others = {
        name: PairedDraws(
            100 * (value - prototype.others[name]),
            sd(network.other_resamples[name], prototype.other_resamples[name]),
        )
        for name, value in network.others.items()
        if len(network.other_resamples.get(name, ())) == count
        and len(prototype.other_resamples.get(name, ())) == count
    }
    points = 100 * (network.value - prototype.value)
    return PairedDraws(points, sd(network.resamples, prototype.resamples), others)


def _interval(of: Difference) -> dict[str, float]:
    low, high = of.bounds()
    return {"points": of.points, "low": low, "high": high}


class ImagesDocument(TypedDict):
    """Images by which of two networks have them right."""

    both: Natural
    gained: Natural
    lost: Natural
    neither: Natural


class PointsDocument(TypedDict):
    """Points of a score above the prototype's, with their two-sided 95 % interval."""

    points: Annotated[float, Field(ge=-1e6, le=1e6)]
    low: Finite
    high: Finite


class DifferenceDocument(PointsDocument):
    """The same, with the counts that it is of or the metrics that are told beside it."""

    images: NotRequired[ImagesDocument]
    others: NotRequired[dict[str, PointsDocument]]


FORM: Form[DifferenceDocument] = Form(DifferenceDocument)


def read_difference(document: Mapping[str, Any]) -> Difference:
    """Return the difference that a document keeps; its bounds are worked out again.

    Raises:
        ValueError: if it keeps none, or an impossible one.
    """
    found = FORM.check(dict(document))
    if "images" in found:
        return PairedImages(**found["images"])
    others = {name: _read_points(other) for name, other in found.get("others", {}).items()}
    own = _read_points(found)
    return PairedDraws(own.points, own.sd, others)


def _read_points(document: PointsDocument) -> PairedDraws:
    reach = (document["high"] - document["low"]) / 2
    return PairedDraws(document["points"], reach / normal_quantile(0.95))
