"""A run killed at any file operation ends, resumed, as if it had not been.

One run is recorded: before each write, rename, fsync, removal and new folder of its own, all
files are noted as a kill at that moment would leave them. Each state in turn is put on the disk
and gone on with. A line that is appended is written in two halves, so that torn ones are there.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gensynth.config import FinalistsConfig, LatencyConfig, RunConfig, SearchConfig
from gensynth.runs.result import read_result
from gensynth.runs.run import resume, synth
from tests.runs import tiny
from tests.runs.stopping import networks

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
Files = dict[str, bytes | None]
"""Content by path; None for a folder."""


class Recorder:
    """Notes the files of a folder before each operation on them, each state once."""

    def __init__(self, folder: Path) -> None:
        self.states: list[tuple[str, Files]] = []
        self.operations: list[str] = []
        self._folder, self._busy = folder, False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an audit event of Python."""
        writes = event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if writes or event in CHANGES:
            self.note(f"{event} {arguments[0]}")

    def note(self, what: str) -> None:
        if self._busy:
            return
        self._busy = True
        self.operations.append(what)
        files = {
            str(path.relative_to(self._folder)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self._folder.rglob("*"))
        }
        if not self.states or self.states[-1][1] != files:
            self.states.append((what, files))
        self._busy = False


LISTENING: list[Recorder] = []


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    for recorder in LISTENING:
        recorder.hear(event, arguments)


sys.addaudithook(_tell)


def small(weights: Path, out: Path) -> RunConfig:
    """A run of three cycles and one finalist, as short as it can be."""
    return tiny.config(
        weights, out,
        search=SearchConfig(
            cycles=3, warmup_images=0, images=64, probe_images=30, candidates=16, shortlist=2,
            round_to=1,
        ),
        finalists=FinalistsConfig(count=1, aim="point", epochs=0.5, batch=32),
        latency=LatencyConfig(repeats=2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def recorded(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Recorder]:
    folder = tmp_path_factory.mktemp("recorded")
    config = small(weights, folder / "run")
    recorder = Recorder(folder)
    sync, write = os.fsync, os.write

    def spied(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*arguments: Any) -> Any:
            recorder.note(what)
            return function(*arguments)

        return spy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", spied("fsync", sync))
        half = spied("write", lambda file, text: write(file, text[: (len(text) + 1) // 2]))
        patch.setattr(os, "write", half)
        LISTENING.append(recorder)
        try:
            synth(config)
        finally:
            LISTENING.clear()
        recorder.note("end")
    return config, recorder


def go_on(config: RunConfig, files: Files, place: Path) -> Path:
    """Put what a kill left in a place, and do what a person would do then."""
    for name, content in files.items():
        # The process that made it is dead.
        path = place / name.replace(f"-{os.getpid()}", "-100000000")
        path.mkdir(parents=True) if content is None else path.write_bytes(content)
    run = place / "run"
    if run.exists():
        resume(run)
    else:
        synth(replace(config, out=run))
    return run


def told(run: Path) -> dict[str, Any]:
    """Return everything of a run that must be the same however often it was killed."""
    ledger = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    journal = read_result(run).journal
    return {
        "files": sorted(str(path.relative_to(run.parent)) for path in run.parent.rglob("*")),
        "networks": networks(run),
        "journal": [{k: v for k, v in e.items() if not k.endswith("seconds")} for e in journal],
        "results": [entry for entry in ledger if entry["event"] == "result"],
    }


def assert_same_end(recorded: tuple[RunConfig, Recorder], tmp_path: Path, every: int) -> None:
    config, recorder = recorded
    assert config.out is not None
    expected = told(config.out)
    for number, (what, files) in enumerate(recorder.states[every // 2 :: every]):
        place = tmp_path / str(number)
        place.mkdir()
        assert told(go_on(config, files, place)) == expected, f"killed before: {what}"


@pytest.mark.slow
def test_every_kind_of_operation_is_recorded(recorded: tuple[RunConfig, Recorder]) -> None:
    _, recorder = recorded
    kinds = {what.split()[0] for what in recorder.operations}
    assert kinds >= {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fsync", "write"}
    assert len(recorder.operations) > len(recorder.states) > 100
    torn = [files.get("run/journal.jsonl") or b"" for _, files in recorder.states]
    assert any(not content.endswith(b"\n") for content in torn if content)


def test_a_run_killed_at_some_operations_ends_the_same(
    recorded: tuple[RunConfig, Recorder], tmp_path: Path
) -> None:
    assert_same_end(recorded, tmp_path, every=80)


@pytest.mark.slow
def test_a_run_killed_at_any_operation_ends_the_same(
    recorded: tuple[RunConfig, Recorder], tmp_path: Path
) -> None:
    assert_same_end(recorded, tmp_path, every=1)
