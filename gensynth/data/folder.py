"""A folder of images by class.

    root/train/<class>/*    root/val/<class>/*    root/test/<class>/*
    root/<class>/*          cut into train, search and test

`gensynth.data.listing` says which names mean which split, and `gensynth.data.labelled` how splits
that have no folder are cut. Classes are numbered in alphabetical order. Every visible file of a
class must be an image; links are followed. What lies beside the classes is left out, and said.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gensynth.data.dataset import Augmentation, Dataset
from gensynth.data.labelled import Listed, dataset_of
from gensynth.data.listing import by_split, split_of, visible
from gensynth.data.picture import Size, check_reading
from gensynth.errors import DataError
from gensynth.suggestion import did_you_mean


def load(
    root: Path,
    *,
    size: Size | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    augmentation: Augmentation | None = None,
) -> Dataset:
    """Read a folder of images by class.

    Args:
        root: the folder above the splits or above the classes.
        size: side of square images, or (height, width); None takes them as they are, all of one
            shape.
        colour: "rgb", "bgr" (channels in OpenCV's order) or "grey" (one channel).
        mean: per-channel mean of images scaled to [0, 1], in the channel order of
            `colour`; computed from the training images if None.
        std: per-channel standard deviation, in the same way.
        augmentation: of training images; by default a crop from images padded by an
            eighth of the side, as is usual for CIFAR-10, and mirroring where it suits, see
            `gensynth.data.augment`.

    Raises:
        ConfigError: if `colour` or `size` cannot be meant.
        DataError: if a folder or class is missing or empty, or a file is not a whole image;
            it names the file.
    """
    check_reading(size, colour)
    folders, left_out = _split_folders(root)
    classes = _classes(folders["train"])
    listed = {}
    for name, folder in folders.items():
        listed[name], beside = _listed(name, folder, classes)
        left_out += beside
    return dataset_of(
        listed, classes, name=root.resolve().name,
        source=f"folder {root.resolve()}, colour order {colour}", size=size, colour=colour,
        mean=mean, std=std, augmentation=augmentation, left_out=left_out,
    )  # fmt: skip


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the folders of the splits, and what else lies beside them."""
    if not root.is_dir():
        raise DataError(f"no folder {root}; it must hold one folder of images a class")
    entries = visible(root)
    named = [path for path in entries if path.is_dir() and split_of(path.name) is not None]
    if not any(_holds_folders(path) for path in named):  # a class may be called train
        if len(named) > 1:
            raise DataError(
                f"{' and '.join(path.name for path in named)} of {root} hold no folders of images "
                'by class; if masks lie beside them, set kind = "segmentation" in [task], or '
                "--task segmentation"
            )
        return {"train": root}, []
    found = by_split(named, root)
    if "train" not in found:
        raise DataError(
            f"{root} holds {' and '.join(path.name for path in found.values())}, and nothing to "
            "train on; call that folder train"
        )
    return found, [str(path) for path in entries if path not in found.values()]


def _holds_folders(path: Path) -> bool:
    """Return whether a folder holds folders: of a split it is one for each class."""
    return any(entry.is_dir() for entry in visible(path))


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in visible(folder) if path.is_dir())
    if len(classes) < 2:
        raise DataError(
            f"{folder} must hold one folder of images a class and at least two of them, "
            f"got {len(classes)}"
        )
    return classes


def _listed(name: str, folder: Path, classes: Sequence[str]) -> tuple[Listed, list[str]]:
    """Return a split's pictures, and what lies beside its classes."""
    files: list[Path | str] = []
    labels: list[int] = []
    beside: list[str] = []
    for entry in visible(folder):
        if not entry.is_dir():
            beside.append(str(entry))
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
    return Listed(files, np.array(labels, np.int64)), beside
