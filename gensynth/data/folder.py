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

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gensynth.data.dataset import Augmentation, Dataset, Split, hold_out
from gensynth.errors import ConfigError, DataError
from gensynth.suggestion import did_you_mean

COLOURS = ("rgb", "bgr", "grey")
SPLIT_FOLDERS = {"train": ("train",), "search": ("search", "val"), "test": ("test",)}
SEARCH_SHARE = 0.1
TEST_SHARE = 0.2
LEFT_BY_DESKTOPS = {"thumbs.db", "desktop.ini"}
# What pillow raises for bytes that are no whole picture; UnidentifiedImageError is an OSError.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


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
    computed_mean, computed_std = _moments(train.images)
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
    classes = tuple(path.name for path in _visible(folder) if path.is_dir())
    if len(classes) < 2:
        raise DataError(
            f"{folder} must hold one folder of images a class and at least two of them, "
            f"got {len(classes)}"
        )
    return classes


def _read(name: str, folder: Path, classes: Sequence[str], size: int | None, colour: str) -> Split:
    files: list[Path] = []
    labels: list[int] = []
    for entry in _visible(folder):
        if not entry.is_dir():
            continue
        if entry.name not in classes:
            raise DataError(
                f"{entry} is no class of the training images; {did_you_mean(entry.name, classes)}"
            )
        members = _visible(entry)
        if name == "train" and not members:
            raise DataError(f"{entry} is empty; a class needs at least one image")
        files += members
        labels += [classes.index(entry.name)] * len(members)
    if not files:
        raise DataError(f"{folder} holds no images")
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda file: _image(file, size, colour), files))
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise DataError(
                f"{file} has {image.shape[2]} x {image.shape[1]} pixels and {files[0]} "
                f"{images[0].shape[2]} x {images[0].shape[1]}; give a size to bring all to one"
            )
    return Split(name, np.stack(images), np.array(labels, np.int64))


def _image(file: Path, size: int | None, colour: str) -> np.ndarray:
    """Return one picture: (channels, height, width), uint8."""
    try:
        with Image.open(file) as picture:
            if picture.mode == "F" or picture.mode.startswith("I"):
                raise DataError(f"{file} has more than 8 bits a channel; convert it to 8 bits")
            upright = ImageOps.exif_transpose(picture)
            converted = upright.convert("L" if colour == "grey" else "RGB")
    except DAMAGED as error:
        raise DataError(f"{file} is not a whole image: {error}; remove or replace it") from error
    if size is not None:
        converted = ImageOps.fit(converted, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    pixels = pixels[:, :, None] if colour == "grey" else pixels
    pixels = pixels[:, :, ::-1] if colour == "bgr" else pixels
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _visible(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in LEFT_BY_DESKTOPS
    )


def _share(split: Split, share: float) -> int:
    return max(1, round(share * len(split)))


def _moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
