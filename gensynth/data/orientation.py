"""Pictures that EXIF turns, and what was drawn on them: boxes and masks.

A camera that is held upright stores its rows as they come, and says in EXIF how they must be turned
to be seen. A picture is read upright. Whoever drew boxes or a mask on it saw it either as it is
stored or upright, and the size that they name for it says which, unless both sizes are one.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from gensynth.errors import DataError

_ORIENTATION = 0x0112
"""EXIF's number for it."""
UPRIGHT = 1
_SIDEWAYS = (5, 6, 7, 8)
"""Orientations that make columns of rows."""


def drawn_turned(file: Path, size: tuple[int, int]) -> int:
    """Return how what was drawn on a picture of this size must be turned, in EXIF's numbers.

    That is 1, not at all, if it was drawn on the upright picture, or on one of neither size.

    Args:
        file: of the picture.
        size: (width, height) of what it was drawn on.

    Raises:
        DataError: if the picture is turned, and as wide upright as it is stored.
    """
    with Image.open(file) as opened:
        stored, orientation = opened.size, opened.getexif().get(_ORIENTATION, UPRIGHT)
    if orientation not in range(2, 9) or size != stored:
        return UPRIGHT
    if orientation in _SIDEWAYS and stored[0] != stored[1]:
        return int(orientation)
    raise DataError(
        f"{file} is turned by its EXIF (orientation {orientation}) and has one size either way, so "
        "nothing says which of the two its boxes or mask were drawn on; save it upright, without "
        "the orientation"
    )


def turned_boxes(rows: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Return boxes on a stored picture as they lie on the upright one.

    Args:
        rows: (objects, 4 or more), of which the first four are left, top, right, bottom.
        orientation: of EXIF.
        size: (width, height) of the stored picture.
    """
    (width, height), moved = size, rows.copy()
    left, top, right, bottom = rows[:, :4].T
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    if orientation in _SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    moved[:, :4] = np.stack([left, top, right, bottom], axis=1)
    return moved


def turned_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Return a mask of a stored picture, (height, width), as it lies on the upright one."""
    if orientation in (2, 3, 7, 8):
        mask = mask[:, ::-1]
    if orientation in (3, 4, 6, 7):
        mask = mask[::-1]
    return np.ascontiguousarray(mask.T if orientation in _SIDEWAYS else mask)
