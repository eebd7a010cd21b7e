"""Average precision against COCO's own evaluator, and a bootstrap that keeps its matches."""

import numpy as np
import pytest

from gensynth.data.boxes import stacked
from gensynth.tasks import average_precision as ap

CLASSES = 2


def scene(seed: int, images: int = 12) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Objects and detections near them, some of them wrong, some of ignored regions."""
    random = np.random.default_rng(seed)
    true, found = [], []
    for _ in range(images):
        count = random.integers(0, 5)
        corner, side = random.uniform(0, 60, (count, 2)), random.uniform(8, 30, (count, 2))
        kind = random.integers(0, CLASSES, (count, 1))
        ignored = random.random((count, 1)) < 0.2
        true.append(np.hstack([corner, corner + side, kind, ignored]).astype(np.float32))
        near = np.hstack([corner, corner + side]) + random.normal(0, 2, (count, 4))
        corner, side = random.uniform(0, 60, (3, 2)), random.uniform(8, 30, (3, 2))
        boxes = np.vstack([near, np.hstack([corner, corner + side])])
        kinds = np.vstack([kind, random.integers(0, CLASSES, (3, 1))])
        scores = random.uniform(0.1, 1, (len(boxes), 1))
        found.append(np.hstack([boxes, scores, kinds]).astype(np.float32))
    return true, found


def of_evaluator(true: list[np.ndarray], found: list[np.ndarray]) -> np.ndarray:
    """COCO's AP at each threshold, mean over classes."""
    precision = ap._evaluated(true, found, CLASSES).eval["precision"]
    return np.array([p[p > -1].mean() for p in precision])


def by_threshold(matched: list[list[ap.Matches]], times: np.ndarray) -> list[float]:
    """What the kept matches give at each threshold, with images taken so many times."""
    thresholds = range(len(matched[0]))
    return [
        float(ap.resample([own[t : t + 1] for own in matched], times[None])[0]) for t in thresholds
    ]


def test_average_precision_of_a_hand_made_scene() -> None:
    # Two boxes, three detections: right (0.9), wrong (0.8), right (0.7). Precision is 1 up to
    # recall 1/2, that is at 51 of the 101 recalls, and 2/3 from there.
    box = np.array([[0, 0, 10, 10, 0, 0], [20, 20, 30, 30, 0, 0]], np.float32)
    rows = [[0, 0, 10, 10, 0.9, 0], [50, 50, 60, 60, 0.8, 0], [20, 20, 30, 30, 0.7, 0]]
    score = ap.measured([box], [np.array(rows, np.float32)], 1, "ap50", resamples=4)
    assert score.value == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert score.others["map"] == pytest.approx(score.value)  # the boxes are exact


def test_what_finds_an_ignored_region_neither_counts_for_nor_against() -> None:
    true = np.array([[0, 0, 10, 10, 0, 0], [20, 20, 60, 60, 0, 1]], np.float32)
    found = np.array([[0, 0, 10, 10, 0.5, 0], [25, 25, 40, 40, 0.9, 0]], np.float32)
    assert ap.measured([true], [found], 1, "ap50", resamples=4).value == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_kept_matches_give_the_evaluators_figures_at_every_threshold(seed: int) -> None:
    true, found = scene(seed)
    matched = ap.matches(ap._evaluated(true, found, CLASSES), len(true), CLASSES)
    ours = by_threshold(matched, np.ones(len(true)))
    assert ours == pytest.approx(of_evaluator(true, found), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_an_image_that_is_drawn_twice_counts_as_two_images_for_the_evaluator(seed: int) -> None:
    true, found = scene(seed)
    times = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12))
    rows = np.repeat(np.arange(12), times)
    matched = ap.matches(ap._evaluated(true, found, CLASSES), 12, CLASSES)
    ours = by_threshold(matched, times.astype(float))
    again = of_evaluator([true[r] for r in rows], [found[r] for r in rows])
    assert ours == pytest.approx(again, abs=1e-12)


def test_a_score_tells_the_other_metric_beside_it_and_has_a_spread_over_images() -> None:
    true, found = scene(0, images=40)
    score = ap.measured(list(stacked(true)), found, CLASSES, "map", resamples=100)
    assert score.metric == "map"
    assert score.value == pytest.approx(of_evaluator(true, found).mean())
    assert score.others == {"ap50": pytest.approx(of_evaluator(true, found)[0])}
    assert 0.05 < score.logit_sd < 1


def test_no_detection_at_all_scores_nothing() -> None:
    true, _ = scene(0)
    nothing = [np.zeros((0, 6), np.float32)] * len(true)
    assert ap.measured(true, nothing, CLASSES, "ap50", resamples=4).value == 0.0
