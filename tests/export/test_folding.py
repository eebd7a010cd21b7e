"""A folded graph computes what the graph computes, and what it keeps has its name and its work.

Shown in float64 by torch, where nothing hides behind rounding, and as files by ONNX Runtime.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gensynth.export.folding import Folded, fold
from gensynth.export.onnx import to_onnx
from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import Network, build, opaque_modules
from gensynth.prototypes.resnet import resnet20
from gensynth.trace import trace
from tests.networks.compositions import compose, outputs, random_weights
from tests.networks.families import FAMILIES, make
from tests.networks.single import lively

Word = tuple[str, dict[str, Any], dict[str, tuple[int, ...]]]
"""Operator, attributes, tensors."""

IMAGE = (4, 6, 6)
CONV = {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}


def line(*words: Word) -> Graph:
    """One vertex after the other on an image, each named after its word and place."""
    vertices, before = [Vertex("x", "input", shape=IMAGE)], "x"
    for number, (op, attributes, tensors) in enumerate(words):
        name = f"{op}{number}"
        vertices.append(Vertex(name, op, (before,), attributes, IMAGE, tensors, name))
        before = name
    return Graph("line", tuple(vertices), (before,))


def conv() -> Word:
    return "conv", CONV, {"weight": (4, 4, 3, 3)}


def norm() -> Word:
    names = ("weight", "bias", "running_mean", "running_var")
    return "batch_norm", {"eps": 1e-5, "momentum": 0.1}, dict.fromkeys(names, (4,))


def folded(graph: Graph, seed: int = 0) -> Folded:
    """The graph, folded with random weights, and shown to compute the same."""
    weights = random_weights(graph, seed)
    arrays = {key: tensor.numpy() for key, tensor in weights.items()}
    result = fold(graph, arrays)
    module = Network(result.graph).double()
    module.load_state_dict(
        {key: torch.from_numpy(np.array(result.weights[key])) for key in result.graph.tensor_shapes}
    )
    images = torch.randn(
        3, *graph.inputs[0].shape, generator=torch.Generator().manual_seed(seed)
    ).double()
    before, after = (
        outputs(build(graph, weights, {}).double(), (images,)),
        outputs(module, (images,)),
    )
    for a, b in zip(before, after, strict=True):
        assert (a - b).abs().max() <= 1e-11 * max(1.0, float(a.abs().max()))
    return result


def words(result: Folded) -> list[str]:
    return [vertex.op for vertex in result.graph.vertices]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_any_composition_computes_the_same_in_float64(seed: int) -> None:
    graph = compose(seed)
    result = folded(graph, seed)
    names = {vertex.name: vertex for vertex in graph.vertices}
    for vertex in result.graph.vertices:
        assert vertex.shape == names[vertex.name].shape
    assert len(result.graph.vertices) <= len(graph.vertices)
    assert not {*result.into} & {vertex.name for vertex in result.graph.vertices}
    assert {*result.into.values()} <= {vertex.name for vertex in result.graph.vertices}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_layer_gains_work(seed: int) -> None:
    graph = compose(seed)
    assert cost(fold(graph, arrays(graph, seed)).graph).macs <= cost(graph).macs


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "with_attention"])
def test_every_family_keeps_its_work_and_its_outputs(family: str) -> None:
    module, images = make(family)
    module = module.double().eval()
    doubles = tuple(image.double() for image in images)
    graph = trace(module, doubles if len(doubles) > 1 else doubles[0], name=family)
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    result = fold(graph, weights)
    assert cost(result.graph).macs == cost(graph).macs
    held = {key: torch.from_numpy(np.array(value)) for key, value in result.weights.items()}
    after = build(result.graph, held, {}, opaque=opaque_modules(graph, module)).double()
    before = build(graph, module.state_dict(), {}, opaque=opaque_modules(graph, module)).double()
    for a, b in zip(outputs(before, doubles), outputs(after, doubles), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)


def test_a_resnets_file_has_no_batch_norm_and_its_convolutions_names() -> None:
    network = lively(resnet20())
    graph = trace(network, torch.zeros(2, 3, 32, 32), name="resnet20")
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    model = onnx.load_from_string(to_onnx(graph, weights))
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    convolutions = [vertex.name for vertex in graph.vertices if vertex.op == "conv"]
    assert [node.name for node in model.graph.node if node.op_type == "Conv"] == convolutions
    into = fold(graph, weights).into
    assert [into[v.name] for v in graph.vertices if v.op == "batch_norm"] == convolutions
    assert cost(fold(graph, weights).graph).macs == cost(graph).macs
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(
        None, {"images": x.numpy()}
    )
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), network(x), rtol=1e-4, atol=1e-5)


def test_a_convolution_and_its_norm_are_the_convolution_by_hand() -> None:
    graph = line(conv(), norm())
    weights = arrays(graph, 0)
    result = fold(graph, weights)
    (vertex,) = result.graph.vertices[1:]
    assert (vertex.name, vertex.module) == ("conv0", "conv0+batch_norm1")
    # gamma / sqrt(var + eps) times the weight; beta - mean * that.
    gamma, beta, mean, var = (
        weights[f"batch_norm1.{n}"] for n in ("weight", "bias", "running_mean", "running_var")
    )
    factor = gamma / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(
        result.weights["conv0+batch_norm1.weight"],
        weights["conv0.weight"] * factor[:, None, None, None],
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        result.weights["conv0+batch_norm1.bias"], beta - mean * factor, rtol=1e-13
    )


@pytest.mark.parametrize("bias", [False, True])
def test_a_grouped_transposed_convolution_takes_its_norm_group_by_group(bias: bool) -> None:
    # torch's weight is (in, out / groups, height, width): the factor of output channel c belongs
    # to group c // 3. Computed by torch before and after, and one kernel by hand.
    settings = {**CONV, "output_padding": [0, 0], "groups": 2}
    tensors: dict[str, tuple[int, ...]] = {"weight": (4, 3, 3, 3)}
    if bias:
        tensors["bias"] = (6,)
    out = (6, 6, 6)
    names = ("weight", "bias", "running_mean", "running_var")
    vertices = (
        Vertex("x", "input", shape=IMAGE),
        Vertex("up", "conv_transpose", ("x",), settings, out, tensors, "up"),
        Vertex("bn", "batch_norm", ("up",), norm()[1], out, dict.fromkeys(names, (6,)), "bn"),
    )
    graph = Graph("grouped", vertices, ("bn",))
    result = folded(graph)
    assert words(result) == ["input", "conv_transpose"]
    held = {key: tensor.numpy() for key, tensor in random_weights(graph, 0).items()}
    factor = held["bn.weight"] / np.sqrt(held["bn.running_var"] + 1e-5)
    combined = result.weights[result.graph["up"].tensor_key("weight")]
    # Input channel 2 is the first of group 1, whose output channel 1 is channel 4 of all.
    np.testing.assert_allclose(combined[2, 1], held["up.weight"][2, 1] * factor[4])


def test_norms_factors_and_offsets_in_a_row_become_one() -> None:
    constant: Word = ("add_constant", {"value": 0.25}, {})
    scale: Word = ("scale", {}, {"gamma": (1, 4, 1, 1)})
    assert words(folded(line(norm(), constant, scale, norm()))) == ["input", "batch_norm"]
    assert words(folded(line(conv(), constant, scale, norm()))) == ["input", "conv"]
    factors: tuple[Word, ...] = (scale, ("mul_constant", {"value": 3.0}, {}))
    assert words(folded(line(*factors))) == ["input", "scale"]
    assert words(folded(line(constant, constant))) == ["input", "shift"]


@pytest.mark.parametrize(
    "word",
    [
        ("dropout", {"p": 0.5}, {}),
        ("slice", {"start": 0, "stop": 4}, {}),
        ("shuffle", {"groups": 1}, {}),
        ("shuffle", {"order": [0, 1, 2, 3]}, {}),
        ("pad_channels", {"before": 0, "after": 0}, {}),
        ("subsample", {"stride": [1, 1]}, {}),
        ("subsample", {"stride": [1, 1], "start": [0, 0], "stop": [6, 6]}, {}),
        ("take", {"side": "width", "order": [0, 1, 2, 3, 4, 5]}, {}),
        ("pixel_shuffle", {"factor": 1}, {}),
        ("pixel_unshuffle", {"factor": 1}, {}),
        ("adaptive_avg_pool", {"size": [6, 6]}, {}),
        ("resize", {"size": [6, 6], "mode": "bilinear"}, {}),
        ("add_constant", {"value": 0.0}, {}),
        ("mul_constant", {"value": 1}, {}),
    ],
    ids=lambda word: word[0],
)
def test_what_changes_nothing_is_left_out(
    word: Word,
) -> None:
    assert words(folded(line(("tanh", {}, {}), word))) == ["input", "tanh"]


@pytest.mark.parametrize(
    "word",
    [
        ("take", {"side": "width", "order": [5, 4, 3, 2, 1, 0]}, {}),
        ("take", {"side": "height", "order": [1, 2, 3, 4, 5, 0]}, {}),
    ],
)
def test_an_image_that_is_turned_is_another(word: Word) -> None:
    assert words(folded(line(("tanh", {}, {}), word))) == ["input", "tanh", "take"]


def test_a_relu_of_what_is_not_negative_is_left_out() -> None:
    assert words(folded(line(("relu6", {}, {}), ("relu", {}, {})))) == ["input", "relu6"]
    assert words(folded(line(("tanh", {}, {}), ("relu", {}, {})))) == ["input", "tanh", "relu"]


def test_what_another_reads_too_is_not_changed() -> None:
    graph = line(conv(), norm(), ("relu", {}, {}))
    last = Vertex("sum", "add", ("conv0", "relu2"), {}, IMAGE)
    graph = Graph("read twice", (*graph.vertices, last), ("sum",))
    assert words(folded(graph)) == ["input", "conv", "batch_norm", "relu", "add"]
    asked_for = Graph("an output", line(conv(), norm()).vertices, ("conv0", "batch_norm1"))
    assert words(folded(asked_for)) == ["input", "conv", "batch_norm"]


def test_a_linear_layer_at_each_position_takes_its_norm_in() -> None:
    graph = line(("linear", {}, {"weight": (4, 4), "bias": (4,)}), norm())
    assert words(folded(graph)) == ["input", "linear"]


def test_a_convolution_pads_with_the_zeros_before_it_by_itself() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.conv(nn.functional.pad(x, (0, 1, 0, 2)))
            return answer

    torch.manual_seed(0)
    module, images = Same(), torch.randn(2, 3, 9, 8)
    graph = trace(module, images, name="same")
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    content = to_onnx(graph, weights)
    assert [node.op_type for node in onnx.load_from_string(content).graph.node] == ["Conv"]
    session = onnxruntime.InferenceSession(content)
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert np.allclose(found, module(images).detach().numpy(), atol=1e-5)


def test_a_convolution_called_twice_is_combined_with_each_norm_apart() -> None:
    graph = line(conv(), norm(), conv(), norm())
    vertices = [
        Vertex(v.name, v.op, v.inputs, v.attributes, v.shape, v.tensors, "conv")
        if v.op == "conv"
        else v
        for v in graph.vertices
    ]
    result = folded(Graph("twice", tuple(vertices), graph.outputs))
    assert [v.module for v in result.graph.vertices] == [
        "", "conv+batch_norm1", "conv+batch_norm3",
    ]  # fmt: skip


def test_equal_names_of_unequal_weights_are_kept_apart() -> None:
    # Two tensors of one module, each after a call of one convolution.
    graph = line(
        conv(), ("scale", {}, {"first": (4,)}), ("relu", {}, {}), conv(),
        ("scale", {}, {"second": (4,)}),
    )  # fmt: skip
    modules = {"conv": "conv", "scale": "block"}
    vertices = [
        Vertex(v.name, v.op, v.inputs, v.attributes, v.shape, v.tensors, modules.get(v.op, ""))
        for v in graph.vertices
    ]
    result = folded(Graph("clash", tuple(vertices), graph.outputs))
    assert [v.module for v in result.graph.vertices if v.op == "conv"] == [
        "conv+block", "conv+block:2",
    ]  # fmt: skip


def test_a_split_that_is_put_together_again_is_nothing() -> None:
    halves = [
        Vertex("low", "slice", ("x",), {"start": 0, "stop": 2}, (2, 6, 6)),
        Vertex("high", "slice", ("x",), {"start": 2, "stop": 4}, (2, 6, 6)),
    ]
    vertices = (
        Vertex("x", "input", shape=IMAGE),
        *halves,
        Vertex("both", "concat", ("low", "high"), {}, IMAGE),
        Vertex("act", "tanh", ("both",), {}, IMAGE),
    )
    assert words(folded(Graph("whole", vertices, ("act",)))) == ["input", "tanh"]
    turned = [*vertices[:3], Vertex("both", "concat", ("high", "low"), {}, IMAGE), vertices[4]]
    assert words(folded(Graph("turned", tuple(turned), ("act",)))) == [
        "input", "slice", "slice", "concat", "tanh",
    ]  # fmt: skip


def test_parts_of_parts_and_lists_of_lists_are_one() -> None:
    vertices = (
        Vertex("x", "input", shape=IMAGE),
        Vertex("three", "slice", ("x",), {"start": 1, "stop": 4}, (3, 6, 6)),
        Vertex("two", "slice", ("three",), {"start": 1, "stop": 3}, (2, 6, 6)),
        Vertex("act", "tanh", ("x",), {}, IMAGE),
        Vertex("inner", "concat", ("two", "act"), {}, (6, 6, 6)),
        Vertex("outer", "concat", ("inner", "x"), {}, (10, 6, 6)),
    )
    result = folded(Graph("parts", vertices, ("outer",)))
    assert words(result) == ["input", "slice", "tanh", "concat"]
    assert dict(result.graph["two"].attributes) == {"start": 2, "stop": 4}
    assert result.graph["outer"].inputs == ("two", "act", "x")


def test_the_part_that_a_list_was_made_of_is_read_itself() -> None:
    vertices = (
        Vertex("x", "input", shape=IMAGE),
        Vertex("act", "tanh", ("x",), {}, IMAGE),
        Vertex("both", "concat", ("act", "x"), {}, (8, 6, 6)),
        Vertex("part", "slice", ("both",), {"start": 0, "stop": 4}, IMAGE),
        Vertex("last", "sigmoid", ("part",), {}, IMAGE),
    )
    result = folded(Graph("part", vertices, ("last",)))
    assert words(result) == ["input", "tanh", "sigmoid"]
    assert dict(result.into) == {"part": "act"}


def test_the_same_value_is_computed_once() -> None:
    vertices = (
        Vertex("x", "input", shape=IMAGE),
        Vertex("one", "tanh", ("x",), {}, IMAGE),
        Vertex("two", "tanh", ("x",), {}, IMAGE),
        Vertex("sum", "add", ("one", "two"), {}, IMAGE),
    )
    result = folded(Graph("twice", vertices, ("sum",)))
    assert words(result) == ["input", "tanh", "add"]
    assert dict(result.into) == {"two": "one"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_left_for_the_writer_to_name(value: float) -> None:
    graph = line(conv(), norm())
    weights = arrays(graph, 0)
    weights["batch_norm1.bias"][2] = value
    assert words(fold(graph, weights)) == ["input", "conv", "batch_norm"]
    del weights["batch_norm1.bias"]
    assert words(fold(graph, weights)) == ["input", "conv", "batch_norm"]


def test_what_was_given_stays_as_it_was() -> None:
    graph = line(conv(), norm())
    weights = arrays(graph, 0)
    before, text = {key: value.copy() for key, value in weights.items()}, graph.to_json()
    fold(graph, weights)
    assert graph.to_json() == text
    assert weights.keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(weights[key], value)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_file_of_any_composition_computes_what_torch_computes(seed: int) -> None:
    graph = compose(seed)
    weights = random_weights(graph, seed)
    network = build(graph, weights, {}).double()
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    session = onnxruntime.InferenceSession(to_onnx(graph, arrays(graph, seed)))
    for found, expected in zip(
        session.run(None, {"images": x.numpy()}), outputs(network, (x.double(),)), strict=True
    ):
        scale = max(1.0, float(expected.abs().max()))
        assert np.abs(found - expected.numpy()).max() <= 1e-4 * scale


def arrays(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    held: Mapping[str, torch.Tensor] = random_weights(graph, seed)
    return {key: tensor.numpy() for key, tensor in held.items()}
