"""Small ONNX files to measure, written by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser


def written(path: Path, text: str, **weights: np.ndarray) -> Path:
    """Write a file from ONNX's own text form, opset 13; weights by name."""
    model = parser.parse_model('<ir_version: 8, opset_import: ["" : 13]>' + text)
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    path.write_bytes(model.SerializeToString())
    return path


def convolution(
    path: Path, *, width: int = 8, size: int = 16, seed: int = 0, batch: int | str = "N"
) -> Path:
    """Write a 3 x 3 convolution of `width` channels and a classifier of ten."""
    draws = np.random.default_rng(seed)
    return written(
        path,
        f"g (float[{batch},3,{size},{size}] images) => (float[{batch},10] logits)"
        "{ h = Conv <pads = [1,1,1,1]> (images, w) r = Relu (h) p = GlobalAveragePool (r)"
        " f = Flatten (p) logits = MatMul (f, v) }",
        w=draws.normal(size=(width, 3, 3, 3)).astype(np.float32),
        v=draws.normal(size=(width, 10)).astype(np.float32),
    )


def unary(
    path: Path, operator: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT
) -> Path:
    """Write one operator of one input."""
    values = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y")]
    node = helper.make_node(operator, ["x"], ["y"])
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 13)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
