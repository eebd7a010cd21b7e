"""A damaged or doubtful folder of the agent's ends no session; a folder of others' is not used."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.agent.session import lock
from gensynth.devices.agent.session.lock import BoardLock
from gensynth.devices.agent.session.serve import settle
from gensynth.devices.agent.wire import bootstrap
from gensynth.devices.agent.wire.spool import Spool

OWNER = {"id": "job-0", "pid": 4194305, "start": 7, "boot_id": "b", "host": "h"}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "agent"))


def test_what_a_whole_lock_says_is_the_interrupted_job(spool: Spool) -> None:
    Path(spool.home, "lock").write_text(json.dumps(OWNER))
    assert settle(spool, "/") == "job-0"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b"[", b"7", b"[]", b"{}", b"[" * 60_000, b'{"id": "job-0"}',
        json.dumps({**OWNER, "pid": "x"}).encode(), json.dumps({**OWNER, "pid": -1}).encode(),
        json.dumps({**OWNER, "pid": 2**70}).encode(), json.dumps({**OWNER, "id": "../x"}).encode(),
        json.dumps({**OWNER, "worker": 7}).encode(), json.dumps({**OWNER, "boot_id": []}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_lock_only_hides_who_held_the_board(spool: Spool, content: bytes) -> None:
    Path(spool.home, "lock").write_bytes(content)
    for _ in range(2):
        assert settle(spool, "/") is None
    holding = BoardLock(spool, "/", "job-1")
    assert holding.acquire() is None
    holding.begin()
    holding.end("ok")
    holding.release()


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b'{"heard_s": "x", "cancel": 1}', b"\xff"])
def test_a_damaged_request_asks_for_nothing(spool: Spool, content: bytes) -> None:
    Path(spool.requests, "job-1").write_bytes(content)
    assert lock.request(spool, "job-1") == {"heard_s": float("-inf"), "cancel": False}


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b'{"id": "job-1"}', b"\xff"])
def test_a_job_whose_result_is_damaged_is_done_again(spool: Spool, content: bytes) -> None:
    folder = Path(spool.home, "results", "job-1")
    folder.mkdir()
    (folder / "result.json").write_bytes(content)
    assert spool.result("job-1") is None


def test_a_hidden_file_of_no_process_is_swept_up(spool: Spool) -> None:
    for name in (".partial-x-y-z", ".partial-", ".partial-999999999999-1-a"):
        Path(spool.home, name).write_bytes(b"")
    spool.sweep()
    assert [path.name for path in Path(spool.home).glob(".partial-*")] == []


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_in_is_refused_with_the_way_to_mend_it(
    tmp_path: Path, mode: int
) -> None:
    bootstrap.check_owner(str(tmp_path))
    tmp_path.chmod(mode)
    with pytest.raises(ValueError, match=f"run chmod go-w {tmp_path}"):
        bootstrap.check_owner(str(tmp_path))


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Any = os.stat_result((0o40700, 0, 0, 0, 12345, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "stat", lambda path: found)
    with pytest.raises(ValueError, match="must be its user's, and belongs to user 12345"):
        bootstrap.check_owner(str(tmp_path))


def test_the_agent_is_not_started_from_such_a_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    call = "from gensynth.devices.agent.wire import bootstrap; import os; "
    call += "bootstrap.become_agent(os.fdopen(0, 'rb', 0), '0' * 64, 10)"
    done = subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, "GENSYNTH_AGENT_HOME": str(tmp_path)},
        input=b"",
        capture_output=True,
    )
    assert done.returncode == 1
    assert b"GSYN-BOOT fail others can write" in done.stdout
    assert list(tmp_path.iterdir()) == []
