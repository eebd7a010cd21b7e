"""An identifier for every position of every channel axis, and which ids are one.

A convolution's output brings new ids, what works channel by channel passes ids on, and
wherever two positions can only be removed together (the operands of an addition, the groups
of a grouped convolution) their ids are tied. Labels that reach an input, an output or
anything we cannot look into are frozen, and the reason is kept. What is made of them is in
`coupling`.
"""

from collections.abc import Mapping

import numpy as np

from gensynth.graph.graph import Graph, Vertex


class Ties:
    """Labels that have become one, as a union-find forest.

    Attributes:
        parent: of every identifier; a root is its own.
        frozen: ids that stay, with the first reason found.
    """

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.frozen: dict[int, str] = {}

    def fresh(self, count: int) -> np.ndarray:
        """Return new ids."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, identifier: int) -> int:
        """Return the identifier that stands for all it is tied to."""
        while self.parent[identifier] != identifier:
            self.parent[identifier] = self.parent[self.parent[identifier]]
            identifier = self.parent[identifier]
        return identifier

    def roots(self, ids: np.ndarray) -> np.ndarray:
        """Return the root of each identifier."""
        return np.array([self.root(int(identifier)) for identifier in ids], dtype=np.int64)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Make one of each pair."""
        for a, b in zip(first, second, strict=True):
            low, high = sorted((self.root(int(a)), self.root(int(b))))
            self.parent[high] = low

    def tie_columns(self, table: np.ndarray) -> None:
        """Make one of each column: (rows, columns) ids."""
        for row in table[1:]:
            self.tie(table[0], row)

    def freeze(self, ids: np.ndarray, reason: str) -> None:
        """Keep these channels in every network."""
        for identifier in ids:
            self.frozen.setdefault(int(identifier), reason)


def identify_channels(graph: Graph) -> tuple[dict[str, np.ndarray], Ties]:
    """Return every vertex's channel identifiers, position by position, and their ties."""
    ties = Ties()
    ids: dict[str, np.ndarray] = {}
    first_use: dict[str, tuple[np.ndarray | None, ...]] = {}
    for vertex in graph.vertices:
        sources = [ids[name] for name in vertex.inputs]
        ids[vertex.name] = _propagate(vertex, sources, ties)
        for tensor, axes in tensor_axes(vertex, ids).items():
            twin = first_use.setdefault(vertex.tensor_key(tensor), axes)
            for one, other in zip(twin, axes, strict=True):  # a shared tensor keeps one shape
                if one is not None and other is not None:
                    ties.tie(one, other)
                    continue
                for axis in (one, other):  # whole where another call wants channels
                    if axis is not None:
                        ties.freeze(axis, f"{vertex.module} is also called where it must be whole")
    for name in graph.outputs:
        ties.freeze(ids[name], "output")
    return {name: ties.roots(positions) for name, positions in ids.items()}, ties


def _propagate(vertex: Vertex, sources: list[np.ndarray], ties: Ties) -> np.ndarray:
    """Return the ids of a vertex's output, tying what it couples."""
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
            return sources[0][shuffle_order(vertex)]
        case "pad_channels":
            before, after = attributes["before"], attributes["after"]
            return np.concatenate([ties.fresh(before), sources[0], ties.fresh(after)])
        case "flatten" | "pixel_unshuffle":  # a channel's positions are channels that follow it
            return np.repeat(sources[0], vertex.shape[0] // len(sources[0]))
        case "pixel_shuffle":
            positions = sources[0].reshape(vertex.shape[0], -1).T
            ties.tie_columns(positions)
            return np.asarray(positions[0])
        case "group_norm":
            ties.tie_columns(sources[0].reshape(attributes["groups"], -1).T)
            return sources[0]
        case "layer_norm" | "softmax":  # every channel changes the others
            ties.freeze(sources[0], f"{vertex.name} reduces over channels")
            return sources[0]
        case "opaque":
            fresh = ties.fresh(vertex.shape[0])
            for ids in (*sources, fresh):
                ties.freeze(ids, f"{vertex.name} is opaque")
            return fresh
        case _ if len(sources[0]) == vertex.shape[0]:  # channel by channel
            return sources[0]
        case _:  # one channel that a constant or a tensor spreads over several
            spread = ties.fresh(vertex.shape[0])
            for ids in (sources[0], spread):
                ties.freeze(ids, f"{vertex.name} spreads one channel over several")
            return spread


def _convolve(vertex: Vertex, source: np.ndarray, ties: Ties) -> np.ndarray:
    groups, out = vertex.attributes["groups"], vertex.shape[0]
    if groups == 1:
        return ties.fresh(out)
    if groups == len(source):  # depthwise: output channel i reads input channel i // multiplier
        return np.repeat(source, out // groups)
    fresh = ties.fresh(out)
    ties.tie_columns(source.reshape(groups, -1))
    ties.tie_columns(fresh.reshape(groups, -1))
    return fresh


def shuffle_order(vertex: Vertex) -> np.ndarray:
    """Return from which position of its input each channel of a shuffle comes."""
    if "order" in vertex.attributes:
        return np.array(vertex.attributes["order"])
    return np.arange(vertex.shape[0]).reshape(vertex.attributes["groups"], -1).T.ravel()


def tensor_axes(
    vertex: Vertex, channels: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray | None, ...]]:
    """Return what stands along each dimension of a vertex's tensors; None if no channels do.

    Args:
        vertex: whose tensors.
        channels: for each vertex its channel axis: ids, or which positions stay.
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
