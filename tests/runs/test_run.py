"""A whole run: what it leaves, and that stopping it anywhere changes nothing."""

import copy
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open

import gensynth
from gensynth.bench import subjects
from gensynth.config import DataConfig, PrototypeConfig, RunConfig
from gensynth.config_file import read, to_toml
from gensynth.data.dataset import Dataset
from gensynth.data.views import normaliser
from gensynth.errors import ExportError, Interrupted, PrototypeError, RunError
from gensynth.export import export_network
from gensynth.export.from_torch import from_network
from gensynth.export.parity import Parity, check_network
from gensynth.goals.score import Proportion
from gensynth.goals.verdicts import Verdict
from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph
from gensynth.network.module import Network
from gensynth.progress import Silent
from gensynth.render.live import console
from gensynth.render.result import result as show
from gensynth.runs import publish, state_files
from gensynth.runs.folder import RunFolder
from gensynth.runs.prepare import prepare
from gensynth.runs.result import Result, read_result
from gensynth.runs.run import resume, synth
from gensynth.search.inquisitor import FULL
from tests.places import ROOT
from tests.runs import tiny
from tests.runs.stopping import Stop, networks


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.trained(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return synth(tiny.config(weights, tmp_path_factory.mktemp("runs") / "run"), command="by hand")


def ledger(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "ledger.jsonl").read_text().splitlines()]


def timeless(journal: tuple[Mapping[str, Any], ...]) -> list[dict[str, Any]]:
    return [{k: v for k, v in e.items() if not k.endswith("seconds")} for e in journal]


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


def test_a_network_that_a_cycle_distilled_fully_may_be_a_finalist(
    weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(phase="finalists"))
    file = out / "attempts" / "cycle-1" / "attempt.json"
    entry = json.loads(file.read_text())
    file.write_text(json.dumps({**entry, "correct": entry["n"]}))  # as if it were always right
    finalists = resume(out).finalists
    made_in = [json.loads((f.folder / "card.json").read_text())["made_in"] for f in finalists]
    assert "cycle-1" in made_in


def test_the_run_file_in_the_folder_repeats_the_run(finished: Result, tmp_path: Path) -> None:
    config = replace(read(finished.path / "run.toml"), out=tmp_path / "again")
    again = synth(config)
    assert networks(again.path) == networks(finished.path)
    assert timeless(again.journal) == timeless(finished.journal)


def test_no_checkpoint_is_left(finished: Result) -> None:
    assert list((finished.path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("stop", "done"),
    [
        (Stop(phase="initialise"), "before the first cycle"),
        (Stop(progress="cycle-1"), "before the first cycle"),
        (Stop(cycle=1), "after cycle 1"),
        (Stop(phase="finalists"), "after cycle 2"),
        (Stop(progress="network-1"), "after cycle 2"),
        (Stop(phase="export"), "after cycle 2"),
    ],
    ids=["initialise", "calibration", "cycle", "finalists", "network", "export"],
)
def test_ctrl_c_says_how_to_go_on_and_the_end_is_the_same(
    finished: Result, weights: Path, tmp_path: Path, stop: Stop, done: str
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted) as stopped:
        synth(tiny.config(weights, out), listener=stop)
    assert str(stopped.value) == f"stopped {done}; go on with: gensynth synth --resume {out}"
    result = resume(out)
    assert networks(out) == networks(finished.path)
    assert timeless(result.journal) == timeless(finished.journal)


def test_ctrl_c_before_the_run_leaves_nothing(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="nothing is kept"):
        synth(tiny.config(weights, tmp_path / "run"), listener=Stop(phase="prepare"))
    assert list(tmp_path.iterdir()) == []


SERVER = """
import os, random, signal, sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
from gensynth.config_file import read
from gensynth.runs.run import resume, synth
import gensynth.runs.finalists, tests.runs.tiny

run_toml, whole, out = map(Path, sys.argv[1:4])
chance = random.Random(int(sys.argv[4]))


def start(out):
    child = os.fork()
    if child == 0:
        try:
            resume(out) if out.exists() else synth(read(run_toml, {"out": out}))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def ended(child, within):
    end = time.monotonic() + within
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


begun = time.monotonic()
assert ended(start(whole), 3600) == 0
took = time.monotonic() - begun
codes = []
while not codes or codes[-1] == -signal.SIGKILL:
    # At first within a third of a run; longer and longer, so that it ends on a busy machine too.
    codes.append(ended(start(out), chance.uniform(0, took / 3 * 1.2 ** len(codes))))
print(len(codes) - 1, codes[-1])
"""


def kill_and_resume(config: RunConfig, whole: Path, out: Path, seed: int) -> int:
    """Run once without a stop, and once in processes that are killed at random moments.

    Returns:
        how many were killed.
    """
    run_toml = out.with_suffix(".toml")
    run_toml.write_text(to_toml(replace(config, out=None)))
    arguments = [str(argument) for argument in (run_toml, whole, out, seed)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVER, *arguments],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    kills, code = map(int, done.stdout.split())
    assert code == 0
    return kills


@pytest.mark.realtime
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    weights: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert kill_and_resume(tiny.config(weights, None), whole, killed, seed=1) >= 2
    assert networks(killed) == networks(whole)
    assert timeless(read_result(killed).journal) == timeless(read_result(whole).journal)
    # No network's test images gave more than one result, whatever was killed in between.
    results = [entry for entry in ledger(killed) if entry["event"] == "result"]
    assert len({entry["network"] for entry in results}) == len(results) == 3


def test_a_finished_run_is_only_read(finished: Result) -> None:
    before = {f: f.stat().st_mtime_ns for f in finished.path.rglob("*") if f.name != "lock"}
    assert resume(finished.path) == finished
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_a_run_that_another_process_works_on_is_left_alone(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(cycle=1))
    with (
        RunFolder.open(out),
        pytest.raises(RunError, match=f"in use by process {os.getpid()}"),
    ):
        resume(out)


def test_another_data_set_than_the_run_began_with_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(cycle=1))
    noisy: Dataset = tiny.bars(noise=70.0)
    monkeypatch.setattr(tiny, "bars", lambda: noisy)
    with pytest.raises(RunError, match="the data set of .* train_sha256 differs"):
        resume(out)


def test_a_changed_prototype_is_refused(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(cycle=1))
    kept = out / "prototype" / "weights.safetensors"
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(RunError, match="is not what the run began with"):
        resume(out)


def test_a_run_goes_on_without_the_weights_file_it_was_given(
    finished: Result, weights: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(copy, out), listener=Stop(cycle=1))
    copy.unlink()
    resume(out)
    assert networks(out) == networks(finished.path)


def test_a_part_that_cannot_be_looked_into_is_in_the_onnx_files(tmp_path: Path) -> None:
    prototype = PrototypeConfig(
        network="tests.runs.tiny:odd", weights=tiny.trained(tmp_path, tiny.odd)
    )
    config = tiny.config(tmp_path, tmp_path / "run", prototype=prototype)
    with pytest.raises(Interrupted):
        synth(config, listener=Stop(cycle=1))
    result = resume(tmp_path / "run")
    for finalist in result.finalists:
        assert finalist.latency is not None
        card = json.loads((finalist.folder / "card.json").read_text())
        assert card["parity"]["relative"] <= 1e-4
    with pytest.raises(PrototypeError, match="opaque"):
        gensynth.load(result.finalists[0].folder)
    network = gensynth.load(result.finalists[0].folder, prototype=tiny.odd(3, 1))
    assert sum(p.numel() for p in network.parameters()) == result.finalists[0].params


class Heard(Silent):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_part_that_onnx_has_no_word_for_costs_only_the_onnx_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny.trained(tmp_path, tiny.wordless)
    prototype = PrototypeConfig(network="tests.runs.tiny:wordless", weights=weights)
    config = tiny.config(tmp_path, tmp_path / "run", prototype=prototype)
    heard = Heard()
    result = synth(config, listener=heard)
    assert any("no ONNX files" in note and "i0e" in note for note in heard.notes)
    assert not list(result.path.rglob("network.onnx"))
    assert all(finalist.latency is None for finalist in result.finalists)
    with pytest.raises(RunError, match=r"has no ONNX file, .* says: gensynth export") as refused:
        subjects.find([result.path])
    hint = shlex.split(str(refused.value).partition("says: gensynth ")[2])
    said = subprocess.run(
        [sys.executable, "-m", "gensynth", *hint],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 2
    assert "i0e" in said.stderr
    assert "Traceback" not in said.stderr
    console().print(show(result, 80))
    assert "finalists/*/weights.safetensors" in capsys.readouterr().out


def test_what_cannot_be_timed_on_noise_ends_without_a_latency(tmp_path: Path) -> None:
    weights = tiny.trained(tmp_path, tiny.logarithmic)
    prototype = PrototypeConfig(network="tests.runs.tiny:logarithmic", weights=weights)
    heard = Heard()
    config = tiny.config(tmp_path, tmp_path / "run", prototype=prototype)
    result = synth(config, listener=heard)
    assert any("no latency" in note and "not finite" in note for note in heard.notes)
    for finalist in result.finalists:
        assert (finalist.folder / "network.onnx").exists()
        assert finalist.latency is None


def test_a_state_reads_back_as_it_was_written(finished: Result) -> None:
    from gensynth.space.coupling import couple
    from gensynth.space.space import Space

    folder = finished.path / "state" / "0002"
    graph = Graph.from_json((finished.path / "prototype" / "graph.json").read_text())
    files = state_files.read_files(folder)
    state = state_files.restore(2, files, Space(couple(graph), round_to=1))
    assert state_files.dump(state) == files


def test_an_unfinished_run_has_no_result(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(cycle=1))
    with pytest.raises(RunError, match="has no finalists yet"):
        read_result(out)


@pytest.fixture
def training(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], RunConfig]:
    """Configurations of runs that train their prototype for three short epochs."""
    from gensynth.training import pretrain
    from gensynth.training.fit import Recipe

    monkeypatch.setattr(pretrain.train_prototype, "__kwdefaults__", {
        **(pretrain.train_prototype.__kwdefaults__ or {}), "recipe": Recipe(epochs=3, batch=32),
    })  # fmt: skip
    return lambda out: tiny.config(
        weights, out, requirements=("macs <= 60k",),
        prototype=PrototypeConfig(network="tests.runs.tiny:net", train=True),
    )  # fmt: skip


def test_a_prototype_is_trained_within_the_run_where_that_is_asked(
    training: Callable[[Path], RunConfig], tmp_path: Path
) -> None:
    result = synth(training(tmp_path / "run"))
    record = json.loads((result.path / "prototype" / "training.json").read_text())
    assert record["recipe"]["epochs"] == 3
    assert record["search"]["correct"] == result.prototype.search_score.to_document()["correct"]
    assert not (result.path / "training").exists()


def test_an_interrupted_training_of_the_prototype_goes_on_to_the_same_run(
    training: Callable[[Path], RunConfig], tmp_path: Path
) -> None:
    whole = synth(training(tmp_path / "whole"))
    with pytest.raises(Interrupted, match="before the first cycle; go on with: .* --resume"):
        synth(training(tmp_path / "run"), listener=Stop(progress="prototype"))
    checkpoint = tmp_path / "run" / "training" / "checkpoint.safetensors"
    with safe_open(checkpoint, framework="np") as file:
        assert int(file.metadata()["step"]) > 0
    trained_s = json.loads((tmp_path / "run" / "phases.json").read_text())["prepare"]
    resumed = resume(tmp_path / "run")
    assert json.loads((resumed.path / "phases.json").read_text())["prepare"] > trained_s > 0
    assert networks(resumed.path) == networks(whole.path)
    assert not (resumed.path / "training").exists()
    record = json.loads((resumed.path / "prototype" / "training.json").read_text())
    assert record["train_s"] is None


def test_a_plan_trains_no_prototype(training: Callable[[Path], RunConfig], tmp_path: Path) -> None:
    forecast = prepare(training(tmp_path / "run"), listener=Stop(progress="prototype")).forecast()
    assert forecast.search_score is None
    assert forecast.costs["macs"][0] < forecast.costs["macs"][1]
    assert not (tmp_path / "run").exists()


class Kill(Silent):
    """Ends the run as a kill does, without its being told."""

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        raise SystemError("killed")


def test_the_time_of_a_killed_session_is_counted(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemError):
        synth(tiny.config(weights, tmp_path / "run"), listener=Kill())
    seconds = json.loads((tmp_path / "run" / "phases.json").read_text())
    (entry,) = (
        e for e in RunFolder.open(tmp_path / "run", lock=False).read_journal() if e["cycle"]
    )
    assert seconds["prepare"] > 0
    assert seconds["cycles"] >= sum(entry["seconds"].values())


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


def fails_for(name_of_weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ONNX file of whichever network stands in that folder be another one's."""

    def other(network: Network, images: torch.Tensor, path: Path) -> Parity:
        if path.parent.name == name_of_weights:
            with torch.no_grad():
                wrong = copy.deepcopy(network)
                wrong.state_dict()["head.bias"].add_(1.0)
            return check_network(from_network(wrong.eval()), network, images)
        return export_network(network, images, path)

    monkeypatch.setattr(publish, "export_network", other)


def test_one_finalist_that_cannot_be_written_is_named_and_the_run_ends_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(tiny.trained(tmp_path), tmp_path / "run")
    heard = Heard()
    fails_for("network-1", monkeypatch)
    result = synth(config, listener=heard)
    (lost,) = [f for f in result.finalists if not (f.folder / "network.onnx").exists()]
    (kept,) = [f for f in result.finalists if f is not lost]
    assert [note for note in heard.notes if "ONNX" in note] == [
        f"no ONNX file of {lost.name}, so no latency either: {lost.no_onnx_because}"
    ]
    assert "the file differs from the network by" in str(lost.no_onnx_because)
    assert (lost.latency, kept.no_onnx_because) == (None, None)
    assert kept.latency is not None
    assert kept.ratios is not None
    assert kept.ratios.latency is not None
    text = show(result, 400)
    assert f"{lost.name} has no ONNX file: the file differs" in text
    assert "finalists/*/network.onnx" in text
    assert show(read_result(result.path), 400) == text
    with pytest.raises(RunError, match="time the others by their names, gensynth bench") as refused:
        subjects.find([result.path])
    assert str(kept.folder) in str(refused.value)
    assert str(lost.folder) + " " not in str(refused.value).partition("bench ")[2]


def test_a_run_that_stopped_there_ends_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(tiny.trained(tmp_path), tmp_path / "run")

    def stops(*arguments: object) -> None:
        raise ExportError("FermiNet-A: the file differs from the network")

    with monkeypatch.context() as before:
        before.setattr(publish, "export_all", stops)  # as every resumed run did once
        with pytest.raises(ExportError):
            synth(config)
    spent = ledger(tmp_path / "run")
    fails_for("network-1", monkeypatch)
    result = resume(tmp_path / "run")
    assert len(result.finalists) == 2
    assert sum(f.no_onnx_because is not None for f in result.finalists) == 1
    assert ledger(tmp_path / "run") == spent  # the test images are looked at once
