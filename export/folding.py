"""A graph of fewer vertices that computes the same, for the file that is written from it.

    a batch norm, scale, shift or constant after a layer     part of the layer's weights
    several of them in a row, after anything else            one of them
    zeros round an image, before a convolution               part of its own padding
    what changes nothing: dropout, a relu of a relu          left out
    the same value twice                                     computed once
    a part of a part, parts put together as they lay         one part, or none

Weights are combined in float64 and rounded once, so a file differs from its network by float32's
rounding, as it does anyway. A vertex that remains keeps its name; `Folded.into` says where the
others went.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gensynth.export.affine import AFFINE, absorb, affine, as_vertex
from gensynth.export.writer import Array
from gensynth.graph.graph import Graph, Vertex

NOT_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "hard_sigmoid", "softmax"})
PRODUCERS = frozenset({"conv", "conv_transpose", "linear"})


@dataclass(frozen=True)
class Folded:
    """A graph and its weights after folding.

    Attributes:
        graph: with the same inputs, and as many outputs in the same order.
        weights: the given ones, and the combined ones under the names of what they combine,
            such as "conv1+bn1.weight".
        into: for each vertex that is gone, the one that computes its value now.
    """

    graph: Graph
    weights: Mapping[str, Array]
    into: Mapping[str, str]


def fold(graph: Graph, weights: Mapping[str, Array]) -> Folded:
    """Return a graph as it is written; the given one and its weights are left as they are.

    What is missing, misshapen or not finite is left in its place, for the writer to refuse it
    by name.
    """
    work = _Work(graph, weights)
    changed = True
    while changed:
        changed = False
        for step in STEPS:
            changed |= step(work)
        work.sweep()
    final = {name: work.final(name) for name in work.moved}
    final = {name: to for name, to in final.items() if to in work.vertices}
    outputs = tuple(work.final(name) for name in graph.outputs)
    folded = replace(graph, vertices=tuple(work.vertices.values()), outputs=outputs)
    return Folded(folded, work.weights, final)


class _Work:
    """The vertices that are left, in order, and who became whom."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array]) -> None:
        self.vertices = {vertex.name: vertex for vertex in graph.vertices}
        self.weights = dict(weights)
        self.moved: dict[str, str] = {}
        self._outputs = graph.outputs

    def final(self, name: str) -> str:
        """Return the vertex that computes a vertex's value now."""
        while name in self.moved:
            name = self.moved[name]
        return name

    def move(self, vertex: Vertex, to: str) -> None:
        """Leave a vertex out: who reads it reads another."""
        self.moved[vertex.name] = to
        del self.vertices[vertex.name]

    def put(self, vertex: Vertex) -> None:
        """Change a vertex in its place."""
        self.vertices[vertex.name] = vertex

    def keep(self, tensors: Mapping[str, Array], wanted: str) -> str:
        """Keep combined weights; return the module they stand in, one for equal weights."""
        for number in itertools.count(1):
            module = wanted if number == 1 else f"{wanted}:{number}"
            keyed = {f"{module}.{tensor}": value for tensor, value in tensors.items()}
            if all(np.array_equal(self.weights.get(k, v), v) for k, v in keyed.items()):
                self.weights.update(keyed)
                return module
        raise AssertionError("there is always another number")

    def read(self, vertex: Vertex) -> Vertex:
        """Return the vertex that another, of one input, reads."""
        return self.vertices[self.final(vertex.inputs[0])]

    def readers(self) -> dict[str, int]:
        """Return how often each value is read, being an output counted."""
        counts = dict.fromkeys(self.vertices, 0)
        for name in (*self._outputs, *(n for v in self.vertices.values() for n in v.inputs)):
            counts[self.final(name)] += 1
        return counts

    def sweep(self) -> None:
        """Write the changes into the inputs, and leave out what nobody reads."""
        for vertex in list(self.vertices.values()):
            inputs = tuple(self.final(name) for name in vertex.inputs)
            if inputs != vertex.inputs:
                self.put(replace(vertex, inputs=inputs))
        counts = self.readers()
        for vertex in reversed(list(self.vertices.values())):
            if vertex.op != "input" and counts[vertex.name] == 0:
                del self.vertices[vertex.name]
                for name in vertex.inputs:
                    counts[name] -= 1


def _leave_out(work: _Work) -> bool:
    """Leave out what gives back what it reads."""
    before = len(work.vertices)
    for vertex in list(work.vertices.values()):
        if vertex.op != "input" and len(vertex.inputs) == 1:
            read = work.read(vertex)
            if read.shape == vertex.shape and _changes_nothing(vertex, read):
                work.move(vertex, read.name)
    return len(work.vertices) < before


def _changes_nothing(vertex: Vertex, read: Vertex) -> bool:
    """Whether a vertex gives what it reads, both of one shape."""
    attributes = vertex.attributes
    match vertex.op:
        case "dropout" | "slice" | "concat" | "pad_channels" | "pad" | "subsample" | "flatten":
            return True  # of one shape, so nothing was left out or put in
        case "resize":
            return True  # of one shape, so nothing was left out or put in
        case "adaptive_avg_pool":
            return True  # every window is one pixel
        case "shuffle" if "order" in attributes:
            return list(attributes["order"]) == list(range(vertex.shape[0]))
        case "take":
            return list(attributes["order"]) == list(range(len(attributes["order"])))
        case "pixel_shuffle" | "pixel_unshuffle":
            return True  # of one shape, so by a factor of 1
        case "shuffle":
            return int(attributes["groups"]) in (1, vertex.shape[0])
        case "relu":
            return read.op in NOT_NEGATIVE
        case "add_constant":
            return not np.any(np.asarray(attributes["value"]))
        case "mul_constant":
            return bool(np.all(np.asarray(attributes["value"]) == 1))
    return False


def _share(work: _Work) -> bool:
    """Compute once what is computed twice: the same operator, weights and reads."""
    before, known = len(work.vertices), dict[str, str]()
    for vertex in list(work.vertices.values()):
        if vertex.op in ("input", "opaque"):
            continue
        reads = [work.final(name) for name in vertex.inputs]
        tensors = {name: vertex.tensor_key(name) for name in vertex.tensors}
        key = json.dumps([vertex.op, reads, dict(vertex.attributes), tensors], sort_keys=True)
        if known.setdefault(key, vertex.name) != vertex.name:
            work.move(vertex, known[key])
    return len(work.vertices) < before


def _join(work: _Work) -> bool:
    """Put parts together: of parts, of what was put together, and of what lay side by side."""
    changed, readers = False, work.readers()
    for vertex in list(work.vertices.values()):
        reads = [work.final(name) for name in vertex.inputs]
        sources = [work.vertices[name] for name in reads]
        if vertex.op == "slice":
            changed |= _slice(work, vertex, sources[0], readers)
        elif vertex.op == "concat" and _adjacent(sources):
            first, last = sources[0].attributes["start"], sources[-1].attributes["stop"]
            whole = {"start": first, "stop": last}
            work.put(replace(vertex, op="slice", inputs=sources[0].inputs, attributes=whole))
            changed = True
        elif vertex.op == "concat":
            inner = [s for s in sources if s.op == "concat" and readers[s.name] == 1]
            if inner:
                parts = [s.inputs if s in inner else (s.name,) for s in sources]
                work.put(replace(vertex, inputs=tuple(n for part in parts for n in part)))
                changed = True
    return changed


def _slice(work: _Work, vertex: Vertex, source: Vertex, readers: Mapping[str, int]) -> bool:
    start, stop = (int(vertex.attributes[word]) for word in ("start", "stop"))
    if source.op == "slice" and readers[source.name] == 1:
        shift = int(source.attributes["start"])
        moved = {"start": start + shift, "stop": stop + shift}
        work.put(replace(vertex, inputs=source.inputs, attributes=moved))
        return True
    if source.op == "concat":
        begin = 0
        for name in source.inputs:
            part = work.vertices[work.final(name)]
            if (begin, begin + part.shape[0]) == (start, stop):
                work.move(vertex, part.name)
                return True
            begin += part.shape[0]
    return False


def _adjacent(sources: list[Vertex]) -> bool:
    """Whether all are slices of one value, each beginning where the last ended."""
    if len({s.inputs for s in sources}) > 1 or any(s.op != "slice" for s in sources):
        return False
    return all(
        a.attributes["stop"] == b.attributes["start"] for a, b in itertools.pairwise(sources)
    )


def _combine(work: _Work) -> bool:
    """Make factors and offsets a part of the vertex before them, if nothing else reads that."""
    changed, readers = False, work.readers()
    for vertex in list(work.vertices.values()):
        if vertex.op not in AFFINE:
            continue
        read = work.read(vertex)
        if readers[read.name] != 1 or read.shape != vertex.shape:
            continue
        second = affine(vertex, work.weights)
        if second is None:
            continue
        if read.op in PRODUCERS:
            made = absorb(read, second, work.weights)
        elif read.op in AFFINE and (first := affine(read, work.weights)) is not None:
            made = as_vertex(read, first.then(second))
        else:
            continue
        if made is not None:
            combined, tensors = made
            name = f"{read.module or read.name}+{vertex.module or vertex.name}"
            work.put(replace(combined, module=work.keep(tensors, name)))
            work.move(vertex, combined.name)
            readers[combined.name] = readers[vertex.name]
            changed = True
    return changed


def _pad_within(work: _Work) -> bool:
    """Let a convolution pad by itself with the zeros that it would read."""
    changed = False
    for vertex in list(work.vertices.values()):
        if vertex.op != "conv" or work.read(vertex).op != "pad":
            continue
        read = work.read(vertex)
        if read.attributes["mode"] == "constant" and not read.attributes.get("value"):
            own = vertex.attributes["padding"]
            own_after = vertex.attributes.get("padding_after", own)
            before, after = (
                [p + q for p, q in zip(pads, read.attributes[side], strict=True)]
                for side, pads in (("before", own), ("after", own_after))
            )
            padding = {"padding": before, "padding_after": after}
            attributes = {**vertex.attributes, **padding}
            work.put(replace(vertex, inputs=read.inputs, attributes=attributes))
            changed = True
    return changed


STEPS: tuple[Callable[[_Work], bool], ...] = (_leave_out, _share, _join, _pad_within, _combine)
