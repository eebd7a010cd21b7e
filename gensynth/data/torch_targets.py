"""Data sets as PyTorch has them whose targets are boxes or masks.

    {"boxes": (n, 4), "labels": (n,)}    as torchvision's detectors are taught: left, top, right,
                                         bottom in pixels; "iscrowd" where it is 1 is ignored
    [{"bbox": ..., "category_id": ...}]  as torchvision's CocoDetection gives them
    (height, width) whole numbers        a mask, as an array, a tensor or a PIL image of mode L or P

Labels are the places of names in `classes` of the training images' object, the first of which may
be "background" or "__background__"; without one they are the numbers that occur. In masks 255 is
void. What is missing of validation and test is cut off the training images by a fixed draw.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gensynth.data import boxes
from gensynth.data.dataset import Augmentation, Dataset, Split, held_out_of_any
from gensynth.data.images import require_room, survey
from gensynth.data.labelled import SEARCH_SHARE, TEST_SHARE
from gensynth.data.masks import VOID
from gensynth.errors import DataError

BACKGROUND = ("background", "__background__")
SHARES = {"test": TEST_SHARE, "search": SEARCH_SHARE}

Image = Callable[[Any, int, str], np.ndarray]
"""A data set, a place in it and what to call it -> (channels, height, width), uint8."""


def kind_of(target: Any) -> str | None:
    """Return "boxes" or "masks" if a target is of such a kind, else None."""
    if isinstance(target, Mapping) or (
        isinstance(target, list) and all(isinstance(one, Mapping) for one in target)
    ):
        return "boxes"
    return "masks" if _numbers(target).ndim >= 2 else None


def of_targets(found: Mapping[str, Any], kind: str, image: Image, name: str) -> Dataset:
    """Return a data set of ours.

    Args:
        found: data sets by split, "train" among them.
        kind: of their targets.
        image: reads one image of them.
        name: of the data set.

    Raises:
        DataError: if a target is of another kind or of no class, a box is none, or images have
            several sizes; it names the item.
    """
    train, read = found["train"], {"boxes": _rows, "masks": _mask}[kind]
    pixels: dict[str, list[np.ndarray]] = {split: [] for split in ("train", "search", "test")}
    targets: dict[str, list[np.ndarray]] = {split: [] for split in pixels}
    for split, part in found.items():
        for place in range(len(part)):
            what = f"{split}[{place}] of {type(part).__name__}"
            pixels[split].append(image(part, place, what))
            targets[split].append(read(part[place][1], pixels[split][-1].shape[1:], what))
            _check_shape(what, pixels[split][-1], pixels[split][0] if split == "train" else
                         pixels["train"][0])  # fmt: skip
    numbers, classes, void = _classes(train, targets["train"], kind)
    made = _cut(pixels, targets)
    splits = {}
    for split, own in pixels.items():
        require_room(split, sum(one.nbytes for one in own))
        labels = [_numbered(one, numbers, kind, split, classes) for one in targets[split]]
        stacked = boxes.stacked(labels) if kind == "boxes" else np.stack(labels)
        splits[split] = Split(split, np.stack(own), stacked)
    mean, std = survey(splits["train"].images).moments()
    side = min(splits["train"].images.shape[2:])
    return Dataset(
        name=name, classes=classes, train=splits["train"], search=splits["search"],
        test=splits["test"], mean=mean, std=std,
        augmentation=Augmentation(pad=side // (16 if kind == "boxes" else 8), flip=True),
        source=f"Python object {type(train).__name__}", how=made, void=void,
    )  # fmt: skip


def _numbers(value: Any) -> np.ndarray:
    """Return an array, a tensor or a PIL image as an array."""
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


def _check_shape(what: str, image: np.ndarray, first: np.ndarray) -> None:
    if image.shape != first.shape:
        raise DataError(
            f"{what} is {image.shape} and the first image {first.shape}; all must have one shape: "
            "resize images and targets together in the data set"
        )


def _rows(target: Any, size: tuple[int, ...], what: str) -> np.ndarray:
    """Return the boxes of an image, (objects, 6); classes as they are numbered there."""
    try:
        rows = _as_rows(target, what)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must have boxes of numbers: {error}") from error
    height, width = size
    for place, (left, top, right, bottom) in enumerate(rows[:, :4]):
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise DataError(
                f"box {place} of {what} must be left, top, right, bottom with an area in {width} x "
                f"{height} pixels, got ({left:g}, {top:g}, {right:g}, {bottom:g})"
            )
    if len(rows) and rows[:, :4].max() <= 1 and min(size) > 1:
        raise DataError(f"the boxes of {what} must be in pixels; they lie in [0, 1]")
    return rows.astype(np.float32)


def _as_rows(target: Any, what: str) -> np.ndarray:
    if isinstance(target, Mapping):
        if missing := [key for key in ("boxes", "labels") if key not in target]:
            raise DataError(f"the target of {what} must have boxes and labels, got no {missing[0]}")
        corners = np.asarray(_numbers(target["boxes"]), np.float64).reshape(-1, 4)
        labels = _numbers(target["labels"]).reshape(-1)
        ignored = _numbers(target.get("iscrowd", np.zeros(len(labels)))).reshape(-1)
    elif isinstance(target, list):
        if missing := [k for k in ("bbox", "category_id") if any(k not in one for one in target)]:
            raise DataError(f"every box of {what} must have bbox and category_id, got no "
                            f"{missing[0]}")  # fmt: skip
        corners = np.array([one["bbox"] for one in target], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = np.array([one["category_id"] for one in target], np.int64)
        ignored = np.array([one.get("iscrowd", 0) for one in target], np.int64)
    else:
        raise DataError(f"the target of {what} must be boxes, as that of the first image is")
    if not len(corners) == len(labels) == len(ignored):
        raise DataError(
            f"{what} must have a label for each box, got {len(corners)} boxes and {len(labels)}"
        )
    return np.column_stack([corners, labels, ignored])


def _mask(target: Any, size: tuple[int, ...], what: str) -> np.ndarray:
    mask = _numbers(target)
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    mask = mask.astype(np.uint8) if mask.dtype == bool else mask
    if mask.shape != size or not np.issubdtype(mask.dtype, np.integer):
        raise DataError(
            f"the mask of {what} must hold a whole number for each of {size[1]} x {size[0]} "
            f"pixels, got {mask.dtype} of shape {mask.shape}"
        )
    if mask.size and not 0 <= mask.min() <= mask.max() <= VOID:
        raise DataError(
            f"the mask of {what} must hold classes and {VOID} for void, got {mask.min()} to "
            f"{mask.max()}"
        )
    return mask.astype(np.uint8)


def _classes(
    train: Any, targets: Sequence[np.ndarray], kind: str
) -> tuple[dict[int, int], tuple[str, ...], int | None]:
    """Return the classes by their numbers in the targets, their names, and the void."""
    void = VOID if kind == "masks" else None
    each = [own[:, boxes.CLASS] if kind == "boxes" else np.unique(own) for own in targets]
    found = sorted({int(number) for own in each for number in own} - {void})
    named = getattr(train, "classes", None)
    if named is None:
        return {number: place for place, number in enumerate(found)}, tuple(map(str, found)), void
    names = [str(one) for one in named]
    first = int(kind == "boxes" and bool(names) and names[0].lower() in BACKGROUND)
    numbers = {number: number - first for number in range(first, len(names))}
    return numbers, tuple(names[first:]), void


def _numbered(
    target: np.ndarray, numbers: Mapping[int, int], kind: str, split: str, classes: Sequence[str]
) -> np.ndarray:
    """Return a target whose classes are numbered from 0."""
    own = target[:, boxes.CLASS] if kind == "boxes" else target
    strange = sorted({int(n) for n in np.unique(own)} - set(numbers)
                     - ({VOID} if kind == "masks" else set()))  # fmt: skip
    if strange:
        raise DataError(
            f"a target of the {split} split has class {strange[0]}; the {len(classes)} classes are "
            f"numbered {min(numbers, default=0)} to {max(numbers, default=0)}"
        )
    table = np.arange(256 if kind == "masks" else 1 + max(numbers, default=0))
    for number, place in numbers.items():
        table[number] = place
    if kind == "masks":
        return table[own].astype(np.uint8)
    rows = target.copy()
    rows[:, boxes.CLASS] = table[own.astype(np.int64)]
    return rows


def _cut(pixels: dict[str, list[np.ndarray]], targets: dict[str, list[np.ndarray]]) -> str:
    """Cut what is missing off the training images; return how, in words."""
    made = []
    for split, share in SHARES.items():
        if pixels[split]:
            continue
        count, there = max(1, round(share * len(pixels["train"]))), len(pixels["train"])
        if count >= there:
            raise DataError(f"{there} training images are too few to be cut into three splits")
        held = held_out_of_any(there, count)
        for of in (pixels, targets):
            of[split] = list(itertools.compress(of["train"], held))
            of["train"] = list(itertools.compress(of["train"], ~held))
        made.append(f"{split} is {count:,} of the images given for train")
    return ", ".join(made) + ", cut by a fixed draw" if made else ""
