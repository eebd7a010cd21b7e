"""Boxes of objects: how a split keeps them, and where they go when their image is moved.

An image has any number of objects. Their boxes stand in an array (images, most, 6), float32,
`most` being the number of the image that has most of them; a row is

    left, top, right, bottom    in pixels of the image, from its upper left corner
    class                       number of the class; -1 in rows that are no object
    ignored                     1 for a region that is neither taught nor scored, such as a crowd

so boxes are cut, hashed and collated by rows, as classes and masks are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gensynth.data.dataset import Split
from gensynth.data.views import Moves

COLUMNS = 6
CLASS, IGNORED = 4, 5
NOBODY = -1
"""The class of a row that is no object."""

LEAST_SHOWN = 0.5
"""Share of an object's box that must be left in a crop; what shows less of it is ignored."""


@dataclass(frozen=True)
class Boxes:
    """The objects of a batch of images.

    Attributes:
        rows: (batch, most, 6), float32.
        height, width: of the images, in pixels.
    """

    rows: torch.Tensor
    height: int
    width: int


def stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the boxes of images, (objects, 6) each, as one array: (images, most, 6), float32."""
    most = max((len(rows) for rows in images), default=0)
    found = np.zeros((len(images), most, COLUMNS), np.float32)
    found[:, :, CLASS] = NOBODY
    for row, own in zip(found, images, strict=True):
        row[: len(own)] = own
    return found


def own_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows of one image that are objects or ignored regions: (objects, 6)."""
    own: np.ndarray = rows[rows[:, CLASS] != NOBODY]
    return own


class BoxTargets:
    """The boxes of a split, moved as their images are.

    What a crop cuts off is cut off the box; a box of which less than `LEAST_SHOWN` is left becomes
    an ignored region, and one of which nothing is left is none.
    """

    def __init__(self, split: Split, device: str = "cpu") -> None:
        self._rows = torch.from_numpy(split.labels).to(device)
        self._height, self._width = split.images.shape[2:]

    def __call__(self, rows: torch.Tensor, moves: Moves | None = None) -> Boxes:
        """Return the boxes of some images."""
        boxes = self._rows[rows]
        if moves is not None:
            boxes = self._moved(boxes, moves)
        return Boxes(boxes, self._height, self._width)

    def _moved(self, boxes: torch.Tensor, moves: Moves) -> torch.Tensor:
        left, top, right, bottom, kind, ignored = boxes.unbind(2)
        across, down = (
            (moves.pad - first).to(boxes.device, boxes.dtype)[:, None]
            for first in (moves.lefts, moves.tops)
        )
        mirrored = moves.mirrored.to(boxes.device)[:, None]
        left, right = left + across, right + across
        left, right = (
            torch.where(mirrored, self._width - right, left),
            torch.where(mirrored, self._width - left, right),
        )
        top, bottom = top + down, bottom + down
        whole = (right - left) * (bottom - top)
        left, right = left.clamp(0, self._width), right.clamp(0, self._width)
        top, bottom = top.clamp(0, self._height), bottom.clamp(0, self._height)
        shown = (right - left) * (bottom - top)
        ignored = torch.where(shown < LEAST_SHOWN * whole, 1.0, ignored)
        kind = torch.where(shown > 0, kind, float(NOBODY))
        return torch.stack([left, top, right, bottom, kind, ignored], dim=2)
