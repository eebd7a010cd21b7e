"""Which vertices of a file are spelled in several operators, because the target lacks one.

The words that ONNX has in one operator at a later opset, or that a runtime does not know, are
written with operators that compute exactly the same (`gensynth.export.operators`); parity
shows that they do.
"""

from dataclasses import dataclass

from onnx import ModelProto

from gensynth.export.acceptance import vertex_of
from gensynth.export.operators import SINCE
from gensynth.export.targets import Target
from gensynth.graph.graph import Graph


@dataclass(frozen=True)
class Rewrite:
    """One vertex that is spelled out.

    Attributes:
        vertex: where.
        word: what it is in the graph.
        operators: what it is in the file, in order.
        reason: why not in one operator.
    """

    vertex: str
    word: str
    operators: tuple[str, ...]
    reason: str


def rewrites(graph: Graph, content: bytes, target: Target) -> tuple[Rewrite, ...]:
    """Return the vertices of a file that are spelled out, in the graph's order."""
    nodes: dict[str, list[str]] = {}
    for node in ModelProto.FromString(content).graph.node:
        nodes.setdefault(vertex_of(node), []).append(node.op_type)
    found = []
    for vertex in graph.vertices:
        if vertex.op in SINCE and vertex.name in nodes:  # else it is folded into another
            operator, opset = SINCE[vertex.op]
            if opset > target.opset:
                reason = f"{operator} came with opset {opset}, after {target.opset}"
            elif target.operators is not None and operator not in target.operators:
                reason = f"{target.table} does not have {operator}"
            else:
                continue
            found.append(Rewrite(vertex.name, vertex.op, tuple(nodes[vertex.name]), reason))
    return tuple(found)
