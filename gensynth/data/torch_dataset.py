"""Data sets as PyTorch has them, of (image, label) pairs, read as a data set of ours.

    one object, len(d) and d[i]             cut into train, search and test
    {"train": ..., "val": ..., "test": ...}     any of `gensynth.data.listing`'s names

A label is a class's number; boxes and masks are read by `gensynth.data.torch_targets`.

An image is a PIL image, an array (height, width, 3) or a tensor (channels, height, width), uint8 or
float in [0, 1] as `ToTensor` makes it; all have one size. Normalising and random augmentation are
left out there: gensynth does both itself, and every network of a run must see the same.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from gensynth.data.dataset import Dataset
from gensynth.data.labelled import Listed, assemble, cut
from gensynth.data.listing import split_of
from gensynth.data.torch_targets import kind_of, of_targets
from gensynth.errors import DataError

ROUNDING = 0.02
"""Of a value in 0 to 255, by which a float may miss it."""

READ_TWICE = 16
"""Images that must be the same again: a mirroring by chance leaves one pair in two alike."""


def is_torch_dataset(given: object) -> bool:
    """Return whether an object has a length and items, as a map-style data set has."""
    return hasattr(given, "__len__") and hasattr(given, "__getitem__")


def as_dataset(given: Any, name: str | None = None) -> Dataset:
    """Return a data set of ours.

    Args:
        given: one of ours, which is given back; a map-style data set; or such by split.
        name: of it; None takes the class's.

    Raises:
        DataError: if it is neither, a split's name is unknown, or an item is no image and label.
    """
    if isinstance(given, Dataset):
        return given
    parts = dict(given) if isinstance(given, Mapping) else {"train": given}
    found: dict[str, Any] = {}
    for word, part in parts.items():
        if part is None:
            continue
        split = split_of(str(word))
        if split is None or split in found:
            raise DataError(f"splits must be train, val and test, once each, got {list(parts)}")
        if not is_torch_dataset(part) or isinstance(part, str | bytes):
            raise DataError(
                f"{word} must be a torch.utils.data.Dataset of (image, label) pairs, with len() "
                f"and items by number, got {type(part).__name__}"
            )
        found[split] = part
    if "train" not in found:
        raise DataError("a data set needs training images; give train")
    train = found["train"]
    kind = type(train).__name__
    some = [f"{kind}[{place}]" for place in range(min(READ_TWICE, len(train)))]
    once, again = ([_image(train, place, of) for place, of in enumerate(some)] for _ in range(2))
    for which, first, second in zip(some, once, again, strict=True):
        if not np.array_equal(first, second):
            raise DataError(
                f"{which} is another image every time; leave random augmentation out of it, and "
                "choose it in [data] augment"
            )
    if len(train) and (targets := kind_of(_item(train, 0, f"train split {kind}")[1])) is not None:
        return of_targets(found, targets, _image, name or kind)
    labels = {split: _labels(part, f"{split} split {kind}") for split, part in found.items()}
    classes = _classes(train, labels)
    listed = {
        split: Listed([f"{split}[{place}]" for place in range(len(own))], own)
        for split, own in labels.items()
    }
    splits, how = cut(listed)
    shape = _image(train, 0, f"{kind}[0]").shape

    def decoder(files: Any) -> Callable[[int], np.ndarray]:
        def decode(place: int) -> np.ndarray:
            split, _, number = files[place].rstrip("]").partition("[")
            image = _image(found[split], int(number), files[place])
            if image.shape != shape:
                raise DataError(
                    f"{files[place]} is {image.shape} and the first image {shape}; all must have "
                    "one shape: give the data set a transform such as Resize and CenterCrop"
                )
            return image

        return decode

    return assemble(
        {split: (one, decoder(one.files)) for split, one in splits.items()}, classes, shape,
        name=name or kind, source=f"Python object {kind}", how=how, mean=None, std=None,
        augmentation=None,
        threads=1,  # the object is the user's, who may not expect several at once
    )  # fmt: skip


def _labels(part: Any, what: str) -> np.ndarray:
    """Return the labels: `targets` or `labels` of a data set that has them, else its items'."""
    for attribute in ("targets", "labels"):
        own = getattr(part, attribute, None)
        if own is not None and len(own) == len(part):
            values = [int(label) for label in own]
            if values and values[0] == _pair(part, 0, what)[1]:  # no target_transform between
                return np.array(values, np.int64)
    return np.array([_pair(part, place, what)[1] for place in range(len(part))], np.int64)


def _classes(train: Any, labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    count = 1 + max((int(own.max()) for own in labels.values() if len(own)), default=0)
    named = getattr(train, "classes", None)
    if named is not None and len(named) >= count:
        return tuple(str(name) for name in named)
    return tuple(str(number) for number in range(count))


def _item(part: Any, place: int, what: str) -> tuple[Any, Any]:
    item = part[place]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"item {place} of the {what} must be (image, label), got {_told(item)}")
    return item[0], item[1]


def _pair(part: Any, place: int, what: str) -> tuple[Any, int]:
    image, label = _item(part, place, what)
    try:
        return image, int(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"item {place} of the {what} must have a class's number for a label, got {_told(label)}"
        ) from error


def _image(part: Any, place: int, what: str) -> np.ndarray:
    """Return an item's image: (channels, height, width), uint8."""
    image, _ = _item(part, place, what)
    values = image.numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if values.ndim == 2:
        values = values[None]
    elif values.ndim == 3 and not isinstance(image, torch.Tensor) and values.shape[2] in (1, 3):
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or values.shape[0] not in (1, 3):
        raise DataError(
            f"{what} must be an image of one or three channels, got {_told(image)}; convert it: "
            'image.convert("RGB")'
        )
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if np.issubdtype(values.dtype, np.floating) and np.isfinite(values).all():
        scaled = 255 * values.astype(np.float64)
        if scaled.min() >= -ROUNDING and scaled.max() <= 255 + ROUNDING:
            return np.ascontiguousarray(np.rint(scaled).astype(np.uint8))
    raise DataError(
        f"{what} must be uint8, or float in [0, 1], got {_told(image)} from {values.min():g} to "
        f"{values.max():g}; leave Normalize out of its transform: gensynth normalises by itself, "
        "with mean and std of [data]"
    )


def _told(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"{kind} of shape {tuple(shape)}" if shape is not None else f"{kind} {value!r:.40}"
