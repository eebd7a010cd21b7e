"""Exact cost of a network: trainable parameters and multiply-accumulates (MACs).

MACs are those of convolutions and linear layers for one input, as the literature on
efficient networks counts them; one MAC is two FLOPs. Norms, activations and additions
are left out.
"""

import math
from dataclasses import dataclass

from gensynth.graph.graph import BUFFERS, Graph, Vertex


@dataclass(frozen=True)
class Cost:
    """What one vertex, or a whole network, costs.

    Attributes:
        params: trainable parameters; running statistics are not trained.
        macs: multiply-accumulates for one input.
    """

    params: int
    macs: int


def vertex_costs(graph: Graph) -> dict[str, Cost]:
    """Return the cost of every vertex. A shared module's parameters count at its first call."""
    counted: set[str] = set()
    costs = {}
    for vertex in graph.vertices:
        keys = {vertex.tensor_key(t): t for t in vertex.tensors if t not in BUFFERS}
        params = sum(
            math.prod(vertex.tensors[tensor]) for key, tensor in keys.items() if key not in counted
        )
        counted.update(keys)
        costs[vertex.name] = Cost(params, _macs(vertex, graph))
    return costs


def cost(graph: Graph) -> Cost:
    """Return the cost of a whole network."""
    costs = vertex_costs(graph).values()
    return Cost(sum(c.params for c in costs), sum(c.macs for c in costs))


def _macs(vertex: Vertex, graph: Graph) -> int:
    """Count one vertex's MACs.

    conv:           kernel area * (in / groups) * out * output area
    conv_transpose: kernel area * in * (out / groups) * input area
    linear:         in * out * area, of an image; in * out of a vector
    """
    match vertex.op:
        case "conv":
            return math.prod(vertex.tensors["weight"]) * math.prod(vertex.shape[1:])
        case "conv_transpose":
            area = math.prod(graph[vertex.inputs[0]].shape[1:])
            return math.prod(vertex.tensors["weight"]) * area
        case "linear":
            area = math.prod(vertex.shape[1:]) if len(vertex.shape) == 3 else 1
            return math.prod(vertex.tensors["weight"]) * area
        case "opaque":
            return int(vertex.attributes.get("macs", 0))
        case _:
            return 0
