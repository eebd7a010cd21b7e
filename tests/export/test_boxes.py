"""Artefacts of detectors: several maps are verified, sampled, decoded and timed as one answer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import vermin
from PIL import Image

from gensynth.bench.correctness import compare
from gensynth.bench.endtoend import end_to_end
from gensynth.bench.subjects import find, read
from gensynth.errors import DeviceFault
from gensynth.export.artefact import make, write
from gensynth.export.targets import find_target
from gensynth.export.verify import verify
from gensynth.tasks.boxes import clustered, detect, overlap, suppressed
from tests.export.box_sources import box_source
from tests.export.sources import manifest


@pytest.fixture(scope="module", params=["grid", "scales"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("artefact") / "squares"
    source = box_source(request.param)
    write(make(source, find_target("jetson-tx2"), precision="fp32", batch=None), place)
    return place


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        ("jetson-tx2", "fp16"),
        ("x86-cpu", "int8"),
        pytest.param("jetson-orin-jp5", "int8", marks=pytest.mark.slow),
        pytest.param("x86-cpu", "fp32", marks=pytest.mark.slow),
    ],
)
def test_a_detectors_artefact_verifies_in_every_precision(
    tmp_path: Path, target: str, precision: str
) -> None:
    profile = find_target(target)
    write(make(box_source("scales"), profile, precision=precision, batch=None), tmp_path / "s")
    verify(tmp_path / "s")
    document = manifest(tmp_path / "s")
    assert document["accuracy"]["metric"] == "ap50"
    assert [each["shape"][1:] for each in document["outputs"]] == [
        [2, 8, 8], [24, 8, 8], [2, 4, 4], [24, 4, 4],
    ]  # fmt: skip
    text = (tmp_path / "s" / "manifest.json").read_text()
    assert "top1" not in text
    assert "top-1" not in text


def maps(folder: Path, picture: Path) -> list[np.ndarray]:
    """What the file gives for a picture, by the runtime and no program of ours."""
    document = manifest(folder)
    (mean,), (std,) = document["reads"]["mean"], document["reads"]["std"]
    pixels = np.asarray(Image.open(picture), np.float32)[None, None]
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    found = session.run(None, {name: ((pixels / 255 - mean) / std).astype(np.float32)})
    return [np.asarray(each)[0] for each in found]


def with_object(tmp_path: Path, width: int = 32) -> Path:
    """A picture of one bright square, a third of its width."""
    pixels, unit = np.full((32, width), 120, np.uint8), width // 32
    pixels[8 : 8 + 10 * unit, 4 * unit : 14 * unit] = 200
    Image.fromarray(pixels).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def told(folder: Path, picture: Path) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "example_onnx.py", str(picture)], cwd=folder, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert (folder / f"{picture.stem}-boxes.png").is_file()
    return [line.split(": ", 1)[1].split() for line in done.stdout.splitlines() if " at " in line]


def test_the_standalone_program_prints_and_draws_the_boxes(folder: Path, tmp_path: Path) -> None:
    picture = with_object(tmp_path)
    expected = detect(maps(folder, picture), manifest(folder)["answer"])
    expected = expected[expected[:, 4] >= 0.3]
    lines = told(folder, picture)
    assert len(lines) == len(expected) > 0
    for line, row in zip(lines, expected, strict=True):
        assert line[0] == ("bright", "dark")[int(row[5])]
        assert line[1] == f"{row[4]:.1%}"
        assert [int(side) for side in line[3:]] == pytest.approx(row[:4].tolist(), abs=0.51)
    assert lines[0][0] == "bright"


def test_boxes_of_a_wide_picture_are_in_its_own_pixels(folder: Path, tmp_path: Path) -> None:
    # 64 x 32 pixels are seen as 32 x 16 of them, below 8 black rows: a square of 10 pixels there.
    lines = told(folder, with_object(tmp_path, width=64))
    sides = [[int(side) for side in line[3:]] for line in lines if line[0] == "bright"]
    true = np.array([[8.0, 8, 28, 28]])
    assert overlap(true, np.array(sides, float).reshape(-1, 4)).max(initial=0) > 0.5


@pytest.mark.parametrize("name", ["example_onnx.py", "example_trt.py", "boxes.py"])
def test_the_programs_of_a_detector_use_nothing_that_came_after_python_3_6(
    folder: Path, name: str
) -> None:
    visitor = vermin.visit((folder / name).read_text(), vermin.Config())
    assert visitor.minimum_versions()[1] <= (3, 6), visitor.output_text()


def test_end_to_end_gives_the_surest_boxes_ready_to_be_merged(folder: Path, tmp_path: Path) -> None:
    whole, how = end_to_end(read(find([folder])[0])), manifest(folder)["answer"]
    session = onnxruntime.InferenceSession(whole.content, providers=["CPUExecutionProvider"])
    picture = with_object(tmp_path)
    pixels = np.asarray(Image.open(picture))[None, :, :, None]
    boxes, scores, kinds = (
        np.asarray(each)[0] for each in session.run(None, {session.get_inputs()[0].name: pixels})
    )
    rows = np.column_stack([boxes, scores, kinds]).astype(np.float32)
    merge = clustered if how["kind"] == "grid" else suppressed
    found = merge(rows[rows[:, 4] >= how["least_score"]], how["overlap"])
    expected = detect(maps(folder, picture), how)
    strong = [each[each[:, 4] >= 0.3] for each in (found, expected)]
    assert len(strong[0]) == len(strong[1]) > 0
    assert strong[0] == pytest.approx(strong[1], abs=1e-2)


def test_end_to_end_is_right_whatever_order_near_equal_scores_are_in(folder: Path) -> None:
    whole = end_to_end(read(find([folder])[0]))
    session = onnxruntime.InferenceSession(whole.content, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    boxes, scores, kinds = (np.asarray(each) for each in session.run(None, dict(whole.feed)))
    # What another precision makes of the surest five of random pixels: the same, turned round.
    boxes[:, :5], kinds[:, :5] = boxes[:, 4::-1], kinds[:, 4::-1]
    given = dict(zip(names, (boxes, scores, kinds), strict=True))
    assert compare(whole, given, "fp32")["pass"]
    given[names[1]] = 0.5 * scores
    assert not compare(whole, given, "int8")["pass"]
    given[names[0]] = np.full_like(boxes, np.nan)
    with pytest.raises(DeviceFault, match="must be finite"):
        compare(whole, given, "int8")
