"""A whole run of segmentation: what is certified is what the files answer, pixel by pixel."""

import json
from pathlib import Path

import numpy as np
import onnx
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
from gensynth.errors import ConfigError
from gensynth.network.compute import Compute
from gensynth.render.result import result as table
from gensynth.runs.result import Result
from gensynth.tasks.confusion import confusion, miou, pixel_accuracy
from gensynth.tasks.segmentation import Segmentation
from gensynth.training.fit import Recipe, fit
from gensynth.uses.classifier import Given
from gensynth.uses.predict import predict
from tests.runs.tiny_masks import net, squares


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data, task = squares(), Segmentation()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = net(3, 1)
    views = Views(data, data.train, 0, targets=task.targets(data.train, "cpu"))
    fit(network, views, Recipe(epochs=6, batch=32, peak_lr=0.2), Compute(), task)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file({key: t.contiguous() for key, t in network.state_dict().items()}, path)
    return path


def config(weights: Path, out: Path, *requirements: str) -> RunConfig:
    return RunConfig(
        requirements=requirements or ("pixel_accuracy >= 70%", "macs <= 400k"),
        prototype=PrototypeConfig(network="tests.runs.tiny_masks:net", weights=weights),
        data=DataConfig(source="tests.runs.tiny_masks:squares"),
        task=TaskConfig(kind="segmentation"),
        search=SearchConfig(
            cycles=1, images=256, warmup_images=128, probe_images=24, candidates=8, shortlist=2,
            full_networks=0, round_to=1,
        ),
        finalists=FinalistsConfig(count=1, epochs=2, batch=32),
        latency=LatencyConfig(repeats=10),
        out=out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return gensynth.synth(config(weights, tmp_path_factory.mktemp("runs") / "run"))


def test_the_certificate_is_a_count_of_the_files_own_answers(result: Result) -> None:
    data, (finalist,) = squares(), result.finalists
    folder = result.path / "finalists" / finalist.name
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )
    images = normaliser(data)(torch.from_numpy(data.test.images)).contiguous().numpy()
    (answers,) = session.run(None, {session.get_inputs()[0].name: images})
    counts = confusion(data.test.labels, np.asarray(answers).argmax(1), 3)
    card = json.loads((folder / "card.json").read_bytes())
    score = card["certificate"]
    assert score["metric"] == "pixel_accuracy"
    # A pixel between two classes may fall to either by rounding: one in a thousand here.
    assert score["point_pct"] == pytest.approx(100 * pixel_accuracy(counts), abs=0.1)
    assert score["miou_pct"] == pytest.approx(100 * miou(counts), abs=0.2)
    assert score["low_pct"] < score["point_pct"] < score["high_pct"]
    found = {one["text"]: one["certified"] for one in card["requirements"]}
    assert found["macs <= 400k"] == "satisfied"


def test_the_record_says_how_far_a_network_is_from_its_prototype_and_the_table_shows_it(
    result: Result,
) -> None:
    (one,) = result.finalists
    apart = one.certificate.point_pct - result.prototype.certificate.point_pct
    assert one.difference is not None
    assert one.difference.points == pytest.approx(apart)
    low, high = one.difference.bounds()
    assert low < apart < high
    shown = table(result)
    assert f"points gained {apart:+.2f}" in " ".join(shown.split())
    told = json.loads((one.folder / "card.json").read_bytes())["certificate"]["miou_pct"]
    assert any("mIoU" in line and f"{told:.2f} %" in line for line in shown.splitlines())


def test_the_run_folder_shows_image_truth_and_answers_side_by_side(result: Result) -> None:
    assert [one.name for one in result.pictures] == [
        f"search-{n}.png"
        for n in (1, 17, 32, 48)  # evenly over 48 images
    ]
    data, folder = squares(), result.path / "finalists" / result.finalists[0].name
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )
    image = torch.from_numpy(data.search.images[:1])
    feed = {session.get_inputs()[0].name: normaliser(data)(image).contiguous().numpy()}
    given = np.asarray(session.run(None, feed)[0])[0].argmax(0)
    with Image.open(result.pictures[0]) as picture:
        shown = np.asarray(picture.convert("RGB")).astype(int)
    assert shown.shape[1] == 4 * 16  # image, truth, prototype, network
    panels = [shown[20:36, 16 * i : 16 * (i + 1)] for i in range(4)]
    grey = data.search.images[0, 0].astype(int)
    assert np.array_equal(panels[0], np.repeat(grey[:, :, None], 3, 2))
    palette = np.array([(128, 0, 0), (0, 128, 0), (128, 128, 0)])  # PASCAL VOC's first three
    for panel, mask in ((panels[1], data.search.labels[0]), (panels[3], given)):
        known = mask < 3
        colour = np.rint(0.4 * grey[known][:, None] + 0.6 * palette[mask[known]])
        # bfloat16, in which the run's own network answers, may decide a doubtful pixel otherwise.
        assert (np.abs(panel[known] - colour) <= 1).all(axis=1).mean() > 0.98
    void = data.search.labels[0] == 255
    assert np.array_equal(panels[1][void], np.repeat(grey[void][:, None], 3, 1))


def test_a_file_that_answers_with_masks_is_no_classifier_and_says_so(
    result: Result, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(image)
    file = tmp_path / "network.onnx"
    network = onnx.load(result.path / "finalists" / result.finalists[0].name / "network.onnx")
    (tmp_path / "manifest.json").write_text("{}")  # an artefact's says nothing of the task
    onnx.save(network, file)
    with pytest.raises(ConfigError, match="gives a class for every pixel, and only classes are re"):
        predict(tmp_path, [image])
    del network.metadata_props[:]
    onnx.save(network, file)
    with pytest.raises(ConfigError, match=r"has the shape \(3, 16, 16\), and a classifier gives"):
        predict(file, [image], given=Given(mean=(0.5,), std=(0.5,)))


def test_nothing_says_top1_in_the_records_of_another_task(result: Result) -> None:
    for file in result.path.rglob("*.json*"):
        text = file.read_text()
        assert "top1" not in text, file
        assert "top-1" not in text, file


def test_a_requirement_of_another_task_is_refused(weights: Path, tmp_path: Path) -> None:
    for asked, message in (
        (
            "top1 >= 80%",
            '"pixel_accuracy >= 85%", or set kind = "classification" in .task., or --t',
        ),
        (
            "ap50 >= 80%",
            '"pixel_accuracy >= 85%", or set kind = "detection" in .task., or --task d',
        ),
    ):
        found = f"is on {asked[:4]}, and this run judges by pixel_accuracy; require for example "
        with pytest.raises(ConfigError, match=found + message):
            gensynth.synth(config(weights, tmp_path / "run", asked))
    with pytest.raises(ConfigError, match="require .* alone, or set metric = .miou. in .task."):
        gensynth.synth(config(weights, tmp_path / "run", "pixel_accuracy >= 80%", "miou >= 50%"))
    quickstart = RunConfig().requirements
    with pytest.raises(ConfigError, match="judges by pixel_accuracy needs requirements of its own"):
        gensynth.synth(config(weights, tmp_path / "run", *quickstart))
