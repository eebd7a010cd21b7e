"""Activations that are alive at once while a network answers one image, counted exactly.

    peak = max over vertices v of the elements of all values that are alive while v computes

Vertices compute in the graph's order, one after the other. A value is alive from the vertex that
writes it to the last that reads it; images are from the start, what the network returns to the
end. What v reads and what it writes are alive together, except where v can write over it: each
entry follows from the one at its place, as in activations, norms, sums and changes of shape alone,
and nothing reads it afterwards.

It is what the literature on small devices calls peak memory (Lin et al., "MCUNet",
arXiv:2007.10319): a convolution's input and output, and what a residual connection keeps
meanwhile. (Their code leaves that out at the last convolution of a block, which is never the peak
of an inverted bottleneck.) Weights are not in it, and neither are a runtime's working buffers,
other orders of computing, or what a part does inside that cannot be looked into.
"""

import math

from gensynth.graph.graph import Graph, Vertex

BYTES = 4
"""Of a number in FP32; figures that are told in INT8 are a quarter of ours."""

IN_PLACE = frozenset(
    """batch_norm prelu relu relu6 leaky_relu elu sigmoid hard_sigmoid hard_swish silu gelu tanh
    dropout add mul add_constant mul_constant scale shift flatten unflatten""".split()
)
"""Operators whose every output entry follows from the entries at its own place."""


def peak_elements(graph: Graph) -> int:
    """Return the largest number of activations that are alive at once, of one image."""
    last = {name: vertex.name for vertex in graph.vertices for name in vertex.inputs}
    alive = {vertex.name: _elements(vertex) for vertex in graph.inputs}
    peak = sum(alive.values())
    for vertex in graph.vertices:
        if vertex.op == "input":
            continue
        done = {
            name
            for name in vertex.inputs
            if last[name] == vertex.name and name not in graph.outputs
        }
        written = _elements(vertex)
        if vertex.op in IN_PLACE:
            over = next((n for n in vertex.inputs if n in done and alive[n] == written), None)
            if over is not None:
                del alive[over]
        alive[vertex.name] = written
        peak = max(peak, sum(alive.values()))
        for name in done & alive.keys():
            del alive[name]
        if vertex.name not in last and vertex.name not in graph.outputs:
            del alive[vertex.name]
    return peak


def all_elements(graph: Graph) -> int:
    """Return how many activations one image has in all vertices: what training keeps of it."""
    return sum(_elements(vertex) for vertex in graph.vertices)


def peak_mib(graph: Graph) -> float:
    """Return `peak_elements` in FP32, in MiB; exact, as it is a multiple of 2^-18."""
    return BYTES * peak_elements(graph) / 2**20


def _elements(vertex: Vertex) -> int:
    return math.prod(vertex.shape)
