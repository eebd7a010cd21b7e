"""What ssh is told, with a program in its place that keeps its arguments; runs everywhere."""

import base64
import hashlib
import itertools
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gensynth.devices import registry, ssh
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.hostkeys import HostKey, fetch
from gensynth.devices.registry import Device
from gensynth.devices.way import Way
from gensynth.errors import DeviceError, DeviceFault

WAY = Way("board", "user", "board", (), "", (Path("id"),), None)
BOARD = Device("board", "user@board")
KEY = base64.b64encode(b"a key of the board").decode()
GONE = Fault("device_lost", "the other side closed the channel")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a fake ssh keeps its arguments, a line each; it knows one host key."""
    program, kept = tmp_path / "bin" / "ssh", tmp_path / "told"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"open({str(kept)!r}, 'w').write('\\n'.join(sys.argv[1:]))\n"
        "for word in sys.argv:\n"
        "    if word.startswith('UserKnownHostsFile=') and 'first-contact' in ' '.join(sys.argv):\n"
        f"        open(word.partition('=')[2], 'w').write('first-contact ssh-rsa {KEY}\\n')\n"
        "print('user@board: Permission denied (none).', file=sys.stderr)\n"
        "sys.exit(255)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return kept


def options(words: list[str]) -> dict[str, str]:
    """The options of a call of ssh; the first of two counts, as for OpenSSH."""
    found: dict[str, str] = {}
    for flag, word in itertools.pairwise(words):
        if flag == "-o":
            name, _, value = word.partition("=")
            found.setdefault(name, value)
    return found


def test_at_the_first_contact_no_key_is_offered_and_nothing_is_run_or_forwarded(
    told: Path,
) -> None:
    assert fetch("user@board") == HostKey("ssh-rsa", KEY)
    words = told.read_text().splitlines()
    given = options(words)
    assert given["PreferredAuthentications"] == "none"  # so that no key of the user's is offered
    assert given["BatchMode"] == "yes"
    assert given["ForwardAgent"] == "no"
    assert given["ClearAllForwardings"] == "yes"
    assert given["PermitLocalCommand"] == "no"
    assert given["GlobalKnownHostsFile"] == "/dev/null"
    assert words[-3:] == ["--", "user@board", "true"]
    assert "-i" not in words
    assert "IdentityFile" not in given


def test_the_key_of_the_first_contact_is_taken_down_apart_from_every_other(told: Path) -> None:
    fetch("user@board")
    seen = Path(options(told.read_text().splitlines())["UserKnownHostsFile"])
    assert seen != registry.known_hosts()
    assert not seen.exists()  # whether it is kept is the user's decision


def test_a_registered_device_must_show_the_key_that_was_taken_and_no_other() -> None:
    given = options(ssh.command(BOARD, 10, "python3"))
    assert given["StrictHostKeyChecking"] == "yes"  # neither asked about nor accepted anew
    assert given["HostKeyAlias"] == "board"
    assert given["UpdateHostKeys"] == "no"


def test_host_keys_come_from_our_own_file_alone() -> None:
    words = ssh.command(BOARD, 10, "python3")
    given = options(words)
    assert given["UserKnownHostsFile"] == f'"{registry.known_hosts()}"'
    assert given["GlobalKnownHostsFile"] == "/dev/null"
    assert given["VerifyHostKeyDNS"] == "no"
    assert given["KnownHostsCommand"] == "none"
    names = [word.partition("=")[0] for word in words]
    # An older OpenSSH does not know it, and is told so first.
    assert names.index("IgnoreUnknown") < names.index("KnownHostsCommand")


def test_a_session_asks_for_nothing_and_shares_nothing() -> None:
    given = options(ssh.command(BOARD, 10, "python3"))
    assert {given[name] for name in ("BatchMode", "ClearAllForwardings")} == {"yes"}
    off = ("ForwardAgent", "ControlMaster", "PermitLocalCommand")
    assert {given[name] for name in off} == {"no"}


@pytest.mark.skipif(
    subprocess.run(["which", "ssh"], capture_output=True).returncode != 0, reason="no OpenSSH"
)
def test_openssh_takes_every_option() -> None:
    command = ssh.command(BOARD, 10, "python3")
    shown = subprocess.run(["ssh", "-G", *command[1:-1]], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "stricthostkeychecking true" in shown.stdout


def test_a_file_that_ssh_names_is_only_opened_if_it_is_ours(tmp_path: Path) -> None:
    line = f"board ssh-rsa {KEY}\n"
    fingerprint = base64.b64encode(hashlib.sha256(b"a key of the board").digest()).decode()
    registry.folder().mkdir(parents=True, exist_ok=True)
    registry.known_hosts().write_text(line)
    other = tmp_path / "anything"
    other.write_text(line)

    def known(file: Path) -> object:
        said = (
            f"@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending RSA key in {file}:1\n"
            "Host key for board has changed and you have requested strict checking.\n"
        )
        return ssh.explain(BOARD, 255, ssh.Said(said), GONE).details["known"]

    assert known(registry.known_hosts()) == "SHA256:" + fingerprint.rstrip("=")
    assert known(other) is None
    assert known(Path("/dev/zero")) is None  # which has no end
    registry.known_hosts().unlink()


def test_what_ssh_says_last_is_the_reason(told: Path) -> None:
    told.parent.joinpath("bin", "ssh").write_text("#!/bin/sh\necho 'no route' >&2; exit 255\n")
    with pytest.raises(DeviceError, match=r"user@board did not answer: no route"):
        fetch("user@board")


def test_a_refused_key_is_told_with_the_way_to_copy_one() -> None:
    fault = ssh.explain(BOARD, 255, ssh.Said("user@board: Permission denied (publickey)."), GONE)
    assert fault.status == "auth_failed"
    assert "ssh-copy-id user@board" in fault.message
    assert not isinstance(fault, DeviceFault)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            'Load key "/home/user/.ssh/id": error in libcrypto',
            "cannot read /home/user/.ssh/id (err",
        ),
        (
            'sign_and_send_pubkey: signing failed for "id" from agent: agent refused operation',
            "from agent: agent refused operation: a key that asks to be touched or confirmed",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_not_to_be_copied(words: str, told: str) -> None:
    said = ssh.Said(f"{words}\nuser@board: Permission denied (publickey).")
    message = ssh.explain(BOARD, 255, said, GONE).message
    assert told in message
    assert "ssh-copy-id" not in message


def test_a_notice_of_a_shell_on_its_output_is_the_reason() -> None:
    said = ssh.Said("", "This account is currently not available.\n")
    message = ssh.explain(BOARD, 1, said, GONE).message
    assert message.endswith("; This account is currently not available.")
    assert ssh.explain(BOARD, 1, ssh.Said(""), GONE).message.endswith("; it said nothing")


def test_a_key_with_a_passphrase_is_told_from_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ssh.Said("user@board: Permission denied (publickey).")
    ways = ("ssh-add id", "ssh-copy-id user@board")
    for locked, told in ((True, ways[0]), (False, ways[1])):
        monkeypatch.setattr(
            "gensynth.devices.way._has_passphrase", lambda key, locked=locked: locked
        )
        monkeypatch.setattr("gensynth.devices.way.find", lambda _: WAY)
        message = ssh.explain(BOARD, 255, refused, GONE).message
        assert [way for way in ways if way in message] == [told]


def test_why_a_way_ended_is_told_and_not_that_it_did() -> None:
    said = (
        "2026 ERR cannot log in to the gateway\nits certificate has expired\n"
        "kex_exchange_identification: Connection closed by remote host\n"
        "Connection closed by UNKNOWN port 65535\n"
    )
    found = ssh.explain(BOARD, 255, ssh.Said(said), GONE).message
    assert found.endswith(
        "reached: 2026 ERR cannot log in to the gateway; its certificate has expired"
    )
    alone = "kex_exchange_identification: Connection closed by remote host"
    assert ssh.explain(BOARD, 255, ssh.Said(alone), GONE).message.endswith(alone)


def test_an_agent_of_many_keys_is_told_which_one_to_offer() -> None:
    # As OpenSSH's client says it, whose last line names neither the reason nor a user.
    said = (
        "Received disconnect from 192.168.55.1 port 22:2: Too many authentication failures\n"
        "Disconnected from 192.168.55.1 port 22\n"
    )
    fault = ssh.explain(Device("board", "user@192.168.55.1"), 255, ssh.Said(said), GONE)
    assert fault.status == "auth_failed"
    assert "offers more keys than it tries" in fault.message
    assert "IdentitiesOnly yes under Host 192.168.55.1" in fault.message
    assert "ssh-copy-id" not in fault.message
