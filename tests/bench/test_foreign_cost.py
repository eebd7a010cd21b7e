"""What files of other programs cost: those that a runtime saved, operators of other domains."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from gensynth.bench.observed import observed_shapes
from gensynth.bench.onnx_cost import OnnxCost, count, multiplying_values
from gensynth.export.onnx import to_onnx
from gensynth.prototypes.resnet import ResNet
from gensynth.trace import trace


def optimised(content: bytes, level: str, folder: Path) -> ModelProto:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / f"{level}.onnx")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 3  # it warns that its file suits this machine alone
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def cost_by_run(model: ModelProto, **feed: np.ndarray) -> OnnxCost:
    shapes = {name: array.shape for name, array in feed.items()}
    seen = observed_shapes(model, feed, multiplying_values(model))
    return count(model, shapes, observed=seen)


def saved_by_us() -> bytes:
    # Channels in whole blocks of 16, so that no processor's layout pads them.
    torch.manual_seed(0)
    network = ResNet(blocks=1, widths=(16, 32, 64), classes=16).eval()
    graph = trace(network, torch.randn(2, 3, 16, 16), name="resnet")
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    return to_onnx(graph, weights, batch=1)


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_a_file_that_onnx_runtime_saved_costs_what_the_file_costs_that_it_read(
    level: str, tmp_path: Path
) -> None:
    content = saved_by_us()
    images = np.zeros((1, 3, 16, 16), np.float32)
    expected = count(onnx.load_from_string(content), {"images": images.shape})
    model = optimised(content, level, tmp_path)
    kinds = {(node.domain, node.op_type) for node in model.graph.node}
    if level == "ORT_ENABLE_EXTENDED":
        assert ("com.microsoft", "FusedConv") in kinds
    assert cost_by_run(model, images=images) == expected
    assert expected.macs is not None


def test_a_fused_product_costs_what_the_product_costs(tmp_path: Path) -> None:
    # Transpose and MatMul become one: 2 x 6 x 5 outputs of 4 products each.
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,4,6] x, float[2,4,5] z) '
        "=> (float[2,6,5] y) { t = Transpose <perm = [0,2,1]> (x)  y = MatMul (t, z) }"
    )
    saved = optimised(model.SerializeToString(), "ORT_ENABLE_EXTENDED", tmp_path)
    assert [(n.domain, n.op_type) for n in saved.graph.node] == [("com.microsoft", "FusedMatMul")]
    x, z = np.zeros((2, 4, 6), np.float32), np.zeros((2, 4, 5), np.float32)
    assert cost_by_run(saved, x=x, z=z) == OnnxCost(0, 2 * 6 * 5 * 4 // 2, None)


def foreign(operator: str, domain: str, inputs: list[str], **attributes: Any) -> ModelProto:
    """A file of a convolution of 8 x 4 weights and an operator after it."""
    held = [numpy_helper.from_array(np.zeros((8, 4, 1, 1), np.float32), "w")]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node(operator, ["a", *inputs], ["y"], domain=domain, **attributes),
    ]
    given, returned = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 4, 6, 6]), ("y", [1, 8, 6, 6]))
    )
    graph = helper.make_graph(nodes, "foreign", [given], [returned], held)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize(
    ("operator", "domain", "said"),
    [
        ("DynamicQuantizeLSTM", "com.microsoft", "DynamicQuantizeLSTM of com.microsoft"),
        ("Attention", "com.microsoft", "Attention of com.microsoft"),
        ("TreeEnsembleRegressor", "ai.onnx.ml", "TreeEnsembleRegressor of ai.onnx.ml"),
        ("Deep", "org.example", "Deep of org.example"),
        ("Conv", "org.example", "Conv of org.example"),
        ("DeformConv", "", "DeformConv"),
        ("Invented", "", "Invented"),
    ],
)
def test_an_operator_that_may_multiply_is_named_in_place_of_a_count(
    operator: str, domain: str, said: str
) -> None:
    model = foreign(operator, domain, [])
    found = count(model, {"x": (1, 4, 6, 6)})
    assert (found.macs, found.why_not) == (None, f"{said} is not counted")
    assert found.params == 32


def test_numbers_within_an_operator_are_named_in_place_of_parameters() -> None:
    numbers = {"nodes_values": [0.5, 0.25], "target_weights": [1.0, 2.0]}
    tree = foreign("TreeEnsembleRegressor", "ai.onnx.ml", [], **numbers)
    found = count(tree, {"x": (1, 4, 6, 6)})
    assert found.params is None
    assert found.why_no_params == (
        "what TreeEnsembleRegressor of ai.onnx.ml has learned is not counted"
    )


@pytest.mark.parametrize("operator", ["Gelu", "QuickGelu", "BiasGelu"])
def test_an_operator_of_the_runtimes_that_sums_no_products_is_free(operator: str) -> None:
    found = count(foreign(operator, "com.microsoft", []), {"x": (1, 4, 6, 6)})
    assert (found.params, found.macs) == (32, 8 * 4 * 36)


def test_what_a_files_own_function_multiplies_is_counted() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> '
        "g (float[1,4,6,6] x, float[8,4,1,1] w) => (float[1,8,6,6] y) { y = own.block (x, w) } "
        '<domain: "own", opset_import: ["" : 17]> block (a, b) => (c) { c = Conv (a, b) }'
    )
    found = count(model, {"x": (1, 4, 6, 6), "w": (8, 4, 1, 1)})
    assert found.macs == 8 * 4 * 36
