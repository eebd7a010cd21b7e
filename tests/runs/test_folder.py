"""A run folder keeps what it was given, mends what was cut off, and refuses what it cannot mean."""

import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from gensynth.environment import environment
from gensynth.errors import RunError
from gensynth.runs.folder import RunFolder
from tests.places import ROOT
from tests.runs.states import assert_consistent, commit, state


def test_a_new_folder_holds_what_it_was_given(path: Path) -> None:
    assert (path / "run.toml").read_text() == "seed = 1\n"
    assert json.loads((path / "environment.json").read_text()) == {"torch": "2.13.0"}
    assert (path / "FORMAT").read_text() == "gensynth run 1\n"
    assert [p.name for p in path.parent.iterdir()] == ["run"]
    with RunFolder.open(path) as run:
        assert run.latest_state() is None
        assert run.read_journal() == []


def test_a_committed_cycle_is_read_back_by_a_reader(path: Path) -> None:
    commit(path, 0, 1)
    reader = RunFolder.open(path, lock=False)
    last = reader.latest_state()
    assert last is not None
    assert last[0] == 1
    assert (last[1] / "weights").read_bytes() == b"\x01" * 5000
    assert reader.read_journal() == [{"cycle": 0, "utility": 0.0}, {"cycle": 1, "utility": 0.25}]


def test_the_last_two_states_are_kept_and_the_whole_journal(path: Path) -> None:
    commit(path, 0, 1, 2, 3)
    assert sorted(p.name for p in (path / "state").iterdir()) == ["0002", "0003"]
    assert assert_consistent(path) == 3


def test_a_state_that_a_kill_left_beyond_the_last_two_is_swept(path: Path) -> None:
    commit(path, 0, 1)
    shutil.copytree(path / "state" / "0000", path.parent / "0000")
    commit(path, 2)
    shutil.copytree(path.parent / "0000", path / "state" / "0000")
    assert assert_consistent(path) == 2
    assert sorted(p.name for p in (path / "state").iterdir()) == ["0001", "0002"]


def test_a_change_of_what_is_asked_stays_in_the_journal(path: Path) -> None:
    with RunFolder.open(path) as run:
        run.journal_change({"seed": [0, 1]})
        run.commit_state(0, state(0), {})
        run.commit_state(1, state(1), {})
        run.journal_change({"search.cycles": [2, 3]})
        run.commit_state(2, state(2), {})
    first, second = (
        {"after_cycle": None, "changed": {"seed": [0, 1]}},
        {"after_cycle": 1, "changed": {"search.cycles": [2, 3]}},
    )
    lines = [first, {"cycle": 0}, {"cycle": 1}, second, {"cycle": 2}]
    journal = path / "journal.jsonl"
    assert [json.loads(line) for line in journal.read_text().splitlines()] == lines
    truncate(path / "state" / "0002" / "weights")  # falls back, and the changes stay
    with journal.open("a") as file:
        file.write('{"after_cycle": 2, "chan')
    with RunFolder.open(path) as run:
        assert run.read_journal() == [{"cycle": 0}, {"cycle": 1}]
    assert [json.loads(line) for line in journal.read_text().splitlines()] == lines[:-1]


def unborn(parent: Path, process: int, *files: str) -> Path:
    """What a run folder looks like whose process was killed while it made it."""
    folder = parent / f".partial-run-{process}"
    (folder / "state").mkdir(parents=True)
    for file in files:
        (folder / file).write_text("")
    return folder


def test_folders_of_runs_that_died_before_they_had_a_name_are_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    unborn(tmp_path, dead.pid)
    unborn(tmp_path, dead.pid + 100_000_000, "lock", "run.toml", ".partial-environment.json")
    RunFolder.create(tmp_path / "run", "", {}).close()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_folders_that_live_or_are_somebody_elses_stay(tmp_path: Path) -> None:
    about_to_be_locked = unborn(tmp_path, os.getppid())
    others = unborn(tmp_path, 100_000_001, "lock", "thesis.tex")
    with RunFolder.create(tmp_path / "other", "", {}) as held:
        locked = held.path.rename(tmp_path / ".partial-run-100000002")
        RunFolder.create(tmp_path / "run", "", {}).close()
        assert set(tmp_path.iterdir()) >= {about_to_be_locked, others, locked}


def test_committing_the_same_cycle_again_changes_nothing(path: Path) -> None:
    commit(path, 0, 1)
    before = (path / "journal.jsonl").read_bytes()
    commit(path, 1)
    assert (path / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("cycle", "files", "entry", "message"),
    [
        (1, {"weights": b"other"}, {}, "cycle 1 is not new"),
        (0, state(0), {"utility": 0.0}, "cycle 0 is not new"),
        (2, {"../weights": b""}, {}, "a file's name must be plain"),
        (2, {"entry.json": b""}, {}, "must not be named 'entry.json'"),
        (2, {}, {"utility": float("nan")}, "not JSON compliant"),
        (2, {}, {"cycle": 3}, "cycle must be 0 or more and the entry's own"),
    ],
)
def test_a_commit_that_cannot_be_meant_leaves_everything_as_it_was(
    path: Path, cycle: int, files: dict[str, bytes], entry: dict[str, Any], message: str
) -> None:
    commit(path, 0, 1)
    with RunFolder.open(path) as run, pytest.raises(ValueError, match=message):
        run.commit_state(cycle, files, entry)
    assert assert_consistent(path) == 1


def test_a_crash_between_state_and_journal_is_repaired(path: Path) -> None:
    commit(path, 0, 1)
    journal = path / "journal.jsonl"
    first_line = journal.read_text().splitlines(keepends=True)[0]
    journal.write_text(first_line)
    assert RunFolder.open(path, lock=False).read_journal()[-1] == {"cycle": 1, "utility": 0.25}
    assert assert_consistent(path) == 1


@pytest.mark.parametrize("torn", ['{"cycle": 2, "utili', '{"cycle": 2, "utility": 0.5}\n', "\0\0"])
def test_journal_lines_beyond_the_last_state_are_cut_off(path: Path, torn: str) -> None:
    commit(path, 0, 1)
    with (path / "journal.jsonl").open("a") as journal:
        journal.write(torn)
    assert assert_consistent(path) == 1


def test_a_damaged_journal_line_is_named_and_not_lost_in_silence(path: Path) -> None:
    commit(path, 0, 1, 2)
    journal = path / "journal.jsonl"
    journal.write_text("?" + journal.read_text())
    with pytest.raises(RunError, match=r"journal\.jsonl is damaged in line 1"):
        RunFolder.open(path)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["weights", "generator.json", "entry.json"])
def test_a_damaged_state_falls_back_to_the_one_before(path: Path, name: str, damage: Any) -> None:
    commit(path, 0, 1, 2)
    damage(path / "state" / "0002" / name)
    last = RunFolder.open(path, lock=False).latest_state()
    assert last is not None
    assert last[0] == 1
    assert assert_consistent(path) == 1
    commit(path, 2)  # the cycle is done again
    assert assert_consistent(path) == 2


def test_a_run_without_any_good_state_is_refused_and_left_alone(path: Path) -> None:
    commit(path, 0, 1)
    for folder in (path / "state").iterdir():
        truncate(folder / "weights")
    before = sorted(path.rglob("*"))
    with pytest.raises(RunError, match=r"every state .* is damaged; start again"):
        RunFolder.open(path)
    assert sorted(path.rglob("*")) == before


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="absent is absent"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(RunError, match="is not a run folder: it has no FORMAT file"):
        RunFolder.open(tmp_path)


def test_another_format_is_refused_with_both_named(path: Path) -> None:
    (path / "FORMAT").write_text("gensynth run 7\n")
    with pytest.raises(RunError, match=r"'gensynth run 7', .* reads 'gensynth run 1'"):
        RunFolder.open(path, lock=False)


def test_a_taken_path_is_refused_and_left_alone(path: Path) -> None:
    before = sorted(path.rglob("*"))
    with pytest.raises(RunError, match="is not empty; go on with a run that is there by --resume"):
        RunFolder.create(path, "", {})
    assert sorted(path.rglob("*")) == before


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=r"a run is kept in a folder, and .*file is a file"):
            RunFolder.create(place, "", {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunFolder.create(tmp_path / "run", "", {"nan": float("nan")})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_second_writer_is_told_who_holds_the_lock(path: Path) -> None:
    code = f"""
from pathlib import Path
from gensynth.runs.folder import RunFolder
run = RunFolder.open(Path({str(path)!r}))
print("held", flush=True)
input()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"in use by process {holder.pid}$"):
            RunFolder.open(path)
        assert RunFolder.open(path, lock=False).read_journal() == []
        holder.kill()
        holder.wait()
    RunFolder.open(path).close()  # the lock died with its holder


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_on_a_filesystem_without_locks_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    message = f"{path} cannot be locked for writing: [Errno {number}] {os.strerror(number)}"
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        RunFolder.open(path)


def test_a_reader_does_not_write(path: Path) -> None:
    with pytest.raises(ValueError, match="open for reading only"):
        RunFolder.open(path, lock=False).write_text("note.txt", "x")


def test_a_replaced_folder_is_the_new_one_whole(path: Path) -> None:
    with RunFolder.open(path) as run:
        run.write_folder("finalists/a", {"graph.json": b"1", "old.onnx": b"1"})
        folder = run.write_folder("finalists/a", {"graph.json": b"2"})
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == {"graph.json": b"2"}
    assert [p.name for p in (path / "finalists").iterdir()] == ["a"]


@pytest.mark.parametrize("relative", ["../a", "/a", "", "finalists/../../a", ".hidden"])
def test_nothing_is_written_outside_the_folder(path: Path, relative: str) -> None:
    with RunFolder.open(path) as run, pytest.raises(ValueError, match="must be relative"):
        run.write_bytes(relative, b"")


def test_record_does_not_import_torch() -> None:
    code = (
        "import gensynth.runs.folder, gensynth.environment, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_environment_names_versions_and_the_caller_s_facts() -> None:
    found = environment(threads=2)
    assert found["torch"] == version("torch")
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert found["cores"] == os.cpu_count()
    assert found["threads"] == 2
    assert json.loads(json.dumps(found)) == found


def test_the_commit_is_this_checkouts_whatever_repository_git_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = environment()["commit"]
    monkeypatch.setenv("GIT_DIR", str(tmp_path))  # as in a hook of another repository
    assert environment()["commit"] == own
