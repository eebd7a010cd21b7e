"""Which pairs of channels read and written a vertex of a space can have.

A group's width is a multiple of the space's step, or whole. Where a vertex could have very many
pairs, wide ones stand for their neighbours: all multiples of 4 and two odd widths of every 16.
"""

from dataclasses import dataclass

import numpy as np

from gensynth.space.space import Space

_ALL_BELOW = 64


@dataclass(frozen=True)
class Pairs:
    """Pairs of one vertex.

    Attributes:
        read, written: (pairs,) channels.
        rows, columns: (reads + 1,), (writes + 1,) which of the different numbers of channels read
            and written stands for each number.
        places: (different reads, different writes) which pair it is.
    """

    read: np.ndarray
    written: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    places: np.ndarray

    @property
    def key(self) -> bytes:
        """Equal for equal pairs."""
        return b"".join(a.tobytes() for a in (self.read, self.written, self.rows, self.columns))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return (reads + 1, writes + 1) what stands for every number of channels."""
        table: np.ndarray = values[self.places[self.rows[:, None], self.columns]]
        return table


def reachable(space: Space, vertex: int) -> Pairs:
    """Return the pairs of one of `Space.vertices`."""
    layout = space.layout
    own_reads, own_writes = layout.reads[:, vertex], layout.writes[:, vertex]
    read = _widths(space, own_reads, float(layout.read_fixed[vertex]))
    written = _widths(space, own_writes, float(layout.written_fixed[vertex]))
    most_read, most_written = int(read[-1]), int(written[-1])
    read, written = _few(read), _few(written)
    rows, columns = _standing(read, most_read), _standing(written, most_written)
    if np.array_equal(own_reads, own_writes) and np.array_equal(read, written):
        diagonal = np.arange(len(read))
        return Pairs(read, written, rows, columns, np.maximum(diagonal[:, None], diagonal))
    both = np.meshgrid(read, written, indexing="ij")
    places = np.arange(both[0].size).reshape(both[0].shape)
    return Pairs(both[0].ravel(), both[1].ravel(), rows, columns, places)


def _widths(space: Space, multiples: np.ndarray, fixed: float) -> np.ndarray:
    """Return all numbers of channels that groups can give, ascending."""
    found = np.array([int(fixed)])
    for group in np.flatnonzero(multiples):
        size, step = int(space.sizes[group]), space.round_to
        own = np.union1d(np.arange(min(step, size), size + 1, step), [size])
        found = np.unique(found[:, None] + int(multiples[group]) * own)
    return found[found > 0]


def _few(widths: np.ndarray) -> np.ndarray:
    if len(widths) <= _ALL_BELOW + 16:
        return widths
    is_kept = (widths <= _ALL_BELOW) | (widths % 4 == 0) | np.isin(widths % 16, (1, 9))
    is_kept[-1] = True
    return widths[is_kept]


def _standing(widths: np.ndarray, most: int) -> np.ndarray:
    """Return (most + 1,) which width stands for a number: itself, or the next as aligned."""
    numbers = np.arange(most + 1)
    up = np.minimum(np.searchsorted(widths, numbers), len(widths) - 1)
    odd = np.flatnonzero(widths % 4 != 0)
    if len(odd) and len(widths) > 1:
        nearest = odd[np.minimum(np.searchsorted(widths[odd], numbers), len(odd) - 1)]
        up = np.where((widths[up] != numbers) & (numbers % 4 != 0), nearest, up)
    return up
