"""Exact cost of an ONNX file, counted from its own graph: parameters and MACs.

MACs, for one input (images of a batch cost alike), of the operators that multiply:

    Conv            output elements * (in / groups) * kernel area
    ConvTranspose   input elements * (out / groups) * kernel area
    Gemm, MatMul    output elements * summed dimension

and of their quantised and fused forms (`gensynth.bench.onnx_operators`); norms, activations and
additions are left out, as in `gensynth.graph.cost`. Parameters are the elements of the file's
constants that a network learns: weights, biases, scales and shifts, and neither running statistics
nor settings such as the bounds of a Clip. A file converted with its norms folded has fewer than
the network it is of, and one that ONNX Runtime has padded to its blocks of channels has more.

Nothing is estimated: where a size follows neither from the file and the input's shape nor from a
run (`gensynth.bench.observed`), or an operator multiplies within a loop or a branch, or nothing is
known of it, there is no count and the reason is said. Parameters within loops and branches count
like all others.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TensorShapeProto,
    inliner,
    numpy_helper,
)
from onnx import shape_inference as inference

from gensynth.bench.onnx_operators import (
    Convolution,
    Product,
    Transposed,
    hides_numbers,
    is_branching,
    is_free,
    name_of,
    work_of,
)
from gensynth.errors import ExportError

_SETTINGS = {
    "BatchNormalization": {3, 4},
    "Resize": {1, 2}, "Upsample": {1}, "Clip": {1, 2}, "Pad": {2}, "Dropout": {1},
    "QuantizeLinear": {1, 2}, "DequantizeLinear": {1, 2},
    "QLinearConv": {1, 2, 4, 5, 6, 7}, "QLinearMatMul": {1, 2, 4, 5, 6, 7},
    "ConvInteger": {2, 3}, "MatMulInteger": {2, 3}, "OneHot": {2}, "NonMaxSuppression": {3, 4},
    "Range": {0, 1, 2}, "DynamicQuantizeMatMul": {2, 3}, "MatMulIntegerToFloat": {2, 3, 4, 5},
    "QGemm": {1, 2, 4, 5, 7, 8}, "QAttention": {3, 4, 6, 7},
    "DynamicQuantizeLSTM": {4, 5, 6, 8, 9, 10, 11},
    "QLinearAdd": {1, 2, 4, 5, 6, 7}, "QLinearMul": {1, 2, 4, 5, 6, 7},
    "QLinearSigmoid": {1, 2, 3, 4}, "QLinearLeakyRelu": {1, 2, 3, 4},
    "QLinearSoftmax": {1, 2, 3, 4}, "QLinearAveragePool": {1, 2, 3, 4},
    "QLinearGlobalAveragePool": {1, 2, 3, 4},
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

_WEIGHTS_BYTES = 1 << 14

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OnnxCost:
    """What a file costs.

    Attributes:
        params: learned numbers in it; None where an operator hides its own.
        macs: multiply-accumulates for one input; None where they do not follow from the file.
        why_not: why there are none; None where there are.
        unknown: a value whose size does not follow from the file, where that is the reason.
        why_no_params: why there are no parameters; None where there are.
    """

    params: int | None
    macs: int | None
    why_not: str | None
    unknown: str | None = None
    why_no_params: str | None = None


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
    if model.functions:
        model = inliner.inline_local_functions(model)
    params, why_no_params = _params(model.graph)
    batch = next((shape[0] for shape in shapes.values() if shape), 1)
    try:
        known = {**(observed or {}), **value_shapes(model, shapes)}
        total = sum(node_macs(node, known) for node in _multiplying(model))
        if total % batch:
            raise _Unknown(f"the work for {batch} inputs is not {batch} times that of one")
    except _Unknown as reason:
        return OnnxCost(params, None, str(reason), reason.value, why_no_params)
    except ExportError as error:
        return OnnxCost(params, None, str(error), None, why_no_params)
    return OnnxCost(params, total // batch, None, None, why_no_params)


def multiplying_values(model: ModelProto) -> set[str]:
    """Return the values whose sizes decide the MACs."""
    nodes = [node for node in model.graph.node if work_of(node) is not None]
    return {name for node in nodes for name in (*node.input, *node.output) if name}


def _multiplying(model: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes that multiply."""
    for node in model.graph.node:
        if is_branching(node) and _multiplies(node):
            raise _Unknown(f"what {node.op_type} runs depends on its input")
        if work_of(node) is not None:
            yield node
        elif not is_free(node):
            raise _Unknown(f"{name_of(node)} is not counted")


def node_macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Return the multiply-accumulates of a node that multiplies, for the whole batch."""

    def shape(name: str) -> Shape:
        if name not in shapes:
            raise _Unknown(
                f"the size of '{name}' at {node.op_type} does not follow from the file", name
            )
        return shapes[name]

    match work_of(node):
        case Transposed():
            return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
        case Convolution(weight):
            return math.prod(shape(node.output[0])) * math.prod(shape(node.input[weight])[1:])
        case Product(turned):
            first = shape(node.input[0])
            is_turned = len(first) > 1 and turned is not None and _integer(node, turned)
            return math.prod(shape(node.output[0])) * first[-2 if is_turned else -1]
    raise AssertionError("every node that multiplies is known")


def of_sizes(model: ModelProto, shapes: Mapping[str, Shape]) -> ModelProto:
    """Return a copy of a file whose inputs have these sizes, by name."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in shapes:
            value.type.tensor_type.shape.CopyFrom(
                TensorShapeProto(
                    dim=[TensorShapeProto.Dimension(dim_value=n) for n in shapes[value.name]]
                )
            )
    return fixed


def run_shapes(model: ModelProto, batch: int) -> dict[str, Shape]:
    """Return the sizes of all values in a run of so many images.

    Args:
        model: the file.
        batch: images, where the file leaves the first size of an input free.

    Raises:
        ExportError: if another size of an input is free, or ONNX cannot infer the rest.
    """
    shapes = {}
    for value in model.graph.input:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        shapes[value.name] = (*(size or batch for size in sizes[:1]), *sizes[1:])
        if 0 in shapes[value.name]:
            raise ExportError(f"the size of '{value.name}' does not follow from the file")
    return value_shapes(model, shapes)


def value_shapes(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the sizes of all values that follow from the inputs' sizes.

    Raises:
        ExportError: if ONNX cannot infer them.
    """
    fixed = of_sizes(model, shapes)
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")  # what it says may be of another batch
    del fixed.graph.value_info[:]
    for tensor in fixed.graph.initializer:
        if len(tensor.raw_data) > _WEIGHTS_BYTES:  # what is large is no size of anything
            tensor.ClearField("raw_data")
    try:
        fixed = inference.infer_shapes(fixed, data_prop=True)
    except Exception as error:  # onnx's own, of no common class
        raise ExportError(f"its shapes cannot be inferred: {error}") from error
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
    sparse = [(t.values.name, t) for t in graph.sparse_initializer]
    sizes = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT64}
    for node in graph.node:
        tensors = [a.t for a in node.attribute if a.type == AttributeProto.TENSOR]
        if node.op_type == "Constant" and not tensors:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.FLOATS:
                    found[node.output[0]] = (len(attribute.floats),)
                elif attribute.type == AttributeProto.FLOAT:
                    found[node.output[0]] = ()
                elif attribute.type == AttributeProto.SPARSE_TENSOR:
                    sparse.append((node.output[0], attribute.sparse_tensor))
        elif node.op_type == "Constant":
            if tensors[0].data_type in _LEARNED:
                found[node.output[0]] = tuple(tensors[0].dims)
            elif tensors[0].data_type == TensorProto.INT64:
                sizes[node.output[0]] = tensors[0]
        elif node.op_type == "ConstantOfShape" and node.input[0] in sizes:
            kind = tensors[0].data_type if tensors else TensorProto.FLOAT
            if kind in _LEARNED:
                found[node.output[0]] = _integers(sizes[node.input[0]])
    found |= {name: tuple(t.dims) for name, t in sparse if t.values.data_type in _LEARNED}
    return found


def _params(graph: GraphProto) -> tuple[int | None, str | None]:
    """Count the constants that reach an operator as what it has learned, each once; or why not."""
    hiding = next((node for node in _all_nodes(graph) if hides_numbers(node)), None)
    if hiding is not None:
        return None, f"what {name_of(hiding)} has learned is not counted"
    own, outer = _learned(graph)
    assert not outer, "the outermost graph has no outer one"
    return own, None


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of those below it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


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
    """Return whether anything in a node's subgraphs multiplies, or may."""
    graphs = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    inner = [n for graph in graphs for n in _all_nodes(graph) if not is_branching(n)]
    return any(work_of(n) is not None or not is_free(n) for n in inner)


def _integer(node: NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def _integers(tensor: TensorProto) -> Shape:
    values: Sequence[int] = numpy_helper.to_array(tensor).reshape(-1).tolist()
    return tuple(values)
