"""Exact cost of an ONNX file, counted from its own graph: parameters and MACs.

MACs, for one input (images of a batch cost alike), of the operators that multiply:

    Conv            output elements * (in / groups) * kernel area
    ConvTranspose   input elements * (out / groups) * kernel area
    Gemm, MatMul    output elements * summed dimension

and of their quantised forms; norms, activations and additions are left out, as in
`gensynth.graph.cost`. Parameters are the elements of the file's constants that a network learns:
weights, biases, scales and shifts, and neither running statistics nor settings such as the
bounds of a Clip. A file converted with its norms folded has fewer than the network it is of.

Nothing is estimated: where a size follows neither from the file and the input's shape nor from a
run (`gensynth.bench.observed`), or an operator multiplies within a loop or a branch, there is no
count and the reason is said. Parameters within loops and branches count like all others.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx import shape_inference as inference

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""The place of the weight among the inputs."""
_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"}
_RECURRENT = {"LSTM", "GRU", "RNN"}
_BRANCHING = {"If", "Loop", "Scan"}

_SETTINGS = {
    "BatchNormalization": {3, 4},
    "Resize": {1, 2}, "Upsample": {1}, "Clip": {1, 2}, "Pad": {2}, "Dropout": {1},
    "QuantizeLinear": {1, 2}, "DequantizeLinear": {1, 2},
    "QLinearConv": {1, 2, 4, 5, 6, 7}, "QLinearMatMul": {1, 2, 4, 5, 6, 7},
    "ConvInteger": {2, 3}, "MatMulInteger": {2, 3}, "OneHot": {2}, "NonMaxSuppression": {3, 4},
    "Range": {0, 1, 2},
}  # fmt: skip
"""Inputs that nobody learns, by operator."""

_ELEMENTWISE = {
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Equal", "Less", "Greater",
}  # fmt: skip
_PASSES_ON = {"Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Cast", "Flatten"}
_LEARNED = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.INT8, TensorProto.UINT8,
}  # fmt: skip

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OnnxCost:
    """What a file costs.

    Attributes:
        params: learned numbers in it.
        macs: multiply-accumulates for one input; None where they do not follow from the file.
        why_not: why there are none; None where there are.
        unknown: a value whose size does not follow from the file, where that is the reason.
    """

    params: int
    macs: int | None
    why_not: str | None
    unknown: str | None = None


class _Unknown(Exception):
    """A count that does not follow from the file."""

    def __init__(self, reason: str, value: str | None = None) -> None:
        super().__init__(reason)
        self.value = value


def count(
    model: ModelProto,
    shapes: Mapping[str, Shape],
    *,
    observed: Mapping[str, Shape] | None = None,
) -> OnnxCost:
    """Count a file's parameters and MACs.

    Args:
        model: the file; it is left as it is.
        shapes: of each input, the batch first; MACs are divided by the first input's batch.
        observed: of further values, as a run has shown them.
    """
    params = _params(model.graph)
    batch = next((shape[0] for shape in shapes.values() if shape), 1)
    try:
        known = {**(observed or {}), **_shapes(model, shapes)}
        total = sum(_node_macs(node, known) for node in _multiplying(model))
        if total % batch:
            raise _Unknown(f"the work for {batch} inputs is not {batch} times that of one")
    except _Unknown as reason:
        return OnnxCost(params, None, str(reason), reason.value)
    return OnnxCost(params, total // batch, None)


def multiplying_values(model: ModelProto) -> set[str]:
    """Return the values whose sizes decide the MACs."""
    kinds = {*_CONVOLUTIONS, *_PRODUCTS, "ConvTranspose"}
    nodes = [node for node in model.graph.node if node.op_type in kinds]
    return {name for node in nodes for name in (*node.input, *node.output) if name}


def _multiplying(model: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes that multiply."""
    for node in model.graph.node:
        if node.op_type in _RECURRENT:
            raise _Unknown(f"{node.op_type} is not counted")
        if node.op_type in _BRANCHING and _multiplies(node):
            raise _Unknown(f"what {node.op_type} runs depends on its input")
        if node.op_type in (*_CONVOLUTIONS, *_PRODUCTS, "ConvTranspose", "Einsum"):
            yield node


def _node_macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    def shape(name: str) -> Shape:
        if name not in shapes:
            raise _Unknown(
                f"the size of '{name}' at {node.op_type} does not follow from the file", name
            )
        return shapes[name]

    kind = node.op_type
    if kind == "ConvTranspose":
        # (in, out / groups, *kernel): every input element meets all of its row.
        return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
    if kind in _CONVOLUTIONS:
        # (out, in / groups, *kernel)
        weight = shape(node.input[_CONVOLUTIONS[kind]])
        return math.prod(shape(node.output[0])) * math.prod(weight[1:])
    if kind in _PRODUCTS:
        first = shape(node.input[0])
        transposed = kind == "Gemm" and _integer(node, "transA")
        return math.prod(shape(node.output[0])) * first[0 if transposed else -1]
    raise _Unknown(f"{kind} is not counted")


def _shapes(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the sizes of all values that follow from the inputs' sizes."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, shapes[value.name], strict=False):
                dim.dim_value = size
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")  # what it says may be of another batch
    del fixed.graph.value_info[:]
    try:
        fixed = inference.infer_shapes(fixed, data_prop=True)
    except Exception as error:  # onnx's own, of no common class
        raise _Unknown(f"its shapes cannot be inferred: {error}") from error
    known = {tensor.name: tuple(tensor.dims) for tensor in fixed.graph.initializer}
    known.update(_constants(model.graph))
    for value in (*fixed.graph.input, *fixed.graph.value_info, *fixed.graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                known[value.name] = tuple(dim.dim_value for dim in dims)
    return known


def _constants(graph: GraphProto) -> dict[str, Shape]:
    """Return shape by name of every constant that may be learned; ConstantOfShape is one."""
    found = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type in _LEARNED}
    sizes = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT64}
    for node in graph.node:
        tensors = [a.t for a in node.attribute if a.type == AttributeProto.TENSOR]
        if node.op_type == "Constant" and tensors:
            if tensors[0].data_type in _LEARNED:
                found[node.output[0]] = tuple(tensors[0].dims)
            elif tensors[0].data_type == TensorProto.INT64:
                sizes[node.output[0]] = tensors[0]
        elif node.op_type == "ConstantOfShape" and node.input[0] in sizes:
            kind = tensors[0].data_type if tensors else TensorProto.FLOAT
            if kind in _LEARNED:
                found[node.output[0]] = _integers(sizes[node.input[0]])
    return found


def _params(graph: GraphProto) -> int:
    """Count the constants that reach an operator as what it has learned, each once."""
    own, outer = _learned(graph)
    assert not outer, "the outermost graph has no outer one"
    return own


def _learned(graph: GraphProto, known: Mapping[str, Shape] | None = None) -> tuple[int, set[str]]:
    """Return the learned numbers of a graph and those below it, and which of `known` it learns.

    Args:
        graph: of a file, or within one of its nodes.
        known: the constants of the graphs around it.
    """
    constants = _constants(graph)
    around = {name: shape for name, shape in (known or {}).items() if name not in constants}
    visible = {**around, **constants}
    source = {name: name for name in visible}
    learned: set[str] = set()
    inner = 0
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in source:
                continue
            if node.op_type in _PASSES_ON | {"DequantizeLinear", "QuantizeLinear"}:
                if place == 0:
                    source[node.output[0]] = source[name]
            elif not _is_setting(node, place, visible[source[name]]):
                learned.add(source[name])
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                count, used = _learned(attribute.g, visible)
                inner += count
                learned |= used
    return inner + sum(math.prod(constants[n]) for n in learned - around.keys()), learned & set(
        around
    )


def _is_setting(node: NodeProto, place: int, shape: Shape) -> bool:
    if place in _SETTINGS.get(node.op_type, ()):
        return True
    return node.op_type in _ELEMENTWISE and math.prod(shape) == 1


def _multiplies(node: NodeProto) -> bool:
    """Return whether anything in a node's subgraphs multiplies."""
    inner = [n for attribute in node.attribute for n in attribute.g.node]
    known = {*_CONVOLUTIONS, *_PRODUCTS, *_RECURRENT, "ConvTranspose", "Einsum"}
    return any(n.op_type in known or _multiplies(n) for n in inner)


def _integer(node: NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def _integers(tensor: TensorProto) -> Shape:
    values: Sequence[int] = numpy_helper.to_array(tensor).reshape(-1).tolist()
    return tuple(values)
