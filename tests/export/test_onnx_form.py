"""The form of a written ONNX file: its names, bytes, opset and batch, and what is refused."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.errors import ExportError
from gensynth.export.onnx import to_onnx
from gensynth.graph.graph import Graph, Vertex
from gensynth.prototypes.resnet import ResNet, resnet8
from gensynth.trace import trace
from tests.networks.single import lively, one_word
from tests.onnx_files.readers import run


def test_the_same_network_gives_the_same_bytes() -> None:
    network = resnet8().eval()
    graph = trace(network, torch.zeros(2, 3, 32, 32), name="resnet8")
    weights = arrays(network)
    backwards = dict(reversed(weights.items()))
    assert to_onnx(graph, weights) == to_onnx(Graph.from_json(graph.to_json()), backwards)


def test_nodes_are_named_after_their_vertices() -> None:
    graph = Graph(
        "names",
        (
            Vertex("x", "input", shape=(4, 2, 2)),
            Vertex("act", "hard_swish", ("x",), shape=(4, 2, 2)),
            Vertex("drop", "dropout", ("act",), {"p": 0.1}, (4, 2, 2)),
            Vertex("flat", "flatten", ("drop",), shape=(16,)),
        ),
        ("flat",),
    )
    read = onnx.load_from_string(to_onnx(graph, {}))
    assert [node.name for node in read.graph.node] == ["act/1", "act", "flat"]
    assert [entry.name for entry in read.graph.input] == ["images"]
    assert [entry.name for entry in read.graph.output] == ["logits"]


def test_names_that_clash_with_the_files_own_are_kept_apart() -> None:
    graph = Graph(
        "clash",
        (
            Vertex("x", "input", shape=(2,)),
            Vertex("images", "relu", ("x",), shape=(2,)),
            Vertex("logits", "tanh", ("images",), shape=(2,)),
            Vertex("logits.weight", "sigmoid", ("logits",), shape=(2,)),
            Vertex("last", "linear", ("logits.weight",), {}, (2,), {"weight": (2, 2)}, "logits"),
        ),
        ("last",),
    )
    x = torch.randn(3, 2)
    found = run(to_onnx(graph, {"logits.weight": np.eye(2)}), x)
    assert_same(found, torch.sigmoid(torch.tanh(F.relu(x))))


def test_slices_that_are_all_of_a_value_are_one_node() -> None:
    bounds = {"middle": (1, 3), "low": (0, 1), "high": (3, 4)}
    parts = [
        Vertex(name, "slice", ("x",), {"start": a, "stop": b}, (b - a, 2, 2))
        for name, (a, b) in bounds.items()
    ]
    image = Vertex("x", "input", shape=(4, 2, 2))
    last = Vertex("act", "relu", ("high",), {}, (1, 2, 2))
    x = torch.randn(3, 4, 2, 2)
    model = to_onnx(Graph("split", (image, *parts, last), ("middle", "act", "low", "low")), {})
    assert [(node.op_type, node.name) for node in nodes(model)] == [
        ("Split", "low"), ("Relu", "act"), ("Identity", "low:2"),
    ]  # fmt: skip
    found = onnxruntime.InferenceSession(model).run(None, {"images": x.numpy()})
    for value, expected in zip(
        found, [x[:, 1:3], F.relu(x[:, 3:]), x[:, :1], x[:, :1]], strict=True
    ):
        assert_same(value, expected)
    # A gap is left, so each is cut out by itself.
    model = to_onnx(Graph("gap", (image, *parts[1:]), ("low", "high")), {})
    assert [node.op_type for node in nodes(model)] == ["Slice", "Slice"]


def test_an_input_and_a_value_can_be_outputs_any_number_of_times() -> None:
    graph = Graph(
        "outputs",
        (
            Vertex("x", "input", shape=(3,)),
            Vertex("act", "relu", ("x",), shape=(3,)),
            Vertex("drop", "dropout", ("act",), {"p": 0.1}, (3,)),
        ),
        ("x", "act", "act", "drop"),
    )
    x = torch.randn(2, 3)
    session = onnxruntime.InferenceSession(to_onnx(graph, {}))
    (name,) = [entry.name for entry in session.get_inputs()]
    values = session.run(None, {name: x.numpy()})
    for found, expected in zip(values, [x, F.relu(x), F.relu(x), F.relu(x)], strict=True):
        assert_same(found, expected)


def test_the_batch_is_free_or_fixed() -> None:
    graph = one_word("relu", {}, {}, (3, 4, 4), (3, 4, 4))
    free = onnxruntime.InferenceSession(to_onnx(graph, {}))
    fixed = onnxruntime.InferenceSession(to_onnx(graph, {}, batch=2))
    assert free.get_inputs()[0].shape == ["batch", 3, 4, 4]
    assert fixed.get_inputs()[0].shape == [2, 3, 4, 4]
    assert free.run(None, {"images": np.ones((7, 3, 4, 4), np.float32)})[0].shape[0] == 7


@pytest.mark.parametrize(("opset", "ir"), [(13, 7), (14, 7), (15, 8), (17, 8)])
def test_later_opsets_run_too(opset: int, ir: int) -> None:
    network = lively(ResNet(blocks=1, widths=(3, 4, 5), classes=4))
    x = torch.randn(2, 3, 8, 8)
    model = to_onnx(trace(network, x, name="small"), arrays(network), opset=opset)
    assert onnx.load_from_string(model).ir_version == ir
    with torch.no_grad():
        assert_same(run(model, x), network(x))


@pytest.mark.parametrize("opset", [12, 18])
def test_an_opset_with_other_operators_is_refused(opset: int) -> None:
    graph = one_word("mean", {"keep": False}, {}, (3, 4, 4), (3,))
    with pytest.raises(ExportError, match=f"13 to 17, got {opset}"):
        to_onnx(graph, {}, opset=opset)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_a_weight_that_is_not_finite_is_refused_by_name(value: float) -> None:
    weight = np.zeros((2, 3))
    weight[1, 2] = value
    graph = one_word("linear", {}, {"weight": (2, 3)}, (3,), (2,))
    with pytest.raises(ExportError, match=r"'word'.*1 of 6 values of 'layer\.weight'"):
        to_onnx(graph, {"layer.weight": weight})


def test_an_opaque_vertex_is_refused_with_its_reason() -> None:
    graph = one_word("opaque", {"reason": "LSTM is not in the vocabulary"}, {}, (3,), (3,))
    with pytest.raises(ExportError, match=r"'word' is opaque .LSTM is not in the vocabulary"):
        to_onnx(graph, {})


def test_a_shape_that_onnx_does_not_infer_is_refused_by_name() -> None:
    graph = Graph(
        "wrong",
        (
            Vertex("x", "input", shape=(4, 8, 8)),
            Vertex("half", "subsample", ("x",), {"stride": [2, 2]}, (4, 5, 5)),
            Vertex("act", "relu", ("half",), shape=(4, 4, 4)),
        ),
        ("act",),
    )
    with pytest.raises(ExportError, match=r"'half' should compute \(4, 5, 5\).*\(4, 4, 4\)"):
        to_onnx(graph, {})


def test_a_missing_or_misshapen_weight_is_the_callers_mistake() -> None:
    graph = one_word("linear", {}, {"weight": (2, 3)}, (3,), (2,))
    with pytest.raises(ValueError, match=r"needs the weight 'layer\.weight'"):
        to_onnx(graph, {})
    with pytest.raises(ValueError, match=r"must have shape \(2, 3\), got \(3, 2\)"):
        to_onnx(graph, {"layer.weight": np.zeros((3, 2))})


def test_a_module_called_twice_keeps_its_weights_once() -> None:
    graph = Graph(
        "shared",
        (
            Vertex("x", "input", shape=(3,)),
            Vertex("one", "linear", ("x",), {}, (3,), {"weight": (3, 3)}, "fc"),
            Vertex("two", "linear", ("one",), {}, (3,), {"weight": (3, 3)}, "fc"),
        ),
        ("two",),
    )
    weight = torch.randn(3, 3)
    model = to_onnx(graph, {"fc.weight": weight.numpy()})
    assert [t.name for t in onnx.load_from_string(model).graph.initializer] == ["fc.weight"]
    x = torch.randn(2, 3)
    assert_same(run(model, x), x @ weight.T @ weight.T)


def assert_same(found: Any, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


def nodes(model: bytes) -> list[onnx.NodeProto]:
    return list(onnx.load_from_string(model).graph.node)


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in network.state_dict().items()}
