"""Artefacts of segmenters: a map of logits is verified, sampled, shown and timed as one."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import vermin
from PIL import Image

from gensynth.bench.endtoend import end_to_end
from gensynth.bench.subjects import find, read
from gensynth.data.passes import images_a_pass, images_looked_at
from gensynth.export.artefact import SAMPLED_BYTES, make, write
from gensynth.export.targets import find_target
from gensynth.export.verify import verify
from gensynth.render.artefacts import artefacts
from gensynth.runs.artefacts import Written
from gensynth.tasks.pictures import colours
from tests.export.mask_sources import mask_source
from tests.export.sources import manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("artefact") / "squares"
    write(make(mask_source(), find_target("jetson-tx2"), precision="fp32", batch=None), place)
    return place


@pytest.mark.parametrize(
    ("target", "precision"),
    [("jetson-tx2", "fp16"), ("jetson-orin-jp5", "int8"), ("x86-cpu", "fp32"), ("x86-cpu", "int8")],
)
def test_a_segmenters_artefact_verifies_in_every_precision(
    tmp_path: Path, target: str, precision: str
) -> None:
    profile = find_target(target)
    made = make(mask_source(), profile, precision=precision, batch=None)
    write(made, tmp_path / "squares")
    verify(tmp_path / "squares")
    assert "pixel accuracy" in artefacts([Written(made, tmp_path)], trt=False)
    blind = Written(replace(made, accuracy=None), tmp_path)  # its data set is not there
    assert artefacts([blind], trt=False).splitlines()[0].split()[-1] == "difference"
    document = manifest(tmp_path / "squares")
    assert document["accuracy"]["metric"] == "pixel_accuracy"
    assert document["output"]["shape"][1:] == [3, 16, 16]
    text = (tmp_path / "squares" / "manifest.json").read_text()
    assert "top1" not in text
    assert "top-1" not in text


def answers(folder: Path, picture: Path) -> np.ndarray:
    """Class of every pixel, by the file itself and no program of ours."""
    document = manifest(folder)
    (mean,), (std,) = document["reads"]["mean"], document["reads"]["std"]
    pixels = np.asarray(Image.open(picture), np.float32)[None, None]
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    (logits,) = session.run(None, {name: ((pixels / 255 - mean) / std).astype(np.float32)})
    found: np.ndarray = np.asarray(logits)[0].argmax(0)
    return found


def test_the_standalone_program_writes_a_coloured_mask_where_it_runs_and_not_among_the_images(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "sample.png", tmp_path)
    done = subprocess.run(
        [sys.executable, "example_onnx.py", f"{tmp_path}/sample.png"], cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = answers(folder, folder / "sample.png")
    with Image.open(folder / "sample-mask.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), expected)
        assert np.array_equal(np.asarray(mask.convert("RGB")), np.array(colours(3))[expected])
    name = ("ground", "bright", "dark")[np.bincount(expected.ravel()).argmax()]
    share = np.bincount(expected.ravel()).max() / expected.size
    left = [path.name for path in tmp_path.iterdir()]
    assert left == ["sample.png"]  # a picture more would be one without a mask
    assert done.stdout.startswith(f"{tmp_path}/sample.png: sample-mask.png; {name} {share:.1%}")


@pytest.mark.parametrize("name", ["example_onnx.py", "example_trt.py"])
def test_the_programs_of_a_segmenter_use_nothing_that_came_after_python_3_6(
    folder: Path, name: str
) -> None:
    visitor = vermin.visit((folder / name).read_text(), vermin.Config())
    assert visitor.minimum_versions()[1] <= (3, 6), visitor.output_text()


def test_end_to_end_gives_the_class_of_every_pixel(folder: Path) -> None:
    whole = end_to_end(read(find([folder])[0]))
    session = onnxruntime.InferenceSession(whole.content, providers=["CPUExecutionProvider"])
    with Image.open(folder / "sample.png") as picture:
        pixels = np.asarray(picture)[None, :, :, None]
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels})
    assert np.array_equal(np.asarray(found)[0], answers(folder, folder / "sample.png"))


def test_large_images_are_looked_at_by_fewer_and_samples_stay_small() -> None:
    # 360 x 480: 12 of 172,800 pixels are 2 million, 48 of them 8 million.
    assert images_a_pass((3, 360, 480), 256) == 12
    assert images_looked_at((3, 360, 480), 512) == 48
    assert images_looked_at((3, 32, 32), 512) == 512
    # Outputs of 11 classes there are 7.6 MB an image.
    assert SAMPLED_BYTES // (4 * 11 * 360 * 480) == 2
