"""Which channels of a network must live and die together, and which branches can go.

Every position of every vertex's channel axis carries a *label*. A convolution's output
brings new labels, what works channel by channel passes labels on, and wherever two
positions can only be removed together (the operands of an addition, the groups of a
grouped convolution) their labels are made one. What is left are the coupled channels; those
that appear in the same vertices, equally often, form a *group*, whose width is free.
Labels that reach an input, an output or anything we cannot look into are frozen.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gensynth.cost import vertex_costs
from gensynth.graph import Graph, Selection, Vertex

Indices = tuple[np.ndarray | None, ...]


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
class Block:
    """A residual branch that can be removed whole.

    Attributes:
        name: the addition that joins it.
        bypass: the addition's other operand, which takes its place.
        vertices: what goes with it, the addition left out.
    """

    name: str
    bypass: str
    vertices: frozenset[str]


@dataclass(frozen=True)
class Coupling:
    """The freedom that a prototype's graph leaves.

    Attributes:
        graph: the prototype's.
        labels: for each vertex, the label of every position of its channel axis.
        groups: coupled channels that can be resized.
        blocks: residual branches that can be removed.
    """

    graph: Graph
    labels: Mapping[str, np.ndarray]
    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]

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
            _shrink(vertex, tuple(bypass.get(i, i) for i in vertex.inputs), self.graph, masks)
            for vertex in self.graph.vertices
            if vertex.name not in dead
        )
        outputs = tuple(bypass.get(name, name) for name in self.graph.outputs)
        return Graph(self.graph.name, vertices, outputs, selection)

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
            for tensor, axes in _axes(vertex, self.graph, masks).items():
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
    return Coupling(graph, labels, _groups(graph, labels, ties), _find_blocks(graph))


class _Ties:
    """Labels that have become one, as a union-find forest."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.frozen: set[int] = set()

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

    def freeze(self, labels: np.ndarray) -> None:
        self.frozen.update(int(label) for label in labels)


def _label(graph: Graph) -> tuple[dict[str, np.ndarray], _Ties]:
    ties = _Ties()
    labels: dict[str, np.ndarray] = {}
    first_use: dict[str, Vertex] = {}
    for vertex in graph.vertices:
        sources = [labels[name] for name in vertex.inputs]
        labels[vertex.name] = _propagate(vertex, sources, ties)
        if vertex.tensors:
            twin = first_use.setdefault(vertex.module, vertex)
            if twin is not vertex:  # one module called twice keeps one width
                ties.tie(labels[twin.name], labels[vertex.name])
                ties.tie(labels[twin.inputs[0]], labels[vertex.inputs[0]])
    for name in graph.outputs:
        ties.freeze(labels[name])
    return labels, ties


def _propagate(vertex: Vertex, sources: list[np.ndarray], ties: _Ties) -> np.ndarray:
    """Return the labels of a vertex's output, tying what it couples."""
    attributes = vertex.attributes
    match vertex.op:
        case "input":
            fresh = ties.fresh(vertex.shape[0])
            ties.freeze(fresh)
            return fresh
        case "conv" | "conv_transpose":
            return _convolve(vertex, sources[0], ties)
        case "linear":
            return ties.fresh(vertex.shape[0])
        case "add" | "mul":
            first, second = sorted(sources, key=len, reverse=True)
            if len(first) == len(second):
                ties.tie(first, second)
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
        case "layer_norm" | "softmax":  # reduce over channels: every channel changes the others
            ties.freeze(sources[0])
            return sources[0]
        case "opaque":
            for source in sources:
                ties.freeze(source)
            fresh = ties.fresh(vertex.shape[0])
            ties.freeze(fresh)
            return fresh
        case _:  # channel by channel
            return sources[0]


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


def _groups(
    graph: Graph, labels: Mapping[str, np.ndarray], ties: _Ties
) -> tuple[Group, ...]:
    frozen = {ties.root(label) for label in ties.frozen}
    appearances: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for vertex in graph.vertices:
        for label, count in zip(*np.unique(labels[vertex.name], return_counts=True), strict=True):
            if int(label) not in frozen:
                appearances[int(label)].append((vertex.name, int(count)))
    members: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for label, places in appearances.items():
        members[tuple(places)].append(label)
    groups: list[Group] = []
    names: set[str] = set()
    for places, channels in members.items():
        if len(channels) == 1:
            continue  # the last channel of a group always stays
        name, first = places[0][0], places[0][0]
        while name in names:
            name = f"{first}#{len(names)}"
        names.add(name)
        order = {int(label): i for i, label in reversed(list(enumerate(labels[first])))}
        groups.append(Group(name, tuple(sorted(channels, key=order.__getitem__))))
    place = {vertex.name: i for i, vertex in enumerate(graph.vertices)}
    return tuple(sorted(groups, key=lambda group: place[group.name.split("#")[0]]))


def _find_blocks(graph: Graph) -> tuple[Block, ...]:
    """Find, for every addition, the costlier operand that serves nothing else."""
    costs = vertex_costs(graph)
    blocks = []
    for vertex in graph.vertices:
        if vertex.op != "add" or graph[vertex.inputs[0]].shape != graph[vertex.inputs[1]].shape:
            continue
        choices = []
        for branch, bypass in (vertex.inputs, vertex.inputs[::-1]):
            if branch == bypass:
                continue
            only = _reached_only_through(graph, branch, vertex.name)
            work = sum(costs[name].macs for name in only)
            if work and not any(graph[name].op == "input" for name in only):
                choices.append((work, Block(vertex.name, bypass, frozenset(only))))
        if choices:
            blocks.append(max(choices, key=lambda choice: choice[0])[1])
    return tuple(blocks)


def _reached_only_through(graph: Graph, producer: str, consumer: str) -> set[str]:
    """Return the vertices that nothing would read if one edge were cut."""
    useful: set[str] = set()
    pending = list(graph.outputs)
    while pending:
        name = pending.pop()
        if name in useful:
            continue
        useful.add(name)
        pending.extend(u for u in graph[name].inputs if (u, name) != (producer, consumer))
    return {vertex.name for vertex in graph.vertices} - useful


def _axes(
    vertex: Vertex, graph: Graph, masks: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray | None, ...]]:
    """Return which positions stay along each dimension of a vertex's tensors."""
    if not vertex.tensors:
        return {}
    out, source = masks[vertex.name], masks[vertex.inputs[0]]
    axes: dict[str, tuple[np.ndarray | None, ...]] = {}
    for tensor, shape in vertex.tensors.items():
        leading: tuple[np.ndarray | None, ...]
        if vertex.op in ("layer_norm", "opaque") or shape[0] == 1:
            leading = ()
        elif tensor != "weight" or vertex.op not in ("conv", "conv_transpose", "linear"):
            leading = (out,)
        elif vertex.op == "linear":
            leading = (out, source)
        else:
            groups = vertex.attributes["groups"]
            if groups == len(source):
                inner = None if vertex.op == "conv" else out.reshape(groups, -1)[0]
                leading = (out if vertex.op == "conv" else source, inner)
            elif vertex.op == "conv":
                leading = (out, source[: len(source) // groups])
            else:
                leading = (source, out[: len(out) // groups])
        axes[tensor] = leading + (None,) * (len(shape) - len(leading))
    return axes


def _shrink(
    vertex: Vertex, inputs: tuple[str, ...], graph: Graph, masks: Mapping[str, np.ndarray]
) -> Vertex:
    """Return a vertex with its shape, tensors and attributes after a selection."""
    out = masks[vertex.name]
    tensors = {
        tensor: tuple(
            size if mask is None else int(mask.sum())
            for size, mask in zip(vertex.tensors[tensor], axes, strict=True)
        )
        for tensor, axes in _axes(vertex, graph, masks).items()
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
    shape = (int(out.sum()), *vertex.shape[1:]) if vertex.shape else ()
    return replace(vertex, inputs=inputs, attributes=attributes, shape=shape, tensors=tensors)
