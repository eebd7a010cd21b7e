"""A data set of pictures with a class each: listed, cut where splits are missing, then decoded.

Where search or test has no pictures, it is cut from the training ones by a fixed draw: a fifth for
test, a tenth of the rest for search, the same share of every class.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gensynth.data.dataset import Augmentation, Dataset, Split, held_out
from gensynth.data.images import read_splits, survey
from gensynth.data.picture import Size, picture
from gensynth.errors import DataError

SIDED = {"left", "right", "sign", "signs", "text", "digit", "digits", "letter", "letters"}
"""Words in a class's name that say that a mirror image is something else."""

SEARCH_SHARE = 0.1
TEST_SHARE = 0.2
FIRST_FILES = 3
"""Of a split, by which a person sees that it is the right one."""


@dataclass(frozen=True)
class Listed:
    """The pictures of one split before they are decoded.

    Attributes:
        files: where they lie, or what else tells them.
        labels: (n,) int64, their classes' numbers.
    """

    files: Sequence[Path | str]
    labels: np.ndarray

    def part(self, chosen: np.ndarray) -> "Listed":
        """Return those that are chosen, (n,) bool, in the same order."""
        files = [file for file, is_chosen in zip(self.files, chosen, strict=True) if is_chosen]
        return Listed(files, self.labels[chosen])


def dataset_of(
    listed: Mapping[str, Listed],
    classes: Sequence[str],
    *,
    name: str,
    source: str,
    size: Size | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    augmentation: Augmentation | None = None,
    left_out: Sequence[str] = (),
) -> Dataset:
    """Cut and decode listed pictures.

    Args:
        listed: by split; "train" must be there.
        classes: names, in the order of the labels.
        name, source: of the data set.
        size, colour, mean, std, augmentation: see `gensynth.data.folder.load`.
        left_out: what lay beside the pictures and was not read.

    Raises:
        DataError: if there are too few to be cut, or some are not whole images of one size.
    """
    splits, how = cut(listed)
    first = splits["train"].files[0]
    shape = picture(Path(first), size, colour).shape
    wanted = None if size is not None else shape[1:]
    large = threading.Lock()

    def decoder(files: Sequence[Path | str]) -> Callable[[int], np.ndarray]:
        def decode(place: int) -> np.ndarray:
            image = picture(Path(files[place]), size, colour, wanted, large)
            if image.shape != shape:
                raise DataError(_other_size(files[place], first, image.shape[1:], shape[1:]))
            return image

        return decode

    return assemble(
        {split: (one, decoder(one.files)) for split, one in splits.items()},
        classes, shape, name=name, source=source, how=how, mean=mean, std=std,
        augmentation=augmentation, left_out=left_out,
    )  # fmt: skip


def assemble(
    found: Mapping[str, tuple[Listed, Callable[[int], np.ndarray]]],
    classes: Sequence[str],
    shape: tuple[int, ...],
    *,
    name: str,
    source: str,
    how: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    augmentation: Augmentation | None,
    left_out: Sequence[str] = (),
    threads: int | None = None,
) -> Dataset:
    """Make a data set of three splits whose images are decoded by functions of their place.

    All are decoded once here, so that a broken one is found before anything is trained; where
    memory does not hold them, they are decoded again as they are needed.
    """
    decoders = {split: (len(listed.files), decode) for split, (listed, decode) in found.items()}
    splits = {}
    for split, images in read_splits(decoders, shape, threads).items():
        listed, _ = found[split]
        files = tuple(str(file) for file in listed.files[:FIRST_FILES])
        splits[split] = Split(split, images, listed.labels, files=files)
    surveys = {split: survey(one.images) for split, one in splits.items()}
    own_mean, own_std = surveys["train"].moments()
    return Dataset(
        name=name,
        classes=tuple(classes),
        train=splits["train"],
        search=splits["search"],
        test=splits["test"],
        mean=own_mean if mean is None else mean,
        std=own_std if std is None else std,
        augmentation=augmentation
        or Augmentation(pad=min(shape[1:]) // 8, flip=suits_mirroring(classes)),
        source=source,
        how=how,
        left_out=tuple(left_out),
    )


def cut(listed: Mapping[str, Listed]) -> tuple[dict[str, Listed], str]:
    """Return all three splits, those that are missing cut from train, and how they came to be.

    Raises:
        DataError: if a class would keep no training image.
    """
    splits, train, made = dict(listed), listed["train"], []
    for split, share in (("test", TEST_SHARE), ("search", SEARCH_SHARE)):
        if split not in listed:
            held = held_out(train.labels, max(1, round(share * len(train.labels))))
            splits[split], train = train.part(held), train.part(~held)
            made.append(f"{split} is {len(splits[split].labels):,} of the images given for train")
    splits["train"] = train
    given = [split for split in ("train", "search", "test") if split in listed]
    how = f"{' and '.join(given)} as given" if len(given) > 1 else ""
    if made:
        drawn = ", ".join(made) + ", cut by a fixed draw, the same share of every class"
        how = f"{how}; {drawn}" if how else drawn
    return splits, how


def _other_size(
    file: Path | str, first: Path | str, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> str:
    return (
        f"{file} has {shape[1]} x {shape[0]} pixels and {first} {wanted[1]} x {wanted[0]}; give a "
        "size to bring all to one"
    )


def suits_mirroring(classes: Sequence[str]) -> bool:
    """Return whether nothing in the names of classes says that left and right differ.

    Example:
        >>> suits_mirroring(["cat", "dog"]), suits_mirroring(["0", "1"])
        (True, False)
        >>> suits_mirroring(["turn_left", "stop"]), suits_mirroring(["0 - zero", "1 - one"])
        (False, False)
    """
    words = [re.findall(r"[a-z]+|[0-9]+", name.lower()) for name in classes]
    if any(SIDED & set(each) for each in words):
        return False
    return not all(each and (each[0].isdigit() or len("".join(each)) == 1) for each in words)
