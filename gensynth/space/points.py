"""Networks of one space: one as plain numbers, many as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One network of a space.

    Attributes:
        widths: of every group.
        kept_blocks: False where a block is removed.
        substitutes: of every site of `Space.sites`, 0 for dense; none where the space has no sites.
    """

    widths: tuple[int, ...]
    kept_blocks: tuple[bool, ...]
    substitutes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Points:
    """Many networks of one space.

    Attributes:
        widths: (networks, groups), int64.
        kept_blocks: (networks, blocks), bool; False where the block is removed.
        substitutes: (networks, sites), int8, the substitute of each convolution in `Space.sites`;
            0 is dense. None where all of them are.
    """

    widths: np.ndarray
    kept_blocks: np.ndarray
    substitutes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.widths)

    def __getitem__(self, index: int) -> Point:
        chosen = () if self.substitutes is None else self.substitutes[index]
        return Point(
            tuple(map(int, self.widths[index])),
            tuple(map(bool, self.kept_blocks[index])),
            tuple(map(int, chosen)),
        )

    def take(self, indices: Sequence[int]) -> "Points":
        """Return some of these networks."""
        rows = list(indices)
        substitutes = None if self.substitutes is None else self.substitutes[rows]
        return Points(self.widths[rows], self.kept_blocks[rows], substitutes)
