"""Exact parameters and MACs of a prototype's vertices, in closed form.

    cost[j] = product[j] * in * out + single[j] * out + fixed[j]

for j in `NAMES`, where a vertex reads `in` channels and writes `out`: frozen ones, and those
that its coupling groups have left. All sums are integers below 2^53, so float64 is exact. A
convolution that has a substitute costs what `operator_choices` says in place of its product;
at another resolution the MACs of every vertex are a share of these.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from gensynth.graph.graph import BUFFERS, Graph, Vertex
from gensynth.space.coupling import Coupling
from gensynth.space.operator_choices import Sites
from gensynth.space.points import Points

NAMES = ("macs", "params")
"""The exact costs, in the order of every array of costs."""


def channel_counts(
    coupling: Coupling, costly: list[Vertex], *, inputs: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Count, per costly vertex, the channels of each group and the frozen ones.

    Args:
        coupling: of the prototype.
        costly: vertices.
        inputs: the channels that they read; otherwise those they write.

    Returns:
        (groups, vertices) and (vertices,).
    """
    groups = coupling.groups
    group_of = {channel: g for g, group in enumerate(groups) for channel in group.channels}
    table = np.zeros((len(groups), len(costly)))
    fixed = np.zeros(len(costly))
    for v, vertex in enumerate(costly):
        for channel in coupling.channel_ids[vertex.inputs[0] if inputs else vertex.name]:
            if int(channel) in group_of:
                g = group_of[int(channel)]
                table[g, v] += 1 / groups[g].size
            else:
                fixed[v] += 1
    return np.rint(table), fixed


@dataclass(frozen=True)
class Layout:
    """Which channels the costly vertices of a prototype read and write.

    Attributes:
        reads, writes: (groups, vertices) channels of a group that a vertex reads, writes.
        read_fixed, written_fixed: (vertices,) frozen ones.
    """

    reads: np.ndarray
    writes: np.ndarray
    read_fixed: np.ndarray
    written_fixed: np.ndarray

    @staticmethod
    def of(coupling: Coupling, costly: list[Vertex]) -> "Layout":
        """Count them."""
        reads, read_fixed = channel_counts(coupling, costly, inputs=True)
        writes, written_fixed = channel_counts(coupling, costly, inputs=False)
        return Layout(reads, writes, read_fixed, written_fixed)


@dataclass(frozen=True)
class Coefficients:
    """What one vertex costs: (len(NAMES), vertices) each.

    Attributes:
        product: of channels read and channels written.
        single: of channels written.
        fixed: whatever the widths are.
    """

    product: np.ndarray
    single: np.ndarray
    fixed: np.ndarray


def coefficients(costly: list[Vertex], graph: Graph) -> Coefficients:
    """Compile the costs of a prototype's costly vertices; shared tensors count once."""
    product, single, fixed = np.zeros((3, len(NAMES), len(costly)))
    macs, params = NAMES.index("macs"), NAMES.index("params")
    counted: set[str] = set()
    for v, vertex in enumerate(costly):
        fixed[macs, v] = vertex.attributes.get("macs", 0)
        for tensor, shape in vertex.tensors.items():
            key = vertex.tensor_key(tensor)
            first = key not in counted and tensor not in BUFFERS
            counted.add(key)
            if tensor == "weight" and vertex.op in ("conv", "conv_transpose", "linear"):
                groups = vertex.attributes.get("groups", 1)
                source = graph[vertex.inputs[0]]
                area = math.prod(shape[2:]) / groups
                positions = (source if vertex.op == "conv_transpose" else vertex).shape[1:]
                table = product
                if groups > 1 and groups == source.shape[0]:  # depthwise: one input each
                    table, area = single, area * groups
                table[macs, v] = area * math.prod(positions)
                table[params, v] += area * first
            elif first and vertex.op != "opaque" and vertex.shape[0] in shape:
                single[params, v] += math.prod(shape) // vertex.shape[0]
            elif first:
                fixed[params, v] += math.prod(shape)
    return Coefficients(product, single, fixed)


class BilinearCosts:
    """Exact MACs and parameters of the costly vertices, and what moves save of them.

    Args:
        costly: the vertices, in the order of all columns.
        graph: of the prototype.
        layout: of these vertices.
        sites: where the space has a choice of substitutes.
    """

    names = NAMES
    exact = True

    def __init__(self, costly: list[Vertex], graph: Graph, layout: Layout, sites: Sites) -> None:
        self._layout, self._sites = layout, sites
        self._both = (layout.reads * layout.writes).T
        self._each = coefficients(costly, graph)
        places = {vertex.name: number for number, vertex in enumerate(costly)}
        self.at = np.array([places[name] for name in sites.names[: sites.convs]], dtype=int)
        """(convs,) which vertex each of the sites' convolutions is."""
        self.shares = sites.shares(graph, [v.name for v in costly])
        """(1 + substitutes, vertices) share of MACs at each choice for the input."""
        self._pairs = np.nonzero((layout.reads + layout.writes)[:, self.at].T)

    def vertex_costs(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        points: Points,
        at: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return (networks, vertices, len(NAMES)), float64 holding integers."""
        every = np.arange(self._each.product.shape[1]) if at is None else at
        each = (values[:, every] for values in (
            self._each.product, self._each.single, self._each.fixed
        ))  # fmt: skip
        costs = [
            alive * np.rint(written * (product * read + single) + fixed)
            for product, single, fixed in zip(*each, strict=True)
        ]
        each_cost = np.stack(costs, axis=2)
        if points.substitutes is not None:
            column, site = np.nonzero(every[:, None] == self.at)
            own = read[:, column], written[:, column]
            change = self._sites.weights(points.substitutes[:, site], *own, site)
            change = alive[:, column] * (change - self._sites.dense_weights(*own, site))
            each_cost[:, column, 0] += change * self._sites.positions[site]
            each_cost[:, column, 1] += change
            each_cost[:, :, 0] = np.rint(each_cost[:, :, 0] * self._share(points)[:, every])
        return each_cost

    def width_savings(
        self,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        steps: np.ndarray,
        points: Points,
    ) -> np.ndarray:
        """Return (networks, groups, len(NAMES)), exactly."""
        layout, shares = self._layout, self._share(points)
        savings = []
        lives = (alive * shares, alive)  # in the order of `NAMES`
        for product, single, life in zip(self._each.product, self._each.single, lives, strict=True):
            weight = life * product
            through = (weight * written) @ layout.reads.T
            through += (weight * read + life * single) @ layout.writes.T
            savings.append(steps * (through - steps * (weight @ self._both)))
        saved = np.stack(savings, axis=2)
        if points.substitutes is not None:
            self._correct(saved, read, written, alive, steps, points.substitutes, shares)
        return saved

    def substitute_savings(
        self, read: np.ndarray, written: np.ndarray, alive: np.ndarray, points: Points
    ) -> np.ndarray:
        """Return (networks, sites, 1 + substitutes, len(NAMES)), exactly."""
        sites = self._sites
        assert points.substitutes is not None, "a space with sites gives every point its operators"
        chosen = points.substitutes
        here = [values[:, self.at] for values in (read, written, alive)]
        now = sites.weights(chosen[:, : sites.convs], here[0], here[1])
        saved = now[:, :, None] - sites.options(here[0], here[1])
        saved[(here[2] == 0)[:, :, None] & sites.allowed[: sites.convs]] = 0.0
        positions = sites.positions * self._share(points)[:, self.at]
        by_cost = (positions[:, :, None] * saved, saved)  # in the order of `NAMES`
        savings = np.stack(by_cost, axis=3)
        if len(sites) == sites.convs:
            return savings
        full = replace(points, substitutes=np.where(np.arange(len(sites)) < sites.convs, chosen, 0))
        whole = self.vertex_costs(read, written, alive, full)[:, :, 0]
        macs = whole @ self.shares.T  # (networks, 1 + substitutes)
        less = np.take_along_axis(macs, self.resolution(points)[:, None], axis=1) - macs
        image = np.where(sites.allowed[-1], np.rint(less), -np.inf)
        unchanged = np.where(sites.allowed[-1], np.zeros_like(less), -np.inf)
        return np.concatenate([savings, np.stack([image, unchanged], axis=2)[:, None]], axis=1)

    def resolution(self, points: Points) -> np.ndarray:
        """Return the choice for the input, 0 where there is none: (networks,)."""
        if points.substitutes is None:
            return np.zeros(len(points), int)
        last: np.ndarray = points.substitutes[:, self._sites.convs :].sum(axis=1, dtype=int)
        return last

    def _share(self, points: Points) -> np.ndarray:
        """Return the share of its MACs that every vertex has: (networks, vertices)."""
        share: np.ndarray = self.shares[self.resolution(points)]
        return share

    def _correct(
        self,
        saved: np.ndarray,
        read: np.ndarray,
        written: np.ndarray,
        alive: np.ndarray,
        steps: np.ndarray,
        substitutes: np.ndarray,
        shares: np.ndarray,
    ) -> None:
        """Make what narrowing saves at dense convolutions what it saves at their substitutes."""
        sites, (site, group) = self._sites, self._pairs
        at, step = self.at[site], steps[:, group]  # one column for each site and group that meet
        wide = read[:, at], written[:, at]
        narrow = (
            wide[0] - step * self._layout.reads[group, at],
            wide[1] - step * self._layout.writes[group, at],
        )
        chosen = substitutes[:, site]
        change = sites.weights(chosen, *wide, site) - sites.dense_weights(*wide, site)
        change -= sites.weights(chosen, *narrow, site) - sites.dense_weights(*narrow, site)
        change *= alive[:, at]
        for column, g in enumerate(group):
            positions = sites.positions[site[column]] * shares[:, at[column]]
            saved[:, g, 0] += change[:, column] * positions
            saved[:, g, 1] += change[:, column]
