"""What a task measured of a network on a split: a quality, and how sure one may be of it.

    Proportion    images that are right, of how many; bounds by Wilson
    SmallestRecall    the same of each class's images, the smallest, see `recall`
    Resampled     any value in [0, 1], its spread by a bootstrap over images

Nothing outside this module and `gensynth.tasks` knows of what kind a score is: the rest asks for
its value, its bounds, its logit for a regression, and the document that keeps it.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from gensynth.goals.intervals import normal_quantile, wilson
from gensynth.goals.metrics import TOP1, names, stand_in
from gensynth.goals.recall import SmallestRecall
from gensynth.outside import Form, Natural, Positive, Share


class Score(Protocol):
    """A measured quality of one network on one split."""

    @property
    def metric(self) -> str:
        """Name of what was measured, of `gensynth.goals.metrics`."""

    @property
    def n(self) -> int:
        """Images it was measured on."""

    @property
    def value(self) -> float:
        """The point value, in [0, 1]."""

    @property
    def method(self) -> str:
        """What the bounds are by, before the word bound."""

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return (lower, upper) in [0, 1], as `gensynth.goals.intervals.wilson` does."""

    def logit(self) -> tuple[float, float]:
        """Return the empirical logit of the value and its sampling variance, both finite."""

    def to_document(self) -> dict[str, Any]:
        """Return JSON values from which `read_score` makes the score again."""


@dataclass(frozen=True)
class Proportion:
    """The share of images that are right.

    Attributes:
        metric: what being right means, such as "top1".
        correct: images that are.
        n: images in all.
        right: which images are, a bit an image, the first in the highest bit of the first byte;
            empty where it is not known.
    """

    metric: str
    correct: int
    n: int
    right: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.correct <= self.n:
            raise ValueError(
                f"correct must be in [0, n] and n positive, got {self.correct} of {self.n}"
            )
        if self.right:
            bits = int.from_bytes(self.right)
            beyond = 8 * len(self.right) - self.n
            if not 0 <= beyond < 8 or bits.bit_count() != self.correct or bits % (1 << beyond):
                raise ValueError(
                    f"the images that are right must be {self.correct} of {self.n}, got "
                    f"{bits.bit_count()} in {len(self.right)} bytes"
                )

    @staticmethod
    def of(metric: str, right: np.ndarray) -> "Proportion":
        """Return the share of images that are right, and which they are.

        Args:
            metric: what being right means.
            right: (images,), whether each is.
        """
        hit = np.asarray(right, bool)
        return Proportion(metric, int(hit.sum()), len(hit), np.packbits(hit).tobytes())

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.correct / self.n

    @property
    def method(self) -> str:
        """Whose bounds they are."""
        return "Wilson"

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return Wilson's bounds of the share."""
        return wilson(self.correct, self.n, confidence, sided=sided)

    def logit(self) -> tuple[float, float]:
        """Return the empirical logit and its counting variance.

            log(p / (1 - p)),  1 / (n p (1 - p))    with p = (correct + 1/2) / (n + 1)

        so that none and all right have finite values (Haldane 1956, Anscombe 1956).
        """
        p = (self.correct + 0.5) / (self.n + 1.0)
        return float(np.log(p / (1 - p))), float(1 / (self.n * p * (1 - p)))

    def to_document(self) -> dict[str, Any]:
        """Return the counts."""
        return {"correct": self.correct, "n": self.n}


LEAST_LOGIT_SD = 1e-3
"""Below it a spread says no more than that images were too few, or all alike, to show one."""


RESAMPLE_DECIMALS = 6
"""A ten-thousandth of a point."""


@dataclass(frozen=True)
class Resampled:
    """A value that is no count of images: its spread over them is a bootstrap's.

    Attributes:
        metric: what the value is of.
        value: over all images, in [0, 1].
        logit_sd: standard error of the logit of the value.
        n: images.
        others: values of the same images by other metrics, in [0, 1], told beside it.
        resamples: the value on each draw of images, which are the same draws for every network;
            empty where they are not known.
        other_resamples: the same of the others, as far as they are known.
    """

    metric: str
    value: float
    logit_sd: float
    n: int
    others: Mapping[str, float] = field(default_factory=dict)
    resamples: tuple[float, ...] = field(default=(), repr=False, compare=False)
    other_resamples: Mapping[str, tuple[float, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.value <= 1 or not 0 <= self.logit_sd < np.inf:
            raise ValueError(
                "a value must be in [0, 1], of one image or more and with a finite spread, got "
                f"{self.value} of {self.n} and {self.logit_sd}"
            )

    @staticmethod
    def of(
        metric: str,
        value: float,
        resampled: np.ndarray,
        n: int,
        others: Mapping[str, float] | None = None,
        other_resampled: Mapping[str, np.ndarray] | None = None,
    ) -> "Resampled":
        """Return the score of a value and of what it is on images drawn with replacement.

        The spread is taken of logits, so that bounds stay in [0, 1], and widened by
        sqrt(n / (n - 1)), as a bootstrap's is too narrow (Efron and Tibshirani 1993, section 5).
        """
        logits = _logit(resampled, n)
        widened = float(np.std(logits) * np.sqrt(n / max(1, n - 1)))
        beside = {name: _kept(values) for name, values in (other_resampled or {}).items()}
        return Resampled(metric, value, widened, n, others or {}, _kept(resampled), beside)

    @property
    def method(self) -> str:
        """What they are drawn from."""
        return "image bootstrap"

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return expit(logit(value) -+ z sd), with the z of Wilson's bounds.

        A value of 0 or 1 has at least the spread of so many images that are all wrong, or right.
        """
        sd = self.logit_sd
        if self.value in (0.0, 1.0):
            sd = max(
                sd, Proportion(self.metric, round(self.value * self.n), self.n).logit()[1] ** 0.5
            )
        reach = normal_quantile(confidence, sided=sided) * sd
        centre = float(_logit(np.array(self.value), self.n))
        low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - reach, centre + reach))
        return min(low, self.value), max(high, self.value)

    def logit(self) -> tuple[float, float]:
        """Return the logit of the value and its variance, which of one image is none."""
        return float(_logit(np.array(self.value), self.n)), max(self.logit_sd, LEAST_LOGIT_SD) ** 2

    def to_document(self) -> dict[str, Any]:
        """Return value, spread and number of images, and the others in percent."""
        others = {f"{name}_pct": 100 * value for name, value in self.others.items()}
        return {"value": self.value, "logit_sd": self.logit_sd, "n": self.n, **others}


def to_record(score: Score) -> dict[str, Any]:
    """Return a score's document with what it is on single images or draws of them, if known.

    Too much for a journal or a card; the ledger keeps it, for `gensynth.goals.difference`.
    """
    if isinstance(score, Proportion) and score.right:
        return {**score.to_document(), "right": base64.b64encode(score.right).decode()}
    if not isinstance(score, Resampled) or not score.resamples:
        return score.to_document()
    draws = {"resamples": score.resamples, "other_resamples": dict(score.other_resamples)}
    return score.to_document() | draws


def _kept(resampled: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(resampled, RESAMPLE_DECIMALS).tolist())


def _logit(values: np.ndarray, n: int) -> np.ndarray:
    """Return log(v / (1 - v)); of 0 and 1 the empirical logit of so many images."""
    ends = (values <= 0) | (values >= 1)
    inside = np.where(ends, (n * values + 0.5) / (n + 1), values)
    logits: np.ndarray = np.log(inside / (1 - inside))
    return logits


class _Counts(TypedDict):
    correct: Natural
    n: Positive


_COUNTS: Form[_Counts] = Form(_Counts)
_RIGHT: Form[str] = Form(Annotated[str, Field(max_length=1 << 25)])
"""A hundred million images."""


def _proportion(metric: str, document: Mapping[str, Any]) -> Proportion:
    counts = _COUNTS.check({key: document.get(key) for key in ("correct", "n")})
    return Proportion(metric, counts["correct"], counts["n"], _right(document))


def _right(document: Mapping[str, Any]) -> bytes:
    if "right" not in document:
        return b""
    try:
        return base64.b64decode(_RIGHT.check(document["right"]), validate=True)
    except binascii.Error as error:
        raise ValueError("right must be text in base 64") from error


class _Recalls(TypedDict):
    correct_of_class: Annotated[list[Natural], Field(max_length=100_000)]
    n_of_class: Annotated[list[Natural], Field(max_length=100_000)]


_RECALLS: Form[_Recalls] = Form(_Recalls)


def _recalls(metric: str, document: Mapping[str, Any]) -> SmallestRecall:
    counts = _RECALLS.check({k: document.get(k) for k in ("correct_of_class", "n_of_class")})
    return SmallestRecall(metric, tuple(counts["correct_of_class"]), tuple(counts["n_of_class"]))


class _Spread(TypedDict):
    value: Share
    logit_sd: Annotated[float, Field(ge=0, le=100)]
    n: Positive


_SPREAD: Form[_Spread] = Form(_Spread)
_Draws = Annotated[list[Share], Field(max_length=100_000)]
_RESAMPLES: Form[list[float]] = Form(_Draws)
_OTHER_RESAMPLES: Form[dict[str, list[float]]] = Form(dict[str, _Draws])
_OTHER: Form[float] = Form(Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)])


def _resampled(metric: str, document: Mapping[str, Any]) -> Resampled:
    own = _SPREAD.check({key: document.get(key) for key in ("value", "logit_sd", "n")})
    others = {
        name: _OTHER.check(document[f"{name}_pct"]) / 100
        for name in names("task")
        if name != metric and f"{name}_pct" in document
    }
    resamples = tuple(_RESAMPLES.check(document.get("resamples", [])))
    draws = _OTHER_RESAMPLES.check(document.get("other_resamples", {}))
    beside = {name: tuple(draws[name]) for name in others if name in draws}
    return Resampled(metric, own["value"], own["logit_sd"], own["n"], others, resamples, beside)


KINDS: dict[str, Callable[[str, Mapping[str, Any]], Score]] = {
    "correct": _proportion,
    "correct_of_class": _recalls,
    "logit_sd": _resampled,
}
"""How a score is read, by the key that only documents of its kind have."""


def read_score(document: Mapping[str, Any], metric: str = TOP1.name) -> Score:
    """Return the score that a document keeps; what else stands in it does not matter.

    Args:
        document: that `Score.to_document` is part of.
        metric: where the document names none, as those of version 0.1 do not.

    Raises:
        ValueError: if it keeps no score of a known kind, or an impossible one.
    """
    for key, read in KINDS.items():
        if key in document:
            named = document.get("metric", metric)
            if not isinstance(named, str):
                raise ValueError(f"the metric of a score must be a name, got {named!r:.40}")
            stand_in(named)
            return read(named, document)
    raise ValueError(f"no score in a document of {', '.join(document) or 'nothing'}")


def of_counts(right: int, n: int) -> Score:
    """Return a score that was kept as two counts, as version 0.1 kept every one."""
    return Proportion(TOP1.name, right, n)


def value_for_utility(score: Score) -> float:
    """Return the value at which U and NetScore are taken: one image's share where it is less.

    Logarithms have no value at 0, and no set of images tells 0 from less than one's share.
    """
    return max(score.value, 1 / score.n)


def in_percent(score: Score, confidence: float = 0.95) -> dict[str, Any]:
    """Return what records say of a score: its document, value and two-sided interval."""
    return {
        **score.to_document(),
        f"{score.metric}_pct": 100 * score.value,
        "interval_pct": [100 * bound for bound in score.bounds(confidence)],
    }
