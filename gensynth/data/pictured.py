"""Images whose boxes are known, and what becomes of both when the pixels are read.

With a `size`, images of any size are resized to fit in it, and the rest is black (`letterbox`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gensynth.data import boxes
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.images import require_room, survey
from gensynth.data.listing import SPLITS
from gensynth.data.orientation import drawn_turned, turned_boxes
from gensynth.data.picture import Size, picture, sides
from gensynth.errors import DataError


@dataclass(frozen=True)
class Pictured:
    """One image of a split before its pixels are read.

    Attributes:
        file: where they are.
        size: (width, height) of what the boxes were drawn on.
        rows: (objects, 6), see `gensynth.data.boxes`.
    """

    file: Path
    size: tuple[int, int]
    rows: np.ndarray


def dataset_of(
    found: Mapping[str, Sequence[Pictured]],
    classes: Sequence[str],
    *,
    name: str,
    source: str,
    how: str = "",
    size: Size | None,
    colour: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> Dataset:
    """Read the pixels of images whose boxes are known, and make a data set of them.

    Training crops from images padded by a sixteenth of the shorter side, and mirrors them.

    Raises:
        DataError: if a file is missing, damaged, or of another size than it should be.
    """
    splits: dict[str, Split] = {}
    first: tuple[Path, np.ndarray] | None = None
    for split in SPLITS:
        require_room(split, _bytes(found[split], size))
        read = [_read(one, size, colour) for one in found[split]]
        first = first or (found[split][0].file, read[0][0])
        _check_shapes(found[split], [pixels for pixels, _ in read], *first)
        images, labels = [pixels for pixels, _ in read], [rows for _, rows in read]
        splits[split] = Split(split, np.stack(images), boxes.stacked(labels))
    computed_mean, computed_std = survey(splits["train"].images).moments()
    height, width = splits["train"].images.shape[2:]
    return Dataset(
        name=name,
        classes=tuple(classes),
        train=splits["train"],
        search=splits["search"],
        test=splits["test"],
        mean=computed_mean if mean is None else mean,
        std=computed_std if std is None else std,
        augmentation=Augmentation(pad=min(height, width) // 16, flip=True),
        source=f"{source}, colour order {colour}",
        how=how,
    )


def letterbox(image: np.ndarray, rows: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Bring an image to a size without changing its proportions, and its boxes with it.

    Args:
        image: (channels, height, width), uint8.
        rows: (objects, 6).
        size: side of a square, or (height, width).

    Returns:
        (channels, *size), black where the image does not reach, and the boxes in it.
    """
    height, width = image.shape[1:]
    tall, broad = sides(size)
    scale = min(tall / height, broad / width)
    wide, high = max(1, round(scale * width)), max(1, round(scale * height))
    left, top = (broad - wide) // 2, (tall - high) // 2
    boxed = np.zeros((len(image), tall, broad), np.uint8)
    for plane, whole in zip(image, boxed, strict=True):
        resized = Image.fromarray(plane).resize((wide, high), Image.Resampling.BILINEAR)
        whole[top : top + high, left : left + wide] = np.asarray(resized)
    moved = rows.copy()
    moved[:, [0, 2]] = rows[:, [0, 2]] * (wide / width) + left
    moved[:, [1, 3]] = rows[:, [1, 3]] * (high / height) + top
    return boxed, moved


def _bytes(images: Sequence[Pictured], size: Size | None) -> int:
    return sum(3 * math.prod(one.size if size is None else sides(size)) for one in images)


def _read(one: Pictured, size: Size | None, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of an image, and its boxes in them."""
    pixels = picture(one.file, None, colour)
    height, width = pixels.shape[1:]
    orientation, rows = drawn_turned(one.file, one.size), one.rows
    if orientation > 1:
        rows = turned_boxes(rows, orientation, one.size)
    elif (width, height) != one.size:
        raise DataError(
            f"{one.file} has {width} x {height} pixels, and its boxes are of "
            f"{one.size[0]} x {one.size[1]}"
        )
    return (pixels, rows) if size is None else letterbox(pixels, rows, size)


def _check_shapes(
    found: Sequence[Pictured], images: Sequence[np.ndarray], file: Path, first: np.ndarray
) -> None:
    for one, pixels in zip(found, images, strict=True):
        if pixels.shape != first.shape:
            (height, width), (high, wide) = pixels.shape[1:], first.shape[1:]
            raise DataError(
                f"{one.file} has {width} x {height} pixels and {file} {wide} x {high}; give a "
                "size to bring all to one"
            )
