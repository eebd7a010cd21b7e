"""An ONNX file computed in FP16, for runtimes that take the precision from the file.

Up to TensorRT 10 FP16 can be a flag of the builder, and the file stays FP32; TensorRT 11 has no
such flag. Here every weight becomes FP16 and so does what is computed from them; inputs and
outputs stay FP32, cast at the border, so that a program need not know.

A processor runs such a file in FP32 between the borders, so that running it shows neither the
rounding nor an overflow. `rounded` makes both visible: FP32 arithmetic, and every value that a
vertex gives rounded to FP16, as a GPU does that sums in FP32.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper, shape_inference

from gensynth.errors import ExportError

TOLERANCE = 2e-2
"""Allowed difference to the FP32 network, relative to the largest output: FP16 has 11 bits, so
one rounding errs by 2^-11 = 4.9e-4, and a network rounds at every vertex."""

LARGEST = float(np.finfo(np.float16).max)
HALF = TensorProto.FLOAT16
FLOAT_INPUTS = {"Resize": {1, 2}}
"""Inputs that ONNX wants in FP32 whatever the operator computes in."""


def to_half(content: bytes) -> bytes:
    """Return an FP32 file as FP16; the same file gives the same bytes.

    Raises:
        ExportError: if a weight is too large for FP16, or a part that torch's exporter wrote
            mixes types.
    """
    model = ModelProto.FromString(content)
    graph = model.graph
    kept = {
        name
        for node in graph.node
        for position, name in enumerate(node.input)
        if position in FLOAT_INPUTS.get(node.op_type, ())
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_half(tensor))
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    given, returned = ({v.name for v in values} for values in (graph.input, graph.output))
    within = {name: _unique(f"{name}:half", taken) for name in sorted(given | returned)}
    for node in graph.node:
        node.input[:] = [within.get(name, name) for name in node.input]
        node.output[:] = [within.get(name, name) for name in node.output]
    middle = list(graph.node)
    del graph.node[:]
    graph.node.extend(_cast(v.name, within[v.name], TensorProto.FLOAT16) for v in graph.input)
    graph.node.extend(middle)
    graph.node.extend(_cast(within[v.name], v.name, TensorProto.FLOAT) for v in graph.output)
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(f"the file cannot be computed in FP16: {error}") from error
    return model.SerializeToString(deterministic=True)


def rounded(content: bytes) -> bytes:
    """Return an FP16 file as one that shows on a processor what FP16 does to its numbers."""
    model = ModelProto.FromString(content)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            numbers = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    nodes = list(graph.node)
    taken = {name for node in nodes for name in (*node.input, *node.output)}
    returned = {value.name for value in graph.output}
    del graph.node[:]
    for node in nodes:
        names = [name for name in node.output if name not in returned]
        exact = {name: _unique(f"{name}:exact", taken) for name in names}
        node.output[:] = [exact.get(name, name) for name in node.output]
        graph.node.append(node)
        for name in names:
            short = _unique(f"{name}:short", taken)
            graph.node.append(helper.make_node("Cast", [exact[name]], [short], to=HALF))
            graph.node.append(helper.make_node("Cast", [short], [name], to=TensorProto.FLOAT))
    return model.SerializeToString(deterministic=True)


def is_half(content: bytes) -> bool:
    """Return whether a file has weights in FP16."""
    graph = ModelProto.FromString(content).graph
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)


def _half(tensor: TensorProto) -> TensorProto:
    numbers = numpy_helper.to_array(tensor)
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest > LARGEST:
        raise ExportError(
            f"{tensor.name!r} holds {largest:.3g}, and FP16 ends at {LARGEST:g}; export it as fp32"
        )
    return numpy_helper.from_array(numbers.astype(np.float16), tensor.name)


def _cast(read: str, output: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [read], [output], f"{output}/cast", to=to)


def _unique(wanted: str, taken: set[str]) -> str:
    name = wanted
    while name in taken:
        name += ":"
    taken.add(name)
    return name
