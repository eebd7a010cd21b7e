"""An artefact that was changed is found out, hash mended or not."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from gensynth.errors import ExportError
from gensynth.export.artefact import make, write
from gensynth.export.targets import find_target
from gensynth.export.verify import verify
from tests.export.sources import alter, source


@pytest.fixture(scope="module")
def made() -> Any:
    return make(source(), find_target("jetson-tx2"), precision="fp16", batch=None)


@pytest.fixture
def folder(made: Any, tmp_path: Path) -> Path:
    write(made, tmp_path / "toy")
    return tmp_path / "toy"


def mend(folder: Path) -> None:
    """Give the manifest the hashes of the files as they are now."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        manifest["files"][name] = digest
    path.write_text(json.dumps(manifest))


def test_what_was_written_verifies(folder: Path) -> None:
    found = verify(folder)
    assert (found.name, found.target, found.opset) == ("toy", "jetson-tx2", 13)
    assert found.files == len(list(folder.iterdir())) - 1
    # By hand: Conv, HardSigmoid and Mul, ReduceMean, Gemm.
    assert found.nodes == 5
    assert found.parity.holds


def test_a_link_in_place_of_a_file_is_found(folder: Path) -> None:
    (folder / "graph.json").rename(folder.parent / "elsewhere.json")
    (folder / "graph.json").symlink_to(folder.parent / "elsewhere.json")
    with pytest.raises(ExportError, match=r"lists 'graph\.json', which is no file of the folder"):
        verify(folder)


def test_a_layer_that_is_to_stay_in_fp32_and_is_none_is_found(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["builder_fp32_layers"] = ["conv", "nowhere"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="keeps .*'nowhere' in FP32, which no node is"):
        verify(folder)


def test_a_card_of_other_weights_is_found_although_all_else_fits(tmp_path: Path) -> None:
    one = make(source(), find_target("x86-cpu"), precision="fp32", batch=None)
    hashes = {
        name: hashlib.sha256(one.files[name]).hexdigest()
        for name in ("graph.json", "weights.safetensors")
    }
    for weights, fits in ((hashes["weights.safetensors"], True), (64 * "0", False)):
        card = json.dumps({"sha256": {**hashes, "weights.safetensors": weights}}).encode()
        with_card = replace(source(), files={"card.json": card})
        made = make(with_card, find_target("x86-cpu"), precision="fp32", batch=None)
        write(made, tmp_path / "toy")
        if fits:
            verify(tmp_path / "toy")
            continue
        with pytest.raises(ExportError, match=r"weights\.safetensors is not the file that card"):
            verify(tmp_path / "toy")


@pytest.mark.parametrize(
    "name",
    ["network.onnx", "graph.json", "weights.safetensors", "samples.npz", "example_onnx.py"],
)
def test_one_changed_byte_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ExportError, match=f"{name} has another SHA-256 than manifest.json says"):
        verify(folder)


def test_a_file_that_is_not_the_manifests_is_not_computed(folder: Path) -> None:
    model = onnx.load(folder / "network.onnx")
    other_weight(model)
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExportError) as refused:
        verify(folder)
    assert len(str(refused.value).splitlines()) == 1  # that its outputs differ is not found out


def test_a_wrong_hash_in_the_manifest_is_found(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    alter(folder, files={**files, "sample.png": "0" * 64})
    with pytest.raises(ExportError, match="sample.png has another SHA-256"):
        verify(folder)


def test_a_lost_file_is_found(folder: Path) -> None:
    (folder / "network.onnx").unlink()
    with pytest.raises(ExportError, match="network.onnx is absent"):
        verify(folder)


def test_a_file_that_the_manifest_does_not_list_is_no_evidence(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files.pop("weights.safetensors")
    alter(folder, files=files)
    with pytest.raises(ExportError, match=r"manifest.json does not list weights\.safetensors"):
        verify(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
def test_a_manifest_cannot_point_out_of_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    alter(folder, files={**files, name: digest})
    with pytest.raises(ExportError, match="which is no file of the folder itself"):
        verify(folder)


def newer_opset(model: onnx.ModelProto) -> None:
    """ReduceMean as opset 18 writes it, in a file of opset 18."""
    model.opset_import[0].version = 18
    node = next(n for n in model.graph.node if n.op_type == "ReduceMean")
    axes = next(a for a in node.attribute if a.name == "axes")
    node.attribute.remove(axes)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    node.input.append("axes")


def hard_swish(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 14
    nodes = list(model.graph.node)
    gate, product = (next(n for n in nodes if n.op_type == o) for o in ("HardSigmoid", "Mul"))
    one = helper.make_node("HardSwish", [gate.input[0]], [product.output[0]], "act")
    kept = [one if n is product else n for n in nodes if n is not gate]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def free_batch(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def nan_weight(model: onnx.ModelProto) -> None:
    weight = next(t for t in model.graph.initializer if t.name == "conv.weight")
    numbers = numpy_helper.to_array(weight).copy()
    numbers[1, 2, 0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(numbers, weight.name))


def other_weight(model: onnx.ModelProto) -> None:
    weight = next(t for t in model.graph.initializer if t.name == "fc.weight")
    numbers = numpy_helper.to_array(weight).copy()
    numbers[0, 0] += 0.05
    weight.CopyFrom(numpy_helper.from_array(numbers, weight.name))


def integer_weights(model: onnx.ModelProto) -> None:
    """The linear layer's weights as INT64, cast when the network runs."""
    weight = next(t for t in model.graph.initializer if t.name == "fc.weight")
    numbers = (numpy_helper.to_array(weight) * 2**40).astype(np.int64)
    weight.CopyFrom(numpy_helper.from_array(numbers, weight.name))
    cast = helper.make_node("Cast", [weight.name], ["cast"], "fc/cast", to=TensorProto.FLOAT)
    gemm = model.graph.node[-1]
    gemm.input[1] = "cast"
    del model.graph.node[-1]
    model.graph.node.extend([cast, gemm])


def path_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "../../images"
    model.graph.node[0].input[0] = "../../images"


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (newer_opset, "it has opset 18, and files for jetson-tx2 have 13"),
        (hard_swish, r"vertex 'act' \(HardSwish\): TensorRT 8.2 does not have this operator"),
        (free_batch, "leaves the batch free"),
        (nan_weight, "1 of 108 values of 'conv.weight' are not finite"),
        (integer_weights, "holds 64-bit integers, which TensorRT clamps to 32 bits"),
        (path_input, "'../../images', which is no plain name"),
        (other_weight, "the file differs from the network by"),
    ],
)
def test_a_planted_fault_is_found_although_the_hashes_fit(
    folder: Path, plant: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = onnx.load(folder / "network.onnx")
    plant(model)
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    mend(folder)
    with pytest.raises(ExportError, match=message):
        verify(folder)


def test_a_corrupted_file_is_found_although_the_hashes_fit(folder: Path) -> None:
    content = (folder / "network.onnx").read_bytes()
    (folder / "network.onnx").write_bytes(content[: len(content) // 2])
    mend(folder)
    with pytest.raises(ExportError, match="damaged or no ONNX file"):
        verify(folder)


def test_corrupted_samples_are_found_although_the_hashes_fit(folder: Path) -> None:
    content = bytearray((folder / "samples.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "samples.npz").write_bytes(content)
    mend(folder)
    with pytest.raises(ExportError, match=r"samples\.npz is damaged"):
        verify(folder)


def test_graph_and_file_changed_together_differ_from_what_was_recorded(
    folder: Path,
) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["fc.weight"] = weights["fc.weight"] * np.float32(1.1)
    save_file(weights, folder / "weights.safetensors")
    model = onnx.load(folder / "network.onnx")
    weight = next(t for t in model.graph.initializer if t.name == "fc.weight")
    weight.CopyFrom(numpy_helper.from_array(weights["fc.weight"], weight.name))
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    mend(folder)
    # Without a bias every output grows by a tenth.
    with pytest.raises(ExportError, match=r"the outputs recorded in samples\.npz by 0\.1 of"):
        verify(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "jetson-orin-jp5"}, "it has opset 13, and files for jetson-orin-jp5 have 17"),
        ({"target": "jetson-tx3"}, "unknown target 'jetson-tx3'"),
        ({"opset": 17}, "the manifest says 17"),
        ({"input": {"name": "image", "shape": [1, 3, 8, 8]}}, "network.onnx has the input"),
        ({"classes": ["a", "b"]}, "names 2 classes for another output"),
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"reads": 7}, "is damaged"),
        ({"files": []}, "is damaged"),
    ],
)
def test_a_manifest_that_says_otherwise_is_found(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    alter(folder, **changes)
    with pytest.raises(ExportError, match=message):
        verify(folder)


def test_a_folder_without_manifest_is_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"is no artefact: manifest\.json: No such file.*ory$"):
        verify(tmp_path)


def test_a_folder_of_artefacts_names_them(folder: Path) -> None:
    with pytest.raises(ExportError, match=f"holds some, name one of them: .*{folder.name}"):
        verify(folder.parent)


def test_samples_that_unpack_to_more_than_they_can_hold_are_refused(folder: Path) -> None:
    content = np.zeros((1, 400 << 20), np.uint8)
    with zipfile.ZipFile(
        folder / "samples.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
    ) as file:
        file.writestr("images.npy", content.data)
    assert (folder / "samples.npz").stat().st_size < 4 << 20
    mend(folder)
    with pytest.raises(ExportError, match=r"the bytes of samples.npz, unpacked, must be at most"):
        verify(folder)


def test_a_graph_that_could_not_be_computed_is_refused(folder: Path) -> None:
    document = json.loads((folder / "graph.json").read_text())
    conv = next(vertex for vertex in document["vertices"] if vertex["op"] == "conv")
    conv["attributes"]["padding"] = [900_000, 900_000]
    (folder / "graph.json").write_text(json.dumps(document))
    mend(folder)
    with pytest.raises(ExportError, match="with its padding must be at most"):
        verify(folder)
