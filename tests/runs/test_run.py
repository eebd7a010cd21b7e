"""A whole run: what it leaves, and what has a part in it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import gensynth
from gensynth.config import DataConfig
from gensynth.config_file import read
from gensynth.data.dataset import Dataset
from gensynth.data.views import normaliser
from gensynth.errors import Interrupted
from gensynth.goals.score import Proportion
from gensynth.goals.verdicts import Verdict
from gensynth.graph.cost import cost
from gensynth.runs.result import Result, read_result
from gensynth.runs.run import resume, synth
from gensynth.search.inquisitor import FULL
from tests.runs import tiny
from tests.runs.stopping import Stop, ledger, networks, timeless


def test_a_run_ends_with_different_networks_that_meet_the_costs(finished: Result) -> None:
    assert [f.name for f in finished.finalists] == ["FermiNet-A", "FermiNet-B"]
    assert all(f.macs <= 60_000 for f in finished.finalists)
    assert len({(f.folder / "graph.json").read_bytes() for f in finished.finalists}) == 2
    assert all(f.verdicts["macs <= 60k"] is Verdict.SATISFIED for f in finished.finalists)
    assert finished.prototype.verdicts["macs <= 60k"] is Verdict.VIOLATED


def test_a_finalists_figures_are_those_of_its_files(finished: Result) -> None:
    data = tiny.bars()
    for finalist in finished.finalists:
        network = gensynth.load(finalist.folder)
        counted = cost(network.graph)
        assert (finalist.params, finalist.macs) == (counted.params, counted.macs)
        assert counted.params == sum(p.numel() for p in network.parameters())
        with torch.no_grad():
            images = normaliser(data)(torch.from_numpy(data.test.images))
            right = int((network(images).argmax(1).numpy() == data.test.labels).sum())
        assert finalist.certificate.score == Proportion("top1", right, len(data.test))
        session = onnxruntime.InferenceSession(finalist.folder / "network.onnx")
        (logits,) = session.run(None, {"images": images.numpy()})
        assert int((np.asarray(logits).argmax(1) == data.test.labels).sum()) == right


def test_the_rate_that_was_found_is_in_the_journal_and_trained_the_finalists(
    finished: Result,
) -> None:
    first = json.loads((finished.path / "journal.jsonl").read_text().splitlines()[0])
    found = first["learning_rate"]
    assert found["peak_lr"] in [trial["peak_lr"] for trial in found["trials"]]
    card = json.loads((finished.finalists[0].folder / "card.json").read_text())
    assert card["training"]["recipe"]["peak_lr"] == found["peak_lr"]


def test_a_finalists_ratios_are_to_the_prototype(finished: Result) -> None:
    one, prototype = finished.finalists[0], finished.prototype
    assert one.ratios is not None
    assert one.ratios.macs == prototype.macs / one.macs
    assert one.ratios.netscore_gain == pytest.approx(one.netscore - prototype.netscore)
    timed = json.loads((finished.path / "latency.json").read_text())["networks"]
    medians = [np.median(timed[name]["rounds_ms"], axis=1) for name in (prototype.name, one.name)]
    # The geometric mean over rounds of the ratio of the two medians.
    assert one.ratios.latency == pytest.approx(np.exp(np.mean(np.log(medians[0] / medians[1]))))


def test_the_finalists_share_the_confidence_and_are_looked_at_once(finished: Result) -> None:
    assert {f.certificate.sharing for f in finished.finalists} == {2}
    entries = ledger(finished.path)
    assert [e["event"] for e in entries] == ["touch", "result"] * 3  # prototype and finalists
    shas = [
        hashlib.sha256((f.folder / "weights.safetensors").read_bytes()).hexdigest()
        for f in (finished.prototype, *finished.finalists)
    ]
    assert [e["network"] for e in entries if e["event"] == "result"] == shas


def test_a_card_tells_the_whole_story(finished: Result) -> None:
    card = json.loads((finished.finalists[0].folder / "card.json").read_text())
    for file, digest in card["sha256"].items():
        content = (finished.finalists[0].folder / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    graph = gensynth.load(finished.finalists[0].folder).graph
    additions = {vertex.name for vertex in graph.vertices if vertex.op == "add"}
    assert additions.isdisjoint(card["removed_blocks"])
    assert len(additions) + len(card["removed_blocks"]) == 1  # the prototype has one
    assert card["data"]["classes"] == list(tiny.CLASSES)
    assert card["data"]["mean"] == [0.35]
    assert card["command"] == "by hand"
    assert card["parity"]["relative"] <= 1e-4
    made_by = finished.path / "attempts" / card["made_in"] / "generator.json"
    assert hashlib.sha256(made_by.read_bytes()).hexdigest() == card["generator_sha256"]


def test_the_journal_has_a_verdict_for_every_cycle(finished: Result) -> None:
    assert [entry["cycle"] for entry in finished.journal] == [1, 2]
    for entry in finished.journal:
        assert entry["verdicts"]["macs <= 60k"] == "satisfied"
        assert entry["verdict"] in {"satisfied", "violated", "unknown"}
    assert "full_top1_pct" in finished.journal[0]
    assert "full_top1_pct" not in finished.journal[1]


def test_what_full_distillation_reached_is_learned_from(finished: Result) -> None:
    document = json.loads((finished.path / "state" / "0002" / "inquisitor.json").read_text())
    fidelities = [seen[-2] for seen in document["inquisitor"]["scores"]]
    assert fidelities.count(FULL) == 1  # of the first cycle
    final = json.loads((finished.path / "inquisitor.json").read_text())
    attempts = list((finished.path / "attempts").iterdir())
    seen = [o[-2] for o in final["inquisitor"]["scores"]]
    assert seen.count(FULL) == len(attempts)


def with_noise(data: Dataset, name: str) -> Dataset:
    """The same data set with another split's images and labels in place of one."""
    random = np.random.default_rng(99)
    split = getattr(data, name)
    images = random.integers(0, 256, split.images.shape, dtype=np.uint8)
    changed = replace(split, images=images, labels=random.permutation(split.labels))
    return replace(data, **{name: changed})


def test_the_test_split_changes_nothing_but_certificates(weights: Path, tmp_path: Path) -> None:
    paths = {}
    for name, data in (("own", tiny.bars()), ("noise", with_noise(tiny.bars(), "test"))):
        config = tiny.config(weights, tmp_path / name)
        paths[name] = synth(config, dataset=data).path
    assert networks(paths["noise"]) == networks(paths["own"])
    journals = [timeless(read_result(path).journal) for path in paths.values()]
    assert journals[0] == journals[1]
    kept = [
        {
            str(file.relative_to(path)): file.read_bytes()
            for file in sorted((path / "attempts").rglob("*.safetensors"))
        }
        for path in paths.values()
    ]
    assert kept[0] == kept[1]
    results = [read_result(path).prototype.certificate.score for path in paths.values()]
    assert results[0] != results[1]


def test_the_search_split_trains_nothing(weights: Path, tmp_path: Path) -> None:
    # Before the first score is known both runs do the same, so what they train must be the same:
    # the first cycle's network, the shared weights after it, its full distillation.
    files = {}
    for name, data in (("own", tiny.bars()), ("noise", with_noise(tiny.bars(), "search"))):
        run = tmp_path / name
        with pytest.raises(Interrupted):
            synth(tiny.config(weights, run), dataset=data, listener=Stop(cycle=1))
        first = (run / "state" / "0001", run / "attempts" / "cycle-1")
        files[name] = [(folder / "weights.safetensors").read_bytes() for folder in first]
    assert files["noise"] == files["own"]


@pytest.mark.slow
def test_a_network_that_a_cycle_distilled_fully_may_be_a_finalist(
    weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = replace(tiny.config(weights, out), utility="top1")
    with pytest.raises(Interrupted):
        synth(config, listener=Stop(phase="finalists"))
    file = out / "attempts" / "cycle-1" / "attempt.json"
    entry = json.loads(file.read_text())
    file.write_text(json.dumps({**entry, "correct": entry["n"]}))  # as if it were always right
    finalists = resume(out).finalists
    made_in = [json.loads((f.folder / "card.json").read_text())["made_in"] for f in finalists]
    assert "cycle-1" in made_in


@pytest.mark.slow
def test_the_run_file_in_the_folder_repeats_the_run(finished: Result, tmp_path: Path) -> None:
    config = replace(read(finished.path / "run.toml"), out=tmp_path / "again")
    again = synth(config)
    assert networks(again.path) == networks(finished.path)
    assert timeless(again.journal) == timeless(finished.journal)


def test_no_checkpoint_is_left(finished: Result) -> None:
    assert list((finished.path / "checkpoints").iterdir()) == []


def test_the_default_folder_is_the_first_free_one(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stop = Stop(phase="initialise")
    for name in ("net-bars-3", "net-bars-3.2"):
        with pytest.raises(Interrupted, match=f"--resume runs/{name}$"):
            synth(tiny.config(weights, None), listener=stop)


def test_a_data_config_of_the_run_is_the_one_in_the_folder(finished: Result) -> None:
    assert read(finished.path / "run.toml").data == DataConfig(source="tests.runs.tiny:bars")
