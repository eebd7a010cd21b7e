"""Paired differences of scores, against hand calculations of the images' own differences."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from gensynth.goals.difference import difference
from gensynth.goals.ledger import Ledger
from gensynth.goals.score import Proportion, Resampled
from gensynth.tasks.confusion import measured


def answered(right: np.ndarray) -> Resampled:
    """The score of images of 1,000 pixels each, of which so many are right."""
    counts = np.zeros((len(right), 2, 2), np.int64)
    counts[:, 0, 0], counts[:, 0, 1] = right, 1000 - right
    return measured(counts, "pixel_accuracy")


def test_a_paired_difference_is_as_sure_as_the_images_own_differences_are() -> None:
    # Images differ much in how hard they are, the networks little on any one of them.
    random = np.random.default_rng(0)
    prototype = random.integers(700, 990, 233)
    network = prototype - random.integers(-10, 14, 233)
    found = difference(answered(network), answered(prototype))
    assert found is not None
    apart = (network - prototype) / 10  # percent points an image
    reach = norm.ppf(0.975) * apart.std(ddof=1) / np.sqrt(233)
    assert found.points == pytest.approx(apart.mean())
    assert found.high - found.points == pytest.approx(reach, rel=0.1)  # 1,000 resamples: 2.2 %
    assert found.points - found.low == pytest.approx(reach, rel=0.1)
    alone = answered(network).bounds()
    assert 100 * (alone[1] - alone[0]) > 5 * (found.high - found.low)


def test_the_metrics_beside_the_score_have_their_own_paired_difference() -> None:
    # All pixels are of class 0, so its intersection over union is the pixel accuracy and that of
    # class 1 is 0: mIoU is half of it on every draw. Only class 0 has a class accuracy.
    found = difference(answered(np.array([900, 800, 650])), answered(np.array([880, 820, 600])))
    assert found is not None
    assert {*found.others} == {"miou", "class_accuracy"}
    own, half = (found.points, found.low, found.high), found.others["miou"]
    assert (half.points, half.low, half.high) == pytest.approx([end / 2 for end in own], abs=1e-3)
    assert found.others["class_accuracy"].low == pytest.approx(found.low, abs=1e-3)


def test_a_paired_difference_is_the_same_from_the_ledgers_record(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    one, other = (answered(random.integers(700, 990, 40)) for _ in range(2))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.score("one", "test", lambda: one, metric="pixel_accuracy", n=40)
    ledger.score("other", "test", lambda: other, metric="pixel_accuracy", n=40)
    first, second = (ledger.recorded(name, "test", one.metric) for name in ("one", "other"))
    assert first is not None
    assert second is not None
    kept, made = difference(first, second), difference(one, other)
    assert kept is not None
    assert made is not None
    assert replace(kept, others={}) == replace(made, others={})
    for name, own in made.others.items():  # their values are kept in percent
        assert astuple(kept.others[name])[:3] == pytest.approx(astuple(own)[:3])
    assert "resamples" not in one.to_document()  # it fills journals and cards otherwise


def test_scores_that_share_no_draws_of_images_have_no_paired_difference() -> None:
    resampled = answered(np.array([900, 800]))
    assert difference(resampled, answered(np.array([900, 800, 700]))) is None
    assert difference(resampled, Resampled("pixel_accuracy", 0.8, 0.1, 2)) is None
    assert difference(Proportion("top1", 9, 10), Proportion("top1", 8, 10)) is None
