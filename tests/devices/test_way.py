"""What stands between here and a board is named: hosts, keys, shells; with a real ssh."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gensynth.devices import hostkeys
from gensynth.devices.client import connect
from gensynth.errors import DeviceError, DeviceFault
from tests.fakes.board import Board, start_file

pytestmark = pytest.mark.realtime


def refusal(board: Board) -> DeviceFault:
    """Why the board cannot be reached."""
    with pytest.raises(DeviceFault) as refused, connect(board.device):
        pass
    return refused.value


def lead_over(board: Board, name: str, *lines: str) -> None:
    """Let the user's configuration lead to the board over itself, under another name."""
    path = board.folder / "ssh_config"
    jump = [f"Host {name}", "HostName 127.0.0.1", f"Port {board.relay.port}", *lines]
    path.write_text("\n".join([*jump, "Host 127.0.0.1", f"ProxyJump {name}", path.read_text()]))


def lock(board: Board) -> Path:
    """Give the user's key a passphrase."""
    key = board.folder / "user_key"
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(key)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return key


@pytest.fixture
def agent(board: Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's ssh-agent, which holds no key."""
    socket = board.folder / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    path = board.folder / "ssh_config"
    path.write_text(path.read_text().replace("IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK"))
    while not socket.exists():
        assert process.poll() is None
    yield socket
    process.terminate()
    process.wait()


@pytest.mark.parametrize("how", ["StrictHostKeyChecking ask", "StrictHostKeyChecking yes"])
def test_a_jump_host_whose_key_nobody_has_taken(board: Board, how: str) -> None:
    lead_over(board, "gateway", how, f"UserKnownHostsFile {board.folder / 'none'}")
    fault = refusal(board)
    assert fault.status == "host_key_changed"
    assert fault.details == {"known": None, "jumps": ["gateway"]}
    assert "the host key of gateway, over which" in fault.message
    assert fault.message.endswith("is not known; log in there yourself, where ssh shows it and "
                                  "says how to go on: ssh gateway")  # fmt: skip
    assert "devices remove" not in fault.message  # the board's own key is as it was


def test_a_jump_host_whose_key_nobody_has_taken_is_named_at_the_first_contact(board: Board) -> None:
    lead_over(board, "gateway", f"UserKnownHostsFile {board.folder / 'none'}")
    with pytest.raises(DeviceError, match=r"the host key of gateway, .* is not known; .*: ssh ga"):
        hostkeys.fetch(str(board.device.destination))


def test_a_jump_host_whose_key_has_changed(board: Board) -> None:
    known = board.folder / "known"
    board.make_key("former")
    kind, key, *_ = (board.folder / "former.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{board.relay.port} {kind} {key}\n")
    lead_over(board, "gateway", f"UserKnownHostsFile {known}")
    fault = refusal(board)
    assert fault.status == "host_key_changed"
    assert "the host key of gateway" in fault.message
    assert "has changed" in fault.message


def test_a_jump_host_that_takes_no_key_is_the_one_to_copy_it_to(board: Board) -> None:
    lead_over(
        board, "gateway", "User nobody-of-this-name", "StrictHostKeyChecking no",
        "UserKnownHostsFile /dev/null",
    )  # fmt: skip
    fault = refusal(board)
    assert fault.status == "auth_failed"
    assert fault.message.startswith("gateway must accept one of your keys")
    assert fault.message.endswith("ssh-copy-id gateway")


def test_a_known_jump_host_leads_to_the_board(board: Board) -> None:
    lead_over(board, "gateway", "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null")
    with connect(board.device) as connection:
        assert connection.hello["type"] == "hello"


def test_a_key_with_a_passphrase_and_no_ssh_agent(board: Board) -> None:
    key = lock(board)
    fault = refusal(board)
    assert fault.status == "auth_failed"
    assert fault.message.endswith(f'eval "$(ssh-agent)" && ssh-add {key}')
    assert "ssh-copy-id" not in fault.message  # the board knows the key


def test_a_key_with_a_passphrase_that_the_ssh_agent_does_not_hold(
    board: Board, agent: Path
) -> None:
    key = lock(board)
    assert refusal(board).message.endswith(f": ssh-add {key}")


def test_a_key_that_the_ssh_agent_holds_and_the_board_does_not_know(
    board: Board, agent: Path
) -> None:
    subprocess.run(["ssh-add", "-q", str(board.folder / "user_key")], check=True)
    lock(board)
    with connect(board.device):
        pass
    board.make_key("another")
    board.accept("another")
    assert "ssh-copy-id" in refusal(board).message


def test_a_key_that_others_can_read(board: Board) -> None:
    key = board.folder / "user_key"
    key.chmod(0o644)
    assert refusal(board).message.endswith(f"chmod 600 {key}")


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_shell_that_ends_with_a_notice_is_quoted(board: Board, stream: str) -> None:
    notice = "This account is currently not available."
    board.configure(**start_file(f"echo '{notice}' {stream}; exit 1\n", board.folder))
    fault = refusal(board)
    assert fault.status == "device_lost"
    assert fault.message.endswith(f"the connection ended before Python had started; {notice}")


def test_complaints_that_every_start_brings_are_no_reason(board: Board) -> None:
    noise = (
        "echo Your password has expired.\n"
        "echo 'bash: warning: setlocale: LC_ALL: cannot change locale (de_DE)' >&2\n"
        "echo \"ERROR: ld.so: object 'libgomp.so.1' from LD_PRELOAD cannot be preloaded: "
        'ignored." >&2; exit 1\n'
    )
    board.configure(**start_file(noise, board.folder))
    assert refusal(board).message.endswith("; Your password has expired.")


def test_a_mistake_in_the_users_configuration_is_quoted(board: Board) -> None:
    path = board.folder / "ssh_config"
    path.write_text("Host *\n  ProxyJmp gateway\n")
    fault = refusal(board)
    assert fault.status == "device_lost"
    assert "Bad configuration option: proxyjmp" in fault.message
