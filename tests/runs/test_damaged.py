"""Whatever of a run folder is damaged, odd or a pipe: it is refused by its name, at once."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gensynth.errors import GensynthError, RunError
from gensynth.runs.family_training import distil
from gensynth.runs.result import Result, read_result
from gensynth.runs.run import resume


@pytest.fixture
def stopped(finished: Result, tmp_path: Path) -> Path:
    """A copy of a run that ended before its finalists were certified."""
    run = tmp_path / "stopped"
    shutil.copytree(finished.path, run)
    (run / "result.json").unlink()
    return run


ATTEMPT = "attempts/cycle-1/attempt.json"
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: entry.clear(), "seed is missing"),
        (lambda entry: entry.pop("widths"), "widths is missing"),
        (lambda entry: entry.update(widths=[1]), "none of this prototype's"),
        (lambda entry: entry.update(widths=[10**6, 1]), "none of this prototype's"),
        (lambda entry: entry.update(bits=[True] * 9), "none of this prototype's"),
        (lambda entry: entry.update(predicted=[0.5]), "predicted"),
        (lambda entry: entry.update(seconds=7), "seconds"),
        (lambda entry: entry.pop("correct"), "no score"),
        (lambda entry: entry.update(correct=10**6), "correct"),
        (lambda entry: entry.update(graph_sha256="0" * 64), "graph.json beside it is another"),
    ],
)
def test_a_damaged_record_of_a_distillation_is_refused(
    stopped: Path, change: Change, said: str
) -> None:
    entry = json.loads((stopped / ATTEMPT).read_text())
    change(entry)
    (stopped / ATTEMPT).write_text(json.dumps(entry))
    with pytest.raises(RunError, match=f"{ATTEMPT} is damaged: .*{said}"):
        resume(stopped)


def test_a_distillation_whose_weights_are_others_is_refused(stopped: Path) -> None:
    shutil.copy(stopped / "prototype/weights.safetensors", stopped / "attempts/cycle-1")
    with pytest.raises(RunError, match="is not what was distilled and scored"):
        resume(stopped)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"weights_sha256": 7}'])
def test_a_damaged_record_of_a_generated_network_is_refused(
    finished: Result, tmp_path: Path, content: bytes
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    distil(run, [0])
    (run / "generated/0/search.json").write_bytes(content)
    with pytest.raises(RunError, match=r"generated/0/search\.json is damaged"):
        distil(run, [0])


def test_weights_of_a_state_that_are_anothers_are_refused(stopped: Path) -> None:
    from gensynth.runs import state_files
    from gensynth.runs.inputs import config_of
    from gensynth.runs.prepare import prepare

    job = prepare(config_of(stopped), kept=stopped / "prototype/weights.safetensors")
    folder = stopped / "state" / "0002"
    assert state_files.read(2, folder, job.prototype, job.space).cycle == 2
    shutil.copy(stopped / "attempts/cycle-1/weights.safetensors", folder)
    with pytest.raises(RunError, match="the state in .* is damaged: its weights are another"):
        state_files.read(2, folder, job.prototype, job.space)


@pytest.mark.parametrize(
    "file",
    ["FORMAT", "journal.jsonl", "ledger.jsonl", "inputs.json", "run.toml", ATTEMPT,
     "attempts/cycle-1/weights.safetensors", "attempts/cycle-1/graph.json", "phases.json"],
)  # fmt: skip
def test_a_pipe_in_a_run_folder_is_not_waited_for(stopped: Path, file: str) -> None:
    (stopped / file).unlink()
    os.mkfifo(stopped / file)
    with pytest.raises(GensynthError):
        resume(stopped)


def test_a_pipe_for_a_journal_is_not_waited_for_where_a_run_is_shown(
    finished: Result, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    (run / "journal.jsonl").unlink()
    os.mkfifo(run / "journal.jsonl")
    with pytest.raises(RunError, match=r"journal\.jsonl cannot be read: it must be a plain file"):
        read_result(run)
