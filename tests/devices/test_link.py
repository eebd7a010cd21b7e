"""A device is reached over a real ssh, or the reason why not has its status."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gensynth.devices import package, registry
from gensynth.devices.agent.wire import frames
from gensynth.devices.client import connect
from gensynth.devices.registry import LOCAL, Device
from gensynth.errors import DeviceFault
from tests.fakes.board import Board, Home, start_file
from tests.onnx_files import errands


def connecting_s(board: Board) -> float:
    """How long this machine takes now to reach the board and send it the agent."""
    start_s = time.monotonic()
    with connect(board.device):
        pass
    return time.monotonic() - start_s


def refusal(device: Device, timeout_s: float = 60.0) -> DeviceFault:
    """Why a device cannot be reached."""
    with (
        pytest.raises(DeviceFault) as refused,
        connect(device, timeout_s=timeout_s, start_s=0.0),
    ):
        pass
    return refused.value


def elsewhere(board: Board, port: int, host: str = "127.0.0.1") -> Device:
    """The board, as if it were at another address."""
    return replace(board.device, destination=f"ssh://nobody@{host}:{port}")


def test_the_agent_is_pushed_once_and_measures(board: Board) -> None:
    errand = errands.good("first")
    with connect(board.device) as connection:
        result = connection.run(errand.spec, errand.blobs)
        (output,) = result["networks"][0]["outputs"]
        doubled = connection.blob(output["blob"])
    assert result["status"] == "ok"
    assert result["runtime"]["path"] == "onnxruntime"
    assert memoryview(doubled).cast("f").tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    kept = board.path / f"agent-{package.agent().sha256}.pyz"
    assert kept.read_bytes() == package.agent().content
    written = {path: path.stat().st_ino for path in board.path.glob("agent-*")}
    board.relay.cut_after(up=len(package.agent().content))  # so much is not sent again
    with connect(board.device) as connection:
        assert connection.hello["agent"] == package.agent().sha256
    assert {path: path.stat().st_ino for path in board.path.glob("agent-*")} == written
    assert board.leftovers() == []


def test_an_agent_that_was_damaged_on_the_board_is_sent_again(board: Board) -> None:
    with connect(board.device):
        pass
    (kept,) = board.path.glob("agent-*.pyz")
    kept.write_bytes(kept.read_bytes()[:-1])
    with connect(board.device) as connection:
        assert connection.hello["agent"] == package.agent().sha256
    assert board.leftovers() == []


@pytest.mark.slow
def test_two_versions_of_the_agent_share_a_board(board: Board) -> None:
    other = package.pack(package.sources() | {"gensynth/newer.py": b""})
    with connect(board.device) as one, connect(board.device, agent=other) as two:
        assert one.hello["agent"] == package.agent().sha256
        assert two.hello["agent"] == other.sha256
    assert len(list(board.path.glob("agent-*.pyz"))) == 2
    assert board.leftovers() == []


def test_an_agent_that_nobody_asked_for_in_a_week_goes(board: Board) -> None:
    board.path.mkdir()
    week_ago_s = time.time() - 7 * 24 * 3600
    for name, used_s in (("old", week_ago_s - 60), ("young", week_ago_s + 3600)):
        path = board.path / f"agent-{name}.pyz"
        path.touch()
        os.utime(path, (used_s, used_s))
    with connect(board.device):
        pass
    found = {path.name for path in board.path.glob("agent-*")}
    assert found == {"agent-young.pyz", f"agent-{package.agent().sha256}.pyz"}


def test_the_agent_is_the_same_bytes_from_the_same_sources() -> None:
    again = package.pack(dict(reversed(package.sources().items())))
    assert again.content == package.agent().content


def test_local_is_the_same_agent_in_a_process_here(agent_home: Home) -> None:
    errand = errands.good("here")
    with connect(LOCAL) as connection:
        assert connection.run(errand.spec, errand.blobs)["status"] == "ok"
        assert connection.hello["agent"] == package.agent().sha256
    assert agent_home.leftovers() == []


def test_a_name_that_nobody_knows(board: Board) -> None:
    fault = refusal(elsewhere(board, 22, host="no-such-board.invalid"))
    assert fault.status == "device_lost"
    assert "no-such-board.invalid" in fault.message


def test_a_port_that_refuses(board: Board) -> None:
    board.relay.__exit__()
    fault = refusal(board.device)
    assert fault.status == "device_lost"
    assert "Connection refused" in fault.message


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that drops whoever connects: nobody accepts, and the queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """A port that takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("nothing", [black_hole, silence])
def test_nothing_comes_back(
    board: Board, nothing: "type[contextlib.AbstractContextManager[int]]"
) -> None:
    usual_s = connecting_s(board)
    with nothing() as port:
        start_s = time.monotonic()
        fault = refusal(elsewhere(board, port), timeout_s=1.0)
        took_s = time.monotonic() - start_s
    assert fault.status == "device_lost"
    assert took_s < 1.0 + 10 * usual_s
    assert board.leftovers() == []


def test_another_machine_at_the_same_address(board: Board) -> None:
    known = board.host_key.fingerprint
    board.make_key("host_key")
    board.configure()
    fault = refusal(board.device)
    assert fault.status == "host_key_changed"
    assert fault.details == {"known": known, "sent": board.host_key.fingerprint}
    assert known in fault.message
    assert board.host_key.fingerprint in fault.message
    assert not board.path.exists()  # nothing was sent to it


@pytest.mark.slow
def test_another_board_with_the_same_address_and_a_copied_image(board: Board) -> None:
    with connect(board.device) as connection:
        own = connection.hello["facts"]["serial_hash"]
    with connect(replace(board.device, serial=own)):
        pass
    fault = refusal(replace(board.device, serial="0123456789abcdef"))
    assert fault.status == "host_key_changed"
    assert fault.details == {"registered": "0123456789abcdef", "answers": own}
    assert f"gensynth devices remove {board.device.alias}" in fault.message
    assert board.leftovers() == []


def test_a_machine_whose_key_nobody_has_taken(board: Board) -> None:
    registry.known_hosts().write_text("")
    fault = refusal(board.device)
    assert fault.status == "host_key_changed"
    assert fault.details == {"known": None}
    assert f"gensynth devices add {board.device.alias}" in fault.message
    assert registry.known_hosts().read_text() == ""  # and it was not taken in silence


def test_a_key_that_is_not_accepted(board: Board) -> None:
    board.make_key("other_key")
    board.accept("other_key")
    fault = refusal(board.device)
    assert fault.status == "auth_failed"
    assert "ssh-copy-id" in fault.message


def test_nobody_is_asked_for_a_password(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.configure(PubkeyAuthentication="no", PasswordAuthentication="yes")
    asked = board.folder / "asked"
    window = board.folder / "window"  # as a desktop's, which needs no terminal
    window.write_text(f"#!/bin/sh\ntouch {asked}\necho password\n")
    window.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(window))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert refusal(board.device).status == "auth_failed"
    assert not asked.exists()


def test_what_a_start_file_prints_is_skipped(board: Board) -> None:
    magic = "".join(f"\\{byte:o}" for byte in frames.MAGIC)
    noise = f"echo Welcome; printf '{magic}{magic}'; echo to stderr >&2; head -c 60000 /dev/zero\n"
    board.configure(**start_file(noise, board.folder))
    errand = errands.good("noise")
    with connect(board.device) as connection:
        assert connection.run(errand.spec, errand.blobs)["status"] == "ok"
    assert board.leftovers() == []


def test_a_start_file_that_never_stops_printing(board: Board) -> None:
    board.configure(**start_file("cat /dev/zero\n", board.folder))
    fault = refusal(board.device)
    assert fault.status == "protocol_error"
    assert "must print less than" in fault.message
    assert board.leftovers() == []


def test_a_start_file_that_never_ends(board: Board) -> None:
    usual_s = connecting_s(board)
    board.configure(**start_file("echo what is your name?; sleep 600\n", board.folder))
    start_s = time.monotonic()
    limit_s = 1.0 + 4 * usual_s  # in which the question comes
    fault = refusal(board.device, timeout_s=limit_s)
    assert fault.status == "device_lost"
    assert "what is your name?" in fault.message
    assert time.monotonic() - start_s < limit_s + 10 * usual_s


@pytest.mark.slow
def test_a_shell_that_takes_its_time_after_the_connection(board: Board) -> None:
    limit_s = 1.0 + connecting_s(board)
    board.configure(**start_file(f"sleep {limit_s:.1f}\n", board.folder))
    with connect(board.device, timeout_s=limit_s) as connection:
        assert connection.hello["type"] == "hello"


def test_a_shell_that_ends_at_once(board: Board) -> None:
    board.configure(**start_file("echo this account is not available >&2; exit 1\n", board.folder))
    fault = refusal(board.device)
    assert fault.status == "device_lost"
    assert "this account is not available" in fault.message


def test_a_board_without_that_python(board: Board) -> None:
    fault = refusal(replace(board.device, python="/nowhere/python3"))
    assert fault.status == "runtime_missing"
    assert "/nowhere/python3" in fault.message
    assert "--python" in fault.message


def test_a_board_whose_python_is_too_old(board: Board) -> None:
    # Python 2.7 answers the same way as this stand-in: it runs the same first line.
    old = board.folder / "python2"
    old.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = (2, 7, 18)\nexec(sys.argv[-1])\n"
    )
    old.chmod(0o755)
    fault = refusal(replace(board.device, python=str(old)))
    assert fault.status == "version_mismatch"
    assert "must have Python 3.6 or newer, got 2.7" in fault.message


def test_a_home_that_cannot_be_written(board: Board) -> None:
    Path(board.path).write_text("a file stands where the folder should be")
    fault = refusal(board.device)
    assert fault.status == "build_failed"
    assert fault.details == {"cause": "disk"}
    assert "set GENSYNTH_AGENT_HOME there" in fault.message
    board.path.unlink()


def test_no_ssh_on_this_machine(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(board.folder))
    fault = refusal(board.device)
    assert fault.status == "device_lost"
    assert "install OpenSSH's client" in fault.message
