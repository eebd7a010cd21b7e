"""A run folder survives kills and full disks at any moment."""

import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gensynth import atomic_files
from gensynth.errors import RunError
from gensynth.runs.folder import RunFolder
from tests.places import ROOT
from tests.runs.states import assert_consistent, commit, state


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
def test_a_full_disk_before_the_first_cycle_points_to_resume_too(path: Path) -> None:
    with (
        RunFolder.open(path) as run,
        pytest.raises(
            RunError,
            match="no cycle was completed: make room and go on with: "
            f"gensynth synth --resume {path}$",
        ),
    ):
        run.commit_state(0, {"weights": bytes(100_000)}, {})


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


@pytest.mark.slow
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
