"""Networks of one space as arrays: widths, bits, operators."""

from dataclasses import dataclass

import numpy as np

COSTS = ("macs", "params")
"""The exact costs, in the order of every array of costs."""

Row = tuple[tuple[int, ...], tuple[bool, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Points:
    """Many networks of one space.

    Attributes:
        widths: (networks, groups), int64.
        bits: (networks, blocks), bool; False where the block is removed.
        operators: (networks, sites), int8, the operator of each convolution in `Space.sites`;
            0 is dense. None where all of them are.
    """

    widths: np.ndarray
    bits: np.ndarray
    operators: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.widths)

    def take(self, indices: list[int]) -> "Points":
        """Return some of these networks."""
        operators = None if self.operators is None else self.operators[indices]
        return Points(self.widths[indices], self.bits[indices], operators)

    def rows(self) -> list[Row]:
        """Return each network's widths, bits and operators as plain numbers, to be kept."""
        operators = np.zeros((len(self), 0)) if self.operators is None else self.operators
        each = zip(self.widths, self.bits, operators, strict=True)
        return [
            (tuple(map(int, widths)), tuple(map(bool, bits)), tuple(map(int, chosen)))
            for widths, bits, chosen in each
        ]

    @staticmethod
    def of(row: Row) -> "Points":
        """Return one network that was kept."""
        widths, bits, operators = row
        return Points(
            np.array([widths], dtype=np.int64),
            np.array([bits], dtype=bool),
            np.array([operators], dtype=np.int8) if operators else None,
        )
