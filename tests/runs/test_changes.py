"""A run that has begun: what may be asked of it from then on, and what is refused and why."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gensynth.errors import Interrupted, RunError, UnreachableError
from gensynth.runs import changes
from gensynth.runs.family import generate
from gensynth.runs.folder import RunFolder
from gensynth.runs.result import read_result
from gensynth.runs.run import resume, synth
from tests.runs import tiny
from tests.runs.stopping import Stop, networks


@pytest.fixture(scope="module")
def after_one(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after the first of two cycles; a test works on a copy."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        synth(tiny.config(weights, out), listener=Stop(cycle=1))
    return out


@pytest.fixture(scope="module")
def whole(after_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run gone on with to its end."""
    out = Path(shutil.copytree(after_one, tmp_path_factory.mktemp("whole") / "run"))
    return resume(out).path


@pytest.fixture
def stopped(after_one: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(after_one, tmp_path / "run"))


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def edit(run: Path, old: str, new: str) -> None:
    file = run / "run.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def journal(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    files = (f for f in folder.rglob("*") if f.is_file() and f.name != "lock")
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def test_a_share_of_the_prototypes_cost_is_held_against_what_was_asked(stopped: Path) -> None:
    with RunFolder.open(stopped) as run:
        # 9 (144 1 8 + 144 8 8 + 36 8 12) + 108 3 MACs: a third is less than 60k, and half is more.
        config, changed = changes.asked(run, {"requirements": ["top1 >= 40%", "macs <= 1/3"]})
        assert config.requirements[1] == "macs <= 1/3 (41,580)"
        assert changed.keys() == {"requirements"}
        with pytest.raises(RunError, match='"macs <= 60k" would be loosened'):
            changes.asked(run, {"requirements": ["top1 >= 40%", "macs <= 50%"]})


EDITS = [
    ("seed = 3", "seed = 4", "seed was 3 when {run} began, and is 4 now; "),
    ("probe_images = 60", "probe_images = 61", "search.probe_images was 60 when {run} began"),
    ("epochs = 3", "epochs = 4", "finalists.epochs was 3.0 when {run} began, and is 4.0 now"),
    ('utility = "netscore"', 'utility = "top1"', 'utility was "netscore" when {run} began'),
    ("repeats = 20", "repeats = 30", "latency.repeats was 20 when {run} began, and is 30 now"),
    ("cycles = 2", "cycles = 3", (
        "search.cycles in {run}/run.toml was edited from 2 to 3; say so: gensynth synth --resume "
        "{run} --cycles 3, or put it back"
    )),
    ("macs <= 60k", "macs <= 90k", "requirements in {run}/run.toml was edited from "),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), EDITS, ids=[new for _, new, _ in EDITS])
@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_a_run_file_that_was_edited_is_refused_and_nothing_is_written(
    request: pytest.FixtureRequest, state: str, old: str, new: str, message: str
) -> None:
    run: Path = request.getfixturevalue(state)
    edit(run, old, new)
    before = content(run)
    with pytest.raises(RunError) as refused:
        resume(run)
    assert str(refused.value).startswith(message.format(run=run))
    assert content(run) == before


@pytest.mark.parametrize("requirements", [
    ["top1 >= 40%", "macs <= 61k"], ["top1 >= 39%", "macs <= 60k"], ["macs <= 60k"],
    ["top1 >= 40%"], ["top1 >= 40%", "params <= 60k"],
], ids=str)  # fmt: skip
def test_a_requirement_is_not_loosened(stopped: Path, requirements: list[str]) -> None:
    with pytest.raises(RunError, match=r"would be loosened, and networks were chosen by it; .* or "
                       r"start another run: gensynth synth .*/run\.toml --out FOLDER"):  # fmt: skip
        resume(stopped, overrides={"requirements": requirements})


def test_cycles_that_are_done_stay_done(finished: Path) -> None:
    with pytest.raises(RunError, match="2 cycles of .* are done, so --cycles must be 2 or more"):
        resume(finished, overrides={"search.cycles": 1})


@pytest.fixture(scope="module")
def longer(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three cycles from the start."""
    config = tiny.config(weights, tmp_path_factory.mktemp("longer") / "run")
    return synth(replace(config, search=replace(config.search, cycles=3))).path


@pytest.mark.slow
@pytest.mark.parametrize(("state", "done"), [("stopped", 1), ("finished", 2)])
def test_more_cycles_end_as_if_they_had_been_asked_for_from_the_start(
    request: pytest.FixtureRequest, longer: Path, state: str, done: int
) -> None:
    run: Path = request.getfixturevalue(state)
    result = resume(run, overrides={"search.cycles": 3})
    assert networks(run) == networks(longer)
    assert [entry["cycle"] for entry in result.journal] == [1, 2, 3]
    assert journal(run)[done + 1] == {"after_cycle": done, "changed": {"search.cycles": [2, 3]}}
    assert resume(run) == result  # and is finished, with nothing edited


def test_a_stricter_limit_holds_for_every_network_from_then_on(stopped: Path) -> None:
    result = resume(stopped, overrides={"requirements": ["top1 >= 40%", "macs <= 45k"]})
    assert all(f.macs <= 45_000 for f in result.finalists)
    assert all(d.costs["macs"] <= 45_000 for d in generate(stopped, range(20)).drawn)
    assert json.loads((stopped / "generator.json").read_text())["limits"] == {"macs": 45_000.0}
    assert result.requirements == ("top1 >= 40%", "macs <= 45k")
    assert set(result.finalists[0].verdicts) == set(result.requirements)


@pytest.mark.slow
def test_a_network_of_the_looser_limit_is_no_finalist(finished: Path) -> None:
    file = finished / "attempts" / "cycle-1" / "attempt.json"
    early = json.loads(file.read_text())
    # As if it were always right, where nothing else is: it must go for its cost.
    file.write_text(json.dumps({**early, "correct": early["n"]}))
    macs = f"macs <= {early['macs'] - 1:.0f}"
    result = resume(finished, overrides={"requirements": ["top1 >= 99.9%", macs]})
    assert all(f.macs < early["macs"] for f in result.finalists)


def test_a_limit_that_cannot_be_reached_changes_nothing(stopped: Path) -> None:
    before = content(stopped)
    with pytest.raises(UnreachableError, match="no network of this prototype has macs <= 10"):
        resume(stopped, overrides={"requirements": ["top1 >= 40%", "macs <= 10"]})
    assert content(stopped) == before


def test_a_finished_run_goes_on_and_its_first_networks_stay(finished: Path) -> None:
    generate(finished, range(3))
    first = {f.name: content(f.folder) for f in read_result(finished).finalists}
    result = resume(finished, overrides={"finalists.count": 3, "search.cycles": 3})
    assert len(result.finalists) == 3
    assert [entry["cycle"] for entry in result.journal] == [1, 2, 3]
    assert sorted(p.name for p in (finished / "generated.1").iterdir()) == ["0", "1", "2"]
    for name, files in first.items():
        assert content(finished / "finalists.1" / name) == files
    # Every network that the test split has judged shares the confidence, the first ones too.
    results = [json.loads(line) for line in (finished / "ledger.jsonl").read_text().splitlines()]
    judged = {entry["network"] for entry in results if entry["event"] == "result"}
    assert {f.certificate.sharing for f in result.finalists} == {len(judged) - 1}
    # Certificates were aimed at beside the two that had been judged when more was asked.
    assert json.loads((finished / "inputs.json").read_text())["judged"] == 2


@pytest.mark.parametrize("step", ["journal_change", *(
    pytest.param(step, marks=pytest.mark.slow)
    for step in ("put_aside", "write_text", "remove", "write_bytes")
)])  # fmt: skip
def test_a_change_that_was_cut_short_is_done_by_the_same_command(
    finished: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    asked = {"finalists.count": 3}

    def killed(*_: Any) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, step, killed)
        with pytest.raises(SystemError):
            resume(finished, overrides=asked)
    assert len(resume(finished, overrides=asked).finalists) == 3
    assert len(resume(finished).finalists) == 3


def test_where_things_lie_is_compared_by_what_lies_there(stopped: Path) -> None:
    edit(stopped, "tests.runs.tiny:bars", "tests.runs.tiny_elsewhere:bars")
    with RunFolder.open(stopped) as run:
        _, found = changes.asked(run, {})
    assert found == {}


def test_a_run_of_an_earlier_version_goes_on(stopped: Path, whole: Path) -> None:
    inputs = json.loads((stopped / "inputs.json").read_text())
    del inputs["config"]
    (stopped / "inputs.json").write_text(json.dumps(inputs))
    resume(stopped)
    assert networks(stopped) == networks(whole)


def test_the_step_that_a_machine_suggests_is_no_edit(weights: Path, tmp_path: Path) -> None:
    base = tiny.config(weights, tmp_path / "run")
    config = replace(base, search=replace(base.search, round_to=None))
    with pytest.raises(Interrupted):
        synth(config, listener=Stop(phase="initialise"))
    with RunFolder.open(tmp_path / "run") as run:
        assert changes.asked(run, {})[1] == {}
    # Killed after the run file had the step and before the inputs were kept.
    inputs = json.loads((tmp_path / "run" / "inputs.json").read_text())
    early = {"config": inputs["config"]}
    early["config"]["search"]["round_to"] = None
    (tmp_path / "run" / "inputs.json").write_text(json.dumps(early))
    with RunFolder.open(tmp_path / "run") as run:
        assert changes.asked(run, {})[1] == {}
