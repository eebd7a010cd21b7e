"""Scores: counts by Wilson, read back from their documents; another kind passes everywhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from gensynth.goals import score as scores
from gensynth.goals.certificate import certify, verdicts
from gensynth.goals.ledger import Ledger
from gensynth.goals.metrics import TOP1, Metric, find, names, register
from gensynth.goals.requirements import parse_all
from gensynth.goals.score import Proportion, Resampled, in_percent, read_score
from gensynth.goals.verdicts import Verdict
from gensynth.search.inquisitor import SHORT, Inquisitor, Observation
from tests.search.planted import importance, random_points, space


def test_the_bounds_of_a_proportion_are_scipys_wilson_interval() -> None:
    score = Proportion("top1", 2832, 3200)
    expected = binomtest(2832, 3200).proportion_ci(0.95, "wilson")
    assert score.bounds() == pytest.approx((expected.low, expected.high))
    one_sided = binomtest(2832, 3200, alternative="greater").proportion_ci(0.95, "wilson")
    assert score.bounds(0.95, sided=1)[0] == pytest.approx(one_sided.low)
    assert score.value == 2832 / 3200


def test_a_proportion_comes_back_from_its_document() -> None:
    score = Proportion("top1", 7, 9)
    assert read_score(json.loads(json.dumps(score.to_document()))) == score
    assert read_score({"correct": 7, "n": 9}, "other").metric == "other"
    with pytest.raises(ValueError, match="no score in a document of n"):
        read_score({"n": 9})
    with pytest.raises(ValueError, match="correct must be in"):
        read_score({"correct": 10, "n": 9})


def test_what_records_say_is_in_percent() -> None:
    found = in_percent(Proportion("top1", 50, 100))
    assert found["top1_pct"] == 50
    assert found["interval_pct"] == pytest.approx([40.383, 59.617], abs=1e-3)


def test_bounds_of_a_resampled_value_hold_the_truth_as_often_as_they_say() -> None:
    # 1,000 draws of 60 images, each with its own share of right pixels, Beta(9, 1): the truth is
    # 0.9. Of 95 % intervals 93 to 97 hold it; the standard error of that share is 0.7 points.
    random = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        shares = random.beta(9, 1, 60)
        again = shares[random.integers(0, 60, (200, 60))].mean(axis=1)
        score = Resampled.of("pixel_accuracy", float(shares.mean()), again, 60)
        low, high = score.bounds(0.95)
        held += low <= 0.9 <= high
    assert 925 <= held <= 975


def test_a_resampled_value_is_kept_whole_and_is_finite_at_its_ends() -> None:
    score = Resampled("miou", 0.6, 0.05, 101, {"pixel_accuracy": 0.9})
    document = score.to_document()
    assert document["pixel_accuracy_pct"] == pytest.approx(90)
    again = read_score(document, "miou")
    assert (again.value, again.bounds(0.9)) == (score.value, score.bounds(0.9))
    # expit(0.4054651 -+ 1.959964 * 0.05)
    assert score.bounds() == pytest.approx((0.576267, 0.623273), abs=1e-6)
    for end in (0.0, 1.0):
        flat = Resampled.of("miou", end, np.full(10, end), 10)
        assert all(np.isfinite([*flat.logit(), *flat.bounds()]))
    with pytest.raises(ValueError, match="finite spread"):
        Resampled("miou", 0.5, float("inf"), 3)


@dataclass(frozen=True)
class Mean:
    """A mean of values a image with a normal interval: another kind than a count."""

    metric: str
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def value(self) -> float:
        return float(np.mean(self.values))

    @property
    def method(self) -> str:
        return "normal"

    @property
    def sd(self) -> float:
        return float(np.std(self.values) / np.sqrt(self.n))

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        z = norm.ppf(confidence if sided == 1 else (1 + confidence) / 2)
        return self.value - z * self.sd, self.value + z * self.sd

    def logit(self) -> tuple[float, float]:
        p = self.value
        return float(np.log(p / (1 - p))), float((self.sd / (p * (1 - p))) ** 2)

    def to_document(self) -> dict[str, Any]:
        return {"values": list(self.values), "n": self.n}


@pytest.fixture
def mean(monkeypatch: pytest.MonkeyPatch) -> Mean:
    def read(metric: str, document: Mapping[str, Any]) -> Mean:
        return Mean(metric, tuple(document["values"]))

    monkeypatch.setitem(scores.KINDS, "values", read)
    monkeypatch.setattr("gensynth.goals.metrics._METRICS", dict(find_all()))
    register(Metric("overlap", "mean overlap", "%", "higher", "task"))
    return Mean("overlap", (0.6, 0.7, 0.8, 0.7, 0.7, 0.65, 0.75, 0.7))


def find_all() -> dict[str, Metric]:
    return {name: find(name, "all") for name in names()}


def test_another_kind_is_certified_kept_in_the_ledger_and_learned_from(
    mean: Mean, tmp_path: Path
) -> None:
    requirements = parse_all(["overlap >= 60%", "overlap > 0%", "macs <= 2"])
    certificate = certify(mean, requirements, sharing=2)
    # By hand: mean 0.7, sd sqrt(0.025 / 8 / 8) = 0.0197642, z = 1.959964: at least 0.661263.
    assert certificate.lower_bound_pct == pytest.approx(66.1263, abs=1e-3)
    assert certificate.verdict is Verdict.SATISFIED
    found = verdicts(certificate, requirements, {"macs": 1.0})
    assert set(found.values()) == {Verdict.SATISFIED}
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for _ in range(2):
        assert ledger.score("net", "test", lambda: mean, metric="overlap", n=8) == mean
    inquisitor = Inquisitor(space(), importance())
    for index in range(3):
        point = random_points(3, seed=4)[index]
        inquisitor = inquisitor.observe(Observation(point, SHORT, mean))
    text = json.dumps(inquisitor.to_document())
    again = Inquisitor.from_document(json.loads(text), space())
    assert again.observations == inquisitor.observations
    assert again.predict(random_points(2, seed=5), SHORT)[0] == pytest.approx(
        inquisitor.predict(random_points(2, seed=5), SHORT)[0]
    )


def test_a_metric_has_one_meaning(mean: Mean) -> None:
    assert register(TOP1) is TOP1
    with pytest.raises(ValueError, match="another metric is named 'top1'"):
        register(Metric("top1", "other", "%", "higher", "task"))


def test_a_resampled_value_at_the_end_of_its_range_is_no_surer_than_a_share_is() -> None:
    # 48 images all right: Wilson's lower bound is 92.6 %; a bootstrap alone would give 100 %.
    low, high = Resampled.of("ap50", 1.0, np.ones(100), 48).bounds(0.95)
    assert 0.8 < low < Proportion("top1", 48, 48).bounds(0.95)[0]
    assert high == 1.0
    # Draws that reach 1 do not make the spread endless.
    draws = np.where(np.arange(100) % 3 == 0, 1.0, 0.95)
    assert Resampled.of("ap50", 0.97, draws, 48).logit_sd < 1.5


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ("oA==", "must be 3 of 4, got 2 in 1 bytes"),
        ("4AA=", "must be 3 of 4, got 3 in 2 bytes"),
        ("wQ==", "must be 3 of 4, got 3 in 1 bytes"),  # 11000001: the last of 4 images is the 8th
        ("no bits", "base 64"),
        (3, "text"),
    ],
)
def test_images_that_are_not_those_that_were_counted_are_refused(
    right: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_score({"correct": 3, "n": 4, "right": right})
    kept = read_score({"correct": 3, "n": 4, "right": "4A=="})  # 11100000
    assert isinstance(kept, Proportion)
    assert kept.right == b"\xe0"
    assert repr(kept) == "Proportion(metric='top1', correct=3, n=4)"
