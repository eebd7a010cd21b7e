"""The artefacts of a run: what is in them, that their programs run, and what is refused."""

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from gensynth.errors import ConfigError, ExportError
from gensynth.export.artefact import Artefact, make, write
from gensynth.export.targets import find_target, names
from gensynth.export.verify import verify
from gensynth.network.files import load_network
from tests.export.sources import finalists, manifest, source
from tests.runs import toybox

TENSORRT = [name for name in names() if find_target(name).tensorrt]


def test_export_writes_an_artefact_a_finalist_that_verifies(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    run = finished[0]
    code, out, err = gensynth("export", str(run), "--target", "jetson-tx2", "--out", "boards")
    assert (code, err) == (0, "".join(f"networks: {name}\n" for name in finalists(run)[-1:]))
    for name in finalists(run):
        folder = here / "boards" / name
        assert sorted(path.name for path in folder.iterdir()) == [
            "card.json", "example_onnx.py", "example_trt.py", "graph.json", "manifest.json",
            "network.onnx", "sample.png", "samples.npz", "weights.safetensors",
        ]  # fmt: skip
        model = onnx.load(folder / "network.onnx")
        assert [entry.version for entry in model.opset_import] == [13]
        assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
            1,
            1,
            8,
            8,
        ]
        assert f"Jetson TX2, JetPack 4.6: boards/{name}\n" in out
        code, said, _ = gensynth("verify", f"boards/{name}")
        assert code == 0
        assert said.startswith(f"{name} for jetson-tx2: 8 files whole, ")


def test_the_manifest_says_what_the_run_says(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    run = finished[0]
    name = finalists(run)[0]
    network = run / "finalists" / name
    assert gensynth("export", str(network), "--target", "x86-cpu", "--out", "out")[0] == 0
    found, card = manifest(here / "out" / name), json.loads((network / "card.json").read_text())
    accuracy = found["accuracy"]
    assert accuracy["before"] == {key: card["search"][key] for key in ("correct", "n")}
    assert accuracy["after"] == accuracy["before"]
    assert (found["batch"], found["opset"], found["precision"]) == (None, 17, "fp32")
    assert found["classes"] == ["a", "b", "c", "d"]
    assert (found["reads"]["mean"], found["reads"]["std"]) == ([0.3], [0.2])
    assert found["parity"]["on"] == "the search split"
    assert found["parity"]["relative"] <= 1e-4
    for file, digest in found["files"].items():
        assert hashlib.sha256((here / "out" / name / file).read_bytes()).hexdigest() == digest
    exported = load_file(here / "out" / name / "weights.safetensors")
    for key, tensor in load_file(network / "weights.safetensors").items():
        np.testing.assert_array_equal(exported[key], tensor)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_the_example_runs_alone_and_sees_what_the_network_sees(tmp_path: Path, colour: str) -> None:
    one = source()
    one = replace(one, reading=replace(one.reading, colour=colour))
    made = make(one, find_target("raspberry-pi"), precision="fp32", batch=None)
    write(made, tmp_path / "toy")
    assert one.search is not None
    image = one.search.images[3]
    shown = image if colour == "rgb" else image[::-1]
    Image.fromarray(np.ascontiguousarray(shown.transpose(1, 2, 0))).save(tmp_path / "other.png")
    # -I: neither this folder nor the user's packages are on the path.
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "toy" / "example_onnx.py"), "other.png"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    mean, std = (torch.tensor(v)[:, None, None] for v in (one.reading.mean, one.reading.std))
    read = (torch.from_numpy(image).float() / 255 - mean) / std
    with torch.no_grad():
        shares = load_network(tmp_path / "toy").eval()(read[None])[0].softmax(0)
    seen = one.reading.classes[int(shares.argmax())]
    assert done.stdout == f"other.png: {seen} ({float(shares.max()):.1%})\n"


def test_the_sample_is_read_as_the_first_image_of_the_samples(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    network = finished[0] / "finalists" / "FermiNet-A"
    assert gensynth("export", str(network), "--target", "raspberry-pi", "--out", "out")[0] == 0
    folder = here / "out" / "FermiNet-A"
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "example_onnx.py"), str(folder / "sample.png")],
        capture_output=True, text=True,
    )  # fmt: skip
    with np.load(folder / "samples.npz", allow_pickle=False) as samples:
        seen = "abcd"[int(samples["outputs"][0].argmax())]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{folder / 'sample.png'}: {seen} (")


@pytest.mark.parametrize("name", names())
def test_the_examples_are_in_the_grammar_of_python_3_6(name: str) -> None:
    made = make(source(), find_target(name), precision="fp32", batch=None)
    programs = {file: text.decode() for file, text in made.files.items() if file.endswith(".py")}
    assert ("example_trt.py" in programs) == (name in TENSORRT)
    for text in programs.values():
        ast.parse(text, feature_version=(3, 6))
        assert "@" not in text
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in (node.names if isinstance(node, ast.Import) else [])
        }
        assert imported <= {
            "hashlib",
            "json",
            "os",
            "sys",
            "ctypes",
            "numpy",
            "onnxruntime",
            "tensorrt",
        }


def test_both_examples_read_an_image_by_the_same_lines() -> None:
    made = make(source(), find_target("jetson-tx2"), precision="fp16", batch=None)
    readers = [
        ast.dump(node)
        for file in ("example_onnx.py", "example_trt.py")
        for node in ast.parse(made.files[file]).body
        if isinstance(node, ast.FunctionDef) and node.name == "read"
    ]
    assert len(readers) == 2
    assert readers[0] == readers[1]


@pytest.mark.rtx
@pytest.mark.parametrize(
    ("name", "precision"), [*((n, "fp32") for n in TENSORRT), ("nvidia-gpu", "fp16")]
)
def test_the_boards_example_builds_an_engine_by_a_real_tensorrt(
    tmp_path: Path, name: str, precision: str
) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    write(make(source(), find_target(name), precision=precision, batch=None), tmp_path / "toy")
    namespace: dict[str, Any] = {"__file__": str(tmp_path / "toy" / "example_trt.py")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", rtx)
        exec((tmp_path / "toy" / "example_trt.py").read_text(), namespace)
        assert len(namespace["build"](rtx.Logger(rtx.Logger.ERROR))) > 1000


@pytest.mark.parametrize("name", names())
def test_every_targets_artefact_verifies_and_has_its_opset(tmp_path: Path, name: str) -> None:
    target = find_target(name)
    write(make(source(), target, precision="fp32", batch=None), tmp_path / "toy")
    verify(tmp_path / "toy")
    model = onnx.load(tmp_path / "toy" / "network.onnx")
    assert [entry.version for entry in model.opset_import] == [target.opset]
    assert manifest(tmp_path / "toy")["batch"] == (1 if target.batch == "fixed" else None)


def test_a_hard_swish_is_noted_as_spelled_out() -> None:
    tx2, pi = (
        json.loads(
            make(source(), find_target(n), precision="fp32", batch=None).files["manifest.json"]
        )
        for n in ("jetson-tx2", "x86-cpu")
    )
    assert tx2["rewritten"] == [
        {
            "vertex": "act",
            "word": "hard_swish",
            "operators": ["HardSigmoid", "Mul"],
            "reason": "HardSwish came with opset 14, after 13",
        }
    ]
    assert pi["rewritten"] == []


@pytest.fixture(scope="module")
def toy() -> Artefact:
    return make(source(), find_target("x86-cpu"), precision="fp32", batch=None)


def test_a_link_takes_one_artefact_after_another(tmp_path: Path, toy: Artefact) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "toy"
    link.symlink_to(tmp_path / "disk" / "toy")
    for _ in range(3):
        write(toy, link)
    assert link.is_symlink()
    verify(link)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["toy"]


def test_files_of_ones_own_stay_where_an_artefact_is_replaced(
    tmp_path: Path, toy: Artefact
) -> None:
    folder = tmp_path / "toy"
    write(toy, folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "today.txt").write_text("fast")
    (folder / "network.plan").write_text("an engine of the older network")
    (folder / "sample.png").write_text("damaged")
    write(toy, folder)
    assert (folder / "notes" / "today.txt").read_text() == "fast"
    assert {path.name for path in folder.iterdir()} == {*toy.files, "notes"}
    verify(folder)


def test_a_file_of_ones_own_is_not_overwritten_by_a_newer_artefacts(
    tmp_path: Path, toy: Artefact
) -> None:
    folder = tmp_path / "toy"
    less = {name: content for name, content in toy.files.items() if name != "sample.png"}
    listed = json.loads(less["manifest.json"])
    del listed["files"]["sample.png"]
    write(replace(toy, files={**less, "manifest.json": json.dumps(listed).encode()}), folder)
    (folder / "sample.png").write_text("mine")
    with pytest.raises(ExportError, match=r"toy/sample\.png is a file of your own where the art"):
        write(toy, folder)
    assert (folder / "sample.png").read_text() == "mine"


def test_an_artefact_whose_replacement_was_killed_is_put_back(
    tmp_path: Path, toy: Artefact
) -> None:
    write(toy, tmp_path / "toy")
    (tmp_path / "toy" / "mine.txt").write_text("mine")
    (tmp_path / "toy").rename(tmp_path / ".old-toy")
    write(toy, tmp_path / "toy")
    assert (tmp_path / "toy" / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_a_fixed_batch_stands_in_the_file(tmp_path: Path) -> None:
    write(make(source(), find_target("x86-cpu"), precision="fp32", batch=7), tmp_path / "toy")
    found = manifest(tmp_path / "toy")
    assert (found["batch"], found["input"]["shape"]) == (7, [7, 3, 8, 8])
    verify(tmp_path / "toy")
    done = subprocess.run(
        [sys.executable, "-I", "example_onnx.py", "sample.png"],
        cwd=tmp_path / "toy", capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_trt_without_a_device_says_how_to_go_on_and_claims_no_engine(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    network = finished[0] / "finalists" / "FermiNet-A"
    code, out, err = gensynth(
        "export", str(network), "--trt", "--target", "jetson-tx2", "--precision", "fp16",
        "--out", "out",
    )  # fmt: skip
    assert (code, err) == (0, "networks: FermiNet-A\n")
    lines = out.splitlines()
    assert "no engine was built: TensorRT builds it on the board itself" in lines
    assert any(line.startswith("FermiNet-A: TensorRT 8.2 has all of ") for line in lines)
    assert lines[-1] == "cd FermiNet-A && python3 example_trt.py sample.png"
    folder = here / "out" / "FermiNet-A"
    assert not [path for path in folder.iterdir() if path.suffix in (".plan", ".engine")]
    found = manifest(folder)
    assert found["engine"] == "none; TensorRT builds it on the board"
    assert found["precision"] == "fp16"
    assert "a flag of TensorRT's builder; the file is FP32" in found["precision_is"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "jetson-tx2", "--precision", "int8"], "error: no INT8 for jetson-tx2: "),
        (["--target", "x86-cpu", "--precision", "fp16"], "error: no FP16 for x86-cpu: "),
        (["--target", "jetson-tx3"], "error: unknown target 'jetson-tx3'; did you mean"),
        (["--target", "x86-cpu", "--trt"], "error: x86-cpu runs ONNX files by ONNX Runtime; "),
        (["--batch", "0"], "invalid value for '--batch': "),
    ],
)
def test_what_cannot_be_meant_is_an_error_and_writes_nothing(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path,
    options: list[str], message: str,
) -> None:  # fmt: skip
    code, out, err = gensynth("export", str(finished[0]), "--out", "out", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert not (here / "out").exists()


def test_a_folder_that_is_no_network_is_an_error(gensynth: toybox.Command, here: Path) -> None:
    code, _, err = gensynth("export", ".")
    assert (code, err) == (2, "error: . is neither a run nor the folder of a network\n")
    code, _, err = gensynth("verify", ".")
    assert code == 2
    assert err.startswith("error: . is no artefact: manifest.json: No such file")


def test_a_drawn_network_without_weights_says_how_to_distil_it(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    run = here / "run"
    shutil.copytree(finished[0], run)
    gensynth("generate", str(run), "--seeds", "9")
    code, _, err = gensynth("export", str(run / "generated" / "9"))
    assert code == 2
    assert err == (
        f"error: {run}/generated/9 has no weights; distil it first: "
        f"gensynth generate {run} --seeds 9 --distil\n"
    )


def test_without_its_data_a_network_is_compared_on_random_pixels(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    shutil.copytree(finished[0] / "finalists" / "FermiNet-A", here / "alone")
    code, _, err = gensynth("export", "alone", "--out", "out")
    assert code == 0
    assert "compared on random pixels, and no accuracy: the network does not stand in a run" in (
        " ".join(err.split())
    )
    found = manifest(here / "out" / "FermiNet-A")
    assert (found["accuracy"], found["parity"]["on"]) == (None, "random pixels")
    verify(here / "out" / "FermiNet-A")


def test_another_folder_is_never_replaced(tmp_path: Path) -> None:
    made = make(source(), find_target("x86-cpu"), precision="fp32", batch=None)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "letter.txt").write_text("dear")
    with pytest.raises(ExportError, match="exists and is no artefact"):
        write(made, tmp_path / "toy")
    assert (tmp_path / "toy" / "letter.txt").read_text() == "dear"
    (tmp_path / "toy" / "letter.txt").unlink()
    (tmp_path / "toy").rmdir()
    write(made, tmp_path / "toy")
    write(made, tmp_path / "toy")
    verify(tmp_path / "toy")


def test_the_same_network_gives_the_same_file() -> None:
    target = find_target("jetson-tx2")
    first, second = (make(source(), target, precision="fp32", batch=None) for _ in range(2))
    assert first.files["network.onnx"] == second.files["network.onnx"]


def test_a_batch_below_one_is_our_callers_bug() -> None:
    with pytest.raises(ValueError, match="batch must be at least 1"):
        make(source(), find_target("x86-cpu"), precision="fp32", batch=0)
    with pytest.raises(ConfigError, match="unknown precision"):
        make(source(), find_target("x86-cpu"), precision="half", batch=None)
