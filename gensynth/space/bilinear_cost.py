"""The bilinear costs of a prototype's vertices, compiled once into matrices.

    cost[j] = product[j] * in * out + single[j] * out + fixed[j]

for j in `COSTS`, where a vertex reads `in` channels and writes `out`: frozen ones, and those
that its coupling groups have left.
"""

import math
from dataclasses import dataclass

import numpy as np

from gensynth.graph.graph import BUFFERS, Graph, Vertex
from gensynth.space.coupling import Coupling
from gensynth.space.points import COSTS


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
    group_of = {label: g for g, group in enumerate(groups) for label in group.channels}
    table = np.zeros((len(groups), len(costly)))
    fixed = np.zeros(len(costly))
    for v, vertex in enumerate(costly):
        for label in coupling.labels[vertex.inputs[0] if inputs else vertex.name]:
            if int(label) in group_of:
                g = group_of[int(label)]
                table[g, v] += 1 / groups[g].size
            else:
                fixed[v] += 1
    return np.rint(table), fixed


@dataclass(frozen=True)
class Coefficients:
    """What one vertex costs: (len(COSTS), vertices) each.

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
    product, single, fixed = np.zeros((3, len(COSTS), len(costly)))
    macs, params = COSTS.index("macs"), COSTS.index("params")
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
