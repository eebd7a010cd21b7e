"""The images of a split: an array where memory holds them, else decoded as they are asked for.

    read_splits     count and decode of each split -> Images of each, within this machine's room
    read_images     count, decode -> Images
    Decoded         files behind the face of an array; those that fit in its room stay decoded
    survey          one pass over all of them: their digest, and how often each value occurs

Either is indexed by a number, a slice or an array of numbers, and gives uint8.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gensynth.environment import memory_bytes
from gensynth.errors import DataError

ROOM_SHARE = 8
"""What part of this machine's memory the images of a data set may fill: an eighth."""

CHUNK_BYTES = 1 << 25
"""Of images that are decoded and looked at together."""

NAMED = 5
"""Files that an error names."""

Decode = Callable[[int], np.ndarray]
"""Number of an image -> (channels, height, width), uint8."""


class Images(Protocol):
    """What a split asks of its images: (n, channels, height, width), uint8."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""

    @property
    def ndim(self) -> int:
        """4."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: Any) -> Any:
        """Return one image, or those of a slice or of an array of numbers."""


@dataclass(frozen=True)
class Survey:
    """What one pass over images finds out.

    Attributes:
        sha256: of shape and pixels; to be copied before more is added.
        values: (channels, 256) how often each value occurs.
    """

    sha256: Any
    values: np.ndarray

    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel of images scaled to [0, 1]."""
        scale = np.arange(256) / 255
        means, stds = [], []
        for counts in self.values:
            weights = counts / counts.sum()
            mean = float(weights @ scale)
            means.append(mean)
            stds.append(float(np.sqrt(weights @ (scale - mean) ** 2)))
        return tuple(means), tuple(stds)


class Decoded:
    """Images that are decoded when they are asked for, by several threads.

    Args:
        count: n.
        decode: of one.
        shape: (channels, height, width), of every one.
        room: bytes that decoded ones may fill; the first that fit stay.
        threads: that decode; None for as many as suit the processor.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        count: int,
        decode: Decode,
        shape: tuple[int, ...],
        room: int,
        threads: int | None = None,
    ) -> None:
        self.shape = (count, *shape)
        self._decode, self._threads = decode, threads
        kept = min(count, room // int(np.prod(shape)))
        self._kept = np.empty((kept, *shape), np.uint8)
        self._has = np.zeros(kept, bool)

    def __len__(self) -> int:
        """N."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return one image, or those of a slice or of an array of numbers."""
        places = np.arange(len(self))[rows]
        if places.ndim == 0:
            return self._one(int(places))
        taken = np.empty((len(places), *self.shape[1:]), np.uint8)
        _fill(taken, lambda k: self._one(int(places[k])), self._threads)
        return taken

    def _one(self, place: int) -> np.ndarray:
        if place >= len(self._kept):
            return self._decode(place)
        if not self._has[place]:
            self._kept[place] = self._decode(place)
            self._has[place] = True
        one: np.ndarray = self._kept[place]
        return one

    @functools.cached_property
    def survey(self) -> Survey:
        """What one pass finds out; every image is decoded in it, so every broken one is found."""
        return _survey(self)


def read_images(
    count: int, decode: Decode, shape: tuple[int, ...], room: int, threads: int | None = None
) -> Images:
    """Return images, decoded now if all fit in the room, else as they are asked for.

    Raises:
        DataError: if some cannot be decoded, see `Decoded`.
    """
    if count * int(np.prod(shape)) > room:
        return Decoded(count, decode, shape, room, threads)
    images = np.empty((count, *shape), np.uint8)
    _fill(images, decode, threads)
    return images


def read_splits(
    found: Mapping[str, tuple[int, Decode]], shape: tuple[int, ...], threads: int | None = None
) -> dict[str, Images]:
    """Return the images of every split; where not all fit, each has its share of the room.

    Args:
        found: how many a split has, and how one is decoded.
        shape: (channels, height, width) of every image.
        threads: that decode; None for as many as suit the processor.

    Raises:
        DataError: as `read_images`.
    """
    room, in_all = room_bytes(), sum(count for count, _ in found.values())
    fits = in_all * int(np.prod(shape)) <= room
    return {
        split: read_images(count, decode, shape, room if fits else room * count // in_all, threads)
        for split, (count, decode) in found.items()
    }


def survey(images: Images) -> Survey:
    """Return what one pass over images finds out.

    Raises:
        DataError: if some cannot be decoded.
    """
    return images.survey if isinstance(images, Decoded) else _survey(images)


def room_bytes() -> int:
    """Return how many bytes of images this machine's memory has room for."""
    return memory_bytes() // ROOM_SHARE


def require_room(name: str, needed: int) -> None:
    """Refuse images that this machine's memory cannot hold.

    Raises:
        DataError: with both figures.
    """
    there = memory_bytes()
    if needed > there:
        raise DataError(
            f"the {name} images would take {needed / 2**30:,.1f} GiB of memory, and this machine "
            f"has {there / 2**30:,.1f}; give a size, or take fewer of them"
        )


def _survey(images: Images) -> Survey:
    digest = hashlib.sha256(repr(tuple(images.shape)).encode())
    values = np.zeros((images.shape[1], 256), np.int64)
    for chunk in _chunks(images):
        digest.update(np.ascontiguousarray(chunk).data)
        for channel, counts in enumerate(values):
            counts += np.bincount(chunk[:, channel].ravel(), minlength=256)
    return Survey(digest, values)


def _chunks(images: Images) -> Iterator[np.ndarray]:
    broken: list[DataError] = []
    count = max(1, CHUNK_BYTES // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), count):
        try:
            yield images[start : start + count]
        except DataError as error:
            broken.append(error)
    _refuse(broken)


def _fill(images: np.ndarray, decode: Decode, threads: int | None) -> None:
    """Decode images into an array.

    Raises:
        DataError: if some cannot be decoded; it says of the first why, and names others.
    """

    def take(place: int) -> DataError | None:
        try:
            images[place] = decode(place)
        except DataError as error:
            return error
        return None

    with ThreadPoolExecutor(threads) as pool:
        _refuse([error for error in pool.map(take, range(len(images))) if error is not None])


def _refuse(broken: list[DataError]) -> None:
    if not broken:
        return
    if len(broken) == 1:
        raise broken[0]
    others = "; ".join(str(error) for error in broken[1:NAMED])
    more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    raise DataError(f"{broken[0]}; {others}{more}") from broken[0]
