"""A run that is stopped, killed or damaged anywhere: the end is the same, or it says why not."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gensynth.config import RunConfig
from gensynth.config_file import to_toml
from gensynth.data.dataset import Dataset
from gensynth.errors import Interrupted, RunError
from gensynth.graph.graph import Graph
from gensynth.progress import Silent
from gensynth.runs import state_files
from gensynth.runs.folder import RunFolder
from gensynth.runs.result import Result, read_result
from gensynth.runs.run import resume, synth
from tests.places import ROOT
from tests.runs import tiny
from tests.runs.stopping import Stop, ledger, networks, timeless


@pytest.mark.parametrize(
    ("stop", "done"),
    [
        pytest.param(Stop(progress="cycle-1"), "before the first cycle", marks=pytest.mark.slow),
        (Stop(cycle=1), "after cycle 1"),
        pytest.param(Stop(progress="network-1"), "after cycle 2", marks=pytest.mark.slow),
        pytest.param(Stop(phase="initialise"), "before the first cycle", marks=pytest.mark.slow),
        pytest.param(Stop(phase="finalists"), "after cycle 2", marks=pytest.mark.slow),
        pytest.param(Stop(phase="export"), "after cycle 2", marks=pytest.mark.slow),
    ],
    ids=["calibration", "cycle", "network", "initialise", "finalists", "export"],
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
import torch._dynamo  # what an optimizer imports when it is made, here once for all children

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_state_reads_back_as_it_was_written(finished: Result) -> None:
    from gensynth.space.coupling import couple
    from gensynth.space.space import Space

    folder = finished.path / "state" / "0002"
    graph = Graph.from_json((finished.path / "prototype" / "graph.json").read_text())
    files = {name: (folder / name).read_bytes() for name in state_files.FILES}
    state = state_files.restore(2, files, Space(couple(graph), round_to=1))
    assert state_files.dump(state) == files


def test_an_unfinished_run_has_no_result(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(cycle=1))
    with pytest.raises(RunError, match="has no finalists yet"):
        read_result(out)


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
