"""What a file computes from its own constants alone, computed once and stored.

torch's exporter leaves shapes to be worked out at run time even where they are fixed; TensorRT
wants some of them, such as how many of the largest values to keep, as numbers in the file.
"""

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from gensynth.export.writer import Array


def fold_constants(content: bytes) -> bytes:
    """Return a file without the nodes that give the same whatever the inputs are.

    A shape that is known then may make others known, so it is done until nothing changes.
    """
    while (again := _once(content)) != content:
        content = again
    return content


def _once(content: bytes) -> bytes:
    model = shape_inference.infer_shapes(ModelProto.FromString(content), data_prop=True)
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = _static_shapes(model)
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    kept = []
    for node in graph.node:
        values = _values(node, known, shapes, opset)
        if values is None or set(node.output) & {value.name for value in graph.output}:
            kept.append(node)
        else:
            known |= values
    read = {name for node in kept for name in node.input}
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(known[name], order="C"), name)
        for name in sorted(read & known.keys())
    )
    return model.SerializeToString(deterministic=True)


def _values(
    node: NodeProto,
    known: dict[str, Array],
    shapes: dict[str, tuple[int, ...]],
    opset: int,
) -> dict[str, Array] | None:
    """What a node gives, by name; None if that hangs on an input."""
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        shape = shapes[node.input[0]][settings.get("start", 0) : settings.get("end")]
        return {node.output[0]: np.array(shape, np.int64)}
    names = [name for name in node.input if name]
    if not all(name in known for name in names) or (not names and node.op_type != "Constant"):
        return None
    opset_import = helper.make_opsetid("", opset)
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    inputs = [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)]
    alone = helper.make_graph([node], "alone", inputs, outputs)
    found = ReferenceEvaluator(helper.make_model(alone, opset_imports=[opset_import])).run(
        None, {name: known[name] for name in names}
    )
    return dict(zip(node.output, found, strict=True))


def _static_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    graph = model.graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        sizes = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in sizes):
            found[info.name] = tuple(d.dim_value for d in sizes)
    return found
