"""The networks that one prototype's generator can express, and their costs as arrays.

A point of the space is a width for every coupling group, a bit for every removable block
and, where a run allows it, a substitute for every dense convolution and a resolution of the
input. What a network costs is the sum over its costly vertices, cost model by cost model; what
a move saves is the difference on the vertices that it touches, so that hundreds of networks are
costed, and their next moves compared, at a time.

    read    = widths @ reads + read_fixed         channels that each costly vertex reads
    written = widths @ writes + written_fixed     channels that it writes
    cost    = sum over vertices of model(read, written), where they are alive
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gensynth.errors import UnreachableError
from gensynth.graph.graph import Selection
from gensynth.space.bilinear_cost import BilinearCosts, Layout
from gensynth.space.cost_model import CostModel
from gensynth.space.coupling import Coupling
from gensynth.space.operator_choices import Sites
from gensynth.space.points import Point, Points
from gensynth.space.savings import Channels, substitute_savings, width_savings


class Space:
    """Widths and bits of one prototype, with its cost models.

    Attributes:
        coupling: groups and blocks, in the order of the arrays' columns.
        sizes: (groups,) the prototype's widths.
        floors: (groups,) the least widths.
        owners: (groups, blocks) bool, which groups go with a block.
        round_to: channels a move adds or removes, where a group is large enough.
        sites: the convolutions that may have a substitute, and which; none by default.
        site_owners: (sites, blocks) bool, which of them go with a block.
        vertices: names of the costly vertices, in the order of the cost models' columns.
        layout: which channels these read and write.
        models: whose costs are summed; exact MACs and parameters come first.
        names: of all costs, in the order of every array of costs.
        exact: (costs,) bool, which of them are counted and not estimated.
        prototype: (costs,) of the prototype itself.
    """

    def __init__(
        self,
        coupling: Coupling,
        round_to: int = 1,
        substitutes: tuple[str, ...] = (),
        models: Sequence[CostModel] = (),
    ) -> None:
        self.coupling = coupling
        self.round_to = round_to
        self.sites = Sites(coupling.graph, substitutes)
        self.sizes = np.array([group.size for group in coupling.groups], dtype=np.int64)
        self.floors = np.minimum(self.sizes, round_to)
        costly = [v for v in coupling.graph.vertices if v.tensors or v.op == "opaque"]
        self.vertices = tuple(vertex.name for vertex in costly)
        self.layout = Layout.of(coupling, costly)
        self._exact = BilinearCosts(costly, coupling.graph, self.layout, self.sites)
        self.models: tuple[CostModel, ...] = (self._exact, *models)
        self.names = tuple(name for model in self.models for name in model.names)
        self.exact = np.array([model.exact for model in self.models for _ in model.names])
        self._members = np.array(
            [[v.name in block.vertices for block in coupling.blocks] for v in costly], dtype=float
        ).reshape(len(costly), len(coupling.blocks))
        homes = [
            {name for name, ids in coupling.channel_ids.items() if group.channels[0] in ids}
            for group in coupling.groups
        ]
        self.owners = np.array(
            [[home <= block.vertices for block in coupling.blocks] for home in homes], dtype=bool
        ).reshape(len(coupling.groups), len(coupling.blocks))
        self.site_owners = np.zeros((len(self.sites), len(coupling.blocks)), bool)
        self.site_owners[: self.sites.convs] = self._members[self._exact.at].astype(bool)
        self.prototype = self.costs(self.whole(1))[0]

    def with_models(self, *models: CostModel) -> "Space":
        """Return the same space with further cost models, whose columns are `vertices`."""
        return Space(
            self.coupling, self.round_to, self.sites.substitutes, (*self.models[1:], *models)
        )

    def whole(self, count: int) -> Points:
        """Return `count` times the prototype itself."""
        kept = np.ones((count, len(self.coupling.blocks)), bool)
        dense = np.zeros((count, len(self.sites)), np.int8) if len(self.sites) else None
        return Points(np.tile(self.sizes, (count, 1)), kept, dense)

    def smallest(self) -> Points:
        """Return the network of fewest MACs and parameters: least widths, no block left."""
        points = Points(self.floors[None].copy(), np.zeros((1, len(self.coupling.blocks)), bool))
        if not len(self.sites):
            return points
        at = self._exact.at
        read, written, alive = (values[:, at] for values in self._channels(points))
        cheapest = self.sites.options(read, written).argmin(axis=2)
        chosen = np.zeros((1, len(self.sites)), np.int8)
        chosen[:, : self.sites.convs] = np.where(alive > 0, cheapest, 0)
        chosen[:, self.sites.convs :] = self._exact.shares.mean(axis=1).argmin()
        return replace(points, substitutes=chosen)

    def beyond_reach(self, limits: Mapping[str, float]) -> str | None:
        """Return an exact cost whose limit no network of the space meets; None if there is none."""
        floor = self.named_costs(self.smallest())
        exact = dict(zip(self.names, self.exact, strict=True))
        beyond = (name for name, limit in limits.items() if exact[name] and floor[name] > limit)
        return next(beyond, None)

    def check_reachable(self, limits: Mapping[str, float]) -> None:
        """Refuse limits on exact costs that no network of the space meets.

        Raises:
            UnreachableError: with the smallest network's cost and the prototype's.
        """
        name = self.beyond_reach(limits)
        if name is not None:
            floor, whole = self.named_costs(self.smallest()), self.named_costs(self.whole(1))
            steps = f" in steps of {self.round_to} channels" if self.round_to > 1 else ""
            raise UnreachableError(
                f"no network of this prototype has {name} <= {limits[name]:,.0f}{steps}: the "
                f"smallest has {floor[name]:,.0f} and the prototype {whole[name]:,.0f}; relax the "
                "requirement"
            )

    def costs(self, points: Points) -> np.ndarray:
        """Return (networks, costs) in the order of `names`; exact ones hold integers."""
        return self._vertex_costs(self._channels(points), points).sum(axis=1)

    def named_costs(self, points: Points, index: int = 0) -> dict[str, float]:
        """Return one network's costs by name, exact ones as whole numbers."""
        costs = self.costs(points.take([index]))[0]
        return {
            name: int(cost) if exact else float(cost)
            for name, cost, exact in zip(self.names, costs, self.exact, strict=True)
        }

    def limits_of(self, named: dict[str, float]) -> np.ndarray:
        """Return (costs,) limits in the order of `names`; infinite where a cost is free."""
        return np.array([named.get(name, np.inf) for name in self.names])

    def named(self, names: Sequence[str]) -> np.ndarray:
        """Return (costs,) bool, which costs these are; the exact ones for no names."""
        return np.array([name in names for name in self.names]) if names else self.exact

    def width_savings(self, points: Points, steps: np.ndarray) -> np.ndarray:
        """Return what narrowing each group saves, all else unchanged.

        Args:
            points: the networks.
            steps: (networks, groups) channels to take away; negative ones are added.

        Returns:
            (networks, groups, costs).
        """
        return self._width_savings(self._channels(points), steps, points)

    def moves(self, points: Points, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return costs, `width_savings` and what removing each block saves.

        The last is (networks, blocks, costs), 0 where the block is gone already.
        """
        channels = self._channels(points)
        each = self._vertex_costs(channels, points)
        by_block = [each[:, :, j] @ self._members for j in range(len(self.names))]
        by_width = self._width_savings(channels, steps, points)
        return each.sum(axis=1), by_width, np.stack(by_block, axis=2)

    def substitute_savings(self, points: Points) -> np.ndarray:
        """Return what each substitute saves where it would stand, all else unchanged.

        (networks, sites, 1 + substitutes, costs); 0 where the convolution is gone, -inf
        where the substitute is not allowed.
        """
        points = replace(points, substitutes=self.chosen(points))
        channels = self._channels(points)
        saved = [
            substitute_savings(model, channels, points, self.sites, self._exact.at)
            for model in self.models
        ]
        return np.concatenate(saved, axis=3)

    def chosen(self, points: Points) -> np.ndarray:
        """Return the substitute of every site: (networks, sites)."""
        if points.substitutes is None:
            return np.zeros((len(points), len(self.sites)), np.int8)
        return points.substitutes

    def living(self, points: Points) -> np.ndarray:
        """Return which groups still exist: (networks, groups), bool."""
        return ~((~points.kept_blocks)[:, None, :] & self.owners[None]).any(axis=2)

    def canonical(self, points: Points) -> Points:
        """Return the same networks with groups that are gone as wide as in the prototype.

        So that equal networks are equal points, whatever a group was before its block went.
        """
        return replace(points, widths=np.where(self.living(points), points.widths, self.sizes))

    def relative(self, points: Points) -> np.ndarray:
        """Return relative widths: (networks, groups) in [0, 1]; 0 where the group is gone.

        Where substitutes are allowed, a column for each site follows: the share of its dense
        weights that it has, 0 where it is gone, and of its MACs that the resolution leaves.
        """
        widths = np.where(self.living(points), points.widths / self.sizes, 0.0)
        if not len(self.sites):
            return widths
        at = self._exact.at
        read, written, alive = (values[:, at] for values in self._channels(points))
        dense = self.sites.dense_weights(read, written)
        chosen = self.chosen(points)
        share = self.sites.weights(chosen[:, : self.sites.convs], read, written) / dense
        image = self._exact.shares.mean(axis=1)[chosen[:, self.sites.convs :]]
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
        blocks = enumerate(self.coupling.blocks)
        removed = tuple(block.name for b, block in blocks if not points.kept_blocks[index, b])
        gone = ~points.kept_blocks[index] & self.site_owners  # (sites, blocks)
        substitutes = {
            name: self.sites.substitutes[number - 1]
            for name, number, without in zip(
                self.sites.names, self.chosen(points)[index], gone.any(axis=1), strict=True
            )
            if number and not without
        }
        return Selection(kept, removed, substitutes)

    def point(self, selection: Selection) -> Point:
        """Return a selection as a point."""
        names = ["", *self.sites.substitutes]
        return Point(
            tuple(len(selection.kept.get(g.name, g.channels)) for g in self.coupling.groups),
            tuple(block.name not in selection.removed for block in self.coupling.blocks),
            tuple(names.index(selection.substitutes.get(n, "")) for n in self.sites.names),
        )

    def points(self, single: Sequence[Point]) -> Points:
        """Return networks that were kept one by one as arrays."""
        count = len(single)
        widths = np.array([p.widths for p in single], dtype=np.int64)
        kept = np.array([p.kept_blocks for p in single], dtype=bool)
        substitutes = None
        if len(self.sites):
            dense = (0,) * len(self.sites)
            chosen = np.array([p.substitutes or dense for p in single], dtype=np.int8)
            substitutes = chosen.reshape(count, len(self.sites))
        return Points(
            widths.reshape(count, len(self.sizes)),
            kept.reshape(count, len(self.coupling.blocks)),
            substitutes,
        )

    def _channels(self, points: Points) -> Channels:
        """Return channels read, channels written and 1 for life: (networks, vertices) each."""
        layout, widths = self.layout, points.widths.astype(float)
        removed = (~points.kept_blocks).astype(float) @ self._members.T
        return (
            widths @ layout.reads + layout.read_fixed,
            widths @ layout.writes + layout.written_fixed,
            (removed == 0).astype(float),
        )

    def _vertex_costs(self, channels: Channels, points: Points) -> np.ndarray:
        """Return (networks, vertices, costs)."""
        each = [model.vertex_costs(*channels, points) for model in self.models]
        return np.concatenate(each, axis=2)

    def _width_savings(self, channels: Channels, steps: np.ndarray, points: Points) -> np.ndarray:
        each = [width_savings(m, channels, steps, points, self.layout) for m in self.models]
        return np.concatenate(each, axis=2)
