"""What an ONNX file computes in: the precision of most of the weights that it multiplies by.

One quantised layer makes no INT8 network, and one that was left in floating point no other. A
product counts as

    int8    if it is one of integers, or if both factors come from a DequantizeLinear: runtimes
            fuse these; with its weights alone quantised it computes in floating point
    fp16    if its weights are of half precision where it takes them: what is only stored so, and
            cast to more, is computed in more
    fp32    else

each by the elements of its weights.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence

_HALF = 10  # TensorProto.DataType

# Where the weights stand among an operator's inputs.
_OF_FLOATS = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "FusedConv": 1, "FusedGemm": 1,
    "FusedMatMul": 1, "LSTM": 1, "GRU": 1, "RNN": 1,
}  # fmt: skip
_OF_INTEGERS = {
    "ConvInteger": 1, "MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "DynamicQuantizeLSTM": 1,
    "MatMulIntegerToFloat": 1, "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3,
}  # fmt: skip
_DEQUANTISING = "DequantizeLinear"
_PASSING = frozenset(
    "Identity Reshape Transpose Squeeze Unsqueeze Flatten Cast QuantizeLinear".split()
) | {_DEQUANTISING}


class Operation(NamedTuple):
    """One operator, by the names of its values; of a Cast the number of the type that it gives."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    to: Optional[int] = None


class Weight(NamedTuple):
    """A constant: TensorProto's number of its type, and how many elements it has."""

    kind: int
    elements: int


class _Source(NamedTuple):
    """Where a factor comes from: a constant, if it is one, and whether it was dequantised."""

    weight: Optional[Weight]
    dequantised: bool


def precision_of(
    operations: Sequence[Operation], weights: Dict[str, Weight], half_inputs: bool
) -> str:
    """Return "int8", "fp16" or "fp32".

    Args:
        operations: in the file's order.
        weights: the constants, by name.
        half_inputs: whether an input is of half precision, which decides where nothing is
            multiplied.
    """
    makers = {name: one for one in operations for name in one.outputs}
    elements = {"fp32": 0, "fp16": 0, "int8": 0}
    for one in operations:
        place = _OF_INTEGERS.get(one.operator, _OF_FLOATS.get(one.operator))
        if place is None or len(one.inputs) <= place:
            continue
        weight = _source(one.inputs[place], makers, weights)
        count = weight.weight.elements if weight.weight is not None else 1
        elements[_kind(one, weight, makers, weights, half_inputs)] += max(1, count)
    if not any(elements.values()):
        halves = half_inputs or any(weight.kind == _HALF for weight in weights.values())
        return "fp16" if halves else "fp32"
    return max(elements, key=lambda kind: elements[kind])


def _kind(
    one: Operation,
    weight: _Source,
    makers: Dict[str, Operation],
    weights: Dict[str, Weight],
    half_inputs: bool,
) -> str:
    if one.operator in _OF_INTEGERS:
        return "int8"
    if weight.dequantised and _source(one.inputs[0], makers, weights).dequantised:
        return "int8"
    is_half = half_inputs if weight.weight is None else weight.weight.kind == _HALF
    return "fp16" if is_half and not weight.dequantised else "fp32"


def _source(name: str, makers: Dict[str, Operation], weights: Dict[str, Weight]) -> _Source:
    """Follow a value back through what does not compute."""
    dequantised = False
    kind: Optional[int] = None
    seen: List[str] = []
    while name not in weights and name in makers and name not in seen:
        seen.append(name)
        maker = makers[name]
        if maker.operator not in _PASSING or not maker.inputs:
            break
        dequantised = dequantised or maker.operator == _DEQUANTISING
        kind = maker.to if kind is None else kind  # the last one decides
        name = maker.inputs[0]
    weight = weights.get(name)
    if weight is not None and kind is not None:
        weight = weight._replace(kind=kind)
    return _Source(weight, dequantised)
