"""What an ONNX file computes, against torch's functions and exporter and ONNX's evaluator."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from gensynth.export.onnx import to_onnx
from gensynth.export.operators import EMIT
from gensynth.graph.graph import OPERATORS, Graph, Vertex
from gensynth.prototypes.resnet import ResNet, resnet8, resnet20
from gensynth.trace import trace
from tests.networks.single import lively, one_word
from tests.onnx_files.readers import run

# Supported operators of TensorRT 8.2 that a rewrite may use: onnx-tensorrt, release/8.2-GA,
# docs/operators.md.
TENSORRT_8_2 = frozenset(
    """Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose Div Elu Erf Flatten Gather
    Gemm GlobalAveragePool HardSigmoid Identity InstanceNormalization LeakyRelu MatMul MaxPool Mul
    PRelu Pad Pow ReduceMean Relu Reshape Resize Sigmoid Slice Softmax Split Sqrt Sub
    Tanh Transpose""".split()
)

POOL = {"kernel": [3, 2], "stride": [2, 2], "padding": [1, 1]}
PLAIN = {"dilation": [1, 1], "groups": 1}

Case = tuple[str, dict[str, Any], dict[str, tuple[int, ...]], Callable[..., Tensor]]
CASES: list[Case] = [
    (
        "conv",
        {"kernel": [3, 1], "stride": [2, 1], "padding": [1, 0], "dilation": [1, 1], "groups": 2},
        {"weight": (6, 2, 3, 1), "bias": (6,)},
        lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0), 1, 2),
    ),
    (
        "conv",
        {"kernel": [3, 3], "stride": [1, 1], "padding": [2, 2], "dilation": [2, 2], "groups": 1},
        {"weight": (5, 4, 3, 3)},
        lambda x, w: F.conv2d(x, w, None, 1, 2, 2),
    ),
    (
        "conv_transpose",
        {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "output_padding": [1, 0], **PLAIN},
        {"weight": (4, 3, 3, 3), "bias": (3,)},
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, (1, 0)),
    ),
    (
        "linear",
        {},
        {"weight": (3, 4), "bias": (3,)},
        lambda x, w, b: F.linear(x.movedim(1, -1), w, b).movedim(-1, 1),
    ),
    ("linear", {}, {"weight": (3, 4)}, lambda x, w: F.conv2d(x, w[:, :, None, None])),
    (
        "batch_norm",
        {"eps": 1e-3, "momentum": 0.1},
        {"weight": (4,), "bias": (4,), "running_mean": (4,), "running_var": (4,)},
        lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b, eps=1e-3),
    ),
    (
        "batch_norm",
        {"eps": 1e-5, "momentum": None},
        {"running_mean": (4,), "running_var": (4,)},
        lambda x, m, v: F.batch_norm(x, m, v),
    ),
    ("prelu", {}, {"weight": (4,)}, lambda x, w: F.prelu(x, w)),
    ("prelu", {}, {"weight": (1,)}, lambda x, w: F.prelu(x, w)),
    ("relu", {}, {}, F.relu),
    ("relu6", {}, {}, lambda x: F.relu6(x)),
    ("leaky_relu", {"slope": 0.2}, {}, lambda x: F.leaky_relu(x, 0.2)),
    ("elu", {"alpha": 0.7}, {}, lambda x: F.elu(x, 0.7)),
    ("sigmoid", {}, {}, torch.sigmoid),
    ("hard_sigmoid", {}, {}, F.hardsigmoid),
    ("hard_swish", {}, {}, F.hardswish),
    ("silu", {}, {}, F.silu),
    ("gelu", {}, {}, lambda x: F.gelu(x)),
    ("gelu", {"approximate": "tanh"}, {}, lambda x: F.gelu(x, approximate="tanh")),
    ("tanh", {}, {}, torch.tanh),
    ("dropout", {"p": 0.5}, {}, lambda x: x),
    ("add_constant", {"value": 1.5}, {}, lambda x: x + 1.5),
    (
        "mul_constant",
        {"value": [[[2.0]], [[3.0]], [[-1.0]], [[0.5]]]},
        {},
        lambda x: x * torch.tensor([2.0, 3.0, -1.0, 0.5]).view(4, 1, 1),
    ),
    ("scale", {}, {"gamma": (1, 4, 1, 1)}, lambda x, t: x * t),
    ("scale", {}, {"gamma": (1,)}, lambda x, t: x * t),
    ("shift", {}, {"beta": (4,)}, lambda x, t: x + t.view(4, 1, 1)),
    ("slice", {"start": 1, "stop": 3}, {}, lambda x: x[:, 1:3]),
    (
        "shuffle",
        {"groups": 2},
        {},
        lambda x: F.channel_shuffle(x, 2),
    ),
    ("shuffle", {"order": [2, 0, 3, 1]}, {}, lambda x: x[:, [2, 0, 3, 1]]),
    ("pad_channels", {"before": 1, "after": 2}, {}, lambda x: F.pad(x, (0, 0, 0, 0, 1, 2))),
    (
        "pad",
        {"before": [1, 0], "after": [2, 3], "mode": "constant", "value": -1.5},
        {},
        lambda x: F.pad(x, (0, 3, 1, 2), value=-1.5),
    ),
    (
        "pad",
        {"before": [1, 0], "after": [2, 3], "mode": "reflect"},
        {},
        lambda x: F.pad(x, (0, 3, 1, 2), mode="reflect"),
    ),
    (
        "pad",
        {"before": [0, 2], "after": [0, 1], "mode": "replicate"},
        {},
        lambda x: F.pad(x, (2, 1, 0, 0), mode="replicate"),
    ),
    ("subsample", {"stride": [2, 3]}, {}, lambda x: x[:, :, ::2, ::3]),
    ("subsample", {"stride": [2, 1], "start": [1, 2]}, {}, lambda x: x[:, :, 1::2, 2:]),
    (
        "subsample",
        {"stride": [1, 2], "start": [0, 1], "stop": [4, 6]},
        {},
        lambda x: x[:, :, :4, 1::2],
    ),
    ("take", {"side": "height", "order": [8, 0, 0, 3]}, {}, lambda x: x[:, :, [8, 0, 0, 3]]),
    ("take", {"side": "width", "order": [5, 4, 3, 2, 1, 0]}, {}, lambda x: x.flip(3)),
    ("pixel_shuffle", {"factor": 2}, {}, lambda x: F.pixel_shuffle(x, 2)),
    ("pixel_unshuffle", {"factor": 3}, {}, lambda x: F.pixel_unshuffle(x, 3)),
    (
        "max_pool",
        {**POOL, "dilation": [1, 1], "ceil": True},
        {},
        lambda x: F.max_pool2d(x, (3, 2), 2, 1, ceil_mode=True),
    ),
    (
        "max_pool",
        {"kernel": [2, 2], "stride": [1, 1], "padding": [1, 1], "dilation": [2, 2], "ceil": False},
        {},
        lambda x: F.max_pool2d(x, 2, 1, 1, 2),
    ),
    ("adaptive_avg_pool", {"size": [1, 1]}, {}, lambda x: F.adaptive_avg_pool2d(x, 1)),
    ("adaptive_avg_pool", {"size": [3, 6]}, {}, lambda x: F.adaptive_avg_pool2d(x, (3, 6))),
    ("adaptive_avg_pool", {"size": [4, 4]}, {}, lambda x: F.adaptive_avg_pool2d(x, 4)),
    ("mean", {"keep": True}, {}, lambda x: x.mean((2, 3), keepdim=True)),
    ("mean", {"keep": False}, {}, lambda x: x.mean((2, 3))),
    ("flatten", {}, {}, lambda x: torch.flatten(x, 1)),
    (
        "group_norm",
        {"groups": 2, "eps": 1e-4},
        {"weight": (4,), "bias": (4,)},
        lambda x, w, b: F.group_norm(x, 2, w, b, 1e-4),
    ),
    ("group_norm", {"groups": 4, "eps": 1e-5}, {}, lambda x: F.group_norm(x, 4)),
    (
        "instance_norm",
        {"eps": 1e-4},
        {"weight": (4,), "bias": (4,)},
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=1e-4),
    ),
    (
        "channel_norm",
        {"eps": 1e-4},
        {"weight": (4,), "bias": (4,)},
        lambda x, w, b: F.layer_norm(x.movedim(1, -1), (4,), w, b, 1e-4).movedim(-1, 1),
    ),
    (
        "layer_norm",
        {"axes": 2, "eps": 1e-4},
        {"weight": (9, 6), "bias": (9, 6)},
        lambda x, w, b: F.layer_norm(x, (9, 6), w, b, 1e-4),
    ),
    ("layer_norm", {"axes": 1, "eps": 1e-5}, {}, lambda x: F.layer_norm(x, (6,))),
    ("softmax", {}, {}, lambda x: torch.softmax(x, 1)),
]


def test_every_word_of_the_vocabulary_can_be_written() -> None:
    assert set(EMIT) == OPERATORS - {"input"}


@pytest.mark.parametrize(
    ("op", "attributes", "tensors", "function"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_a_word_computes_what_torch_computes(
    op: str,
    attributes: dict[str, Any],
    tensors: dict[str, tuple[int, ...]],
    function: Callable[..., Tensor],
) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in tensors.items()}
    if "running_var" in weights:
        weights["running_var"] = weights["running_var"].square() + 0.1
    x = 3 * torch.randn(2, 4, 9, 6, generator=generator)
    expected = function(x, *weights.values())
    graph = one_word(op, attributes, tensors, (4, 9, 6), tuple(expected.shape[1:]))
    found = run(to_onnx(graph, {f"layer.{k}": v.numpy() for k, v in weights.items()}), x)
    assert_same(found, expected)


def test_two_inputs_meet_as_in_torch() -> None:
    x, gate, mask = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 1, 1), torch.randn(2, 1, 5, 6)
    graph = Graph(
        "two",
        (
            Vertex("x", "input", shape=(4, 5, 6)),
            Vertex("gate", "input", shape=(4, 1, 1)),
            Vertex("mask", "input", shape=(1, 5, 6)),
            Vertex("scaled", "mul", ("x", "gate"), shape=(4, 5, 6)),
            Vertex("masked", "mul", ("scaled", "mask"), shape=(4, 5, 6)),
            Vertex("sum", "add", ("masked", "x"), shape=(4, 5, 6)),
            Vertex("both", "concat", ("sum", "x"), shape=(8, 5, 6)),
        ),
        ("both", "sum"),
    )
    session = onnxruntime.InferenceSession(to_onnx(graph, {}))
    feed = {"x": x.numpy(), "gate": gate.numpy(), "mask": mask.numpy()}
    both, total = session.run(["both", "sum"], feed)
    expected = x * gate * mask + x
    assert_same(total, expected)
    assert_same(both, torch.cat([expected, x], 1))


def test_linear_works_on_the_last_dimension_of_a_vector_too() -> None:
    x, w, b = torch.randn(3, 7), torch.randn(2, 7), torch.randn(2)
    graph = one_word("linear", {}, {"weight": (2, 7), "bias": (2,)}, (7,), (2,))
    model = to_onnx(graph, {"layer.weight": w.numpy(), "layer.bias": b.numpy()})
    assert_same(run(model, x), F.linear(x, w, b))
    assert operators(model) == {"Gemm"}


def test_a_vector_becomes_an_image_of_one_pixel() -> None:
    x = torch.randn(3, 7)
    assert_same(
        run(to_onnx(one_word("unflatten", {}, {}, (7,), (7, 1, 1)), {}), x), x.view(3, 7, 1, 1)
    )


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    out=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    mode=st.sampled_from(["nearest", "bilinear", "corners"]),
)
def test_resizing_agrees_with_torch_for_every_ratio(
    size: tuple[int, int], out: tuple[int, int], mode: str
) -> None:
    x = torch.randn(2, 3, *size)
    corners = True if mode == "corners" else None
    word = "bilinear" if mode == "corners" else mode
    graph = one_word(
        "resize",
        {"size": list(out), "mode": word, "align_corners": corners},
        {},
        (3, *size),
        (3, *out),
    )
    assert_same(run(to_onnx(graph, {}), x), F.interpolate(x, out, mode=word, align_corners=corners))


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    half=st.booleans(),
    ceil=st.booleans(),
    counted=st.booleans(),
)
def test_pooling_agrees_with_torch_for_every_rounding(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    half: bool,
    ceil: bool,
    counted: bool,
) -> None:
    x = torch.randn(2, 3, *size)
    padding = (kernel[0] // 2, kernel[1] // 2) if half else (0, 0)
    common = {"kernel": list(kernel), "stride": list(stride), "padding": list(padding)}
    means = F.avg_pool2d(x, kernel, stride, padding, ceil, counted)
    attributes = {**common, "ceil": ceil, "count_padding": counted}
    graph = one_word("avg_pool", attributes, {}, (3, *size), tuple(means.shape[1:]))
    assert_same(run(to_onnx(graph, {}), x), means)
    largest = F.max_pool2d(x, kernel, stride, padding, 1, ceil)
    attributes = {**common, "ceil": ceil, "dilation": [1, 1]}
    graph = one_word("max_pool", attributes, {}, (3, *size), tuple(largest.shape[1:]))
    assert_same(run(to_onnx(graph, {}), x), largest)


@pytest.mark.parametrize("factory", [resnet8, resnet20])
def test_a_network_agrees_with_the_file_of_torchs_own_exporter(
    factory: Callable[[], ResNet],
) -> None:
    network = lively(factory())
    x = torch.randn(6, 3, 32, 32)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by scripting is deprecated, not gone
        torch.onnx.export(
            network,
            (x,),
            file,  # type: ignore[arg-type]  # the exporter by scripting takes files too
            input_names=["images"],
            opset_version=13,
            dynamo=False,
        )
    theirs = run(file.getvalue(), x)
    model = to_onnx(trace(network, x[:2], name="resnet"), arrays(network))
    assert np.abs(run(model, x) - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_a_small_network_agrees_with_onnxs_reference_evaluator() -> None:
    network = lively(ResNet(blocks=1, widths=(3, 4, 5), classes=4))
    x = torch.randn(2, 3, 8, 8)
    # Opset 14: at 13 the evaluator of onnx 1.23 takes every batch norm for a training one. The
    # nodes are the same.
    graph = trace(network, x, name="small")
    model = to_onnx(graph, arrays(network), opset=14)
    assert nodes(model) == nodes(to_onnx(graph, arrays(network)))
    (found,) = ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"images": x.numpy()})
    with torch.no_grad():
        assert_same(found, network(x))


def test_the_file_is_what_tensorrt_8_2_reads() -> None:
    network = lively(resnet8())
    model = to_onnx(trace(network, torch.zeros(2, 3, 32, 32), name="r"), arrays(network))
    read = onnx.load_from_string(model)
    assert read.ir_version == 7
    assert [(entry.domain, entry.version) for entry in read.opset_import] == [("", 13)]
    assert {tensor.data_type for tensor in read.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert operators(model) <= TENSORRT_8_2


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_no_word_is_written_with_an_operator_that_tensorrt_8_2_lacks(case: Case) -> None:
    assert operators(written(case)) <= TENSORRT_8_2


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_a_file_holds_no_tensor_that_nothing_reads(case: Case) -> None:
    graph = onnx.load_from_string(written(case)).graph
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read


def written(case: Case) -> bytes:
    op, attributes, tensors, function = case
    weights = {name: np.ones(shape, np.float32) for name, shape in tensors.items()}
    expected = function(torch.ones(1, 4, 9, 6), *map(torch.from_numpy, weights.values()))
    graph = one_word(op, attributes, tensors, (4, 9, 6), tuple(expected.shape[1:]))
    return to_onnx(graph, {f"layer.{name}": value for name, value in weights.items()})


def assert_same(found: Any, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)


def nodes(model: bytes) -> list[onnx.NodeProto]:
    return list(onnx.load_from_string(model).graph.node)


def operators(model: bytes) -> set[str]:
    return {node.op_type for node in nodes(model)}


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in network.state_dict().items()}
