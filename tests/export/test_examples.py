"""An artefact's programs on what a board really has, and with what stood in their folder before."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import vermin
from PIL import Image, ImageOps

from gensynth.export.artefact import make, write
from gensynth.export.source import Source
from gensynth.export.targets import find_target
from tests.export.sources import alter, manifest, source
from tests.places import FAKES

IN_PILLOW_5_1_AND_NUMPY_1_13 = {
    "Image": {
        "BILINEAR", "FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_180", "ROTATE_270", "ROTATE_90",
        "TRANSPOSE", "new", "open",
    },
    "ImageOps": {"fit"},
    "np": {
        "argmax", "asarray", "ascontiguousarray", "empty", "exp", "float32", "prod", "repeat",
    },
}  # fmt: skip
"""Of what the two have, seen in them (the tests marked `jetpack` run in them)."""


def programs(precision: str = "fp32") -> dict[str, str]:
    made = make(source(), find_target("jetson-tx2"), precision=precision, batch=None)
    return {name: text.decode() for name, text in made.files.items() if name.endswith(".py")}


@pytest.mark.parametrize("name", ["example_onnx.py", "example_trt.py"])
def test_a_program_uses_nothing_that_came_after_python_3_6(name: str) -> None:
    config = vermin.Config()
    config.set_eval_annotations(True)
    visitor = vermin.visit(programs()[name], config)
    assert visitor.minimum_versions()[1] <= (3, 6), visitor.output_text()


@pytest.mark.parametrize("name", ["example_onnx.py", "example_trt.py"])
def test_a_program_uses_nothing_that_pillow_5_1_and_numpy_1_13_lack(name: str) -> None:
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(programs()[name]))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    for module, known in IN_PILLOW_5_1_AND_NUMPY_1_13.items():
        # Asked for before it is used.
        assert {attr for owner, attr in used if owner == module} <= known | {"exif_transpose"}
    assert 'hasattr(ImageOps, "exif_transpose")' in programs()[name]


Read = Callable[[str], Any]


def reader(program: str, document: dict[str, Any], has_exif: bool) -> Read:
    """The program's own `read`, with Pillow's turning of images or without."""
    functions = [n for n in ast.parse(program).body if isinstance(n, ast.FunctionDef)]
    wanted = [node for node in functions if node.name in ("read", "upright")]
    there: dict[str, Any] = {
        "manifest": document, "np": np, "Image": Image,
        "ImageOps": ImageOps if has_exif else SimpleNamespace(),
    }  # fmt: skip
    exec(compile(ast.Module(list(wanted), []), "read.py", "exec"), there)
    found: Read = there["read"]
    return found


def photograph(path: Path, size: tuple[int, int], orientation: int) -> Path:
    pixels = np.random.default_rng(orientation).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).resize(size).save(path, quality=95, subsampling=0, exif=exif)
    return path


def as_trained(path: Path, document: dict[str, Any]) -> Any:
    """An image as the data set reads it, (1, channels, height, width), by Pillow alone."""
    reads = document["reads"]
    with Image.open(path) as picture:
        converted = ImageOps.exif_transpose(picture).convert(reads["mode"])
    size = (reads["width"], reads["height"])
    pixels = np.asarray(ImageOps.fit(converted, size, Image.Resampling.BILINEAR), np.float32)
    values = (pixels / 255 - np.float32(reads["mean"])) / np.float32(reads["std"])
    return values.transpose(2, 0, 1)[None]


@pytest.fixture
def jetpack() -> str:
    """A Python 3.6 with the Pillow and the numpy of Ubuntu 18.04, which JetPack 4.6 is."""
    found = os.environ["GENSYNTH_TEST_JETPACK"]
    code = "import sys, PIL, numpy; print(sys.version_info[:2], PIL.__version__, numpy.__version__)"
    done = subprocess.run([found, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(3, 6) 5.1.0 1.13.3\n"
    return found


SIZES = [(37, 23), (23, 37), (8, 8), (16, 16), (300, 201), (9, 8), (5, 7)]


@pytest.mark.parametrize("has_exif", [True, False])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_read_as_in_training_with_and_without_pillows_help(
    tmp_path: Path, orientation: int, has_exif: bool
) -> None:
    made = make(source(), find_target("jetson-tx2"), precision="fp32", batch=None)
    document = json.loads(made.files["manifest.json"])
    read = reader(made.files["example_trt.py"].decode(), document, has_exif)
    for size in SIZES:
        path = photograph(tmp_path / "photo.jpg", size, orientation)
        np.testing.assert_allclose(read(str(path)), as_trained(path, document), atol=1e-6)


@pytest.mark.jetpack
def test_an_image_is_read_as_in_training_by_pillow_5_1_and_numpy_1_13_on_python_3_6(
    tmp_path: Path, jetpack: str
) -> None:
    write(make(source(), find_target("jetson-tx2"), precision="fp32", batch=None), tmp_path / "toy")
    text = (tmp_path / "toy" / "example_trt.py").read_text()
    alone = text.replace("import tensorrt as trt\n", "").partition("def build(")[0]
    alone += "np.save(sys.argv[1], np.stack([read(path) for path in sys.argv[2:]]))\n"
    (tmp_path / "toy" / "reader.py").write_text(alone)
    photos = [
        photograph(tmp_path / f"{number}.jpg", SIZES[number % len(SIZES)], 1 + number % 8)
        for number in range(56)  # every pair of the two
    ]
    command = [jetpack, "-W", "error", "-s", "reader.py", "read.npy", *map(str, photos)]
    done = subprocess.run(command, cwd=tmp_path / "toy", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found, document = np.load(tmp_path / "toy" / "read.npy"), manifest(tmp_path / "toy")
    expected = np.stack([as_trained(path, document) for path in photos])
    # Another libjpeg may round a pixel otherwise.
    assert np.abs(found - expected).max() <= 1.5 / 255 / 0.2


def brighter(factor: float) -> Source:
    one = source()
    with torch.no_grad():
        one.network.state_dict()["fc.weight"].mul_(factor)
    return one


class Board:
    """A folder with a fake TensorRT, in which the example of an artefact is run."""

    def __init__(self, place: Path, libcudart: Path, python: str) -> None:
        self.folder, self.builds, self.python = place / "toy", place / "builds", python
        (place / "packages").mkdir()
        shutil.copy(FAKES / "digest_tensorrt.py", place / "packages" / "tensorrt.py")
        self.surroundings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(place / "packages"),
            "LD_LIBRARY_PATH": str(libcudart.parent),
            "GENSYNTH_BUILDS": str(self.builds),
            "GENSYNTH_CUDA": "pageable",  # the program's arrays are numpy's
        }

    def copy(self, one: Source, precision: str = "fp32") -> None:
        """Copy a new artefact over the folder, as `scp -r` does: what else is there stays."""
        fresh = self.folder.with_name("fresh")
        write(make(one, find_target("jetson-tx2"), precision=precision, batch=None), fresh)
        shutil.copytree(fresh, self.folder, dirs_exist_ok=True)

    def run(self, version: str = "8.2.1.8") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "example_trt.py", "sample.png"], cwd=self.folder, text=True,
            capture_output=True, env={**self.surroundings, "GENSYNTH_TENSORRT": version},
        )  # fmt: skip

    def answer(self, version: str = "8.2.1.8") -> str:
        done = self.run(version)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()[1]

    def expected(self) -> str:
        """What the fake engine of the file that is there now says."""
        digest = hashlib.sha256((self.folder / "network.onnx").read_bytes()).digest()[:5]
        return "abcde"[digest.index(max(digest))]

    def told(self) -> list[Any]:
        return [json.loads(line) for line in self.builds.read_text().splitlines()]


@pytest.fixture
def board(tmp_path: Path, libcudart: Path) -> Board:
    return Board(tmp_path, libcudart, sys.executable)


def test_a_later_artefact_in_the_same_folder_is_never_answered_by_the_old_engine(
    board: Board,
) -> None:
    said = set()
    for factor in (1, 2, 3, 4):
        board.copy(brighter(factor))
        assert board.answer() == board.expected()
        said.add(board.expected())
    assert len(board.told()) == 4
    assert len(said) > 1
    board.copy(brighter(2))  # an engine that is there already
    assert board.answer() == board.expected()
    assert len(board.told()) == 4


def test_an_engines_name_carries_the_files_hash_and_tensorrts_version(board: Board) -> None:
    board.copy(source())
    board.answer()
    (plan,) = board.folder.glob("*.plan")
    digest = hashlib.sha256((board.folder / "network.onnx").read_bytes()).hexdigest()
    assert digest in plan.name
    assert plan.name.endswith("-TensorRT-8.2.1.8.plan")
    board.answer("8.5.2.2")  # after an update of JetPack
    assert len(board.told()) == 2


def test_another_precision_of_the_same_file_is_another_engine(board: Board) -> None:
    board.copy(source())
    board.answer()
    board.copy(source(), "fp16")
    board.answer()
    assert board.told() == [[[], []], [["FP16"], []]]


def test_the_program_tells_the_builder_which_layers_stay_in_fp32(board: Board) -> None:
    one = brighter(1e4)
    with torch.no_grad():
        one.network.state_dict()["conv.weight"].mul_(1e2)
    board.copy(one, "fp16")
    assert manifest(board.folder)["builder_fp32_layers"] == ["fc"]
    board.answer()
    # With what TensorRT makes of the node besides; a shape has no precision.
    kept = ["(Unnamed Layer* 4) [Constant]", "fc", "(Unnamed Layer* 6) [ElementWise]"]
    assert board.told() == [[["FP16", "OBEY"], kept]]
    alter(board.folder, builder_fp32_layers=["mean"])
    board.answer()
    assert board.told()[1] == [["FP16", "OBEY"], ["mean", "(Unnamed Layer* 4) [Constant]"]]


@pytest.mark.parametrize("name", ["example_onnx.py", "example_trt.py"])
def test_half_a_copy_is_refused(board: Board, name: str) -> None:
    board.copy(source())
    other = make(brighter(2), find_target("jetson-tx2"), precision="fp32", batch=None)
    (board.folder / "network.onnx").write_bytes(other.files["network.onnx"])
    done = subprocess.run(
        [sys.executable, name, "sample.png"], cwd=board.folder, text=True, capture_output=True,
        env=board.surroundings,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("network.onnx is not the file that manifest.json is of")


@pytest.mark.jetpack
def test_the_boards_program_runs_on_what_jetpack_4_6_ships(
    tmp_path: Path, libcudart: Path, jetpack: str
) -> None:
    board = Board(tmp_path, libcudart, jetpack)
    one = source()
    board.copy(replace(one, reading=replace(one.reading, colour="bgr")), "fp16")
    assert board.answer() == board.expected()
