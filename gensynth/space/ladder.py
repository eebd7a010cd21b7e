"""The widths that a group is worth having: those at which a network costs less than at any wider.

A runtime computes blocks of channels, so costs on hardware are staircases: within a step a narrower
group saves nothing, or costs more where a width is no whole number of blocks. Channels up to the
end of the step are free, so no other width is worth a network. A cost that is counted rises with
every channel, and then each multiple of the space's step is a rung.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np

from gensynth.space.space import Space

_SAVES = 1e-4
"""Share of the prototype's cost that a narrower width must save: less is the estimate's noise."""


@dataclass(frozen=True)
class Ladder:
    """Widths of every group, ascending.

    Attributes:
        rungs: (groups, most rungs) widths; the widest is repeated behind the last.
        left, right: (groups, widest + 1) which is the first rung that is as wide, and the first
            that is wider.
        counts: (groups,) rungs of each.
    """

    rungs: np.ndarray
    left: np.ndarray
    right: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, rungs: Sequence[np.ndarray], counts: np.ndarray) -> Self:
        """Return the ladder of these rungs, one array a group."""
        longest = max((len(own) for own in rungs), default=1)
        widest = np.arange(max((int(own[-1]) for own in rungs), default=1) + 1)
        padded = np.empty((len(rungs), longest), np.int64)
        left, right = np.empty((2, len(rungs), len(widest)), np.int64)
        for g, own in enumerate(rungs):
            padded[g] = np.pad(own, (0, longest - len(own)), mode="edge")
            left[g] = np.searchsorted(own, widest)
            right[g] = np.searchsorted(own, widest, side="right")
        return cls(padded, left, right, counts)

    def below(self, widths: np.ndarray, by: np.ndarray | int = 1) -> np.ndarray:
        """Return (networks, groups) widths so many rungs lower, the lowest at the end."""
        groups = np.arange(widths.shape[1])
        place = np.maximum(self.left[groups, widths] - by, 0)
        return np.minimum(widths, self.rungs[groups, place])

    def above(self, widths: np.ndarray, by: int = 1) -> np.ndarray:
        """Return (networks, groups) widths so many rungs higher, the highest at the end."""
        groups = np.arange(widths.shape[1])
        place = np.minimum(self.right[groups, widths] + by - 1, self.rungs.shape[1] - 1)
        higher: np.ndarray = self.rungs[groups, place]
        return higher


def every_step(space: Space) -> Ladder:
    """Return the ladder of all widths that a space knows."""
    return Ladder.of(_steps(space), space.sizes / space.round_to)


_STAIRS: WeakKeyDictionary[Space, dict[bytes, Ladder]] = WeakKeyDictionary()


def stairs(space: Space, counting: np.ndarray) -> Ladder:
    """Return the ladder of widths at which some of these costs is lower than at all wider ones.

    Every other group is whole meanwhile: where a neighbour's width is no whole number of blocks
    either, its own rungs forbid it. The least width is always a rung, so that all limits that the
    smallest network keeps can be kept.

    Args:
        space: whose costs count.
        counting: (costs,) bool, which of them.
    """
    known = _STAIRS.setdefault(space, {})
    key = counting.tobytes()
    if key not in known:
        rungs = [_worth(space, g, own, counting) for g, own in enumerate(_steps(space))]
        known[key] = Ladder.of(rungs, np.array([len(own) for own in rungs]))
    return known[key]


def _steps(space: Space) -> list[np.ndarray]:
    step = space.round_to
    return [
        np.union1d([floor, size], np.arange(step, size, step))
        for floor, size in zip(space.floors, space.sizes, strict=True)
    ]


def _worth(space: Space, group: int, widths: np.ndarray, counting: np.ndarray) -> np.ndarray:
    points = space.whole(len(widths))
    points.widths[:, group] = widths
    costs = (space.costs(points) / space.prototype)[:, counting]  # (widths, costs)
    wider = np.minimum.accumulate(costs[:0:-1])[::-1]
    is_rung = (costs[:-1] < wider - _SAVES).any(axis=1)
    is_rung[:1] = True
    return widths[np.append(is_rung, True)]
