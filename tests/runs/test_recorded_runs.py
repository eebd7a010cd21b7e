"""Runs that earlier versions recorded are read, and their generators give what they gave."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gensynth
from gensynth.config_file import read
from gensynth.errors import DataError
from gensynth.export.from_torch import from_network
from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph
from gensynth.prototypes import create
from gensynth.runs.family import open_generator
from gensynth.runs.result import read_finalist
from gensynth.search.inquisitor import FULL
from gensynth.space.coupling import couple
from gensynth.trace import trace
from gensynth.uses.classifier import open_classifier
from tests.places import ROOT

RESULTS = ROOT / "experiments" / "cifar10" / "results"
RUNS = (RESULTS, RESULTS / "rival")
FINALISTS = sorted(path.parent for run in RUNS for path in run.glob("FermiNet-?/card.json"))


@pytest.fixture(scope="module")
def prototype() -> Graph:
    module = create("resnet20", classes=10, channels=3).eval()
    return trace(module, torch.zeros(1, 3, 32, 32), name="resnet20")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_recorded_generator_still_gives_its_finalists_byte_for_byte(
    run: Path, prototype: Graph, tmp_path: Path
) -> None:
    (tmp_path / "prototype").mkdir()
    (tmp_path / "prototype" / "graph.json").write_text(prototype.to_json())
    for name in ("generator.json", "inquisitor.json"):
        shutil.copy(run / name, tmp_path)
    generator, inquisitor = open_generator(tmp_path)
    final = hashlib.sha256((run / "generator.json").read_bytes()).hexdigest()
    cards = [json.loads((f / "card.json").read_text()) for f in FINALISTS if f.parent == run]
    own = [card for card in cards if card["generator_sha256"] == final]
    for card in own:
        recorded = (run / card["name"] / "graph.json").read_bytes()
        assert generator.generate(card["seed"]).to_json().encode() == recorded
    low, middle, high = inquisitor.interval(generator.points([0]), FULL)
    assert 0.8 < low < middle < high < 1
    assert own or run != RESULTS


@pytest.mark.parametrize(
    "folder", FINALISTS, ids=lambda folder: f"{folder.parent.name}-{folder.name}"
)
def test_a_recorded_card_and_its_network_are_read(folder: Path) -> None:
    finalist, network = read_finalist(folder), gensynth.load(folder)
    counted = cost(network.graph)
    assert (finalist.params, finalist.macs) == (counted.params, counted.macs)
    assert finalist.certificate.score.metric == "top1"
    assert finalist.certificate.lower_bound_pct < finalist.certificate.point_pct


def test_a_loaded_network_reads_images_as_its_onnx_file_does(tmp_path: Path) -> None:
    # ONNX Runtime and the file's own reading are the evidence; the picture is cut and made smaller.
    draws = np.random.default_rng(0)
    values = draws.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(values).resize((60, 40))
    picture.save(tmp_path / "a.png")
    folder = tmp_path / "FermiNet-A"
    shutil.copytree(FINALISTS[0], folder)
    network = gensynth.load(folder)
    (folder / "network.onnx").write_bytes(from_network(network))
    (shares,) = open_classifier(folder)([tmp_path / "a.png"])
    array = np.asarray(picture)
    tensor = torch.from_numpy(array.transpose(2, 0, 1).copy())
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), picture, array, tensor):
        read = network.preprocess([given])
        np.testing.assert_allclose(network(read).detach().softmax(1)[0], shares, atol=1e-6)
    assert len(network.preprocess([picture, tensor[None].repeat(2, 1, 1, 1)])) == 3
    assert network.preprocess.classes[0] == "airplane"
    for wrong in (array / 255, tensor[:2], np.zeros((2, 3, 4, 5, 3), np.uint8), 7):
        with pytest.raises(DataError, match="an image must"):
            network.preprocess(wrong)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_recorded_run_file_says_the_same_in_the_words_of_today(run: Path) -> None:
    config = read(run / "run.toml")
    assert (config.search.round_to, config.search.reptile_rate) == (2, 0.3)
    assert config.task.kind == "classification"


def test_the_networks_of_a_run_have_names_that_say_where_they_stand() -> None:
    assert len(FINALISTS) == 4
    assert couple(gensynth.load(FINALISTS[0]).graph).groups  # a FermiNet can be a prototype again
