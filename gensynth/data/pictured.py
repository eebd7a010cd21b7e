"""Images whose boxes are known, and what becomes of both when the pixels are read.

With a `size`, images of any size are resized to fit in it, and the rest is black (`letterbox`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gensynth.data import boxes
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.images import Decode, read_splits, survey
from gensynth.data.listing import SPLITS
from gensynth.data.orientation import UPRIGHT, drawn_turned, turned_boxes
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
    first = found["train"][0]
    shape = _pixels(first, size, colour).shape

    def decoder(of_split: Sequence[Pictured]) -> Decode:
        def decode(place: int) -> np.ndarray:
            pixels = _pixels(of_split[place], size, colour)
            if pixels.shape != shape:
                raise DataError(_other_shape(of_split[place], pixels.shape, first, shape))
            return pixels

        return decode

    images = read_splits({s: (len(found[s]), decoder(found[s])) for s in SPLITS}, shape)
    surveys = {split: survey(images[split]) for split in SPLITS}  # which finds every broken file
    rows = {split: [_rows(one, size) for one in found[split]] for split in SPLITS}
    splits = {s: Split(s, images[s], boxes.stacked(rows[s])) for s in SPLITS}
    computed_mean, computed_std = surveys["train"].moments()
    return Dataset(
        name=name,
        classes=tuple(classes),
        train=splits["train"],
        search=splits["search"],
        test=splits["test"],
        mean=computed_mean if mean is None else mean,
        std=computed_std if std is None else std,
        augmentation=Augmentation(pad=min(shape[1:]) // 16, flip=True),
        source=f"{source}, colour order {colour}",
        how=how,
    )


def letterbox(image: np.ndarray, size: Size) -> np.ndarray:
    """Bring an image to a size without changing its proportions.

    Args:
        image: (channels, height, width), uint8.
        size: side of a square, or (height, width).

    Returns:
        (channels, *size), black where the image does not reach.
    """
    wide, high, left, top = _fitted(image.shape[2], image.shape[1], size)
    boxed = np.zeros((len(image), *sides(size)), np.uint8)
    for plane, whole in zip(image, boxed, strict=True):
        resized = Image.fromarray(plane).resize((wide, high), Image.Resampling.BILINEAR)
        whole[top : top + high, left : left + wide] = np.asarray(resized)
    return boxed


def in_letterbox(rows: np.ndarray, drawn_on: tuple[int, int], size: Size) -> np.ndarray:
    """Return the boxes of an image of (width, height) where a letterbox of a size brings them."""
    width, height = drawn_on
    wide, high, left, top = _fitted(width, height, size)
    moved = rows.copy()
    moved[:, [0, 2]] = rows[:, [0, 2]] * (wide / width) + left
    moved[:, [1, 3]] = rows[:, [1, 3]] * (high / height) + top
    return moved


def _fitted(width: int, height: int, size: Size) -> tuple[int, int, int, int]:
    """Return width and height of an image that is resized to fit, and its left and top then."""
    tall, broad = sides(size)
    scale = min(tall / height, broad / width)
    wide, high = max(1, round(scale * width)), max(1, round(scale * height))
    return wide, high, (broad - wide) // 2, (tall - high) // 2


def _pixels(one: Pictured, size: Size | None, colour: str) -> np.ndarray:
    """Return an image upright, at the size that is asked for."""
    pixels = picture(one.file, None, colour)
    height, width = pixels.shape[1:]
    if drawn_turned(one.file, one.size) == UPRIGHT and (width, height) != one.size:
        raise DataError(
            f"{one.file} has {width} x {height} pixels, and its boxes are of "
            f"{one.size[0]} x {one.size[1]}"
        )
    return pixels if size is None else letterbox(pixels, size)


def _rows(one: Pictured, size: Size | None) -> np.ndarray:
    """Return the boxes of an image where `_pixels` brings them."""
    rows, drawn_on, orientation = one.rows, one.size, drawn_turned(one.file, one.size)
    if orientation != UPRIGHT:
        rows, drawn_on = turned_boxes(rows, orientation, one.size), (one.size[1], one.size[0])
    return rows if size is None else in_letterbox(rows, drawn_on, size)


def _other_shape(
    one: Pictured, shape: tuple[int, ...], first: Pictured, wanted: tuple[int, ...]
) -> str:
    return (
        f"{one.file} has {shape[2]} x {shape[1]} pixels and {first.file} "
        f"{wanted[2]} x {wanted[1]}; give a size to bring all to one"
    )
