"""An FP16 file computes what the FP32 network computes, as far as FP16 can."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from experiments.export import table
from gensynth.errors import ExportError
from gensynth.export.artefact import make, write
from gensynth.export.half import TOLERANCE, is_half, rounded, to_half
from gensynth.export.onnx import to_onnx
from gensynth.export.parity import check_network, run_all
from gensynth.export.targets import find_target
from gensynth.export.verify import verify
from tests.export.sources import source
from tests.networks.families import FAMILIES
from tests.networks.single import small

CLOSED = [name for name in FAMILIES if name != "with_attention"]
"""Families without an opaque part."""


def written() -> bytes:
    graph, weights = small()
    return to_onnx(graph, weights, opset=17, batch=1)


def test_weights_and_what_is_computed_are_fp16_and_the_border_is_fp32() -> None:
    model = onnx.load_from_string(to_half(written()))
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.FLOAT16}
    border = [*model.graph.input, *model.graph.output]
    assert {v.type.tensor_type.elem_type for v in border} == {TensorProto.FLOAT}
    assert [v.name for v in border] == ["images", "logits"]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    within = {v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    assert within == {TensorProto.FLOAT16}
    assert is_half(model.SerializeToString())
    assert not is_half(written())


def test_every_weight_is_rounded_to_the_nearest() -> None:
    _, weights = small()
    model = onnx.load_from_string(to_half(written()))
    found = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for key, value in weights.items():
        # Half a unit in the last of 11 bits: 2^-11 of the number itself at most.
        np.testing.assert_allclose(found[key].astype(np.float64), value, rtol=2**-11, atol=6e-8)


@pytest.mark.parametrize("family", CLOSED)
def test_every_family_computes_the_same_in_fp16(family: str) -> None:
    network, images = table.sub_network(family)
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    content = to_half(to_onnx(network.graph, weights, opset=17, batch=1))
    coarse = check_network(rounded(content), network, images, tolerance=TOLERANCE)
    # A processor leaves out the rounding between the borders: only the weights are rounded.
    fine = check_network(content, network, images, tolerance=TOLERANCE)
    assert 0 < fine.difference < 2 * coarse.difference


def test_a_weight_beyond_fp16_is_refused() -> None:
    graph, weights = small()
    weights["fc.weight"][0, 0] = 7e4
    with pytest.raises(ExportError, match=r"'fc.weight' holds 7e\+04, and FP16 ends at 65504"):
        to_half(to_onnx(graph, weights, opset=17))


def test_rounding_every_value_is_rounding_by_numpy() -> None:
    # y = 3 x + 1 in two nodes, rounded after the cast, the product and the sum.
    nodes = [
        onnx.helper.make_node("Mul", ["images", "three"], ["product"], "product"),
        onnx.helper.make_node("Add", ["product", "one"], ["logits"], "sum"),
    ]
    given, returned = (
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [64])
        for name in ("images", "logits")
    )
    held = [
        onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("three", 3), ("one", 1))
    ]
    graph = onnx.helper.make_graph(nodes, "line", [given], [returned], held)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    x = np.random.default_rng(0).normal(0, 100, 64).astype(np.float32)
    (found,) = run_all(rounded(to_half(model.SerializeToString())), [x])
    half = np.float16
    expected = half(half(np.float32(half(x)) * 3).astype(np.float32) + np.float32(1))
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_the_same_file_gives_the_same_bytes() -> None:
    assert to_half(written()) == to_half(written())


def test_an_artefact_in_fp16_verifies_and_counts_its_own_accuracy(tmp_path: Path) -> None:
    made = make(source(), find_target("nvidia-gpu"), precision="fp16", batch=None)
    assert made.parity.tolerance == TOLERANCE
    assert made.accuracy is not None
    assert made.accuracy.after.n == 40
    assert is_half(made.files["network.onnx"])
    write(made, tmp_path / "toy")
    assert 0 < verify(tmp_path / "toy").parity.relative <= TOLERANCE


@pytest.mark.parametrize("name", ["jetson-tx2", "nvidia-gpu"])
def test_a_network_of_which_nothing_fits_in_fp16_is_refused_with_the_vertex(name: str) -> None:
    one = source()
    with torch.no_grad():
        one.network.state_dict()["conv.weight"].mul_(7e3)
    message = r"nothing of it can be computed in FP16: vertex 'conv' \(Conv\) gives .*; export"
    with pytest.raises(ExportError, match=message):
        make(one, find_target(name), precision="fp16", batch=None)
