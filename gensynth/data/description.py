"""What a data set is, in sentences for a person who is about to use it."""

import numpy as np

from gensynth.data.boxes import CLASS, COLUMNS, IGNORED, NOBODY
from gensynth.data.dataset import Augmentation, Dataset, Split

CLASSES_LISTED = 12
"""So many classes are told one by one, with their counts."""

LEFT_OUT_LISTED = 5

ADVICE = "augment in [data] chooses, and mirroring is wrong for digits, signs and text"


def described(dataset: Dataset) -> list[str]:
    """Return sentences: classes with counts, splits, pixels, normalisation, augmentation."""
    channels, height, width = dataset.shape
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
    classes = "one class" if len(dataset.classes) == 1 else f"{len(dataset.classes)} classes"
    origin = dataset.source or "made by a program"
    moments = f"mean {_values(dataset.mean)}, standard deviation {_values(dataset.std)}"
    lines = [
        f"{dataset.name}: {width} x {height} {kind} images of {classes}; {origin}",
        *(_split(dataset, split) for split in (dataset.train, dataset.search, dataset.test)),
        *([f"splits: {dataset.how}"] if dataset.how else []),
        f"pixels in [0, 1]: {moments}",
        f"augmentation: {augmented(dataset.augmentation)}; {ADVICE}",
    ]
    if dataset.left_out:
        shown = ", ".join(dataset.left_out[:LEFT_OUT_LISTED])
        more = len(dataset.left_out) - LEFT_OUT_LISTED
        lines.append(f"left out: {shown}{f' and {more} more' if more > 0 else ''}")
    return lines


def other_labels(dataset: Dataset, taught: str) -> str | None:
    """Return what is to be said of labels that are not of the kind that a task teaches, else None.

    Args:
        dataset: whose labels they are.
        taught: "classification", "segmentation" or "detection".
    """
    for split in (dataset.train, dataset.search, dataset.test):
        found, kind = _labelled(split.labels)
        if kind == taught:
            continue
        way = f'set kind = "{kind}" in [task], or --task {kind}' if kind else "see docs/tasks.md"
        return f"{dataset.name} has {found}, which {taught} cannot teach; {way}"
    return None


def _labelled(labels: np.ndarray) -> tuple[str, str | None]:
    """Return what labels are, and the task that teaches such."""
    if labels.dtype == np.int64:
        return "one class an image", "classification"
    if labels.dtype == np.uint8:
        return "masks", "segmentation"
    if labels.ndim == 3 and labels.shape[2] == COLUMNS:
        return "boxes", "detection"
    return "numbers of its own", None


def augmented(augmentation: Augmentation) -> str:
    """Return how training images are changed, in words."""
    words = []
    if augmentation.pad:
        words.append(f"crops of images padded by {augmentation.pad} pixels")
    if augmentation.flip:
        words.append("half of them mirrored left to right")
    words += augmentation.policies
    return ", ".join(words) or "none"


def _split(dataset: Dataset, split: Split) -> str:
    counts = _counts(dataset, split)
    text = f"{split.name} {len(split):,}"
    if counts is not None and len(counts) <= CLASSES_LISTED:
        pairs = zip(dataset.classes, counts, strict=True)
        text += ": " + ", ".join(f"{name} {number:,}" for name, number in pairs)
    elif counts is not None:
        text += f": {counts.min():,} to {counts.max():,} of a class"
    if ignored := _ignored(split.labels):
        text += f" and {ignored:,} ignored {'region' if ignored == 1 else 'regions'}"
    return text + (f"; {', '.join(split.files)}, ..." if split.files else "")


def _counts(dataset: Dataset, split: Split) -> np.ndarray | None:
    """Return images, or objects, of each class; None for what is not counted, such as pixels."""
    labels = split.labels
    if _is_boxes(labels):
        objects = (labels[:, :, CLASS] != NOBODY) & (labels[:, :, IGNORED] == 0)
        labels = labels[:, :, CLASS][objects].astype(np.int64)
    if labels.dtype != np.int64:
        return None
    return np.bincount(labels, minlength=len(dataset.classes))


def _ignored(labels: np.ndarray) -> int:
    """Return how many regions with objects are neither taught nor scored."""
    return int((labels[:, :, IGNORED] > 0).sum()) if _is_boxes(labels) else 0


def _is_boxes(labels: np.ndarray) -> bool:
    return labels.dtype == np.float32 and labels.ndim == 3 and labels.shape[2] == COLUMNS


def _values(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
