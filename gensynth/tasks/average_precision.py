"""Average precision of detections, by COCO's evaluator, and what it is on images drawn again.

    ap50    mean over classes of the average precision at an intersection over union of 0.5
    map     the same, mean over 0.50, 0.55, ... 0.95: COCO's AP

pycocotools matches detections with boxes and computes both figures. What an image's detections
were matched with does not hang on other images, so a bootstrap over images keeps the matches, and
reads precision at COCO's 101 recalls again with every image counted as often as it was drawn.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gensynth.data.boxes import CLASS, IGNORED, own_rows
from gensynth.errors import ConfigError
from gensynth.goals.metrics import AP50, MAP
from gensynth.goals.score import Resampled
from gensynth.randomness import stream

RESAMPLES = 1_000
MOST = 100
"""Detections of an image that count, the surest: COCO's number."""


@dataclass(frozen=True)
class Matches:
    """What became of the detections of one class at one threshold, image by image.

    Precision and recall change for the better only where a detection is right, so what is counted
    down to each right one, the surest first, is all that the curve needs.

    Attributes:
        right: (images, right ones) detections of the image that are right, down to each.
        counted: (images, right ones) those that count, right or wrong, likewise.
        boxes: (images,) how many boxes are to be found.
    """

    right: np.ndarray
    counted: np.ndarray
    boxes: np.ndarray

    def average_precision(self, times: np.ndarray) -> np.ndarray:
        """Return it with every image taken so many times; NaN where there is no box then.

        Args:
            times: (draws, images).

        Returns:
            (draws,).
        """
        to_find = times @ self.boxes
        right = times @ self.right
        precision = right / np.maximum(times @ self.counted, np.spacing(1))
        # The best that is reached at this recall or a higher one; beyond all of them nothing.
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        best = np.concatenate([best, np.zeros((len(times), 1))], axis=1)
        recall = right / np.maximum(to_find, 1)[:, None]
        found = np.array(
            [
                values[np.searchsorted(reached, RECALLS, side="left")].mean()
                for reached, values in zip(recall, best, strict=True)
            ]
        )
        return np.where(to_find > 0, found, np.nan)


RECALLS = np.linspace(0.0, 1.0, 101)


def measured(
    true: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    classes: int,
    metric: str,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Return the score of detections, its spread by a bootstrap over images.

    Args:
        true: (objects, 6) for each image, see `gensynth.data.boxes`; rows of no object are left
            out.
        found: (detections, 6) for each image, see `gensynth.tasks.boxes`.
        classes: how many there are.
        metric: ap50 or map; the other is told beside it.
        resamples: draws of the bootstrap.

    Raises:
        ConfigError: if pycocotools is not installed.
        ValueError: if no image has a box.
    """
    evaluator = _evaluated([own_rows(rows) for rows in true], found, classes)
    values = {AP50.name: _mean(evaluator.eval["precision"][:1])}
    values[MAP.name] = _mean(evaluator.eval["precision"])
    n = len(true)
    whole = matches(evaluator, n, classes)
    matched = {AP50.name: [own[:1] for own in whole], MAP.name: whole}
    draws = stream(0, "image bootstrap").multinomial(n, np.full(n, 1 / n), resamples).astype(float)
    resampled = {name: resample(of, draws) for name, of in matched.items()}
    return Resampled.of(metric, values.pop(metric), resampled.pop(metric), n, values, resampled)


def resample(matched: Sequence[Sequence[Matches]], times: np.ndarray) -> np.ndarray:
    """Return the mean over classes and thresholds, every image taken so many times; 0 of no box.

    Args:
        matched: by class and threshold.
        times: (draws, images).

    Returns:
        (draws,).
    """
    each = np.stack([np.mean([m.average_precision(times) for m in own], 0) for own in matched])
    known = ~np.isnan(each)
    total: np.ndarray = np.where(known, each, 0).sum(0) / np.maximum(known.sum(0), 1)
    return total


def matches(evaluator: Any, images: int, classes: int) -> list[list[Matches]]:
    """Return what an evaluator matched, by class and threshold."""
    found = []
    for kind in range(classes):
        own = [(image, evaluator.evalImgs[kind * images + image]) for image in range(images)]
        own = [(image, one) for image, one in own if one is not None]
        boxes = np.zeros(images)
        for image, one in own:
            boxes[image] = np.count_nonzero(one["gtIgnore"] == 0)
        scores = np.array([score for _, one in own for score in one["dtScores"]])
        order = np.argsort(-scores, kind="stable")
        of = np.array([image for image, one in own for _ in one["dtScores"]], np.int64)[order]
        each = []
        for threshold in range(len(evaluator.params.iouThrs)):
            hit = np.array([m > 0 for _, one in own for m in one["dtMatches"][threshold]], bool)
            ignored = np.array([i for _, one in own for i in one["dtIgnore"][threshold]], bool)
            hit, counts = (hit & ~ignored)[order], ~ignored[order]
            places = np.flatnonzero(hit)
            right, counted = np.zeros((images, len(places))), np.zeros((images, len(places)))
            np.add.at(right, (of[places], np.arange(len(places))), 1)
            # A detection counts down to the first right one that is not before it.
            at = np.searchsorted(places, np.arange(len(of)))
            inside = counts & (at < len(places))
            np.add.at(counted, (of[inside], at[inside]), 1)
            each.append(Matches(right.cumsum(1), counted.cumsum(1), boxes))
        found.append(each)
    return found


def coco_tools() -> tuple[Any, Any]:
    """Return pycocotools' COCO and COCOeval.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ConfigError(
            "average precision is by pycocotools, which is not installed: "
            "pip install 'gensynth[detection]'"
        ) from error
    return COCO, COCOeval


def _evaluated(true: Sequence[np.ndarray], found: Sequence[np.ndarray], classes: int) -> Any:
    """Return COCO's evaluator after it has matched and accumulated."""
    index, evaluation = coco_tools()
    if not any((rows[:, IGNORED] == 0).any() for rows in true):
        raise ValueError("average precision needs an image with a box, got none")
    truth = [
        _entry(image, row[:4], int(row[CLASS]), iscrowd=int(row[IGNORED]))
        for image, rows in enumerate(true)
        for row in rows.tolist()
    ]
    detections = [
        _entry(image, row[:4], int(row[5]), score=row[4])
        for image, rows in enumerate(found)
        for row in rows.tolist()
    ]
    categories = [{"id": kind, "name": str(kind)} for kind in range(classes)]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of every step
        of = {"images": [{"id": image} for image in range(len(true))], "categories": categories}
        pair = []
        for entries in (truth, detections):
            coco = index()
            numbered = [{**entry, "id": number} for number, entry in enumerate(entries, start=1)]
            coco.dataset = {**of, "annotations": numbered}
            coco.createIndex()
            pair.append(coco)
        evaluator = evaluation(*pair, iouType="bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.params.maxDets = [MOST]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _entry(image: int, corners: Sequence[float], kind: int, **more: float) -> Mapping[str, Any]:
    left, top, right, bottom = corners
    box = [left, top, right - left, bottom - top]
    area = box[2] * box[3]
    return {"image_id": image, "category_id": kind, "bbox": box, "area": area, "iscrowd": 0, **more}


def _mean(precision: np.ndarray) -> float:
    """Return the mean of what is known, as COCO's summary does."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else 0.0
