"""INT8 files are those of their target, and keep in FP32 what a requirement needs."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from experiments.export import int8, table
from gensynth.data.dataset import Split
from gensynth.errors import ConfigError, ExportError
from gensynth.export.acceptance import inspect
from gensynth.export.artefact import make, write
from gensynth.export.int8 import Quantizer, is_int8
from gensynth.export.parity import run_all
from gensynth.export.sensitivity import Judgement, fallen_requirements, mix
from gensynth.export.source import Source
from gensynth.export.targets import find_target, names
from gensynth.export.verify import verify
from gensynth.goals.requirements import parse_all
from gensynth.goals.score import Proportion, Score
from gensynth.network.module import build
from gensynth.tasks.classification import Classification
from tests.export.int8_files import file_of, line, spoiled
from tests.export.sources import alter, finalists, manifest, source
from tests.onnx_files.readers import parser_errors
from tests.runs import toybox

WITH_INT8 = [name for name in names() if "int8" in find_target(name).precisions]
CLOSED = ("resnet", "shuffle", "unet", "squeeze_excite", "norms", "conv_squeeze_excite")
"""Families with every kind of layer and join."""


def with_images(one: Source, *requirements: str) -> Source:
    assert one.search is not None
    return replace(one, calibration=one.search.images[:20], requirements=parse_all(requirements))


def test_int8_is_refused_where_the_gpu_has_no_units_for_it() -> None:
    for name, sm in (("jetson-tx2", 62), ("jetson-nano", 53)):
        message = rf"no INT8 for {name}: its GPU \(sm_{sm}\) has no INT8 dot product"
        with pytest.raises(ConfigError, match=message):
            make(with_images(source()), find_target(name), precision="int8", batch=None)
    assert set(names()) - set(WITH_INT8) == {"jetson-tx2", "jetson-nano"}


def weights_of(content: bytes) -> np.ndarray:
    """All weights of a file in 8 bits."""
    held = onnx.load_from_string(content).graph.initializer
    found = [numpy_helper.to_array(t).ravel() for t in held if t.data_type == TensorProto.INT8]
    return np.concatenate([array for array in found if array.size > 8])  # no zero points


def test_a_processors_weights_have_seven_bits_and_tensorrts_eight() -> None:
    # Two products of 255 and 64 are 32,640, and 16 bits end at 32,767; with 127 they are 64,770.
    graph = line(4, 16, 4)
    random = np.random.default_rng(0)
    weights = {
        key: random.normal(size=shape).astype(np.float32)
        for key, shape in graph.tensor_shapes.items()
    }
    images = random.normal(size=(20, 4, 1, 1)).astype(np.float32)
    content = file_of(graph, weights, "x86-cpu")
    seven = weights_of(Quantizer(content, images, "processor").write())
    assert (seven.min() >= -64, seven.max() <= 64) == (True, True)
    assert np.abs(seven).max() >= 63
    # For TensorRT the weights stay as they are, and their scales, one an output, use 8 bits.
    model = onnx.load_from_string(Quantizer(content, images, "tensorrt").write())
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] in held]
    assert len(pairs) == 2
    for node in pairs:
        largest = np.abs(held[node.input[0]]).max(axis=1)
        np.testing.assert_allclose(held[node.input[1]], largest / 127, rtol=0.01)


@pytest.mark.parametrize("count", [1, 64, 65, 150])
@pytest.mark.parametrize("target", ["x86-cpu", "jetson-xavier"])
def test_ranges_are_those_of_all_images(count: int, target: str) -> None:
    # One number far from the others in the last image: a symmetric scale is its 127th part.
    images = np.random.default_rng(1).uniform(-1, 1, (count, 4, 1, 1)).astype(np.float32)
    images[-1, 2] = -50.0
    content = file_of(line(4, 5), {"fc0.weight": np.ones((5, 4), np.float32)}, target)
    model = onnx.load_from_string(Quantizer(content, images, "tensorrt").write())
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    first = next(
        n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in held
    )
    assert held[first.input[1]] == pytest.approx(50 / 127, rel=0.01)


def test_only_onnx_runtimes_own_targets_are_judged_by_its_int8_kernels() -> None:
    assert {name: find_target(name).rounding for name in WITH_INT8} == {
        "jetson-xavier": "as_written",
        "jetson-orin-jp5": "as_written",
        "jetson-orin-jp6": "as_written",
        "nvidia-gpu": "as_written",
        "raspberry-pi": "in_kernels",
        "x86-cpu": "in_kernels",
    }


@pytest.mark.parametrize("scheme", ["tensorrt", "processor"])
def test_the_same_ranges_give_the_same_bytes(scheme: str) -> None:
    network, (images, *_) = table.sub_network("resnet")
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    files = [
        Quantizer(file_of(network.graph, weights), images.numpy(), scheme).write() for _ in range(2)
    ]
    assert files[0] == files[1]
    quantizer = Quantizer(file_of(network.graph, weights), images.numpy(), scheme)
    assert quantizer.write(keep=quantizer.layers[:1]) != files[0]
    assert quantizer.write() == files[0]


def test_tensorrts_file_rounds_what_layers_read_and_keeps_biases() -> None:
    network, (images, *_) = table.sub_network("resnet")
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    content = Quantizer(file_of(network.graph, weights), images.numpy(), "tensorrt").write()
    model = onnx.load_from_string(content)
    maker = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert layers
    for node in layers:
        assert [maker[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert all(name not in maker for name in node.input[2:])
    for node in model.graph.node:
        if node.op_type == "Relu":  # stands right after its convolution or addition
            assert maker[node.input[0]].op_type in ("Conv", "Add")
    types = {t.name: t.data_type for t in model.graph.initializer}
    zeros = [n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {types[name] for name in zeros} == {TensorProto.INT8}
    assert not any(
        numpy_helper.to_array(t).any() for t in model.graph.initializer if t.name in zeros
    )


def test_a_layer_that_is_kept_reads_no_rounded_weight() -> None:
    graph = line(4, 4, 4)
    random = np.random.default_rng(1)
    weights = {k: random.normal(size=s).astype(np.float32) for k, s in graph.tensor_shapes.items()}
    x = random.normal(size=(16, 4, 1, 1)).astype(np.float32)
    quantizer = Quantizer(file_of(graph, weights), x, "tensorrt")
    assert quantizer.layers == ("fc0", "fc1")
    for options, rounded in (({"keep": ["fc0"]}, "fc1"), ({"only": ["fc0"]}, "fc0")):
        model = onnx.load_from_string(quantizer.write(**options))
        reads = {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
        assert {name for name in reads if name in weights} == {f"{rounded}.weight"}


@pytest.mark.parametrize("name", WITH_INT8)
@pytest.mark.parametrize("family", CLOSED)
def test_every_target_takes_its_int8_file(name: str, family: str) -> None:
    network, images = table.sub_network(family)
    target = find_target(name)
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    scheme = "tensorrt" if target.tensorrt else "processor"
    content = Quantizer(file_of(network.graph, weights, name), images[0].numpy(), scheme).write()
    report = inspect(content, target)
    assert [str(refusal) for refusal in report.refusals] == []
    assert report.operators["QuantizeLinear"] > 0
    (found,) = run_all(content, [images[0].numpy()], rounding=target.rounding)
    with torch.no_grad():
        expected = network.eval()(images[0])
    assert isinstance(expected, torch.Tensor)
    assert np.abs(found - expected.numpy()).max() <= 0.25 * float(expected.abs().max())


@pytest.mark.rtx
@pytest.mark.parametrize("name", [name for name in WITH_INT8 if find_target(name).tensorrt])
def test_the_real_parser_takes_an_int8_file(name: str) -> None:
    made = make(with_images(source()), find_target(name), precision="int8", batch=None)
    assert parser_errors(made.files["network.onnx"]) == []


def test_unsigned_and_shifted_values_are_refused_for_tensorrt() -> None:
    network, images = table.sub_network("resnet")
    weights = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    content = Quantizer(file_of(network.graph, weights), images[0].numpy(), "processor").write()
    reasons = Counter(r.reason for r in inspect(content, find_target("jetson-xavier")).refusals)
    assert reasons["its zero point is not zero"] > 0
    assert reasons["its values are UINT8"] > 0


def right(correct: int, n: int = 64) -> Score:
    return Proportion("top1", correct, n)


def counter(images: np.ndarray, labels: np.ndarray) -> Callable[[bytes], Score]:
    def measure(content: bytes) -> Score:
        (found,) = run_all(content, [images])
        return right(int((found.argmax(1) == labels).sum()))

    return measure


def test_the_layer_that_int8_breaks_stays_in_fp32() -> None:
    graph, weights, images, labels = spoiled()
    content = file_of(graph, weights, "x86-cpu")
    measure = counter(images, labels)
    assert measure(content) == right(64)
    quantizer = Quantizer(content, images, "tensorrt")

    def judge(file: bytes) -> Judgement:
        score = measure(file)
        return score, () if score.value >= 60 / 64 else ("top1 >= 94%",)

    found = mix(
        quantizer,
        precision="int8",
        judge=judge,
        exact=content,
        read=images,
        rounding="as_written",
    )
    assert found.kept == ("fc1",)
    assert found.score == measure(found.content) == right(64)
    assert found.fallen == ("top1 >= 94%",)
    assert next(iter(found.damage)) == "fc1"
    assert found.damage["fc1"] > 0.5 > 0.05 > found.damage["fc0"]
    assert dict(found.tried) == {0: measure(quantizer.write()), 1: right(64)}
    everything = dict(found.tried)[0]
    assert everything is not None
    assert everything.value < 0.5


def test_nothing_is_kept_where_nothing_falls() -> None:
    graph, weights, images, labels = spoiled()
    content = file_of(graph, weights, "x86-cpu")
    measure = counter(images, labels)
    found = mix(
        Quantizer(content, images, "tensorrt"),
        precision="int8",
        judge=lambda file: (measure(file), ()),
        exact=content,
        read=images,
        rounding="as_written",
    )
    assert (found.kept, dict(found.damage)) == ((), {})
    assert len(found.tried) == 1


def test_a_requirement_that_no_layer_in_int8_leaves_is_an_error() -> None:
    graph, weights, images, labels = spoiled()
    content = file_of(graph, weights, "x86-cpu")
    measure = counter(images, labels)
    with pytest.raises(ExportError, match="in INT8 top1 >= 100% would not hold as before"):
        mix(
            Quantizer(content, images, "tensorrt"),
            precision="int8",
            judge=lambda file: (measure(file), ("top1 >= 100%",)),
            exact=content,
            read=images,
            rounding="as_written",
        )


def test_a_requirement_falls_with_its_bounds_or_its_point_value() -> None:
    limits = parse_all(["top1 >= 90%", "macs <= 20"])
    costs = {"params": 10.0, "macs": 20.0}

    def fell(before: int, after: int) -> tuple[str, ...]:
        scores = {"before": right(before, 1000), "after": right(after, 1000)}
        return fallen_requirements(limits, costs, **scores)

    # One-sided 95 % Wilson bounds by hand: 917/1000 gives 0.9014 and 915/1000 0.8993; 884 gives
    # at most 0.8995 and 886 0.9014.
    assert fell(950, 917) == ()
    assert fell(950, 915) == ("top1 >= 90%",)
    assert fell(915, 900) == ()
    assert fell(915, 899) == ("top1 >= 90%",)
    assert fell(899, 886) == ()
    assert fell(899, 884) == ("top1 >= 90%",)
    assert fell(884, 100) == ()
    nothing = fallen_requirements((), costs, before=right(950, 1000), after=right(0, 1000))
    assert nothing == ()


@pytest.mark.parametrize("name", WITH_INT8)
def test_an_int8_artefact_says_how_it_was_made_and_verifies(tmp_path: Path, name: str) -> None:
    made = make(with_images(source()), find_target(name), precision="int8", batch=None)
    assert is_int8(made.files["network.onnx"])
    write(made, tmp_path / "toy")
    verify(tmp_path / "toy")
    found = manifest(tmp_path / "toy")
    assert found["int8"]["ranges_from"] == {"split": "train", "images": 20}
    assert found["int8"]["kept_in_fp32"] == []
    flags = {"jetson-xavier", "jetson-orin-jp5", "jetson-orin-jp6"}
    # What the file leaves in FP32 is not the builder's to compute in FP16: nothing has shown it.
    assert found["builder_flags"] == (["INT8"] if name in flags else [])
    assert found["accuracy"]["n"] == 40
    assert found["accuracy"]["after"]["correct"] == found["int8"]["tried"][0]["correct"]
    alter(tmp_path / "toy", precision="fp32")
    with pytest.raises(ExportError, match="is not in the precision 'fp32'"):
        verify(tmp_path / "toy")


def test_int8_without_images_is_refused_with_the_reason() -> None:
    one = replace(source(), search=None, why_not="the data set cannot be opened: gone")
    with pytest.raises(ExportError, match="there are none: the data set cannot be opened: gone"):
        make(one, find_target("x86-cpu"), precision="int8", batch=None)


def test_the_command_writes_a_trained_network_in_int8(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    run = finished[0]
    code, out, err = gensynth(
        "export", str(run), "--target", "jetson-orin-jp6", "--precision", "int8", "--out", "out"
    )
    assert (code, err) == (0, "".join(f"networks: {name}\n" for name in finalists(run)[-1:]))
    for name in finalists(run):
        found: dict[str, Any] = manifest(here / "out" / name)
        card = json.loads((here / "out" / name / "card.json").read_text())
        before, after = (found["accuracy"][when]["correct"] for when in ("before", "after"))
        assert before == card["search"]["correct"]
        assert after >= 0.6 * found["accuracy"]["n"]  # what the run requires
        assert (
            after
            == {t["kept"]: t["correct"] for t in found["int8"]["tried"]}[
                len(found["int8"]["kept_in_fp32"])
            ]
        )
        assert found["int8"]["ranges_from"] == {"split": "train", "images": 320}
        assert f"{name}: all " in out
        code, said, _ = gensynth("verify", f"out/{name}")
        assert (code, said.startswith(f"{name} for jetson-orin-jp6: ")) == (0, True)


def test_a_network_of_a_spoiled_layer_is_exported_with_it_in_fp32() -> None:
    graph, weights, images, labels = spoiled()
    network = build(graph, {key: torch.from_numpy(array) for key, array in weights.items()})
    pixels = np.round(255 * np.clip(images / 1.3, 0, 1)).astype(np.uint8)
    reading = replace(source().reading, shape=(4, 1, 1), mean=(0.0,) * 4, std=(1.0,) * 4,
                      classes=tuple("abcd"))  # fmt: skip
    search = Split("search", pixels, labels.astype(np.int64))
    one = Source("spoiled", network.eval(), reading, Classification(), search, None, pixels,
                 parse_all(["top1 >= 90%"]))  # fmt: skip
    made = make(one, find_target("jetson-xavier"), precision="int8", batch=None)
    assert made.mixed is not None
    assert made.accuracy is not None
    assert made.mixed.fallen == ("top1 >= 90%",)
    assert made.mixed.kept == ("fc1",)
    assert made.accuracy.before == made.accuracy.after == right(64)
    said = json.loads(made.files["manifest.json"])["int8"]
    assert said["kept_in_fp32"] == list(made.mixed.kept)
    assert said["kept_for"] == ["top1 >= 90%"]
    assert next(iter(said["damage"])) == "fc1"


def test_the_recorded_network_keeps_its_requirement_in_int8() -> None:
    document = json.loads(int8.RECORD.read_text())
    assert int8.TABLE.read_text() == int8.markdown(document)
    assert {row["target"] for row in document["rows"]} == set(int8.TARGETS)
    for row in document["rows"]:
        for requirement in parse_all(row["required"]):
            assert requirement.allows(100 * row["before"] / row["n"])
            assert requirement.allows(100 * row["after"] / row["n"])
        assert bool(row["kept"]) == bool(row["fallen"])
        assert list(row["damage"])[: len(row["kept"])] == row["kept"]
        assert [len(row["kept"]), row["after"]] in row["tried"]
