"""An ONNX file of others, made one that a target reads."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from gensynth.bench.subjects import find, read
from gensynth.errors import ConfigError, DataError, ExportError
from gensynth.export.half import is_half
from gensynth.export.int8 import is_int8
from gensynth.uses.classifier import Given, open_classifier
from gensynth.uses.foreign import export_file

GIVEN = Given(mean=(0.5,), std=(0.25,))


def network(
    *,
    opset: int = 17,
    gain: float = 1.0,
    activation: str = "Relu",
    channels: int = 1,
    width: int = 8,
) -> bytes:
    """Convolution, activation, means over the image, two classes; its nodes have no names."""
    draws = np.random.default_rng(0)
    tensors = {
        "w": (gain * draws.normal(0, 0.5, (4, channels, 3, 3))).astype(np.float32),
        "v": draws.normal(0, 1, (4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(activation, ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, 8, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "other.onnx"
    path.write_bytes(network())
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_file_is_brought_to_the_opset_and_the_batch_that_a_board_reads(file: Path) -> None:
    found = export_file(file, "jetson-tx2")
    model = onnx.load(found.file)
    assert found.file == Path("other-jetson-tx2-fp32.onnx")
    assert (model.opset_import[0].version, model.ir_version) == (13, 7)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert (found.noise, found.same_class) == (True, 1.0)
    assert found.relative < 1e-5


def test_one_mean_is_of_every_channel_and_two_are_refused_for_three(file: Path) -> None:
    file.write_bytes(network(channels=3))
    reading = open_classifier(file, GIVEN).reading
    assert (reading.mean, reading.std) == ((0.5,) * 3, (0.25,) * 3)
    with pytest.raises(ConfigError, match="must have 3 values, or one, .* got 2 and 1"):
        open_classifier(file, Given(mean=(0.5, 0.5), std=(0.25,)))


def test_images_that_are_no_squares_are_read_as_they_are(file: Path) -> None:
    file.write_bytes(network(width=12))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12), dtype=np.uint8)
    Image.fromarray(pixels).save("wide.png")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"x": ((pixels / np.float32(255) - 0.5) / 0.25)[None, None]})
    found = open_classifier(file, GIVEN)([Path("wide.png")])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ranges_of_int8_are_measured_on_ones_own_pictures(file: Path, pictures: Path) -> None:
    found = export_file(file, "x86-cpu", precision="int8", images=pictures, given=GIVEN)
    assert is_int8(found.file.read_bytes())
    assert (found.images, found.noise) == (6, False)
    assert 0 < found.relative < 0.1
    with pytest.raises(DataError, match="INT8 needs pictures"):
        export_file(file, "x86-cpu", precision="int8")


@pytest.mark.parametrize(("target", "by_flag"), [("nvidia-gpu", False), ("jetson-tx2", True)])
def test_what_fp16_cannot_hold_stays_in_fp32(file: Path, target: str, by_flag: bool) -> None:
    half = export_file(file, target, precision="fp16")
    assert (is_half(half.file.read_bytes()), half.by_flag) == (not by_flag, by_flag)
    assert (half.kept, 2**-14 < half.relative < 1e-2) == ((), True)  # as rounded, either way
    file.write_bytes(network(gain=3e4))
    kept = export_file(file, target, precision="fp16").kept
    assert (kept[0], "Flatten_3" in kept) == ("Conv_0", False)
    told = read(find([half.file])[0]).fp32_layers  # to the board's builder
    assert told == (list(kept) if by_flag else [])
    file.write_bytes(network(gain=1e6))
    with pytest.raises(ExportError, match=r"nothing of it can be computed in FP16: 'w' holds 1"):
        export_file(file, target, precision="fp16")


def test_what_fp16_rounds_too_far_stays_in_fp32(file: Path) -> None:
    # 1e-12 is 0 in FP16, and 0 / 0 no number.
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["none"], "none"),
        helper.make_node("Add", ["none", "least"], ["above"], "above"),
        helper.make_node("Div", ["none", "above"], ["zero"], "zero"),
        helper.make_node("Add", ["zero", "x"], ["y"], "sum"),
    ]
    held = [numpy_helper.from_array(np.array(1e-12, np.float32), "least")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "other", ends[:1], ends[1:], held)
    opset = helper.make_opsetid("", 13)
    file.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=7).SerializeToString()
    )
    found = export_file(file, "jetson-tx2", precision="fp16")
    assert (set(found.kept), found.relative < 1e-3) == ({"above", "zero"}, True)


def test_an_older_file_is_brought_to_a_newer_opset(file: Path) -> None:
    model = onnx.load_from_string(network(opset=12))
    del model.graph.output[0].type.tensor_type.shape.dim[:]  # ONNX leaves that free
    model.graph.output[0].type.tensor_type.ClearField("shape")
    file.write_bytes(model.SerializeToString())
    found = export_file(file, "nvidia-gpu")
    assert (onnx.load(found.file).opset_import[0].version, found.relative < 1e-5) == (17, True)


def test_a_file_of_images_in_fp16_is_refused(file: Path) -> None:
    model = onnx.load_from_string(network())
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match="must read FP32 images"):
        export_file(file, "jetson-tx2", precision="fp16")


def test_what_a_board_does_not_know_is_named_and_nothing_is_written(file: Path) -> None:
    file.write_bytes(network(activation="Mish", opset=18))
    with pytest.raises(ExportError, match="opset 13, and the file is none of that: .*Mish"):
        export_file(file, "jetson-tx2")
    assert list(file.parent.glob("other-*")) == []
