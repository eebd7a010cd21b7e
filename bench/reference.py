"""The reference network: one small file, always the same, by which a board is known again.

Eight 3 x 3 convolutions of 32 channels on 64 x 64, each with a ReLU, then the mean and ten
logits: 268 million MACs, a few milliseconds on a Jetson's GPU. Its weights are integer
arithmetic, so that no library's version changes the file's hash.
"""

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from gensynth.bench.feed import feed
from gensynth.bench.subjects import Subject

NAME = "reference"
LAYERS = 8
WIDTH = 32
SIZE = 64
CLASSES = 10


def reference() -> Subject:
    """Return the reference network with what it is fed."""
    model = _model()
    checker.check_model(model)
    fed = feed(NAME, model)
    content = model.SerializeToString(deterministic=True)
    return Subject(NAME, content, fed.arrays, fed.words, fed.batch)


def _model() -> ModelProto:
    graph = GraphProto(name=NAME)
    value, channels = "image", 3
    for layer in range(LAYERS):
        weight = _constant(graph, f"weight{layer}", (WIDTH, channels, 3, 3))
        _then(graph, helper.make_node("Conv", [value, weight], [f"conv{layer}"], pads=[1] * 4))
        value = _then(graph, helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
        channels = WIDTH
    value = _then(graph, helper.make_node("GlobalAveragePool", [value], ["mean"]))
    value = _then(graph, helper.make_node("Flatten", [value], ["features"]))
    weight = _constant(graph, "classes", (WIDTH, CLASSES))
    _then(graph, helper.make_node("MatMul", [value, weight], ["logits"]))
    kind = TensorProto.FLOAT
    graph.input.append(helper.make_tensor_value_info("image", kind, [1, 3, SIZE, SIZE]))
    graph.output.append(helper.make_tensor_value_info("logits", kind, [1, CLASSES]))
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _then(graph: GraphProto, node: NodeProto) -> str:
    graph.node.append(node)
    return node.output[0]


def _constant(graph: GraphProto, name: str, shape: tuple[int, ...]) -> str:
    """Add weights between -2 and 2 over the root of what is summed, so that values keep their size.

    The sequence is k 2654435761 modulo 2^16, evenly spread.
    """
    places = np.arange(np.prod(shape), dtype=np.uint64)
    noise = (places * np.uint64(2654435761) % np.uint64(1 << 16)).astype(np.float64)
    summed = float(np.prod(shape[1:] if len(shape) > 2 else shape[:1]))
    values = (noise / (1 << 15) - 1) / np.sqrt(summed) * 2
    graph.initializer.append(
        numpy_helper.from_array(values.astype(np.float32).reshape(shape), name)
    )
    return name
