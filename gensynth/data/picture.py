"""One picture as numbers: decoded, turned as its EXIF says, in a colour order, of one size.

With a `size`, a picture is resized to cover it (bilinear, antialiased) and its centre cut out. What
runs on a device must do the same to its camera's pictures.
"""

import struct
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gensynth.errors import ConfigError, DataError
from gensynth.outside import PIXELS, check_plain
from gensynth.suggestion import did_you_mean

PICTURE_BYTES = 256 << 20
_LARGE = 1 << 22
"""Pixels of a picture that others wait for; up to this many, as many are decoded as there are
threads."""
COLOURS = ("rgb", "bgr", "grey")
# What pillow raises for bytes that are no whole picture; UnidentifiedImageError is an OSError, and
# a decoder that finds no sense in them may ask for memory without end.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip


Size = int | tuple[int, int]
"""Side of a square in pixels, or (height, width)."""


def check_reading(size: Size | None, colour: str) -> None:
    """Refuse a size or a colour order that cannot be meant.

    Raises:
        ConfigError: naming the nearest.
    """
    if colour not in COLOURS:
        raise ConfigError(f"unknown colour order '{colour}'; {did_you_mean(colour, COLOURS)}")
    if size is not None and min(sides(size)) < 1:
        raise ConfigError(f"size must be at least 1 pixel, got {size}")


def sides(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


def picture(
    file: Path,
    size: Size | None,
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
                return decoded(opened, size, colour)
    except DAMAGED as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{file} is not a whole image: {what}; remove or replace it") from error


def decoded(opened: Image.Image, size: Size | None, colour: str) -> np.ndarray:
    """Return an image that is open: (channels, height, width), uint8."""
    upright = ImageOps.exif_transpose(opened)
    converted = upright.convert("L" if colour == "grey" else "RGB")
    if size is not None:
        height, width = sides(size)
        converted = ImageOps.fit(converted, (width, height), Image.Resampling.BILINEAR)
    values = np.asarray(converted)
    values = values[:, :, None] if colour == "grey" else values
    values = values[:, :, ::-1] if colour == "bgr" else values
    return np.ascontiguousarray(values.transpose(2, 0, 1))
