"""What a card claims holds of the files beside it alone; further training is certified anew."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import gensynth as package
from gensynth.data.views import normaliser
from gensynth.errors import RunError
from tests.runs import toybox
from tests.runs.toybox import Command

NAME = "FermiNet-B"


@pytest.fixture
def run(here: Path, finished: tuple[Path, str, str]) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished[0], here / "run"))


def train(folder: Path) -> None:
    """Put other weights of the same shapes in a network's folder."""
    file = folder / "weights.safetensors"
    weights = load_file(file)
    noise = np.random.default_rng(0).normal(0, 0.02, weights["fc.weight"].shape)
    weights["fc.weight"] = weights["fc.weight"] + noise.astype(np.float32)
    save_file(weights, file)


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return document


def ledger(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "command",
    [
        ("show", "run"),
        ("synth", "--resume", "run"),
        ("export", "run", "--target", "x86-cpu"),
        ("export", f"run/finalists/{NAME}", "--onnx"),
    ],
    ids=" ".join,
)
def test_a_card_beside_other_weights_is_refused(
    gensynth: Command, run: Path, command: tuple[str, ...]
) -> None:
    train(run / "finalists" / NAME)
    before = toybox.tree(run)
    code, out, err = gensynth(*command)
    assert (code, out) == (2, "")
    assert err == (
        f"error: run/finalists/{NAME}/weights.safetensors is not the file that card.json beside it "
        "was written for, so none of its figures hold of it; put it back from a copy, or certify "
        f"what is there now: gensynth certify run/finalists/{NAME}\n"
    )
    assert toybox.tree(run) == before


@pytest.mark.parametrize("file", ["weights.safetensors", "graph.json", "network.onnx"])
def test_a_network_beside_another_ones_card_is_not_loaded(run: Path, file: str) -> None:
    folder, other = run / "finalists" / NAME, run / "finalists" / "FermiNet-A"
    shutil.copy(other / file, folder / file)
    with pytest.raises(RunError, match=f"{file} is not the file that card.json beside it"):
        package.load(folder)


def test_a_network_without_a_card_claims_nothing_and_is_loaded(run: Path) -> None:
    folder = run / "finalists" / NAME
    train(folder)
    (folder / "card.json").unlink()
    package.load(folder)


def test_an_onnx_file_under_another_ones_card_is_not_benched(gensynth: Command, run: Path) -> None:
    folder = run / "finalists" / NAME
    shutil.copy(run / "finalists" / "FermiNet-A" / "network.onnx", folder)
    code, _, err = gensynth("bench", str(folder))
    assert code == 2
    assert "network.onnx is not the file that card.json beside it was written for" in err


@pytest.mark.parametrize("file", ["weights.safetensors", "graph.json", "network.onnx"])
def test_a_file_that_its_card_does_not_know_is_no_file_of_it(run: Path, file: str) -> None:
    folder = run / "finalists" / NAME
    less = card(folder)
    del less["sha256"][file]
    (folder / "card.json").write_text(json.dumps(less))
    with pytest.raises(RunError, match=f"{file} is not the file that card.json beside it"):
        package.load(folder)


def test_a_card_of_an_earlier_version_is_held_against_the_ledger(
    gensynth: Command, run: Path
) -> None:
    folder = run / "finalists" / NAME
    old = card(folder)
    del old["sha256"]
    (folder / "card.json").write_text(json.dumps(old))
    assert gensynth("show", "run")[0] == 0
    train(folder)
    code, _, err = gensynth("show", "run")
    assert code == 2
    assert "is not the file that card.json beside it was written for" in err


def test_a_card_of_an_earlier_version_is_of_the_score_on_record(run: Path) -> None:
    folder = run / "finalists" / NAME
    old = card(folder)
    del old["sha256"]
    old["certificate"]["correct"] -= 1  # as of another network that was judged too
    (folder / "card.json").write_text(json.dumps(old))
    with pytest.raises(RunError, match=r"weights\.safetensors is not the file that card\.json"):
        package.load(folder)


@pytest.mark.slow
def test_a_network_beside_another_onnx_file_was_not_trained_further(
    gensynth: Command, run: Path
) -> None:
    folder, before = run / "finalists" / NAME, ledger(run)
    old = card(folder)
    shutil.copy(run / "finalists" / "FermiNet-A" / "network.onnx", folder)
    code, out, _ = gensynth("certify", f"run/finalists/{NAME}")
    assert code == 0
    assert "trained further" not in out
    new = card(folder)
    for key in ("what", "training", "predicted", "seed", "certificate", "trained_further"):
        assert new.get(key) == old.get(key)
    assert new["sha256"] == old["sha256"]  # its ONNX file is written from the network again
    assert ledger(run) == before


def test_more_networks_are_not_distilled_from_another_prototype(
    gensynth: Command, run: Path
) -> None:
    train(run / "prototype")
    code, _, err = gensynth("generate", "run", "--seeds", "0:1", "--distil")
    assert code == 2
    assert "weights.safetensors is not what the run began with; put it back" in err


def test_further_training_is_certified_by_one_more_look(gensynth: Command, run: Path) -> None:
    folder, before = run / "finalists" / NAME, ledger(run)
    train(folder)
    code, out, _ = gensynth("certify", f"run/finalists/{NAME}")
    assert code in (0, 1)
    found = card(folder)
    # Counted here by torch alone.
    network, data = package.load(folder), toybox.toy_module(run.parent).data()
    with torch.no_grad():
        images = normaliser(data)(torch.from_numpy(data.test.images))
        right = int((network(images).argmax(1).numpy() == data.test.labels).sum())
    assert (found["certificate"]["correct"], found["certificate"]["n"]) == (right, 120)
    assert [e["event"] for e in ledger(run)[len(before) :]] == ["touch", "result"]
    assert ledger(run)[-1]["network"] == sha256(folder / "weights.safetensors")
    # The three finalists and this one.
    assert found["certificate"]["sharing"] == found["trained_further"]["judged"] == 4
    assert found["sha256"] == {f: sha256(folder / f) for f in found["sha256"]}
    assert set(found["sha256"]) == {"graph.json", "weights.safetensors", "network.onnx"}
    said = " ".join(out.split())
    assert f"{NAME} was trained further outside gensynth; the test split has judged 4" in said


def test_what_is_certified_anew_is_shown_and_exported_again(gensynth: Command, run: Path) -> None:
    train(run / "finalists" / NAME)
    gensynth("certify", f"run/finalists/{NAME}")
    code, out, _ = gensynth("show", "run")
    assert code == 0
    said = " ".join(out.split())
    assert "certified of FermiNet-A, FermiNet-C: one-sided Wilson bounds, true of 3" in said
    assert f"certified of {NAME}: one-sided Wilson bounds, true of 4 networks together" in said
    assert gensynth("export", "run", "--target", "x86-cpu")[0] == 0
    assert gensynth("verify", f"run/artefacts/x86-cpu/{NAME}")[0] == 0


def test_the_same_weights_are_looked_at_once(gensynth: Command, run: Path) -> None:
    folder = run / "finalists" / NAME
    assert gensynth("certify", str(folder))[0] == 0  # its card is its own
    assert len(ledger(run)) == 8  # touch and result of the prototype and three finalists
    train(folder)
    gensynth("certify", str(folder))
    first = card(folder)
    (folder / "card.json").write_text("{")
    gensynth("certify", str(folder))
    assert len(ledger(run)) == 10
    assert card(folder)["certificate"] == first["certificate"]


@pytest.mark.slow
def test_the_data_may_have_moved_and_not_changed(gensynth: Command, run: Path, here: Path) -> None:
    train(run / "finalists" / NAME)
    other = toybox.MODULE.replace("integers(0, 140,", "integers(0, 141,")
    (here / "other.py").write_text(other)
    code, _, err = gensynth("certify", f"run/finalists/{NAME}", "--data", "other:data")
    assert (code, len(ledger(run))) == (2, 8)
    assert "run is not what the run began with: train_sha256 differs" in err
    shutil.move(here / "toy.py", here / "moved.py")
    assert gensynth("certify", f"run/finalists/{NAME}", "--data", "moved:data")[0] in (0, 1)


@pytest.mark.parametrize("place", ["run", "run/attempts/network-1/absent", ".", "run/prototype"])
def test_what_is_no_network_of_a_run_is_refused(gensynth: Command, run: Path, place: str) -> None:
    code, out, err = gensynth("certify", place)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {Path(place)} is no network of a run; name one such as RUN/finalists/FermiNet-A\n"
    )


def test_train_distils_a_network_further_beside_it_and_certifies_it(
    gensynth: Command, run: Path
) -> None:
    before = card(run / "finalists" / NAME)
    content = sha256(run / "finalists" / NAME / "weights.safetensors")
    code, out, err = gensynth("train", f"run/finalists/{NAME}", "--epochs", "2", "--csv")
    assert code in (0, 1), err
    assert [line.split(",")[0] for line in out.splitlines()] == ["name", "toy:Net", f"{NAME}-2"]
    assert sha256(run / "finalists" / NAME / "weights.safetensors") == content
    made = card(run / "finalists" / f"{NAME}-2")
    assert made["costs"] == before["costs"]
    assert made["sha256"]["weights.safetensors"] != content
    assert made["what"] == f"{before['what']}, then 2 epochs more"
    assert made["training"]["recipe"]["epochs"] == 2
    # One more network that the test images have judged.
    assert made["certificate"]["sharing"] == before["certificate"]["sharing"] + 1
    results = [entry for entry in ledger(run) if entry["event"] == "result"]
    assert gensynth("train", f"run/finalists/{NAME}", "--epochs", "2", "--csv")[1] == out
    assert [entry for entry in ledger(run) if entry["event"] == "result"] == results
