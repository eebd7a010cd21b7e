"""A data set: images and what belongs to each, cut into train, search and test.

*train* teaches; *search* decides which network is better, and no prototype of ours has
seen it; *test* is touched once per finalist, at certification.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gensynth.data.images import survey
from gensynth.errors import DataError
from gensynth.randomness import stream


@dataclass(frozen=True)
class Split:
    """Images and what belongs to them.

    Attributes:
        name: "train", "search" or "test".
        images: (n, channels, height, width), uint8, RGB or grey; an array, or `Images` that are
            decoded as they are asked for.
        labels: one entry an image, of the task's kind: (n,) int64 classes; (n, height, width)
            uint8 masks that hold a class, or the void, for every pixel; or (n, ...) float32
            numbers that the task knows the meaning of, such as `gensynth.data.boxes`.
        files: where the first of them lie, for people.
    """

    name: str
    images: Any  # `Images`; most are arrays, and read as such
    labels: np.ndarray
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"{self.name} images must be uint8 (n, channels, height, width), "
                f"got {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape[:1] != (len(self.images),):
            raise DataError(
                f"{self.name} needs one label an image, got {len(self.images)} images "
                f"and labels of shape {self.labels.shape}"
            )
        height, width = self.images.shape[2:]
        is_class = self.labels.dtype == np.int64 and self.labels.ndim == 1
        is_mask = self.labels.dtype == np.uint8 and self.labels.shape[1:] == (height, width)
        is_numbers = self.labels.dtype == np.float32 and bool(np.isfinite(self.labels).all())
        if not is_class and not is_mask and not is_numbers:
            raise DataError(
                f"{self.name} labels must be int64 classes, uint8 masks of {width} x {height} "
                "pixels or finite float32 numbers, got "
                f"{self.labels.dtype} of shape {self.labels.shape[1:]} an image"
            )
        if len(self.images) == 0:
            raise DataError(f"{self.name} is empty; a split needs at least one image")

    def __len__(self) -> int:
        return len(self.images)

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of shape, images and labels: what tells this split from every other."""
        digest = survey(self.images).sha256.copy()
        little_endian = self.labels.dtype.newbyteorder("<")
        digest.update(self.labels.astype(little_endian).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Augmentation:
    """What a training image may look like besides itself.

    Attributes:
        pad: zero pixels added on each side before a random crop back to size.
        flip: whether half of the images are mirrored left to right.
        policies: what else is done to each, by name, see `gensynth.data.augment`.
    """

    pad: int = 4
    flip: bool = True
    policies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set: its splits and all a network must know to read its images.

    Attributes:
        name: what the user called it.
        classes: class names, in label order.
        train, search, test: the splits.
        mean, std: per-channel normalisation of images scaled to [0, 1]; a network sees
            (image / 255 - mean) / std.
        augmentation: what training may change.
        void: what stands in a mask for pixels that are neither taught nor scored; None where
            every label is a class.
        source: where the bytes came from, for the record.
        how: the splits came to be, for people.
        left_out: what lay beside the images and was not read.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    search: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)
    source: str = ""
    how: str = ""
    left_out: tuple[str, ...] = ()
    void: int | None = None

    def __post_init__(self) -> None:
        for split in (self.train, self.search, self.test):
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(
                    f"all images of {self.name} must have one shape, got "
                    f"{self.train.images.shape[1:]} in train and {split.images.shape[1:]} "
                    f"in {split.name}"
                )
            if split.labels.dtype == np.float32:  # the task looks at them
                continue
            known = split.labels if self.void is None else split.labels[split.labels != self.void]
            low, high = (int(known.min()), int(known.max())) if known.size else (0, 0)
            if low < 0 or high >= len(self.classes):
                beside = "" if self.void is None else f", or be the void {self.void}"
                raise DataError(
                    f"labels of {self.name} must lie in 0..{len(self.classes) - 1}{beside}, got "
                    f"{low}..{high} in {split.name}"
                )
        if self.void is not None and self.void < len(self.classes):
            raise DataError(
                f"void of {self.name} must not be a class's number, got {self.void} and "
                f"{len(self.classes)} classes"
            )
        channels = self.train.images.shape[1]
        if len(self.mean) != channels or len(self.std) != channels:
            raise DataError(
                f"{self.name} has {channels} channels, so mean and std need {channels} "
                f"values each, got {len(self.mean)} and {len(self.std)}"
            )
        if not all(math.isfinite(m) for m in self.mean) or not all(
            math.isfinite(s) and s > 0 for s in self.std
        ):
            raise DataError(
                f"mean and std of {self.name} must be finite and std positive, got mean "
                f"{self.mean} and std {self.std}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def hold_out(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[Split, Split]:
    """Cut `count` images off for search, the same share of every class: (train, search).

    Raises:
        DataError: as `held_out`.
    """
    held = held_out(labels, count)
    return Split("train", images[~held], labels[~held]), Split("search", images[held], labels[held])


def held_out(labels: np.ndarray, count: int) -> np.ndarray:
    """Choose `count` images, the same share of every class.

    The draw is fixed (seed 0), so that every run, prototype and rival holds out the same
    images. Where classes do not divide evenly, the first classes give one image more.

    Returns:
        (n,) bool.

    Raises:
        DataError: if a class would keep no training image.
    """
    classes, totals = np.unique(labels, return_counts=True)
    shares = count * totals / len(labels)
    quotas = np.floor(shares).astype(int)
    quotas[np.argsort(quotas - shares, kind="stable")[: count - quotas.sum()]] += 1
    if (quotas >= totals).any():
        raise DataError(
            f"holding out {count} of {len(labels)} images leaves class "
            f"{classes[quotas >= totals][0]} without a training image"
        )
    held = np.zeros(len(labels), bool)
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        held[stream(0, "hold-out", int(label)).permutation(members)[:quota]] = True
    return held


def held_out_of_any(there: int, count: int) -> np.ndarray:
    """Return which images to hold out where they have no class of their own: (there,) bool.

    The draw is fixed, as that of `held_out`.
    """
    held = np.zeros(there, bool)
    held[stream(0, "hold-out", count).permutation(there)[:count]] = True
    return held
