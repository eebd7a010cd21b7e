"""Run folders that cannot be used, full disks, broken checkouts: a clear end, nothing half."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gensynth.links import LINKED
from gensynth.runs.folder import FORMAT
from tests.places import ROOT
from tests.runs import toybox
from tests.runs.toybox import READING, Command

# --- run folders ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["synth", "--resume"], ["show"], ["generate"]])
def test_a_folder_that_is_no_run_or_of_another_version_is_refused(
    gensynth: Command, here: Path, command: list[str]
) -> None:
    more = ["--seeds", "0:2"] if command == ["generate"] else []
    assert gensynth(*command, "run", *more) == (2, "", "error: the run folder run is absent\n")
    run = here / "run"
    run.mkdir()
    assert gensynth(*command, "run", *more) == (
        2, "", "error: the run folder run is not a run folder: it has no FORMAT file\n"
    )  # fmt: skip
    (run / "FORMAT").write_text("gensynth run 7\n")
    (run / "environment.json").write_text("{}")
    before = toybox.tree(run)
    assert gensynth(*command, "run", *more) == (
        2,
        "",
        (
            "error: run has the format 'gensynth run 7', this version of gensynth reads "
            f"'{FORMAT}'; open it with the version that its environment.json names\n"
        ),
    )
    assert toybox.tree(run) == before


@pytest.mark.parametrize("command", [["synth", "--resume"], ["generate"]])
def test_a_run_that_another_process_works_on_is_refused(
    gensynth: Command, here: Path, finished: tuple[Path, str, str], command: list[str]
) -> None:
    run, _, _ = finished
    more = ["--seeds", "0:2"] if command == ["generate"] else []
    hold = f"import fcntl, sys; f = open(r'{run}/lock', 'r+'); fcntl.flock(f, fcntl.LOCK_EX); "
    hold += (
        "f.truncate(); print(__import__('os').getpid(), file=f, flush=True); print(flush=True); "
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold + "sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        before = toybox.tree(run)
        code, out, err = gensynth(*command, str(run), *more)
        assert (code, out, err) == (2, "", f"error: {run} is in use by process {holder.pid}\n")
        assert toybox.tree(run) == before
        holder.communicate("")


def test_resume_takes_little_beside_it(gensynth: Command, here: Path) -> None:
    message = (
        "error: --resume goes on with a run as it was begun, from the run file in its folder; give "
        "nothing beside it but stricter requirements (--require), more cycles (--cycles) or "
        "another number of finalists (--finalists)\n"
    )
    assert gensynth("synth", "--resume", "run", "--epochs", "9") == (2, "", message)
    assert gensynth("synth", "toy.toml", "--resume", "run") == (2, "", message)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("0-5", "seeds must be FIRST:BEYOND such as 0:50, or numbers such as 3,7,12, got '0-5'"),
        ("5:5", "seeds must name 1 to 10,000 of them, got 0 in '5:5'"),
        ("0:10001", "seeds must name 1 to 10,000 of them, got 10,001 in '0:10001'"),
        ("3,3", "each seed may be named once, got '3,3'"),
    ],
)
def test_seeds_that_cannot_be_meant(gensynth: Command, seeds: str, message: str) -> None:
    assert gensynth("generate", "run", "--seeds", seeds) == (2, "", f"error: {message}\n")


# --- the world ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_state_and_a_way_on(gensynth: Command, here: Path) -> None:
    # No file may grow beyond the limit: the weights fit, a journal of some cycles does not.
    run = here / "run"
    done = toybox.python(
        "-m", "gensynth", "synth", "toy.toml", "--cycles", "14", "--out", str(run),
        cwd=here, limit_bytes=(here / "toy.safetensors").stat().st_size + 300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    states = sorted(int(path.name) for path in (run / "state").iterdir())
    *_, last = done.stderr.splitlines()
    assert re.fullmatch(
        rf"error: {re.escape(str(run))}/\S+ could not be written, the disk is full; the last "
        rf"good state is cycle {states[-1]}: make room and go on with: gensynth synth --resume "
        rf"{re.escape(str(run))}",
        last,
    )
    assert 0 < states[-1] < 14
    journal = (run / "journal.jsonl").read_bytes().splitlines()
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]
    code, _, err = gensynth("synth", "--resume", str(run))
    assert code == 0, err
    later = (run / "journal.jsonl").read_bytes().splitlines()
    assert len(later) == 1 + 14  # and the first state, before any cycle
    assert later[: len(journal)] == journal
    assert len(journal) >= 2


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_state_before_it(
    toys: Path, tmp_path: Path
) -> None:
    # The checkpoint holds weights and momentum; of the whole prototype, about 18 kB.
    run = tmp_path / "run"
    done = toybox.python(
        "-m", "gensynth", "synth", "toy.toml", "--out", str(run), "--utility", "top1",
        "--require", "macs <= 24k", cwd=toys, limit_bytes=12_600,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: the checkpoint {run}/checkpoints/cycle-1.safetensors could not be written, the "
        "disk is full; what was kept before it is whole: make room and go on with --resume"
    )
    assert not list(run.rglob(".*"))
    assert [path.name for path in (run / "state").iterdir()] == ["0000"]


@pytest.mark.slow
def test_a_full_disk_at_the_start_leaves_nothing(toys: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = toybox.python(
        "-m", "gensynth", "synth", "toy.toml", "--out", str(out), cwd=toys, limit_bytes=100
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(READING)
    assert done.stderr.endswith(f"error: the run folder {out} cannot be made: the disk is full\n")
    assert toybox.tree(tmp_path) == []


def test_a_checkout_without_its_links_says_how_to_mend_them(toys: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "gensynth", tmp_path / "gensynth",
        ignore=lambda _, names: {"export", "bench", "devices"} & set(names),
    )  # fmt: skip
    for file in ("toy.py", "toy.toml", "toy.safetensors"):
        shutil.copy(toys / file, tmp_path)
    before = toybox.tree(tmp_path)
    # -S: an editable installation would find the checkout's own links.
    run = (
        f"import sys; sys.path += {sys.path[1:]!r}; from gensynth.cli.app import main; "
        "sys.argv = ['gensynth', 'synth', 'toy.toml']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", run], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    name = done.stderr.partition(" must be ")[0].rpartition("/")[2]
    assert name in LINKED
    link = tmp_path / "gensynth" / name
    assert done.stderr == (
        f"error: {link} must be a link to ../{name}, got nothing; in a checkout run: ln -sfn "
        f"../{name} {link} (or clone again with: git clone -c core.symlinks=true), then install "
        "again if gensynth was installed from it\n"
    )
    assert toybox.tree(tmp_path) == before
