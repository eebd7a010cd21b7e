"""What networks of a space cost, vertex by vertex, for many networks at a time.

    CostModel     names, and the cost of every vertex from the channels it reads and writes
    ClosedForm    one that also knows by a formula what a move saves
    Tabulated     one that was written down for every pair of channels read and written

A space sums its models and takes differences on the vertices that a move touches, so an estimate
of milliseconds steers a descent as exactly as a count of parameters does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from gensynth.space.points import Points


class CostModel(Protocol):
    """Costs of a space's networks."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the costs, as `gensynth.goals.metrics` has them, with the device where one has it."""

    @property
    def exact(self) -> bool:
        """Whether they are counted; if not, they are estimated."""

    def vertex_costs(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        points: Points,
        at: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return (networks, vertices, names).

        Args:
            read, written: (networks, vertices) channels.
            alive: (networks, vertices) 1 for life, 0 for a vertex that is gone and costs nothing.
            points: the networks.
            at: (vertices,) which of `Space.vertices` the columns are; None for all in order.
        """


@runtime_checkable
class ClosedForm(CostModel, Protocol):
    """A model with a formula for what moves save."""

    def width_savings(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        steps: np.ndarray,
        points: Points,
    ) -> np.ndarray:
        """Return (networks, groups, names): what `steps` fewer channels save, all else equal."""

    def substitute_savings(
        self, read: np.ndarray, written: np.ndarray, alive: np.ndarray, points: Points
    ) -> np.ndarray:
        """Return (networks, sites, 1 + substitutes, names), see `Space.substitute_savings`."""


@dataclass(frozen=True)
class Tabulated:
    """Costs written down for every vertex over channels read and written.

    Attributes:
        names: of the costs.
        tables: for each of `Space.vertices` (substitutes, reads + 1, writes + 1, names): by the
            vertex's substitute (0 dense; one entry where it has no choice), the channels it reads
            and those it writes.
        sites: (vertices,) which of `Space.sites` a vertex is, -1 for none.
        exact: whether what stands in the tables was counted.
    """

    names: tuple[str, ...]
    tables: Sequence[np.ndarray]
    sites: np.ndarray
    exact: bool = False

    def vertex_costs(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        points: Points,
        at: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the entries: (networks, vertices, names)."""
        vertices = np.arange(len(self.tables)) if at is None else at
        costs = np.zeros((*read.shape, len(self.names)))
        for column, vertex in enumerate(vertices):
            table, site = self.tables[vertex], self.sites[vertex]
            chosen = np.zeros(len(points), np.int64)
            if points.substitutes is not None and site >= 0 and len(table) > 1:
                chosen = points.substitutes[:, site].astype(np.int64)
            rows, columns = (np.rint(c[:, column]).astype(np.int64) for c in (read, written))
            costs[:, column] = alive[:, column, None] * table[chosen, rows, columns]
        return costs
