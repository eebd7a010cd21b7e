"""A run folder survives kills, full disks and damage, and refuses what it cannot mean."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from gensynth import atomic_files
from gensynth.environment import environment
from gensynth.errors import RunError
from gensynth.runs.folder import RunFolder
from tests.places import ROOT


def state(cycle: int) -> dict[str, bytes]:
    """Two files whose content tells the cycle."""
    return {"generator.json": f'{{"cycle": {cycle}}}'.encode(), "weights": bytes([cycle]) * 5000}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    RunFolder.create(path, "seed = 1\n", {"torch": "2.13.0"}).close()
    return path


def commit(path: Path, *cycles: int) -> None:
    with RunFolder.open(path) as run:
        for cycle in cycles:
            run.commit_state(cycle, state(cycle), {"utility": cycle / 4})


def assert_consistent(path: Path) -> int:
    """The last good state and the journal tell the same story; return its last cycle or -1."""
    with RunFolder.open(path) as run:
        last = run.latest_state()
        journal = run.read_journal()
        on_disk = (path / "journal.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in on_disk] == journal
        assert [entry["cycle"] for entry in journal] == list(range(len(journal)))
        assert not list(path.rglob(".*"))
        if last is None:
            assert journal == []
            return -1
        cycle, folder = last
        assert len(journal) == cycle + 1
        files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "entry.json"}
        assert files == state(cycle)
        return cycle


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


def test_a_kill_amid_a_replacement_keeps_the_old_folder(path: Path) -> None:
    with RunFolder.open(path) as run:
        folder = run.write_folder("finalists/a", {"graph.json": b"1"})
    # What a kill between the two renames of a replacement leaves.
    folder.rename(folder.with_name(atomic_files.OLD + "a"))
    atomic_files.write_folder(folder.with_name("b"), {"graph.json": b"2"})
    folder.with_name("b").rename(folder.with_name(atomic_files.PARTIAL + "a"))
    RunFolder.open(path).close()
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == {"graph.json": b"1"}
    assert [p.name for p in (path / "finalists").iterdir()] == ["a"]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow past 64 KiB: writing more fails as on a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FULL = (
    "the disk is full; the last good state is cycle 1: make room and go on with: "
    "gensynth synth --resume "
)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_keeps_the_last_good_state_and_says_how_to_go_on(path: Path) -> None:
    commit(path, 0, 1)
    with RunFolder.open(path) as run:
        with pytest.raises(RunError, match=f"state/0002 could not be written, {FULL}{path}"):
            run.commit_state(2, {"weights": bytes(100_000)}, {})
        with pytest.raises(RunError, match=f"finalists/a could not be written, {FULL}{path}"):
            run.write_folder("finalists/a", {"small": b"1", "weights": bytes(100_000)})
        assert not list(path.rglob(".*"))
        assert not list((path / "finalists").iterdir())
    assert assert_consistent(path) == 1


@pytest.mark.usefixtures("full_disk")
def test_a_journal_that_did_not_fit_is_completed_later(path: Path) -> None:
    commit(path, 0)
    big = {"note": "x" * 40_000}  # the journal fits one of these, not two
    with RunFolder.open(path) as run:
        run.commit_state(1, state(1), big)
        with pytest.raises(RunError, match="the disk is full; the last good state is cycle 2"):
            run.commit_state(2, state(2), big)
    assert len((path / "journal.jsonl").read_text().splitlines()) == 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    commit(path, 3)
    assert assert_consistent(path) == 3
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_really_full_file_system_keeps_the_last_good_state(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("a file system of its own needs unshare")
    code = """
import sys
from pathlib import Path
from gensynth.errors import RunError
from gensynth.runs.folder import RunFolder
path = Path(sys.argv[1]) / "run"
with RunFolder.create(path, "", {}) as run:
    try:
        for cycle in range(1000):
            run.commit_state(cycle, {"weights": bytes(20_000 * (cycle + 1))}, {})
    except RunError as error:
        print(error)
with RunFolder.open(path) as run:
    last = run.latest_state()
    assert last is not None and last[0] == cycle - 1, (last, cycle)
    assert len(run.read_journal()) == cycle
    assert (last[1] / "weights").stat().st_size == 20_000 * cycle
    run.commit_state(cycle, {"weights": b"small"}, {})
"""
    mount = 'mount -t tmpfs -o size=512k none "$1" || exit 77; exec "$2" -c "$3" "$1"'
    command = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    command += [str(tmp_path), sys.executable, code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no file system of its own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "the disk is full; the last good state is cycle" in done.stdout


COMMIT_FOR_EVER = """
import sys
from pathlib import Path
from gensynth.runs.folder import RunFolder
with RunFolder.open(Path(sys.argv[1])) as run:
    last = run.latest_state()
    first = 0 if last is None else last[0] + 1
    print("open", flush=True)
    for cycle in range(first, 256):
        files = {"generator.json": b'{"cycle": %d}' % cycle, "weights": bytes([cycle]) * 5000}
        run.commit_state(cycle, files, {"utility": cycle / 4})
"""


def test_a_run_killed_at_random_moments_is_always_consistent(path: Path) -> None:
    moments = random.Random(0)
    reached = [-1]
    for attempt in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", COMMIT_FOR_EVER, str(path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"open\n"
            # The later, the longer: a starved machine commits nothing within milliseconds.
            time.sleep(moments.uniform(0, 0.02) * (1 + attempt))
            writer.kill()
            assert writer.wait() in (-signal.SIGKILL, 0)
        reached.append(assert_consistent(path))
    assert reached == sorted(reached)  # nothing that was committed is lost
    assert reached[-1] > 0


DIE_AT = """
import os, sys
from pathlib import Path
from gensynth.runs.folder import RunFolder

path, mercy = Path(sys.argv[1]), int(sys.argv[2])

def die(event, arguments):
    global mercy
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if armed and (writes or event in CHANGES):
        mercy -= 1
        if mercy < 0:
            os._exit(9)

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
armed = False
sys.addaudithook(die)
for cycle in range(3):
    run = RunFolder.open(path)
    armed = True
    files = {"generator.json": b'{"cycle": %d}' % cycle, "weights": bytes([cycle]) * 5000}
    run.commit_state(cycle, files, {"utility": cycle / 4})
    armed = False
    run.close()
"""


def test_a_run_killed_at_every_step_of_a_commit_is_consistent(tmp_path: Path) -> None:
    # The audit hook ends the process at once, without clean-up, before the n-th operation on
    # the file system: each n is one moment for a kill, and all of them are tried.
    forks = f"""
import os, sys
from pathlib import Path
from gensynth.runs.folder import RunFolder
code = compile({DIE_AT!r}, "die", "exec")
for mercy in range(1000):
    path = Path(sys.argv[1]) / str(mercy)
    RunFolder.create(path, "", {{}}).close()
    child = os.fork()
    if child == 0:
        sys.argv[1:] = [str(path), str(mercy)]
        exec(code, {{}})
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(mercy)
        break
"""
    done = subprocess.run(
        [sys.executable, "-c", forks, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    reached = [assert_consistent(tmp_path / str(mercy)) for mercy in range(steps)]
    assert reached == sorted(reached)
    assert {-1, 0, 1, 2} == set(reached)
    assert assert_consistent(tmp_path / str(steps)) == 2


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
