"""A run folder of somebody else's at the command line: its code runs at its user's word alone."""

import re
import shutil
from pathlib import Path

import pytest

from tests.runs.toybox import Command

EVIL = "open('ran', 'w').close()\ndef data(): raise SystemExit('it ran')\n"


@pytest.fixture(autouse=True)
def nothing_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data home"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["export"],
        ["synth", "--resume"],
        ["synth", "--from"],
        ["generate", "--seeds", "0", "--distil"],
    ],
)
def test_a_strangers_run_runs_nothing(
    gensynth: Command, here: Path, finished: tuple[Path, str, str], arguments: list[str]
) -> None:
    run = here / "theirs"
    shutil.copytree(finished[0], run)
    if "--resume" in arguments:
        (run / "result.json").unlink()
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(text.replace('source = "toy:data"', 'source = "evil:data"'))
    (here / "evil.py").write_text(EVIL)
    code, out, err = gensynth(*arguments, str(run))
    assert (code, out) == (2, "")
    assert re.search(r"evil:data in \S+ as its data set", err)
    assert "--trust" in err
    assert not (here / "ran").exists()


def test_a_word_is_enough(gensynth: Command, here: Path, finished: tuple[Path, str, str]) -> None:
    run = here / "theirs"
    shutil.copytree(finished[0], run)
    code, out, err = gensynth("export", str(run), "--trust")
    assert code == 0, err
    assert "random pixels" not in err + out
