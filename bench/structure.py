"""A network's structure apart from its weights: what its speed is a function of.

Two files have one structure if they have the same operators, attributes, wiring, shapes and
types; names and the values of floating-point constants do not matter. Integer constants do:
they are axes and sizes.
"""

import hashlib
import json
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto

_FLOATING = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
}  # fmt: skip


def structure_sha256(model: ModelProto) -> str:
    """Return the SHA-256 of a file's structure.

    Two structures with equal digests compute alike up to the values of their weights;
    quantised weights are integers, so a file that was quantised anew has another structure.
    """
    document = {
        "opsets": sorted((entry.domain, entry.version) for entry in model.opset_import),
        "graph": _graph(model.graph, {}),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _graph(graph: GraphProto, outer: dict[str, int]) -> list[Any]:
    """Return a graph as plain values, each name replaced by the order of its first use."""
    names = dict(outer)

    def number(name: str) -> int:
        return -1 if name == "" else names.setdefault(name, len(names))

    inputs = [[number(value.name), _type(value)] for value in graph.input]
    constants = {tensor.name: _tensor(tensor) for tensor in graph.initializer}
    placed: set[str] = set()
    nodes = []
    for node in graph.node:
        fresh = [name for name in node.input if name in constants and name not in placed]
        placed.update(fresh)
        nodes.append(
            [
                node.domain,
                node.op_type,
                [number(name) for name in node.input],
                [number(name) for name in node.output],
                sorted([a.name, _attribute(a, names)] for a in node.attribute),
                [[number(name), constants[name]] for name in fresh],
            ]
        )
    return [inputs, nodes, [number(value.name) for value in graph.output]]


def _type(value: ValueInfoProto) -> list[Any]:
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    return [tensor.elem_type, dims]


def _tensor(tensor: TensorProto) -> list[Any]:
    """Return type and shape, and the value's digest where it is not floating-point."""
    described = [tensor.data_type, list(tensor.dims)]
    if tensor.data_type in _FLOATING:
        return described
    bare = TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("name")
    bare.ClearField("doc_string")
    return [*described, hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()]


def _attribute(attribute: AttributeProto, names: dict[str, int]) -> Any:
    if attribute.type == AttributeProto.TENSOR:
        return _tensor(attribute.t)
    if attribute.type == AttributeProto.GRAPH:
        return _graph(attribute.g, names)
    bare = AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    return bare.SerializeToString(deterministic=True).hex()
