"""Which channels of a network must live and die together, and which branches can go.

Every position of every vertex's channel axis carries a *label*. A convolution's output
brings new labels, what works channel by channel passes labels on, and wherever two
positions can only be removed together (the operands of an addition, the groups of a
grouped convolution) their labels are made one. What is left are the coupled channels; those
that appear in the same vertices, equally often, form a *group*, whose width is free.
Labels that reach an input, an output or anything we cannot look into are frozen, and the
reason is kept.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gensynth.blocks import Block, find_blocks
from gensynth.graph import Graph, Selection, Vertex

Indices = tuple[np.ndarray | None, ...]

LAST = "the only channel of its kind"
"""Why a channel stays that nothing holds: a group of one would be empty without it."""


@dataclass(frozen=True)
class Group:
    """Coupled channels that are interchangeable in cost.

    Attributes:
        name: the first vertex in which they appear.
        channels: their labels, in the order of that vertex.
    """

    name: str
    channels: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many channels the prototype has here."""
        return len(self.channels)


@dataclass(frozen=True)
class Frozen:
    """Channels that every network of the prototype keeps.

    Attributes:
        vertex: the first in which they appear.
        channels: their labels, in its order.
        reasons: why they stay; one is enough to hold them.
    """

    vertex: str
    channels: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Coupling:
    """The freedom that a prototype's graph leaves.

    Attributes:
        graph: the prototype's.
        labels: for each vertex, the label of every position of its channel axis.
        groups: coupled channels that can be resized.
        blocks: residual branches that can be removed.
        frozen: all other channels.
    """

    graph: Graph
    labels: Mapping[str, np.ndarray]
    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    frozen: tuple[Frozen, ...]

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        return {block.name: block for block in self.blocks}

    def kept(self, selection: Selection) -> dict[str, np.ndarray]:
        """Return, for each vertex, which positions of its channel axis stay: bool masks.

        Raises:
            ValueError: if the selection names what does not exist, or empties a group.
        """
        alive = np.ones(1 + max(int(labels.max()) for labels in self.labels.values()), bool)
        groups = {group.name: group for group in self.groups}
        for name, kept in selection.kept.items():
            if name not in groups:
                raise ValueError(f"no coupling group is named {name!r}")
            size = groups[name].size
            if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= size:
                raise ValueError(
                    f"group {name!r} needs ascending channel numbers in 0..{size - 1}, got {kept}"
                )
            channels = np.array(groups[name].channels)
            alive[channels] = False
            alive[channels[list(kept)]] = True
        return {name: alive[labels] for name, labels in self.labels.items()}

    def apply(self, selection: Selection) -> Graph:
        """Return the graph of the network that a selection leaves."""
        masks = self.kept(selection)
        dead, bypass = self._removal(selection)
        vertices = tuple(
            _shrink(vertex, tuple(bypass.get(i, i) for i in vertex.inputs), masks)
            for vertex in self.graph.vertices
            if vertex.name not in dead
        )
        return Graph(self.graph.name, vertices, self.graph.outputs, selection)

    def slices(self, selection: Selection) -> dict[str, Indices]:
        """Return, for each tensor that stays, which of the prototype's entries it keeps.

        Returns:
            by state-dict key, one index array a dimension; None is the whole dimension.
        """
        masks = self.kept(selection)
        dead, _ = self._removal(selection)
        indices: dict[str, Indices] = {}
        for vertex in self.graph.vertices:
            if vertex.name in dead:
                continue
            for tensor, axes in _axes(vertex, masks).items():
                indices[vertex.tensor_key(tensor)] = tuple(
                    None if mask is None or mask.all() else np.flatnonzero(mask) for mask in axes
                )
        return indices

    def _removal(self, selection: Selection) -> tuple[set[str], dict[str, str]]:
        unknown = set(selection.removed) - set(self._blocks)
        if unknown:
            raise ValueError(f"no removable block is named {sorted(unknown)[0]!r}")
        dead: set[str] = set()
        bypass: dict[str, str] = {}
        for vertex in self.graph.vertices:  # inputs first, so that bypasses chain
            if vertex.name in selection.removed:
                block = self._blocks[vertex.name]
                dead |= {block.name, *block.vertices}
                bypass[block.name] = bypass.get(block.bypass, block.bypass)
        return dead, bypass


def couple(graph: Graph) -> Coupling:
    """Find coupling groups and removable blocks of a network."""
    labels, ties = _label(graph)
    labels = {name: ties.roots(positions) for name, positions in labels.items()}
    groups = _groups(graph, labels, ties)
    return Coupling(graph, labels, groups, find_blocks(graph), _frozen(graph, labels, ties, groups))


class _Ties:
    """Labels that have become one, as a union-find forest."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.frozen: dict[int, str] = {}

    def fresh(self, count: int) -> np.ndarray:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, label: int) -> int:
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def roots(self, labels: np.ndarray) -> np.ndarray:
        return np.array([self.root(int(label)) for label in labels], dtype=np.int64)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        for a, b in zip(first, second, strict=True):
            low, high = sorted((self.root(int(a)), self.root(int(b))))
            self.parent[high] = low

    def tie_columns(self, table: np.ndarray) -> None:
        """Make one of each column: (rows, columns) labels."""
        for row in table[1:]:
            self.tie(table[0], row)

    def freeze(self, labels: np.ndarray, reason: str) -> None:
        for label in labels:
            self.frozen.setdefault(int(label), reason)


def _label(graph: Graph) -> tuple[dict[str, np.ndarray], _Ties]:
    ties = _Ties()
    labels: dict[str, np.ndarray] = {}
    first_use: dict[str, tuple[np.ndarray | None, ...]] = {}
    for vertex in graph.vertices:
        sources = [labels[name] for name in vertex.inputs]
        labels[vertex.name] = _propagate(vertex, sources, ties)
        for tensor, axes in _axes(vertex, labels).items():
            twin = first_use.setdefault(vertex.tensor_key(tensor), axes)
            for one, other in zip(twin, axes, strict=True):  # a shared tensor keeps one shape
                if one is not None and other is not None:
                    ties.tie(one, other)
                    continue
                for axis in (one, other):  # whole where another call wants channels
                    if axis is not None:
                        ties.freeze(axis, f"{vertex.module} is also called where it must be whole")
    for name in graph.outputs:
        ties.freeze(labels[name], "output")
    return labels, ties


def _propagate(vertex: Vertex, sources: list[np.ndarray], ties: _Ties) -> np.ndarray:
    """Return the labels of a vertex's output, tying what it couples."""
    attributes = vertex.attributes
    match vertex.op:
        case "input":
            fresh = ties.fresh(vertex.shape[0])
            ties.freeze(fresh, "input")
            return fresh
        case "conv" | "conv_transpose":
            return _convolve(vertex, sources[0], ties)
        case "linear":
            return ties.fresh(vertex.shape[0])
        case "add" | "mul":
            first, second = sorted(sources, key=len, reverse=True)
            if len(first) == len(second):
                ties.tie(first, second)
            else:
                ties.freeze(second, f"one channel for all others in {vertex.name}")
            return first
        case "concat":
            return np.concatenate(sources)
        case "slice":
            return sources[0][attributes["start"] : attributes["stop"]]
        case "shuffle":
            table = sources[0].reshape(attributes["groups"], -1)
            ties.tie_columns(table)
            return table.T.ravel()
        case "pad_channels":
            before, after = attributes["before"], attributes["after"]
            return np.concatenate([ties.fresh(before), sources[0], ties.fresh(after)])
        case "flatten":
            return np.repeat(sources[0], vertex.shape[0] // len(sources[0]))
        case "group_norm":
            ties.tie_columns(sources[0].reshape(attributes["groups"], -1).T)
            return sources[0]
        case "layer_norm" | "softmax":  # every channel changes the others
            ties.freeze(sources[0], f"{vertex.name} reduces over channels")
            return sources[0]
        case "opaque":
            fresh = ties.fresh(vertex.shape[0])
            for labels in (*sources, fresh):
                ties.freeze(labels, f"{vertex.name} is opaque")
            return fresh
        case _ if len(sources[0]) == vertex.shape[0]:  # channel by channel
            return sources[0]
        case _:  # one channel that a constant or a tensor spreads over several
            spread = ties.fresh(vertex.shape[0])
            for labels in (sources[0], spread):
                ties.freeze(labels, f"{vertex.name} spreads one channel over several")
            return spread


def _convolve(vertex: Vertex, source: np.ndarray, ties: _Ties) -> np.ndarray:
    groups, out = vertex.attributes["groups"], vertex.shape[0]
    if groups == 1:
        return ties.fresh(out)
    if groups == len(source):  # depthwise: output channel i reads input channel i // multiplier
        return np.repeat(source, out // groups)
    fresh = ties.fresh(out)
    ties.tie_columns(source.reshape(groups, -1))
    ties.tie_columns(fresh.reshape(groups, -1))
    return fresh


def _groups(graph: Graph, labels: Mapping[str, np.ndarray], ties: _Ties) -> tuple[Group, ...]:
    frozen = {ties.root(label) for label in ties.frozen}
    appearances: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for vertex in graph.vertices:
        for label, count in zip(*np.unique(labels[vertex.name], return_counts=True), strict=True):
            if int(label) not in frozen:
                appearances[int(label)].append((vertex.name, int(count)))
    members: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for label, where in appearances.items():
        members[tuple(where)].append(label)
    place = {vertex.name: number for number, vertex in enumerate(graph.vertices)}
    found: list[tuple[int, list[tuple[int, int]]]] = []
    for places, channels in members.items():
        if len(channels) == 1:
            continue  # the last channel of a group always stays
        first = places[0][0]
        order = {int(label): i for i, label in reversed(list(enumerate(labels[first])))}
        found.append((place[first], sorted((order[label], label) for label in channels)))
    groups: dict[str, Group] = {}
    for number, ordered in sorted(found):
        name, again = graph.vertices[number].name, 0
        while name in groups or (again and name in place):
            again += 1
            name = f"{graph.vertices[number].name}#{again}"
        groups[name] = Group(name, tuple(label for _, label in ordered))
    return tuple(groups.values())


def _frozen(
    graph: Graph, labels: Mapping[str, np.ndarray], ties: _Ties, groups: tuple[Group, ...]
) -> tuple[Frozen, ...]:
    reasons: dict[int, dict[str, None]] = defaultdict(dict)
    for label, reason in ties.frozen.items():
        reasons[ties.root(label)][reason] = None
    seen = {channel for group in groups for channel in group.channels}
    parts: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for vertex in graph.vertices:
        for label in dict.fromkeys(labels[vertex.name].tolist()):
            if label not in seen:
                seen.add(label)
                parts[vertex.name, tuple(reasons[label]) or (LAST,)].append(label)
    return tuple(Frozen(name, tuple(found), why) for (name, why), found in parts.items())


def _axes(
    vertex: Vertex, channels: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray | None, ...]]:
    """Return what stands along each dimension of a vertex's tensors; None if no channels do.

    Args:
        vertex: whose tensors.
        channels: for each vertex its channel axis: labels, or which positions stay.
    """
    if not vertex.tensors:
        return {}
    out, source = channels[vertex.name], channels[vertex.inputs[0]]
    table: dict[str, tuple[np.ndarray | None, ...]] = {}
    for tensor, shape in vertex.tensors.items():
        axes: list[np.ndarray | None] = [None] * len(shape)
        if vertex.op == "linear" and tensor == "weight":
            axes = [out, source]
        elif vertex.op in ("conv", "conv_transpose") and tensor == "weight":
            axes[:2] = _kernel_axes(vertex, out, source)
        elif vertex.op not in ("layer_norm", "opaque") and len(out) in shape:
            axes[tuple(shape).index(len(out))] = out  # (C,), (C, 1, 1) or (1, C, 1, 1)
        table[tensor] = tuple(axes)
    return table


def _kernel_axes(
    vertex: Vertex, out: np.ndarray, source: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the first two dimensions of a convolution's weight.

    Dense and grouped, they are (out, in / groups), transposed (in, out / groups); all
    groups keep the same columns. The kernels of a depthwise convolution have no second.
    """
    groups = vertex.attributes["groups"]
    depthwise = groups == len(source) > 1
    if vertex.op == "conv":
        return out, None if depthwise else source[: len(source) // groups]
    return source, None if depthwise else out[: len(out) // groups]


def _shrink(vertex: Vertex, inputs: tuple[str, ...], masks: Mapping[str, np.ndarray]) -> Vertex:
    """Return a vertex with its shape, tensors and attributes after a selection."""
    out = masks[vertex.name]
    tensors = {
        tensor: tuple(
            size if mask is None else int(mask.sum())
            for size, mask in zip(vertex.tensors[tensor], axes, strict=True)
        )
        for tensor, axes in _axes(vertex, masks).items()
    }
    attributes = dict(vertex.attributes)
    source = masks[vertex.inputs[0]] if vertex.inputs else out
    match vertex.op:
        case "conv" | "conv_transpose" if attributes["groups"] == len(source):
            attributes["groups"] = int(source.sum())
        case "slice":
            attributes["stop"] = int(source[: attributes["stop"]].sum())
            attributes["start"] = int(source[: attributes["start"]].sum())
        case "pad_channels":
            before = attributes["before"]
            attributes["before"] = int(out[:before].sum())
            attributes["after"] = int(out[before + len(source) :].sum())
        case "group_norm":
            attributes["groups"] = int(source.reshape(attributes["groups"], -1)[:, 0].sum())
        case "add_constant" | "mul_constant" if _depth(attributes["value"]) == len(vertex.shape):
            if len(attributes["value"]) == len(out):  # one entry a channel
                attributes["value"] = [attributes["value"][i] for i in np.flatnonzero(out)]
    shape = (int(out.sum()), *vertex.shape[1:]) if vertex.shape else ()
    return replace(vertex, inputs=inputs, attributes=attributes, shape=shape, tensors=tensors)


def _depth(value: object) -> int:
    """Return how deep lists are nested."""
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0]
    return depth
