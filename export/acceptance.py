"""Whether a target reads an ONNX file as it is meant, found without the target.

    the file    opset, IR, names, where its weights lie, shapes that must be fixed, numbers
    each node   the operator and its values' types, held against the target's table;
                the table's restrictions, as far as a file can break them (`restrictions`)

What a runtime takes without a word and then computes differently counts as refused: an opset
above the target's, 64-bit numbers that do not fit in 32 bits, dilation that pooling leaves
out. A real parser's word is worth more; `gensynth.export.parity` shows the numbers.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, checker, numpy_helper
from onnx import shape_inference as inference

from gensynth.errors import ExportError
from gensynth.export.reading import read_model, tensors
from gensynth.export.restrictions import broken_restriction
from gensynth.export.targets import Target

TYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
}
INSTEAD = {
    "HardSwish": "x * HardSigmoid(x) with alpha 1/6 and beta 0.5",
    "Gelu": "x * (1 + Erf(x / sqrt 2)) / 2",
    "Mish": "x * Tanh(Softplus(x))",
    "LayerNormalization": "ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, then Mul and Add",
    "GroupNormalization": "Reshape, InstanceNormalization, Reshape, then Mul and Add",
    "MeanVarianceNormalization": "ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div",
    "Reciprocal": "Div of 1 by x",
    "Mod": "Div, Floor, Mul, Sub",
    "ReduceMean": "ReduceMean with its axes as an attribute, as up to opset 17",
}
"""What computes the same where an operator is missing."""

INDICES = {
    "Reshape": {1}, "Slice": {1, 2, 3, 4}, "Gather": {1}, "GatherElements": {1}, "GatherND": {1},
    "Pad": {1}, "Resize": {3}, "Expand": {1}, "Tile": {1}, "Squeeze": {1}, "Unsqueeze": {1},
    "Split": {1}, "TopK": {1}, "CumSum": {1}, "ConstantOfShape": {0},
    "QuantizeLinear": {1, 2}, "DequantizeLinear": {1, 2},
    "ScatterND": {1}, "ScatterElements": {1}, "OneHot": {0, 1}, "ReduceSum": {1}, "ReduceMean": {1},
    "GRU": {4}, "LSTM": {4}, "RNN": {4}, "ReverseSequence": {1}, "NonMaxSuppression": {2},
    "Dropout": {2},
}  # fmt: skip
"""Inputs that say which, how many or how stored, and so have types of their own."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Refusal:
    """One thing that a target does not take.

    Attributes:
        vertex: where in the network; None if it is the whole file's.
        operator: in ONNX's words; None if it is the whole file's.
        reason: what is wrong.
        instead: what to do.
    """

    vertex: str | None
    operator: str | None
    reason: str
    instead: str

    def __str__(self) -> str:
        where = "" if self.vertex is None else f"vertex {self.vertex!r} ({self.operator}): "
        return f"{where}{self.reason}; {self.instead}"


@dataclass(frozen=True)
class Report:
    """What a target makes of a file.

    Attributes:
        target: its name.
        table: whose operators the file was held against.
        opset, ir: the file's.
        operators: how many nodes of each.
        refusals: none if the target reads the file.
    """

    target: str
    table: str
    opset: int
    ir: int
    operators: Mapping[str, int]
    refusals: tuple[Refusal, ...]

    def require(self) -> None:
        """Refuse a file that the target does not read.

        Raises:
            ExportError: naming vertex, operator and what to do, for each refusal.
        """
        if self.refusals:
            first, *rest = (f"{self.target} does not take this file: {r}" for r in self.refusals)
            raise ExportError("\n".join([first, *(f"  {line}" for line in rest)]))

    def to_document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "refusals": [asdict(refusal) for refusal in self.refusals]}


def inspect(content: bytes, target: Target) -> Report:
    """Hold a file against what a target reads; nothing is run.

    Raises:
        ExportError: if the bytes are no ONNX file.
    """
    model = read_model(content)
    return Report(
        target=target.name,
        table=target.table,
        opset=max((entry.version for entry in model.opset_import if not entry.domain), default=0),
        ir=model.ir_version,
        operators=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        refusals=tuple(_refusals(model, target)),
    )


def vertex_of(node: NodeProto) -> str:
    """Return the vertex that a node is part of: 'conv1' for 'conv1/2'."""
    return re.sub(r"(/\d+)?(:\d+)?$", "", node.name) or node.name


def _refusals(model: ModelProto, target: Target) -> Iterator[Refusal]:
    outside = list(_outside(model))
    yield from outside
    yield from _versions(model, target)
    yield from _interface(model, target)
    if outside:
        return  # nothing that points out of the file is followed
    yield from _not_finite(model)
    try:
        checker.check_model(model, full_check=True)
        typed = inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (checker.ValidationError, inference.InferenceError, ValueError) as error:
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Refusal(None, None, f"it is no valid ONNX file: {message}", "write it again")
        return
    if target.tensorrt:
        values = Values(typed)
        for node in model.graph.node:
            yield from _node(node, values, target)


def _outside(model: ModelProto) -> Iterator[Refusal]:
    """Refuse weights beside the file, and operators that are not ONNX's own."""
    for tensor in tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            reason = f"the numbers of {tensor.name!r} lie outside the file"
            yield Refusal(None, None, reason, "keep all weights within the file")
    for entry in model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            reason = f"it uses operators of the domain {entry.domain!r}"
            yield Refusal(None, None, reason, "use ONNX's own operators alone")
    if model.functions:
        yield Refusal(None, None, "it defines functions", "write out their operators")
    for node in model.graph.node:
        if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
            reason = "it branches or loops at run time, which cannot be looked through"
            yield Refusal(vertex_of(node), node.op_type, reason, "write out the operators")


def _versions(model: ModelProto, target: Target) -> Iterator[Refusal]:
    opsets = [e.version for e in model.opset_import if e.domain in ("", "ai.onnx")]
    for opset in opsets or [0]:
        if opset != target.opset:
            reason = f"it has opset {opset}, and files for {target.name} have {target.opset}"
            if opset > target.opset and target.tensorrt:
                reason += (
                    "; TensorRT reads a newer one without complaint and can compute something else"
                )
            yield Refusal(None, None, reason, f"export it for {target.name}")
    if model.ir_version > target.ir:
        reason = f"it has IR version {model.ir_version}, {target.name} reads up to {target.ir}"
        yield Refusal(None, None, reason, f"export it for {target.name}")


def _interface(model: ModelProto, target: Target) -> Iterator[Refusal]:
    for value in [*model.graph.input, *model.graph.output]:
        if not _PLAIN.fullmatch(value.name) or ".." in value.name:
            reason = f"its input or output is called {value.name!r}, which is no plain name"
            yield Refusal(None, None, reason, "use letters, digits, '_', '.', ':' and '-'")
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        free = [i for i, size in enumerate(sizes) if not size.HasField("dim_value")]
        if [axis for axis in free if axis > 0]:
            reason = f"its input {value.name!r} leaves a size besides the batch free"
            yield Refusal(None, None, reason, "fix channels, height and width")
        if 0 in free and target.batch == "fixed":
            reason = f"its input {value.name!r} leaves the batch free"
            yield Refusal(None, None, reason, "fix it, by --batch 1 for one image at a time")


def _not_finite(model: ModelProto) -> Iterator[Refusal]:
    for tensor in tensors(model.graph):
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
            numbers = numpy_helper.to_array(tensor)
            broken = int(np.count_nonzero(~np.isfinite(numbers)))
            if broken:
                reason = f"{broken} of {numbers.size} values of {tensor.name!r} are not finite"
                yield Refusal(None, None, reason, "train the network again")


class Values:
    """Types, ranks and constants of a file's values, by name."""

    def __init__(self, typed: ModelProto) -> None:
        graph = typed.graph
        infos = [*graph.input, *graph.value_info, *graph.output]
        self._infos = {info.name: info.type.tensor_type for info in infos}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._rounding = {
            node.output[0]: node
            for node in graph.node
            if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        }
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t

    def constant(self, name: str) -> np.ndarray | None:
        """Return a value that the file holds; None if it is computed."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def stored(self, name: str) -> bool:
        """Return whether a value is held by the file, be it in 8 bits."""
        while (node := self._rounding.get(name)) is not None:
            name = node.input[0]
        return name in self._constants

    def type(self, name: str) -> str:
        """Return a value's type in the tables' words."""
        tensor, info = self._constants.get(name), self._infos.get(name)
        element = TensorProto.UNDEFINED if info is None else info.elem_type
        element = element if tensor is None else tensor.data_type
        return TYPES.get(element, TensorProto.DataType.Name(element))

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Return a value's sizes, the batch with them; None where one does not follow."""
        tensor, info = self._constants.get(name), self._infos.get(name)
        if tensor is not None:
            return tuple(tensor.dims)
        dims = [] if info is None else info.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)

    def rank(self, name: str) -> int:
        """Return how many dimensions a value has, the batch with them."""
        return len(self.shape(name))


def _node(node: NodeProto, values: Values, target: Target) -> Iterator[Refusal]:
    assert target.operators is not None, "every TensorRT target has a table"
    vertex, operator = vertex_of(node), node.op_type
    known = target.operators.get(operator)
    if known is None:
        instead = INSTEAD.get(operator)
        yield Refusal(
            vertex,
            operator,
            f"{target.table} does not have this operator",
            f"write {instead} instead" if instead else "build the network without it",
        )
        return
    for position, name in enumerate(node.input):
        if not name:
            continue
        kind = values.type(name)
        numbers = values.constant(name) if kind == "INT64" else None
        if numbers is not None and not _fits(operator, position, numbers):
            reason = f"{name!r} holds 64-bit integers, which TensorRT clamps to 32 bits"
            yield Refusal(vertex, operator, reason, "use integers that fit in 32 bits")
        if position not in INDICES.get(operator, set()):
            taken = kind in known.types or (kind == "INT64" and "INT32" in known.types)
            if not taken:
                reason = f"{name!r} is {kind}, and {target.table} takes {', '.join(known.types)}"
                yield Refusal(vertex, operator, reason, "store and compute it as FP32")
    reason, instead = broken_restriction(node, values, known.restrictions) or ("", "")
    if reason:
        yield Refusal(vertex, operator, reason, instead)


def _fits(operator: str, position: int, numbers: np.ndarray) -> bool:
    if operator == "Slice" and position == 2:
        return True  # an end beyond every end stays one when it is clamped
    return bool(((numbers >= _INT32.min) & (numbers <= _INT32.max)).all())
