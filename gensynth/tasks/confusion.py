"""How the pixels of images were classified, and what is read from it.

    pixel accuracy    share of pixels that got their class
    class accuracy    the same of every class's own pixels, mean over classes
    mIoU              pixels that are of a class and got it, of those of which either is true;
                      mean over classes

(Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013.) All
three are of the pixels of all images together, as the CamVid benchmark has them, with void left
out. A class that neither occurs nor is given is left out of the means.
"""

from collections.abc import Callable, Mapping

import numpy as np

from gensynth.goals.metrics import CLASS_ACCURACY, MIOU, PIXEL_ACCURACY
from gensynth.goals.score import Resampled
from gensynth.randomness import stream

RESAMPLES = 1_000
"""Of the bootstrap over images: the spread that it finds is then itself within 2 %."""


def confusion(true: np.ndarray, given: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels by (true class, class given): (classes, classes), int64.

    Args:
        true: classes, any shape; what is none of them, such as void, is left out.
        given: classes, the same shape.
        classes: how many there are.
    """
    known = true < classes
    pairs = true[known].astype(np.int64) * classes + given[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def pixel_accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the share of pixels that got their class: (..., classes, classes) -> (...)."""
    right: np.ndarray = np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))
    return right


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the mean over classes of the share of their pixels that got them."""
    return _mean_share(_right(counts), counts.sum(axis=-1))


def miou(counts: np.ndarray) -> np.ndarray:
    """Return the mean over classes of intersection over union."""
    right = _right(counts)
    return _mean_share(right, counts.sum(axis=-1) + counts.sum(axis=-2) - right)


MEASURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    PIXEL_ACCURACY.name: pixel_accuracy,
    CLASS_ACCURACY.name: class_accuracy,
    MIOU.name: miou,
}
"""What is read from counts, by metric."""


def measured(counts: np.ndarray, metric: str) -> Resampled:
    """Return the score of counts image by image, its spread by a bootstrap over images.

    Args:
        counts: (images, classes, classes).
        metric: of `MEASURES`; the others are told beside it.
    """
    draws = stream(0, "image bootstrap")
    n = len(counts)
    flat = counts.reshape(n, -1).astype(float)
    times = draws.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)
    drawn, total = (times @ flat).reshape(RESAMPLES, *counts.shape[1:]), counts.sum(axis=0)
    values = {name: float(of(total)) for name, of in MEASURES.items()}
    resampled = {name: of(drawn) for name, of in MEASURES.items()}
    return Resampled.of(metric, values.pop(metric), resampled.pop(metric), n, values, resampled)


def _right(counts: np.ndarray) -> np.ndarray:
    right: np.ndarray = np.diagonal(counts, axis1=-2, axis2=-1)
    return right


def _mean_share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    present = whole > 0
    share = np.where(present, part / np.where(present, whole, 1), 0.0)
    mean: np.ndarray = share.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return mean
