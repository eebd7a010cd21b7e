"""A run that is begun from what a finished one has learned."""

import json
import re
import shutil
from pathlib import Path

import pytest

from gensynth.errors import RunError
from gensynth.runs.inputs import begun_from
from gensynth.runs.result import Result
from gensynth.runs.run import synth


def test_another_run_goes_on_from_what_a_finished_one_knows(
    finished: Result, tmp_path: Path
) -> None:
    asked = {
        "requirements": ["top1 >= 40%", "macs <= 1/3"], "search.cycles": 1, "finalists.count": 1,
        "finalists.epochs": 1, "out": tmp_path / "run",
    }  # fmt: skip
    done = synth(begun_from(finished.path, asked, trust=True))
    assert done.requirements == ("top1 >= 40%", "macs <= 1/3 (41,580)")
    assert all(one.macs <= 41_580 for one in done.finalists)
    # Its first state is the last of the other, but for the limits.
    last, first = (
        {
            name: json.loads((run / "state" / state / f"{name}.json").read_text())
            for name in ("generator", "inquisitor")
        }
        for run, state in ((finished.path, "0002"), (done.path, "0000"))
    )
    assert (last["generator"].pop("limits"), first["generator"].pop("limits")) == (
        {"macs": 60_000}, {"macs": 41_580},
    )  # fmt: skip
    assert first["generator"] == last["generator"]
    assert first["inquisitor"]["inquisitor"] == last["inquisitor"]["inquisitor"]
    assert len(done.journal) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "test_sha256"}, "the data of {run} is not that of this run: test_sha256 differs"),
        ({"prototype": "graph_sha256"}, "the prototype of {run} is not that of this run: graph"),
        ({}, "{run} has widths in steps of 1, and this run in steps of 2"),
    ],
)
def test_what_was_learned_of_other_things_is_refused(
    finished: Result, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    run = Path(shutil.copytree(finished.path, tmp_path / "run"))
    known = json.loads((run / "inputs.json").read_text())
    for what, key in change.items():
        known[what][key] = "0" * 64
    (run / "inputs.json").write_text(json.dumps(known))
    asked = {"out": tmp_path / "new"} | ({} if change else {"search.round_to": 2})
    with pytest.raises(RunError, match=re.escape(message.format(run=run))):
        synth(begun_from(run, asked, trust=True))
    with pytest.raises(RunError, match="is no finished run"):
        begun_from(tmp_path / "absent", {}, trust=True)
