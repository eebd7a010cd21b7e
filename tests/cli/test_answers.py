"""A network that is there answers images: on the test images as it was certified."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.places import ROOT
from tests.runs import toybox
from tests.runs.toybox import Command

SEVERAL = "reads 1 channels, got 3 and 3"


@pytest.fixture(scope="module")
def pictures(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images of the toys as files, a folder a class."""
    data = toybox.toy_module(toys).data()
    root = tmp_path_factory.mktemp("pictures")
    for number, (image, label) in enumerate(zip(data.test.images, data.test.labels, strict=True)):
        folder = root / "test" / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{number:03}.png")
    return root


def test_val_gives_the_certified_score_of_the_certified_images(
    gensynth: Command, finished: tuple[Path, str, str], pictures: Path
) -> None:
    network = finished[0] / "finalists/FermiNet-A"
    certificate = json.loads((network / "card.json").read_text())["certificate"]
    code, out, err = gensynth("val", str(network), "--data", str(pictures), "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["top1_pct"] == certificate["point_pct"]
    assert found["interval_pct"] == [certificate["low_pct"], certificate["high_pct"]]
    assert [one["class"] for one in found["classes"]] == ["a", "b", "c", "d"]
    right = np.trace(found["confusion"])
    assert (right, np.sum(found["confusion"])) == (certificate["correct"], certificate["n"])
    # The same by the file alone, wherever it is: it says itself how it reads images.
    alone = pictures / "alone.onnx"
    alone.write_bytes((network / "network.onnx").read_bytes())
    code, out, _ = gensynth("val", str(alone), "--data", str(pictures / "test"), "--csv")
    assert (code, out.splitlines()[0].split(",")[:3]) == (0, ["class", "images", "correct"])
    assert sum(int(line.split(",")[2]) for line in out.splitlines()[1:]) == right


def test_predict_says_the_class_and_needs_no_torch(
    gensynth: Command, finished: tuple[Path, str, str], pictures: Path
) -> None:
    network = str(finished[0] / "finalists/FermiNet-A/network.onnx")
    images = sorted(pictures.glob("test/c/*.png"))[:5]
    code, out, _ = gensynth("predict", network, *map(str, images), "--top", "2", "--json")
    found = json.loads(out)
    assert (code, [one["image"] for one in found]) == (0, [str(image) for image in images])
    assert sum(one["classes"][0] == "c" for one in found) >= 4
    loads = "import sys; from gensynth.uses import predict, val; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loads], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_file_says_what_it_is_to_whoever_opens_it(finished: tuple[Path, str, str]) -> None:
    network = finished[0] / "finalists/FermiNet-A"
    meta = onnxruntime.InferenceSession(str(network / "network.onnx")).get_modelmeta()
    said = meta.custom_metadata_map
    card = json.loads((network / "card.json").read_text())
    assert (meta.producer_name, meta.graph_name) == ("gensynth", "FermiNet-A")
    assert json.loads(said["classes"]) == card["data"]["classes"]
    assert json.loads(said["reads"])["mean"] == card["data"]["mean"]
    assert json.loads(said["requirements"]) == ["top1 >= 60%", "macs <= 12k"]
    assert said["weights_sha256"] == card["sha256"]["weights.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["val", "absent.onnx", "--data", "."], "no file absent.onnx; name an ONNX file, an"),
        (["val", "{net}", "--data", "none"], "no folder none; it must hold one folder of images"),
        (["predict", "{net}", "toy.toml"], "toy.toml is not a whole image"),
        (["predict", "{net}", "x.png", "--mean", "1,2,3", "--std", "1,2,3"], SEVERAL),
        (["predict", "{net}", "x.png", "--mean", "a"], "--mean must be numbers with commas"),
        (["predict", "{net}", "x.png", "--colour", "rbg"], "did you mean 'rgb'"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    gensynth: Command, finished: tuple[Path, str, str], arguments: list[str], message: str
) -> None:
    network = str(finished[0] / "finalists/FermiNet-A/network.onnx")
    code, out, err = gensynth(*(one.format(net=network) for one in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
