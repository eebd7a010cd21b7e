"""The folder on the board: whole files or none, room before use, the oldest goes first."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gensynth.devices import package
from gensynth.devices.agent.runtimes.engines import EngineCache
from gensynth.devices.agent.wire import spool as spools
from gensynth.devices.agent.wire.spool import Spool, partial_name
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.upload import Upload
from gensynth.devices.client import connect
from gensynth.devices.registry import LOCAL
from gensynth.errors import DeviceFault
from tests.fakes.board import Home
from tests.onnx_files import errands

MIB = 1 << 20
OLD_S = 1_000_000_000.0


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "home"))


def names(folder: str) -> list[str]:
    """What is in a folder, hidden files too."""
    return sorted(path.name for path in Path(folder).iterdir())


def keep(spool: Spool, content: bytes, used_s: float | None = None) -> str:
    """Keep a blob as a host sends it."""
    sha256 = errands.sha256(content)
    upload = Upload(spool, sha256, len(content))
    upload.add(0, content)
    upload.finish()
    if used_s is not None:
        os.utime(spool.blob_path(sha256), (used_s, used_s))
    return sha256


def store(spool: Spool, name: str, used_s: float) -> None:
    """Keep a result that was last used at some time."""
    spool.put_result_blob(name, name.encode())
    spool.store_result({"id": name, "status": "ok"})
    folder = Path(spool.home, "results", name)
    os.utime(folder, (used_s, used_s))


def test_a_result_is_kept_under_its_id(spool: Spool) -> None:
    assert spool.result("job") is None
    sha256 = spool.put_result_blob("job", b"times")
    spool.store_result({"id": "job", "status": "ok"})
    assert spool.result("job") == {"id": "job", "status": "ok"}
    with spool.open_blob(sha256) as file:
        assert file.read() == b"times"


def test_what_a_job_without_a_result_made_goes_with_it(spool: Spool) -> None:
    sha256 = spool.put_result_blob("job", b"times")
    spool.drop_unfinished()
    assert names(spool.home + "/results") == []
    with pytest.raises(Fault, match="has no blob"):
        spool.open_blob(sha256)


def test_a_blob_that_is_asked_for_counts_as_used(spool: Spool) -> None:
    sha256 = keep(spool, b"blob", OLD_S)
    assert spool.missing([sha256, "0" * 64]) == ["0" * 64]
    assert Path(spool.blob_path(sha256)).stat().st_mtime > OLD_S


def test_only_the_latest_results_are_kept(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "KEPT_RESULTS", 2)
    for age, name in enumerate(["first", "second", "third"]):
        store(spool, name, OLD_S + age)
    spool.evict()
    assert names(spool.home + "/results") == ["second", "third"]


def test_the_oldest_blobs_go_when_there_are_too_many_bytes(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "KEPT_BLOBS_MIB", 2)
    blobs = [keep(spool, bytes([age]) * MIB, OLD_S + age) for age in range(4)]
    spool.evict()
    assert names(spool.home + "/blobs") == sorted(blobs[2:])


def test_a_board_that_begins_in_1970_keeps_what_it_is_sent_now(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "KEPT_BLOBS_MIB", 2)
    before = [keep(spool, bytes([age]) * MIB, OLD_S + age) for age in range(2)]
    monkeypatch.setattr("time.time", lambda: 20.0)
    sent = [keep(spool, bytes([age]) * MIB, age) for age in (10, 11)]
    spool.evict()
    assert names(spool.home + "/blobs") == sorted(sent)
    assert not set(before) & set(sent)


def test_a_write_that_fails_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Fault) as fault:
        spool.put_result_blob("job", b"x")
    assert (fault.value.status, fault.value.details) == ("build_failed", {"cause": "disk"})
    assert names(spool.home + "/results/job") == []


def test_a_write_must_leave_a_margin(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MARGIN_MIB", 1 << 40)
    with pytest.raises(Fault) as fault:
        spool.write(spool.engines + "/plan", b"x")
    assert fault.value.status == "build_failed"
    assert fault.value.details["cause"] == "disk"
    assert names(spool.engines) == []


def test_half_written_files_are_swept_up_once_their_writer_is_gone(spool: Spool) -> None:
    mine = Path(partial_name(spool.blob_path("0" * 64)))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    others = mine.with_name(f".partial-{ended.pid}-1-x")
    reused = mine.with_name(f".partial-{os.getpid()}-1-x")  # this number, another process
    for path in (mine, others, reused):
        path.write_bytes(b"half")
    spool.sweep()
    assert names(spool.home + "/blobs") == [mine.name]


def test_the_journal_outlives_a_line_that_was_cut(spool: Spool) -> None:
    spool.journal("begun", id="a")
    with Path(spool.home, "journal").open("ab") as file:
        file.write(b'{"event": "ended", "id')
    spool.journal("lost", id="with the cut line")
    spool.journal("begun", id="b")
    assert [event["id"] for event in spool.events()] == ["a", "b"]


def test_the_journal_does_not_grow_for_ever(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "JOURNAL_LIMIT", 1000)
    for number in range(200):
        spool.journal("begun", id=str(number))
    assert Path(spool.home, "journal").stat().st_size < 1100
    assert spool.events()[-1]["id"] == "199"


# --- engines


PARTS = {"onnx": "0" * 64, "tensorrt": "8.2.1", "board": "tx2/1", "precision": "fp16"}


@pytest.fixture
def engines(spool: Spool) -> EngineCache:
    return EngineCache(spool.engines, spool.write)


def test_an_engine_is_found_under_all_that_it_depends_on(engines: EngineCache) -> None:
    kept = engines.keep(PARTS, b"plan", build_s=2.5, log="log")
    assert Path(kept.path).read_bytes() == b"plan"
    assert engines.find(dict(reversed(PARTS.items()))) == kept
    for part in PARTS:
        assert engines.find(PARTS | {part: "another"}) is None


@pytest.mark.parametrize("ending", ["plan", "json"])
@pytest.mark.parametrize("content", [None, b"", b"null", b"plam", b'{"parts": {}}'])
def test_a_damaged_engine_is_built_anew(
    engines: EngineCache, ending: str, content: bytes | None
) -> None:
    kept = Path(engines.keep(PARTS, b"plan", build_s=2.5, log="log").path)
    if content is None:
        kept.with_suffix(f".{ending}").unlink()
    else:
        kept.with_suffix(f".{ending}").write_bytes(content)
    assert engines.find(PARTS) is None
    engines.forget(PARTS)
    assert engines.keep(PARTS, b"plan", build_s=1.0, log="") == engines.find(PARTS)


# --- a disk that is really full

Disk = Callable[[int], Home]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A file system of so many MiB for the agent's folder."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted: list[Path] = []

    def mount(size_mib: int) -> Home:
        options = ["-t", "tmpfs", "-o", f"size={size_mib}m", "gensynth-test", str(path)]
        done = subprocess.run(["mount", *options], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("only root can mount a small file system")
        mounted.append(path)
        home = Home(path / "home")
        monkeypatch.setenv("GENSYNTH_AGENT_HOME", str(home.path))
        return home

    yield mount
    for each in mounted:
        subprocess.run(["umount", "--lazy", str(each)], check=True)


def test_no_room_for_the_agent_itself(disk: Disk) -> None:
    home = disk(1)
    home.path.mkdir()
    (home.path / "ballast").write_bytes(b"x" * (MIB - (128 << 10)))  # the agent is larger
    assert len(package.agent().content) > 128 << 10
    with pytest.raises(DeviceFault) as fault, connect(LOCAL):
        pass
    assert (fault.value.status, fault.value.details) == ("build_failed", {"cause": "disk"})
    assert "No space left" in fault.value.message
    assert home.leftovers() == []


def test_room_is_asked_for_before_it_is_used(disk: Disk) -> None:
    home = disk(spools.MARGIN_MIB)
    errand = errands.good("job")
    with connect(LOCAL) as connection:
        with pytest.raises(DeviceFault) as fault:
            connection.run(errand.spec, errand.blobs)
        assert connection.facts()  # the session goes on
    assert fault.value.status == "build_failed"
    assert fault.value.details["cause"] == "disk"
    assert fault.value.details["free_mib"] < spools.MARGIN_MIB
    assert "GENSYNTH_AGENT_HOME" in fault.value.message
    assert home.leftovers() == []


def test_what_was_measured_may_use_the_margin(disk: Disk) -> None:
    home = disk(spools.MARGIN_MIB)
    spool = Spool(str(home.path))
    sha256 = spool.put_result_blob("job", b"x" * MIB)
    spool.store_result({"id": "job", "status": "ok"})
    with spool.open_blob(sha256) as file:
        assert len(file.read()) == MIB
    assert spool.result("job") == {"id": "job", "status": "ok"}


def test_a_disk_that_fills_while_a_blob_comes(disk: Disk) -> None:
    home = disk(100)
    blob = os.urandom(3 * MIB)
    header = {"type": "put", "blob": errands.sha256(blob), "size": len(blob)}
    with connect(LOCAL) as connection:
        connection._request(header | {"offset": 0}, 20.0, blob[:MIB])
        room = os.statvfs(home.path)
        ballast = home.path / "ballast"
        ballast.write_bytes(bytes(room.f_bavail * room.f_frsize))
        with pytest.raises(DeviceFault) as fault:
            connection._request(header | {"offset": MIB}, 20.0, blob[MIB:])
        assert (fault.value.status, fault.value.details) == ("build_failed", {"cause": "disk"})
        ballast.unlink()
        errand = errands.good("job")
        assert connection.run(errand.spec, errand.blobs)["status"] == "ok"
    assert home.leftovers() == []


def test_the_oldest_go_when_room_is_needed(disk: Disk) -> None:
    home = disk(spools.MARGIN_MIB + 8)
    spool = Spool(str(home.path))
    blobs = [keep(spool, bytes([age]) * 2 * MIB, OLD_S + age) for age in range(6)]
    assert names(spool.home + "/blobs") == sorted(blobs[2:])
