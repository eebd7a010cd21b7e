"""Two users of one board do not measure at once, though each has a folder of their own."""

import errno
import getpass
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gensynth.devices.agent.session.claim import claim, holder
from gensynth.devices.agent.session.lock import BoardLock
from gensynth.devices.agent.wire.spool import Spool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")


def test_a_board_is_had_once_and_who_has_it_is_told(tmp_path: Path) -> None:
    root = str(tmp_path)
    held = claim(root)
    assert held is not None
    assert claim(root) is None
    assert holder(root) == {"host": f"another user, {getpass.getuser()}"}
    held.close()
    again = claim(root)
    assert again is not None
    again.close()


def test_another_board_is_another_name(tmp_path: Path) -> None:
    one, other = claim(str(tmp_path / "one")), claim(str(tmp_path / "other"))
    assert one is not None
    assert other is not None
    one.close()
    other.close()


def test_a_sandbox_that_forbids_names_forbids_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sandboxed(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "denied by AppArmor")

    monkeypatch.setattr("gensynth.devices.agent.session.claim.socket.socket", Sandboxed)
    found = claim(str(tmp_path))
    assert found is not None
    found.close()


def test_folders_of_two_users_are_one_board(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    alice, bob = (BoardLock(Spool(str(tmp_path / who)), root, who) for who in ("alice", "bob"))
    assert alice.acquire() is None
    assert alice.claim() is None
    assert bob.acquire() is None  # the lock in bob's own folder
    owner = bob.claim()
    assert owner is not None
    assert "another user" in owner["host"]
    bob.release()
    alice.release()
    assert bob.acquire() is None
    assert bob.claim() is None
    bob.release()


def test_the_board_is_held_until_the_worker_is_gone_as_well(tmp_path: Path) -> None:
    holding = BoardLock(Spool(str(tmp_path / "home")), str(tmp_path), "job")
    assert holding.acquire() is None
    assert holding.claim() is None
    worker = subprocess.Popen(
        [sys.executable, "-S", "-c", "input()"],
        stdin=subprocess.PIPE,
        pass_fds=holding.descriptors,
    )
    holding.release()
    assert claim(str(tmp_path)) is None
    worker.communicate(b"\n")
    free = claim(str(tmp_path))
    assert free is not None
    free.close()


def test_many_who_ask_are_not_waited_for(tmp_path: Path) -> None:
    held = claim(str(tmp_path))
    assert held is not None
    assert {holder(str(tmp_path))["host"][:12] for _ in range(200)} == {"another user"}
    held.close()
