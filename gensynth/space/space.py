"""The networks that one prototype's generator can express, and their exact costs as arrays.

A point of the space is a width for every coupling group, a bit for every removable block
and, where a run allows it, an operator for every dense convolution and a resolution of the
input. Parameters and MACs are bilinear in neighbouring widths; the `coefficients` of each
vertex are compiled once, so that hundreds of networks are costed, and their next moves compared,
at a time.

    in  = widths @ A_in  + c_in            channels that each costly vertex reads
    out = widths @ A_out + c_out           channels that it writes
    cost = sum over vertices of alive * (product * in * out + single * out + fixed)

All sums are integers below 2^53, so float64 is exact. A convolution that
has another operator costs what `sites` says in place of its product; at another resolution
the MACs of every vertex are a share of these.
"""

from dataclasses import replace

import numpy as np

from gensynth.graph.graph import Selection
from gensynth.space.bilinear_cost import channel_counts, coefficients
from gensynth.space.coupling import Coupling
from gensynth.space.operator_choices import Sites
from gensynth.space.points import COSTS, Points


class Space:
    """Widths and bits of one prototype, with compiled costs.

    Attributes:
        coupling: groups and blocks, in the order of the arrays' columns.
        sizes: (groups,) the prototype's widths.
        floors: (groups,) the least widths.
        owners: (groups, blocks) bool, which groups go with a block.
        align: channels a move adds or removes, where a group is large enough.
        sites: the convolutions that may have another operator, and which; none by default.
        site_owners: (sites, blocks) bool, which of them go with a block.
    """

    def __init__(self, coupling: Coupling, align: int = 1, operators: tuple[str, ...] = ()) -> None:
        self.coupling = coupling
        self.align = align
        self.sites = Sites(coupling.graph, operators)
        self.sizes = np.array([group.size for group in coupling.groups], dtype=np.int64)
        self.floors = np.minimum(self.sizes, align)
        costly = [v for v in coupling.graph.vertices if v.tensors or v.op == "opaque"]
        self._in, self._in_fixed = channel_counts(coupling, costly, inputs=True)
        self._out, self._out_fixed = channel_counts(coupling, costly, inputs=False)
        self._both = (self._in * self._out).T
        self._each = coefficients(costly, coupling.graph)
        self._members = np.array(
            [[v.name in block.vertices for block in coupling.blocks] for v in costly], dtype=float
        ).reshape(len(costly), len(coupling.blocks))
        homes = [
            {name for name, labels in coupling.labels.items() if group.channels[0] in labels}
            for group in coupling.groups
        ]
        self.owners = np.array(
            [[home <= block.vertices for block in coupling.blocks] for home in homes], dtype=bool
        ).reshape(len(coupling.groups), len(coupling.blocks))
        places = {vertex.name: number for number, vertex in enumerate(costly)}
        convs = self.sites.names[: self.sites.convs]
        self._at = np.array([places[name] for name in convs], dtype=int)
        self._shares = self.sites.shares(coupling.graph, [v.name for v in costly])
        self._pairs = np.nonzero((self._in + self._out)[:, self._at].T)  # (site, group) that meet
        self.site_owners = np.zeros((len(self.sites), len(coupling.blocks)), bool)
        self.site_owners[: self.sites.convs] = self._members[self._at].astype(bool)
        self.prototype = self.costs(self.whole(1))[0]

    def whole(self, count: int) -> Points:
        """Return `count` times the prototype itself."""
        bits = np.ones((count, len(self.coupling.blocks)), bool)
        return Points(np.tile(self.sizes, (count, 1)), bits)

    def smallest(self) -> Points:
        """Return the cheapest network: every width at its floor, every block removed."""
        points = Points(self.floors[None].copy(), np.zeros((1, len(self.coupling.blocks)), bool))
        if not len(self.sites):
            return points
        read, written, alive = self._channels(points)
        cheapest = self.sites.options(read[:, self._at], written[:, self._at]).argmin(axis=2)
        chosen = np.zeros((1, len(self.sites)), np.int8)
        chosen[:, : self.sites.convs] = np.where(alive[:, self._at] > 0, cheapest, 0)
        chosen[:, self.sites.convs :] = self._shares.mean(axis=1).argmin()
        return replace(points, operators=chosen)

    def costs(self, points: Points) -> np.ndarray:
        """Return the exact costs: (networks, len(COSTS)), float64 holding integers."""
        return self._vertex_costs(*self._channels(points), points).sum(axis=1)

    def width_savings(self, points: Points, steps: np.ndarray) -> np.ndarray:
        """Return what narrowing each group saves, exactly, all else unchanged.

        Args:
            points: the networks.
            steps: (networks, groups) channels to take away; negative ones are added.

        Returns:
            (networks, groups, len(COSTS)).
        """
        return self._width_savings(*self._channels(points), steps, points)

    def moves(self, points: Points, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return costs, `width_savings` and what removing each block saves.

        The last is (networks, blocks, len(COSTS)), 0 where the block is gone already.
        """
        read, written, alive = self._channels(points)
        each = self._vertex_costs(read, written, alive, points)
        by_block = np.stack([each[:, :, j] @ self._members for j in range(len(COSTS))], axis=2)
        by_width = self._width_savings(read, written, alive, steps, points)
        return each.sum(axis=1), by_width, by_block

    def operator_savings(self, points: Points) -> np.ndarray:
        """Return what each operator saves where it would stand, exactly, all else unchanged.

        (networks, sites, 1 + operators, len(COSTS)); 0 where the convolution is gone, -inf
        where the operator is not allowed.
        """
        sites, chosen = self.sites, self.chosen(points)
        channels = self._channels(points)
        read, written, alive = (values[:, self._at] for values in channels)
        now = sites.weights(chosen[:, : sites.convs], read, written)
        saved = now[:, :, None] - sites.options(read, written)
        saved[(alive == 0)[:, :, None] & sites.allowed[: sites.convs]] = 0.0
        positions = sites.positions * self._shares[self._resolution(points)][:, self._at]
        by_cost = (positions[:, :, None] * saved, saved)  # in the order of `COSTS`
        savings = np.stack(by_cost, axis=3)
        if len(sites) == sites.convs:
            return savings
        full = replace(points, operators=np.where(np.arange(len(sites)) < sites.convs, chosen, 0))
        macs = self._vertex_costs(*channels, full)[:, :, 0] @ self._shares.T  # (., 1 + operators)
        less = np.take_along_axis(macs, self._resolution(points)[:, None], axis=1) - macs
        image = np.where(sites.allowed[-1], np.rint(less), -np.inf)
        unchanged = np.where(sites.allowed[-1], np.zeros_like(less), -np.inf)
        return np.concatenate([savings, np.stack([image, unchanged], axis=2)[:, None]], axis=1)

    def chosen(self, points: Points) -> np.ndarray:
        """Return the operator of every site: (networks, sites)."""
        if points.operators is None:
            return np.zeros((len(points), len(self.sites)), np.int8)
        return points.operators

    def living(self, points: Points) -> np.ndarray:
        """Return which groups still exist: (networks, groups), bool."""
        return ~((~points.bits)[:, None, :] & self.owners[None]).any(axis=2)

    def relative(self, points: Points) -> np.ndarray:
        """Return relative widths: (networks, groups) in [0, 1]; 0 where the group is gone.

        Where operators are allowed, a column for each site follows: the share of its dense
        weights that it has, 0 where it is gone, and of its MACs that the resolution leaves.
        """
        widths = np.where(self.living(points), points.widths / self.sizes, 0.0)
        if not len(self.sites):
            return widths
        read, written, alive = (values[:, self._at] for values in self._channels(points))
        dense = self.sites.dense_weights(read, written)
        chosen = self.chosen(points)
        share = self.sites.weights(chosen[:, : self.sites.convs], read, written) / dense
        image = self._shares.mean(axis=1)[chosen[:, self.sites.convs :]]
        return np.concatenate([widths, alive * share, image], axis=1)

    def selection(self, points: Points, index: int, ranking: list[np.ndarray]) -> Selection:
        """Return one point as a selection.

        Args:
            points: the networks.
            index: which of them.
            ranking: for each group its channel numbers, the first to be kept first.
        """
        living = self.living(points)[index]
        kept = {}
        for g, group in enumerate(self.coupling.groups):
            width = int(points.widths[index, g])
            if living[g] and width < group.size:
                kept[group.name] = tuple(sorted(int(c) for c in ranking[g][:width]))
        removed = tuple(
            block.name for b, block in enumerate(self.coupling.blocks) if not points.bits[index, b]
        )
        gone = ~points.bits[index] & self.site_owners  # (sites, blocks)
        operators = {
            name: self.sites.words[number - 1]
            for name, number, without in zip(
                self.sites.names, self.chosen(points)[index], gone.any(axis=1), strict=True
            )
            if number and not without
        }
        return Selection(kept, removed, operators)

    def point(self, selection: Selection) -> Points:
        """Return a selection as a point."""
        widths = [len(selection.kept.get(g.name, g.channels)) for g in self.coupling.groups]
        bits = [block.name not in selection.removed for block in self.coupling.blocks]
        operators = None
        if len(self.sites):
            words = ["", *self.sites.words]
            numbers = [words.index(selection.operators.get(n, "")) for n in self.sites.names]
            operators = np.array([numbers], dtype=np.int8)
        return Points(
            np.array(widths, dtype=np.int64).reshape(1, -1),
            np.array(bits, bool).reshape(1, -1),
            operators,
        )

    def _channels(self, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return channels read, channels written and 1 for life: (networks, vertices) each."""
        widths = points.widths.astype(float)
        removed = (~points.bits).astype(float) @ self._members.T
        return (
            widths @ self._in + self._in_fixed,
            widths @ self._out + self._out_fixed,
            (removed == 0).astype(float),
        )

    def _vertex_costs(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        points: Points,
    ) -> np.ndarray:
        """Return (networks, vertices, costs)."""
        each = zip(self._each.product, self._each.single, self._each.fixed, strict=True)
        costs = [
            alive * np.rint(written * (product * read + single) + fixed)
            for product, single, fixed in each
        ]
        each_cost = np.stack(costs, axis=2)
        if points.operators is not None:
            at, chosen = self._at, points.operators[:, : self.sites.convs]
            change = self.sites.weights(chosen, read[:, at], written[:, at])
            change = alive[:, at] * (change - self.sites.dense_weights(read[:, at], written[:, at]))
            each_cost[:, at, 0] += change * self.sites.positions
            each_cost[:, at, 1] += change
            macs = each_cost[:, :, 0] * self._shares[self._resolution(points)]
            each_cost[:, :, 0] = np.rint(macs)
        return each_cost

    def _resolution(self, points: Points) -> np.ndarray:
        """Return the choice for the input, 0 where there is none: (networks,)."""
        last: np.ndarray = self.chosen(points)[:, self.sites.convs :].sum(axis=1, dtype=int)
        return last

    def _width_savings(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        steps: np.ndarray,
        points: Points,
    ) -> np.ndarray:
        savings = []
        shares = self._shares[self._resolution(points)]
        lives = (alive * shares, alive)  # in the order of `COSTS`
        for product, single, life in zip(self._each.product, self._each.single, lives, strict=True):
            weight = life * product
            through = (weight * written) @ self._in.T
            through += (weight * read + life * single) @ self._out.T
            savings.append(steps * (through - steps * (weight @ self._both)))
        saved = np.stack(savings, axis=2)
        if points.operators is not None:
            self._correct(saved, read, written, alive, steps, points.operators, shares)
        return saved

    def _correct(
        self,
        saved: np.ndarray,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        steps: np.ndarray,
        operators: np.ndarray,
        shares: np.ndarray,
    ) -> None:
        """Make what narrowing saves at dense convolutions what it saves at their substitutes."""
        sites, (site, group) = self.sites, self._pairs
        at, step = self._at[site], steps[:, group]  # one column for each site and group that meet
        wide = read[:, at], written[:, at]
        narrow = (
            wide[0] - step * self._in[group, at],
            wide[1] - step * self._out[group, at],
        )
        chosen = operators[:, site]
        change = sites.weights(chosen, *wide, site) - sites.dense_weights(*wide, site)
        change -= sites.weights(chosen, *narrow, site) - sites.dense_weights(*narrow, site)
        change *= alive[:, at]
        for column, g in enumerate(group):
            positions = sites.positions[site[column]] * shares[:, at[column]]
            saved[:, g, 0] += change[:, column] * positions
            saved[:, g, 1] += change[:, column]
