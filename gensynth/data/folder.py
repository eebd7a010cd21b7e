"""A folder of images by class, read into memory.

    root/train/<class>/*    root/search/<class>/* (or val)    root/test/<class>/*
    root/<class>/*          cut here into train, search and test

Where search or test has no folder, it is cut from the training images by a fixed draw: a
tenth for search, a fifth for test, the same share of every class. Classes are numbered in
alphabetical order. Every visible file of a class must be an image; links are followed.

A picture is turned as its EXIF orientation says and brought to the colour order; with a
`size`, its shorter side is resized to it (bilinear, antialiased) and its centre cut out.
What runs on a device must do the same to its camera's pictures.
"""

import os
import struct
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gensynth.data.dataset import Augmentation, Dataset, Split, hold_out
from gensynth.errors import ConfigError, DataError
from gensynth.outside import PIXELS, check_plain
from gensynth.suggestion import did_you_mean

PICTURE_BYTES = 256 << 20
_LARGE = 1 << 22
"""Pixels of a picture that others wait for; up to this many, as many are decoded as there are
threads."""
COLOURS = ("rgb", "bgr", "grey")
SPLIT_FOLDERS = {"train": ("train",), "search": ("search", "val"), "test": ("test",)}
SEARCH_SHARE = 0.1
TEST_SHARE = 0.2
LEFT_BY_DESKTOPS = {"thumbs.db", "desktop.ini"}
# What pillow raises for bytes that are no whole picture; UnidentifiedImageError is an OSError, and
# a decoder that finds no sense in them may ask for memory without end.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip


def load(
    root: Path,
    *,
    size: int | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    augmentation: Augmentation | None = None,
) -> Dataset:
    """Read a folder of images by class.

    Args:
        root: the folder above the splits or above the classes.
        size: side of the square images; None takes them as they are, all of one shape.
        colour: "rgb", "bgr" (channels in OpenCV's order) or "grey" (one channel).
        mean: per-channel mean of images scaled to [0, 1], in the channel order of
            `colour`; computed from the training images if None.
        std: per-channel standard deviation, in the same way.
        augmentation: of training images; by default a crop from images padded by an
            eighth of the side, as is usual for CIFAR-10, and mirroring.

    Raises:
        ConfigError: if `colour` or `size` cannot be meant.
        DataError: if a folder or class is missing or empty, or a file is not a whole image;
            it names the file.
    """
    if colour not in COLOURS:
        raise ConfigError(f"unknown colour order '{colour}'; {did_you_mean(colour, COLOURS)}")
    if size is not None and size < 1:
        raise ConfigError(f"size must be at least 1 pixel, got {size}")
    folders = _split_folders(root)
    classes = _classes(folders["train"])
    splits = {name: _read(name, folder, classes, size, colour) for name, folder in folders.items()}
    train = splits["train"]
    if "test" not in splits:
        train, test = hold_out(train.images, train.labels, _share(train, TEST_SHARE))
        splits["test"] = Split("test", test.images, test.labels)
    if "search" not in splits:
        train, splits["search"] = hold_out(train.images, train.labels, _share(train, SEARCH_SHARE))
    computed_mean, computed_std = moments(train.images)
    return Dataset(
        name=root.resolve().name,
        classes=classes,
        train=train,
        search=splits["search"],
        test=splits["test"],
        mean=computed_mean if mean is None else mean,
        std=computed_std if std is None else std,
        augmentation=augmentation or Augmentation(pad=min(train.images.shape[2:]) // 8, flip=True),
        source=f"folder {root.resolve()}, colour order {colour}",
    )


def _split_folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise DataError(f"no folder {root}; it must hold one folder of images a class")
    if not (root / "train").is_dir():
        return {"train": root}
    found = {
        split: [root / name for name in names if (root / name).is_dir()]
        for split, names in SPLIT_FOLDERS.items()
    }
    for split, folders in found.items():
        if len(folders) > 1:
            raise DataError(
                f"{root} holds {' and '.join(f.name for f in folders)}, and both mean the "
                f"{split} split; rename one"
            )
    return {split: folders[0] for split, folders in found.items() if folders}


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in visible(folder) if path.is_dir())
    if len(classes) < 2:
        raise DataError(
            f"{folder} must hold one folder of images a class and at least two of them, "
            f"got {len(classes)}"
        )
    return classes


def _read(name: str, folder: Path, classes: Sequence[str], size: int | None, colour: str) -> Split:
    files: list[Path] = []
    labels: list[int] = []
    for entry in visible(folder):
        if not entry.is_dir():
            continue
        if entry.name not in classes:
            raise DataError(
                f"{entry} is no class of the training images; {did_you_mean(entry.name, classes)}"
            )
        members = visible(entry)
        if name == "train" and not members:
            raise DataError(f"{entry} is empty; a class needs at least one image")
        files += members
        labels += [classes.index(entry.name)] * len(members)
    if not files:
        raise DataError(f"{folder} holds no images")
    first = picture(files[0], size, colour)
    require_room(name, len(files) * first.nbytes)
    large = threading.Lock()
    wanted = None if size is not None else first.shape[1:]
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda file: picture(file, size, colour, wanted, large), files))
    for file, image in zip(files, images, strict=True):
        if image.shape != first.shape:
            raise DataError(_other_size(file, files[0], image.shape[1:], first.shape[1:]))
    return Split(name, np.stack(images), np.array(labels, np.int64))


def picture(
    file: Path,
    size: int | None,
    colour: str,
    wanted: tuple[int, ...] | None = None,
    large: AbstractContextManager[Any] | None = None,
) -> np.ndarray:
    """Return one picture: (channels, height, width), uint8.

    Args:
        wanted: (height, width) that it must have, known before it is decoded.
        large: held while a large picture is decoded, so that one such is in memory at a time.
    """
    try:
        check_plain(file, PICTURE_BYTES)
        with Image.open(file) as opened:
            if opened.mode == "F" or opened.mode.startswith("I"):
                raise DataError(f"{file} has more than 8 bits a channel; convert it to 8 bits")
            pixels = opened.width * opened.height
            if pixels > PIXELS:
                raise DataError(
                    f"{file} has {pixels:,} pixels, and at most {PIXELS:,} are read; make it "
                    "smaller"
                )
            if wanted is not None and sorted(wanted) != sorted((opened.height, opened.width)):
                return np.empty((1, opened.height, opened.width), np.uint8)  # refused by who asks
            one_at_a_time = large if large is not None and pixels > _LARGE else nullcontext()
            with one_at_a_time:
                return _decoded(opened, size, colour)
    except DAMAGED as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{file} is not a whole image: {what}; remove or replace it") from error


def _decoded(opened: Image.Image, size: int | None, colour: str) -> np.ndarray:
    upright = ImageOps.exif_transpose(opened)
    converted = upright.convert("L" if colour == "grey" else "RGB")
    if size is not None:
        converted = ImageOps.fit(converted, (size, size), Image.Resampling.BILINEAR)
    values = np.asarray(converted)
    values = values[:, :, None] if colour == "grey" else values
    values = values[:, :, ::-1] if colour == "bgr" else values
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _other_size(file: Path, first: Path, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    return (
        f"{file} has {shape[1]} x {shape[0]} pixels and {first} {wanted[1]} x {wanted[0]}; give a "
        "size to bring all to one"
    )


def require_room(name: str, needed: int) -> None:
    """Refuse images that this machine's memory cannot hold."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise DataError(
            f"the {name} images would take {needed / 2**30:,.1f} GiB of memory, and this machine "
            f"has {there / 2**30:,.1f}; give a size, or take fewer of them"
        )


def visible(folder: Path) -> list[Path]:
    """Return what a folder holds, in order of names, without what desktops leave there."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in LEFT_BY_DESKTOPS
    )


def _share(split: Split, share: float) -> int:
    return max(1, round(share * len(split)))


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of images scaled to [0, 1]."""
    # Counting the 256 values needs no float copy of all images.
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        weights = np.bincount(images[:, channel].ravel(), minlength=256) / images[:, channel].size
        mean = float(weights @ values)
        means.append(mean)
        stds.append(float(np.sqrt(weights @ (values - mean) ** 2)))
    return tuple(means), tuple(stds)
