"""FP16 by a builder's flag or in the file: shown with every value rounded, never overflowing."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from gensynth.data.dataset import Split
from gensynth.errors import ExportError
from gensynth.export.artefact import make, write
from gensynth.export.half import to_half
from gensynth.export.onnx import to_onnx
from gensynth.export.overflow import overflow
from gensynth.export.source import Source
from gensynth.export.targets import find_target
from gensynth.export.verify import verify
from gensynth.goals.requirements import parse_all
from gensynth.goals.score import Proportion
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import build
from gensynth.tasks.classification import Classification
from tests.export.sources import alter, manifest, source

BY_FLAG = ["jetson-tx2", "jetson-nano", "jetson-xavier", "jetson-orin-jp5", "jetson-orin-jp6"]
WITH_FP16 = [*BY_FLAG, "nvidia-gpu"]
EYE = np.eye(4, dtype=np.float32)


def line(*weights: np.ndarray, requirement: str = "") -> Source:
    """Linear layers fc0, fc1, ... with a relu act0, act1, ... after each but the last.

    Its images are one bright pixel of four, which the class is; what it reads is pixel / 255.
    """
    vertices = [Vertex("x", "input", shape=(4, 1, 1)), Vertex("flat", "flatten", ("x",), {}, (4,))]
    for number, weight in enumerate(weights):
        name, shape = f"fc{number}", (len(weight),)
        tensors = {"weight": weight.shape}
        vertices.append(Vertex(name, "linear", (vertices[-1].name,), {}, shape, tensors, name))
        vertices.append(Vertex(f"act{number}", "relu", (name,), {}, shape))
    graph = Graph("line", tuple(vertices[:-1]), (vertices[-2].name,))
    state = {f"fc{n}.weight": torch.from_numpy(w) for n, w in enumerate(weights)}
    labels = np.arange(40) % 4
    pixels = (255 * np.eye(4)[labels]).astype(np.uint8)[:, :, None, None]
    reading = replace(source().reading, shape=(4, 1, 1), mean=(0.0,) * 4, std=(1.0,) * 4,
                      classes=tuple("abcd"))  # fmt: skip
    search = Split("search", pixels, labels.astype(np.int64))
    return Source("line", build(graph, state).eval(), reading, Classification(), search, None,
                  pixels, parse_all([requirement] if requirement else []))  # fmt: skip


def loud() -> Source:
    """fc0 gives 40000, fc1 the sum of two, 80000, which act1 hands on to fc2."""
    return line(np.repeat(4e4 * EYE, 2, axis=0), np.repeat(EYE, 2, axis=1), EYE / 8e4)


def said(one: Source, target: str) -> dict[str, Any]:
    made = make(one, find_target(target), precision="fp16", batch=None)
    document: dict[str, Any] = json.loads(made.files["manifest.json"])
    return document


@pytest.mark.parametrize("name", WITH_FP16)
def test_fp16_is_compared_with_every_value_and_constant_rounded(name: str) -> None:
    # By numpy: 1/3 is rounded as a weight, and rounded again as what the next layer reads.
    third = np.float32(1 / 3)
    made = make(line(third * EYE, third * EYE), find_target(name), precision="fp16", batch=None)
    half = np.float16
    first = half(np.float32(half(third)) * 1)
    second = half(np.float32(half(third)) * np.float32(first))
    exact = float(third * third)
    expected = abs(float(second) - exact)
    assert made.parity.difference == pytest.approx(expected, rel=1e-3)
    assert expected > 1e-4 * exact  # what FP32 alone would have been held against
    assert made.parity.tolerance == 2e-2


@pytest.mark.parametrize("name", WITH_FP16)
def test_what_gives_or_reads_a_number_beyond_fp16_stays_in_fp32(name: str, tmp_path: Path) -> None:
    made = make(loud(), find_target(name), precision="fp16", batch=None)
    assert made.mixed is not None
    assert made.mixed.kept == ("fc1", "act1", "fc2")
    found = json.loads(made.files["manifest.json"])
    assert found["fp16"]["beyond_fp16"] == {
        "vertex 'fc1' (Gemm) gives": 8e4, "vertex 'act1' (Relu) gives": 8e4,
    }  # fmt: skip
    assert found["builder_fp32_layers"] == (list(made.mixed.kept) if name in BY_FLAG else [])
    assert made.accuracy is not None
    assert made.accuracy.after == Proportion("top1", 40, 40)
    write(made, tmp_path / "line")
    assert verify(tmp_path / "line").parity.relative <= 1e-3


def test_a_file_keeps_what_it_keeps_in_its_own_types() -> None:
    made = make(loud(), find_target("nvidia-gpu"), precision="fp16", batch=None)
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(made.files["network.onnx"]))
    types = {t.name: t.data_type for t in model.graph.initializer}
    assert types == {
        "fc0.weight": TensorProto.FLOAT16,
        "fc1.weight": TensorProto.FLOAT,
        "fc2.weight": TensorProto.FLOAT,
    }


def test_a_builder_that_is_not_told_is_found_out_by_name(tmp_path: Path) -> None:
    write(make(loud(), find_target("jetson-tx2"), precision="fp16", batch=None), tmp_path / "line")
    alter(tmp_path / "line", builder_fp32_layers=[])
    message = r"it overflows in FP16: vertex 'fc1' \(Gemm\) gives 8e\+04, and FP16 ends at 65504"
    with pytest.raises(ExportError, match=message):
        verify(tmp_path / "line")
    document = manifest(tmp_path / "line")
    del document["builder_fp32_layers"]  # as an older gensynth wrote it
    (tmp_path / "line" / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ExportError, match=message):
        verify(tmp_path / "line")
    alter(tmp_path / "line", builder_fp32_layers=["fc7"])
    with pytest.raises(ExportError, match="keeps 'fc7' in FP32, which no node is"):
        verify(tmp_path / "line")


def test_an_overflow_of_a_file_in_fp16_is_found_out_by_name(tmp_path: Path) -> None:
    one = loud()
    made = make(one, find_target("nvidia-gpu"), precision="fp16", batch=None)
    graph, state = one.network.graph, one.network.state_dict()
    exact = to_onnx(graph, {k: t.numpy() for k, t in state.items()}, opset=17, batch=1)
    write(replace(made, files={**made.files, "network.onnx": to_half(exact)}), tmp_path / "line")
    digest = hashlib.sha256((tmp_path / "line" / "network.onnx").read_bytes()).hexdigest()
    files = manifest(tmp_path / "line")["files"]
    alter(tmp_path / "line", files={**files, "network.onnx": digest})
    with pytest.raises(ExportError, match=r"overflows in FP16: vertex 'fc1' \(Gemm\) gives 8e\+04"):
        verify(tmp_path / "line")


def test_a_constant_beyond_fp16_keeps_what_reads_it_in_fp32() -> None:
    found = said(line(EYE, np.float32(1e5) * EYE, EYE / np.float32(1e5), EYE), "jetson-tx2")
    assert found["builder_fp32_layers"] == ["fc1", "act1", "fc2"]
    assert next(iter(found["fp16"]["beyond_fp16"])) == "'fc1.weight' holds"


def test_a_requirement_that_fp16_rounding_costs_keeps_the_layer_in_fp32() -> None:
    # 2048 + 1 is 2048 in FP16, so what tells the classes apart is gone where fc1 gives it.
    offset = EYE + np.float32(2048)
    one = line(EYE, offset, EYE - np.float32(0.25), requirement="top1 >= 90%")
    found = said(one, "jetson-tx2")
    assert "top1 >= 90%" in found["fp16"]["kept_for"]
    assert set(found["builder_fp32_layers"]) >= {"fc1"}
    assert found["fp16"]["tried"][0]["correct"] < 36 <= found["accuracy"]["after"]["correct"]


def test_without_images_random_pixels_show_the_overflow() -> None:
    found = said(replace(loud(), search=None, calibration=None), "jetson-tx2")
    assert found["builder_fp32_layers"] == ["fc1", "act1", "fc2"]
    assert found["accuracy"] is None


def test_an_overflow_is_what_gives_the_number_and_all_that_read_it() -> None:
    one = loud()
    state = {key: tensor.numpy() for key, tensor in one.network.state_dict().items()}
    assert one.search is not None
    content = to_onnx(one.network.graph, state, opset=13, batch=1)
    found = overflow(content, one.reading(one.search.images))
    assert found.nodes == ("fc1", "act1", "fc2")


def test_an_infinity_that_is_meant_is_no_overflow() -> None:
    # -inf in FP32 is -inf in FP16, as in the mask of an attention.
    held = [onnx.numpy_helper.from_array(np.array([0, -np.inf], np.float32), "mask")]
    given, returned = (
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")
    )
    node = onnx.helper.make_node("Add", ["x", "mask"], ["y"], "sum")
    graph = onnx.helper.make_graph([node], "masked", [given], [returned], held)
    opset = onnx.helper.make_opsetid("", 13)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=7)
    assert overflow(model.SerializeToString(), np.ones(2, np.float32)).nodes == ()


@pytest.mark.parametrize(
    ("operator", "attributes", "least"),
    [  # of 16 x 16 equal numbers, of which each of them is in range
        ("GlobalAveragePool", {}, 65504 / 256),
        ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, 65504 / 256),
        ("ReduceL2", {"axes": [2, 3]}, (65504 / 256) ** 0.5),
    ],
)
def test_a_sum_within_a_node_beyond_fp16_is_an_overflow(
    operator: str, attributes: dict[str, Any], least: float
) -> None:
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["positive"], "positive"),
        onnx.helper.make_node(operator, ["positive"], ["y"], "summing", **attributes),
    ]
    ends = [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 16, 16]),
            onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]  # fmt: skip
    graph = onnx.helper.make_graph(nodes, "sums", ends[:1], ends[1:])
    opset = onnx.helper.make_opsetid("", 13)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=7)
    for share, nodes_kept in ((0.99, ()), (1.01, ("summing",))):
        read = np.full((3, 2, 16, 16), share * least, np.float32)
        assert overflow(model.SerializeToString(), read).nodes == nodes_kept


def test_one_image_of_many_is_enough_for_an_overflow() -> None:
    one = line(6e4 * EYE, EYE)
    state = {key: tensor.numpy() for key, tensor in one.network.state_dict().items()}
    content = to_onnx(one.network.graph, state, opset=13, batch=1)
    for loudest in (0, 1, 2):
        read = np.full((3, 4, 1, 1), 0.5, np.float32)
        assert overflow(content, read).nodes == ()
        read[loudest] = 1.5  # 90000
        assert "fc0" in overflow(content, read).nodes


def test_an_overflow_that_a_late_image_alone_shows_is_found() -> None:
    one = line(300 * EYE, 300 * EYE, EYE / 9e4)
    assert one.search is not None
    quiet = np.tile(one.search.images // 3, (5, 1, 1, 1))  # fc1 gives 30000 for each
    loud_one = quiet.copy()
    loud_one[-1] = one.search.images[-1]  # and 90000 for this one, which no output is compared on
    for images, kept in ((quiet, []), (loud_one, ["fc1", "act1", "fc2"])):
        search = replace(one.search, images=images, labels=np.tile(one.search.labels, 5))
        found = said(replace(one, search=search), "jetson-tx2")
        assert found["builder_fp32_layers"] == kept
