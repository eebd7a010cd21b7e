"""An ONNX file's bytes as a model, once they are seen to be one that can be asked.

    read_model    bytes -> model; every tensor has the numbers that its sizes say, every attribute
                  the value that its type says, every node the inputs and outputs of its operator

What the onnx package parses may still lack any part. Whoever counts, feeds, checks or shows a file
reads it here, and then need not ask again. Whether a runtime takes it is another question
(`acceptance`), and so is whether it computes right (`parity`).
"""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    defs,
    helper,
)

from gensynth.errors import ExportError
from gensynth.outside import ONNX_BYTES, PARAMETERS

_SINGLE = ("f", "i", "s", "t", "g", "tp", "sparse_tensor")
DEEPEST = 8
"""Graphs within graphs: branches and loops."""
_SIZES = 1 << 40
_FIELDS = {
    AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t", AttributeProto.GRAPH: "g",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    AttributeProto.TYPE_PROTO: "tp", AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings", AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs", AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    AttributeProto.TYPE_PROTOS: "type_protos",
}  # fmt: skip


def read_model(content: bytes) -> ModelProto:
    """Return the model that an ONNX file holds.

    Raises:
        ExportError: if it is none, or lacks a part that every such file has; one sentence.
    """
    if len(content) > ONNX_BYTES:
        raise ExportError(f"the file must have at most {ONNX_BYTES:,} bytes, got {len(content):,}")
    try:
        model = ModelProto.FromString(content)
    except DecodeError as error:
        raise ExportError("the file is damaged or no ONNX file") from error
    if not model.graph.node:
        raise ExportError("the file is damaged or no ONNX file: it has no operator")
    if not _is_text(*(entry.domain for entry in model.opset_import)):
        raise ExportError("the file is damaged: a domain of operators is not UTF-8")
    opsets = {e.domain if e.domain != "ai.onnx" else "": e.version for e in model.opset_import}
    for fault in _faults(model, opsets):
        raise ExportError(f"the file is damaged: {fault}")
    return model


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor that a graph holds, and the graphs within it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _tensors_of(attribute)


def _tensors_of(attribute: AttributeProto) -> Iterator[TensorProto]:
    yield from (attribute.t, *attribute.tensors) if attribute.HasField("t") else attribute.tensors
    for inner in (attribute.g, *attribute.graphs):
        yield from tensors(inner)


def _faults(model: ModelProto, opsets: Mapping[str, int]) -> Iterator[str]:
    """Yield what the model lacks."""
    graphs = [(model.graph, 0)]
    held = 0
    while graphs:
        graph, depth = graphs.pop()
        if depth > DEEPEST:
            yield f"its graphs are more than {DEEPEST} deep"
        for node in graph.node:
            yield from _node_faults(node, opsets)
            for attribute in node.attribute:
                single = [attribute.g] if attribute.type == AttributeProto.GRAPH else []
                graphs += [(one, depth + 1) for one in (*single, *attribute.graphs)]
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield from _value_faults(value)
    for tensor in tensors(model.graph):
        held += math.prod(tensor.dims)
        yield from _tensor_faults(tensor)
    if held > PARAMETERS:
        yield f"its tensors hold more than {PARAMETERS:,} numbers"


def _value_faults(value: ValueInfoProto) -> Iterator[str]:
    who = f"the value {value.name!r:.80}"
    if not _is_text(value.name):
        yield f"{who} has no name in UTF-8"
    kind = value.type.tensor_type
    if kind.elem_type not in (TensorProto.UNDEFINED, *_STORED):
        yield f"{who} is of the unknown type {kind.elem_type}"
    for dim in kind.shape.dim:
        if not _is_text(dim.dim_param) or not -1 <= dim.dim_value < _SIZES:
            yield f"{who} has the size {dim.dim_value or dim.dim_param!r:.40}"


def _is_text(*names: Any) -> bool:
    """Return whether names are UTF-8: what is not, protobuf gives as bytes."""
    return all(isinstance(name, str) for name in names)


def _node_faults(node: NodeProto, opsets: Mapping[str, int]) -> Iterator[str]:
    who = f"{node.op_type or 'a node without an operator'!s:.40} {node.name!r:.80}"
    if not _is_text(node.name, node.op_type, node.domain, *node.input, *node.output):
        yield f"{who} has a name that is not UTF-8"
        return
    if not node.op_type or not any(node.output):
        yield f"{who} has no {'output' if node.op_type else 'operator'}"
    for attribute in node.attribute:
        field = _FIELDS.get(attribute.type)
        if not attribute.name or field is None or not _is_text(attribute.name):
            yield f"{who} has an attribute {attribute.name!r:.40} of no type"
        elif field in _SINGLE and not attribute.HasField(field):
            yield f"{who} has the attribute {attribute.name!r:.40} without a value"
    schema = _schema("" if node.domain == "ai.onnx" else node.domain, node.op_type, opsets)
    if schema is None:
        return
    low, high = schema.min_input, schema.max_input
    if not low <= len(node.input) <= high:
        yield f"{who} must read {low} to {high} values, got {len(node.input)}"
    if not schema.min_output <= len(node.output) <= schema.max_output:
        yield f"{who} must give {schema.min_output} values or more, got {len(node.output)}"
    given = {attribute.name: attribute.type for attribute in node.attribute}
    for name, known in schema.attributes.items():
        if name in given:
            if given[name] != known.type.value:
                yield f"{who} has the attribute {name!r} of another type than the operator's"
        elif known.required:
            yield f"{who} lacks the attribute {name!r}"


def _schema(domain: str, operator: str, opsets: Mapping[str, int]) -> Any | None:
    """Return what ONNX says of an operator; None for one that it does not know."""
    version = opsets.get(domain)
    return (
        None if version is None or version < 1 else _known(domain, operator, min(version, 1 << 20))
    )


@functools.lru_cache(maxsize=4096)
def _known(domain: str, operator: str, version: int) -> Any | None:
    try:
        return defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None


def _tensor_faults(tensor: TensorProto) -> Iterator[str]:
    who = f"the tensor {tensor.name!r:.80}"
    if not _is_text(tensor.name):
        yield f"{who} has no name in UTF-8"
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        return  # its numbers are elsewhere; `acceptance` and `subjects` say so
    if len(tensor.dims) > 16 or not all(0 <= size < _SIZES for size in tensor.dims):
        yield f"{who} has the sizes {list(tensor.dims)!s:.80}"
        return
    if tensor.data_type not in _STORED:
        yield f"{who} has numbers of the unknown type {tensor.data_type}"
        return
    count = math.prod(tensor.dims)
    bits, field = _STORED[tensor.data_type]
    if tensor.data_type == TensorProto.STRING:
        found, wanted = len(tensor.string_data), count
    elif tensor.HasField("raw_data"):
        found, wanted = len(tensor.raw_data), -(-count * bits // 8)
    else:
        found = len(getattr(tensor, field))
        wanted = -(-count * bits // 8) if bits < 8 else count
        wanted *= 2 if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else 1
    if found != wanted:
        sizes = f"{list(tensor.dims)!s:.80}"
        yield f"{who} of {sizes} must hold {wanted:,} numbers or bytes, got {found:,}"


def _stored() -> Mapping[int, tuple[int, str]]:
    """Return bits a number and the field that holds them, by the type of a tensor."""
    found = {}
    for kind in TensorProto.DataType.values():
        if kind == TensorProto.UNDEFINED:
            continue
        name = TensorProto.DataType.Name(kind)
        bits = (
            2 if name.endswith("INT2") else 4 if "INT4" in name or name.startswith("FLOAT4") else 0
        )
        if kind != TensorProto.STRING and not bits:
            bits = 8 * helper.tensor_dtype_to_np_dtype(kind).itemsize
        found[kind] = (bits, helper.tensor_dtype_to_field(kind))
    return found


_STORED = _stored()
