"""A whole run of detection: what is certified is what the files answer, box by box."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import gensynth
from gensynth.config import (
    DataConfig,
    FinalistsConfig,
    LatencyConfig,
    PrototypeConfig,
    RunConfig,
    SearchConfig,
    TaskConfig,
)
from gensynth.data.views import Views, normaliser
from gensynth.network.compute import Compute
from gensynth.runs.result import Result
from gensynth.tasks.average_precision import measured
from gensynth.tasks.boxes import detect
from gensynth.tasks.detection import Detection
from gensynth.training.fit import Recipe, fit
from tests.runs import tiny_boxes


def config(kind: str, weights: Path, out: Path, *requirements: str) -> RunConfig:
    return RunConfig(
        requirements=requirements or ("ap50 >= 20%", "macs <= 250k"),
        prototype=PrototypeConfig(network=f"tests.runs.tiny_boxes:{kind}", weights=weights),
        data=DataConfig(source="tests.runs.tiny_boxes:squares"),
        task=TaskConfig(kind="detection"),
        search=SearchConfig(
            cycles=1, images=256, warmup_images=128, probe_images=24, candidates=8, shortlist=2,
            full_networks=0, round_to=1, peak_lr=0.03,
        ),
        finalists=FinalistsConfig(count=1, epochs=3, batch=32),
        latency=LatencyConfig(repeats=10),
        out=out,
    )  # fmt: skip


@pytest.fixture(scope="module", params=[pytest.param("grid", marks=pytest.mark.slow), "scales"])
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    kind, folder = request.param, tmp_path_factory.mktemp("runs")
    data, task = tiny_boxes.squares(), Detection()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(tiny_boxes, kind)(2, 1)
    views = Views(data, data.train, 0, targets=task.targets(data.train, "cpu"))
    fit(network, views, Recipe(epochs=5, batch=32, peak_lr=0.05), Compute(), task)
    weights = folder / "net.safetensors"
    save_file({key: t.contiguous() for key, t in network.state_dict().items()}, weights)
    return gensynth.synth(config(kind, weights, folder / "run"))


def test_the_certificate_is_cocos_figure_of_the_files_own_answers(result: Result) -> None:
    data, (finalist,) = tiny_boxes.squares(), result.finalists
    folder = result.path / "finalists" / finalist.name
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )
    images = normaliser(data)(torch.from_numpy(data.test.images)).contiguous().numpy()
    maps = session.run(None, {session.get_inputs()[0].name: images})
    how = Detection().how(tuple(maps), 32, 32)
    found = [detect([x[row] for x in maps], how) for row in range(len(images))]
    expected = measured(list(data.test.labels), found, 2, "ap50", resamples=2)
    card = json.loads((folder / "card.json").read_bytes())
    score = card["certificate"]
    assert score["metric"] == "ap50"
    assert score["point_pct"] == pytest.approx(100 * expected.value, abs=0.2)
    assert score["map_pct"] == pytest.approx(100 * expected.others["map"], abs=0.2)
    assert score["low_pct"] < score["point_pct"] < score["high_pct"]
    found_ = {one["text"]: one["certified"] for one in card["requirements"]}
    assert found_["macs <= 250k"] == "satisfied"


def test_the_run_folder_shows_boxes_over_images_that_have_some(result: Result) -> None:
    data = tiny_boxes.squares()
    assert len(result.pictures) == 4
    for path in result.pictures:
        row = int(path.stem.removeprefix("search-")) - 1
        true = data.search.labels[row][data.search.labels[row][:, 4] >= 0]
        assert len(true)
        with Image.open(path) as picture:
            shown = np.asarray(picture.convert("RGB"))
        assert shown.shape[1] == 4 * tiny_boxes.SIDE  # image, truth, prototype, network
        panel = shown[20 : 20 + tiny_boxes.SIDE, tiny_boxes.SIDE : 2 * tiny_boxes.SIDE]
        for left, top, _, _, kind, _ in true.astype(int):
            assert tuple(panel[top, left]) == ((128, 0, 0), (0, 128, 0))[kind]


def test_nothing_says_top1_in_the_records_of_detection(result: Result) -> None:
    for file in result.path.rglob("*.json*"):
        text = file.read_text()
        assert "top1" not in text, file
        assert "top-1" not in text, file


def test_a_detector_is_better_than_one_that_was_never_taught(result: Result) -> None:
    # Random boxes have an AP50 of about 0.
    (finalist,) = result.finalists
    card = json.loads((result.path / "finalists" / finalist.name / "card.json").read_bytes())
    assert card["certificate"]["point_pct"] > 15
    assert np.isfinite(card["certificate"]["low_pct"])
