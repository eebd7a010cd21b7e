"""A whole run that is asked for points of the prototype's score, on harder test images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import gensynth
from gensynth.config import DataConfig
from gensynth.data.views import normaliser
from gensynth.goals.certificate import certify
from gensynth.goals.requirements import parse
from gensynth.goals.verdicts import Verdict
from gensynth.render.family import family as family_table
from gensynth.render.result import networks
from gensynth.render.result import result as table
from gensynth.runs.family_training import distil
from gensynth.runs.result import Finalist, Result, read_result
from gensynth.runs.run import synth
from tests.once import made_once
from tests.runs import tiny

ASKED = "top1 >= prototype - 15"


@pytest.fixture(scope="module")
def result(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Only to be read."""

    def make(folder: Path) -> None:
        data = DataConfig(source="tests.runs.tiny:harder")
        asked = (ASKED, "macs <= 60k")
        synth(tiny.config(weights, folder / "run", data=data, requirements=asked), command="")

    return read_result(made_once(tmp_path_factory, "harder", make) / "run")


@pytest.fixture
def run(result: Result, tmp_path: Path) -> Path:
    """A run of one's own."""
    return Path(shutil.copytree(result.path, tmp_path / "run"))


def right(finalist: Finalist) -> np.ndarray:
    """Return which test images a network has right."""
    test = tiny.harder()
    network = gensynth.load(finalist.folder)
    with torch.no_grad():
        logits = network(normaliser(test)(torch.from_numpy(test.test.images)))
    return np.asarray(logits.argmax(1).numpy() == test.test.labels)


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return document


def further(folder: Path) -> None:
    """Put slightly other weights in a network's folder."""
    weights = load_file(folder / "weights.safetensors")
    weights["head.bias"] = weights["head.bias"] + np.float32(1e-3)
    save_file(weights, folder / "weights.safetensors")


def test_a_network_that_is_hardly_worse_than_the_prototype_is_certified(result: Result) -> None:
    prototype = result.prototype
    harder = prototype.search_score.value - prototype.certificate.score.value
    assert harder > 0.25  # else the limit of the search split would hold here too
    own = right(prototype)
    for finalist in result.finalists:
        (text,) = finalist.by_difference
        other = right(finalist)
        counts = [int(c.sum()) for c in (other & own, other & ~own, own & ~other, ~own & ~other)]
        assert list(card(finalist.folder)["difference"]["images"].values()) == counts
        assert finalist.verdicts[text] is finalist.point_verdicts[text] is Verdict.SATISFIED
        plain = certify(finalist.certificate.score, [parse(text)], sharing=2)
        assert plain.verdict is Verdict.VIOLATED
        low, _ = finalist.certificate.gained or (0, 0)
        assert -15 <= low < 100 * (counts[1] - counts[2]) / 180


def test_the_prototype_is_no_worse_than_itself(result: Result) -> None:
    (text,) = result.prototype.by_difference
    assert result.prototype.verdicts[text] is Verdict.SATISFIED
    assert card(result.prototype.folder)["difference"]["points"] == 0


def test_tables_and_cards_say_that_it_was_judged_by_the_difference(result: Result) -> None:
    shown = table(result, 120)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert f"{ASKED}, paired satisfied satisfied satisfied" in lines
    bounds = [one.certificate.gained for one in result.finalists]
    lows = " ".join(f"{bound[0]:+.2f}" for bound in bounds if bound)
    assert f"certified at least {lows}" in lines
    assert not any("%" in line for line in lines if line.startswith("certified at least"))
    plain = " ".join(lines)
    assert "certified: one-sided paired Newcombe bounds, true of 2 networks together" in plain
    assert "paired: by the points gained over the prototype on the same test images" in plain
    assert "is held against the prototype on the search split" not in plain
    one = result.finalists[0]
    found = card(one.folder)["difference"]
    told = (one.folder / "README.md").read_text()
    assert f"| {ASKED}, by the points above the prototype | satisfied |" in told
    assert f"same test images | {found['points']:+.2f} ({found['low']:+.2f} to " in told
    assert f"certified at least {found['lower_bound']:+.2f} |" in told
    assert networks(result.prototype, [one]).count("paired") == 3


def test_further_networks_of_the_run_are_judged_by_the_difference_too(run: Path) -> None:
    folder = run / "finalists" / "FermiNet-A"
    further(folder)
    _, found = gensynth.certify(folder, trust=True)
    (text,) = found.by_difference
    assert found.certificate.sharing == 3
    assert found.verdicts[text] is Verdict.SATISFIED
    assert found.difference is not None
    drawn = distil(run, [1], trust=True)
    (one,) = drawn.drawn
    assert one.certificate is not None
    assert one.certificate.difference is not None
    (judged,) = (r for r in card(one.folder)["requirements"] if r["text"] == text)
    assert judged["by"] == "difference"
    assert f'"{ASKED}" is judged by the difference' in family_table(drawn)


def test_a_ledger_of_before_leaves_the_limit_of_the_search_split(run: Path) -> None:
    file = run / "ledger.jsonl"
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum("right" in entry for entry in entries) == 3  # prototype and two finalists
    old = [{key: of for key, of in entry.items() if key != "right"} for entry in entries]
    file.write_text("".join(json.dumps(entry) + "\n" for entry in old))
    folder = run / "finalists" / "FermiNet-A"
    further(folder)
    _, found = gensynth.certify(folder, trust=True)
    assert (found.difference, found.by_difference) == (None, frozenset())
    (text,) = (text for text in found.verdicts if text.startswith(ASKED))
    assert found.verdicts[text] is Verdict.VIOLATED
