"""The smallest of the classes' recalls: its value, and whether its bounds hold."""

import numpy as np
import pytest

from gensynth.goals.intervals import wilson
from gensynth.goals.recall import SmallestRecall
from gensynth.goals.score import read_score


def test_the_smallest_recall_is_bounded_by_every_class_at_a_share_of_the_error() -> None:
    score = SmallestRecall("smallest_recall", (45, 30, 0), (50, 40, 0))
    assert (score.value, score.n) == (0.75, 90)
    # The class without images is no class of the bounds: two share 5 %, one side each.
    assert score.bounds(0.95, sided=1) == pytest.approx(wilson(30, 40, 0.975, sided=1))
    assert read_score(score.to_document(), "smallest_recall") == score
    with pytest.raises(ValueError, match="more images that are right"):
        SmallestRecall("smallest_recall", (3,), (2,))


def test_the_lower_bound_is_below_the_true_smallest_recall_as_often_as_it_says() -> None:
    draws, true = np.random.default_rng(0), (0.9, 0.8, 0.82, 0.81)
    counts = (200,) * 4
    rights = draws.binomial(counts, true, size=(2_000, 4))
    scores = [SmallestRecall("r", tuple(map(int, right)), counts) for right in rights]
    held = np.mean([score.bounds(0.95, sided=1)[0] <= min(true) for score in scores])
    assert held >= 0.95 - 2 * (0.05 * 0.95 / 2_000) ** 0.5
