"""Counts of pixels, and what is read from them, by hand and against scikit-style definitions."""

import numpy as np
import pytest

from gensynth.tasks.confusion import class_accuracy, confusion, measured, miou, pixel_accuracy

VOID = 255
TRUE = np.array([[0, 0, 1, 1], [2, 2, 2, VOID]], np.uint8)
GIVEN = np.array([[0, 1, 1, 1], [2, 2, 0, 1]])


def test_pixels_are_counted_by_true_and_given_class_without_void() -> None:
    assert confusion(TRUE, GIVEN, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 2]]


def test_accuracies_and_miou_are_those_by_hand() -> None:
    counts = confusion(TRUE, GIVEN, 3)
    assert pixel_accuracy(counts) == pytest.approx(5 / 7)
    assert class_accuracy(counts) == pytest.approx((1 / 2 + 2 / 2 + 2 / 3) / 3)
    assert miou(counts) == pytest.approx((1 / 3 + 2 / 3 + 2 / 3) / 3)


def test_a_class_that_neither_occurs_nor_is_given_is_left_out_of_means() -> None:
    counts = confusion(TRUE, GIVEN, 5)
    assert class_accuracy(counts) == pytest.approx((1 / 2 + 2 / 2 + 2 / 3) / 3)
    assert miou(counts) == pytest.approx((1 / 3 + 2 / 3 + 2 / 3) / 3)


def test_a_score_is_of_all_pixels_together_and_not_the_mean_of_images() -> None:
    # One image of 10 pixels, all right, one of 90, a third right: 40 of 100, not (1 + 1/3) / 2.
    counts = np.array([[[10, 0], [0, 0]], [[30, 60], [0, 0]]])
    score = measured(counts, "pixel_accuracy")
    assert score.value == pytest.approx(0.4)
    assert score.n == 2


def test_the_spread_of_a_pixel_accuracy_is_that_of_a_mean_of_images() -> None:
    # Images of one size: the accuracy is the mean of theirs, its standard error sd / sqrt(n).
    random = np.random.default_rng(0)
    right = random.integers(60, 100, 200)
    counts = np.zeros((200, 2, 2), np.int64)
    counts[:, 0, 0], counts[:, 0, 1] = right, 100 - right
    score = measured(counts, "pixel_accuracy")
    p = right.mean() / 100
    by_hand = right.std(ddof=1) / 100 / np.sqrt(200) / (p * (1 - p))
    assert score.logit_sd == pytest.approx(by_hand, rel=0.1)  # 1,000 resamples: 2.2 % each


def test_other_metrics_are_told_beside_the_one_that_is_asked() -> None:
    counts = confusion(TRUE, GIVEN, 3)[None]
    score = measured(counts, "miou")
    assert score.metric == "miou"
    assert score.others == pytest.approx({"pixel_accuracy": 5 / 7, "class_accuracy": 13 / 18})
