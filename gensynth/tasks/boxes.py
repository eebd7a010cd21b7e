"""From a detector's maps to boxes, with numpy alone.

    overlap     intersection over union of boxes with boxes
    clustered   boxes of cells that speak of one object, as one box
    suppressed  boxes without those that a surer box of the class overlaps
    detect      maps of an image -> its detections, as `how` says

This file stands in every detector's artefact as it is here, so it is written in Python 3.6's
grammar. A box is (left, top, right, bottom) in pixels of the image that the network reads; a
detection is a row (left, top, right, bottom, score, class).

    grid      of each scale a map of coverage logits (classes, rows, columns) and one of corners
              (4, rows, columns), which are offsets from the cell's centre in cells
    scales    of each scale a map of class logits and one of distances from the cell's centre to the
              box's sides, in cells: (4, rows, columns), or (4 * bins, ...) logits whose mean bin,
              0 to bins - 1, is the distance
"""

import numpy as np

MERGED = 10
"""Surest pairs of cell and class that are merged, for each detection that may be left."""


def overlap(first, second):
    # type: (np.ndarray, np.ndarray) -> np.ndarray
    """Return the intersection over union of every box with every other: (n, m); 0 of no area."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    common = np.prod(np.maximum(opposite - corner, 0), axis=2)
    areas = [np.prod(np.maximum(b[:, 2:4] - b[:, :2], 0), axis=1) for b in (first, second)]
    either = areas[0][:, None] + areas[1][None] - common
    return common / np.maximum(either, 1e-9)


def clustered(found, least):
    # type: (np.ndarray, float) -> np.ndarray
    """Return one detection for every cluster of a class: the surest cell takes what overlaps it.

    Its box is the mean of theirs, weighted by their scores; its score is its own.

    Args:
        found: (n, 6) detections of single cells.
        least: overlap with the surest one from which cells speak of the same object.
    """
    kept = []
    found = found[np.argsort(-found[:, 4], kind="stable")]
    while len(found):
        own = (found[:, 5] == found[0, 5]) & (overlap(found[:1], found)[0] >= least)
        own[0] = True
        weights = found[own, 4]
        box = (found[own, :4] * weights[:, None]).sum(axis=0) / max(weights.sum(), 1e-9)
        kept.append(np.concatenate([box, found[0, 4:]]))
        found = found[~own]
    return np.array(kept, np.float32).reshape(-1, 6)


def suppressed(found, most):
    # type: (np.ndarray, float) -> np.ndarray
    """Return the detections that no surer one of their class overlaps by more than `most`."""
    kept = []
    found = found[np.argsort(-found[:, 4], kind="stable")]
    while len(found):
        kept.append(found[0])
        near = (found[:, 5] == found[0, 5]) & (overlap(found[:1], found)[0] > most)
        near[0] = True
        found = found[~near]
    return np.array(kept, np.float32).reshape(-1, 6)


def detect(maps, how):
    # type: (list, dict) -> np.ndarray
    """Return the detections in one image, the surest first: (n, 6).

    Args:
        maps: one image's, a map of logits and one of boxes for each scale.
        how: "kind" of the maps; "height" and "width" of the image; "least_score" of a detection;
            "overlap" from which cells are clustered, or above which boxes are suppressed; "most"
            detections.
    """
    decode = {"grid": _grid, "scales": _scales}[how["kind"]]
    cells = [np.zeros((0, 6), np.float32)]
    for logits, boxes in zip(maps[::2], maps[1::2]):  # noqa: B905 - of Python 3.6
        stride = stride_of(how["height"], logits.shape[1])
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        kinds, rows, columns = np.nonzero(scores >= how["least_score"])
        centres = (np.stack([columns, rows], axis=1) + 0.5) * stride
        corners = decode(boxes[:, rows, columns].T, centres, stride)
        found = np.stack([scores[kinds, rows, columns], kinds], axis=1)
        cells.append(np.concatenate([corners, found], axis=1))
    found = np.concatenate(cells)
    ends = [how["width"], how["height"]] * 2
    found[:, :4] = np.clip(found[:, :4], 0, ends)
    found = found[(found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])]
    surest = np.argsort(-found[:, 4], kind="stable")[: MERGED * how["most"]]
    merge = clustered if how["kind"] == "grid" else suppressed
    return merge(found[surest], how["overlap"])[: how["most"]].astype(np.float32)


def stride_of(pixels, cells):
    # type: (int, int) -> int
    """Return how many pixels a cell is high: the power of two that is nearest to their ratio."""
    return 2 ** int(round(np.log2(pixels / cells)))  # noqa: RUF046 - of Python 3.6's numpy


def _grid(values, centres, stride):
    # type: (np.ndarray, np.ndarray, int) -> np.ndarray
    return np.tile(centres, 2) + stride * values


def _scales(values, centres, stride):
    # type: (np.ndarray, np.ndarray, int) -> np.ndarray
    bins = values.shape[1] // 4
    if bins > 1:
        logits = values.reshape(-1, 4, bins)
        shares = np.exp(logits - logits.max(axis=2, keepdims=True))
        values = (shares / shares.sum(axis=2, keepdims=True)) @ np.arange(bins)
    return np.tile(centres, 2) + stride * values * [-1, -1, 1, 1]
