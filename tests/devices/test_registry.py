"""The user's devices: a file that two processes may change at once, and nothing hostile in it."""

import base64
import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.devices import registry
from gensynth.devices.hostkeys import HostKey
from gensynth.devices.registry import Device
from gensynth.errors import ConfigError, DeviceError
from tests.runs import toybox

KEY = HostKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519 of a board").decode())


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "folder", lambda: tmp_path / "gensynth")  # macOS too
    return tmp_path / "gensynth"


def test_local_is_always_there_and_in_no_file(config: Path) -> None:
    assert registry.all_devices() == (registry.LOCAL,)
    assert registry.find("local").destination is None
    assert not config.exists()
    with pytest.raises(DeviceError, match="'local' is this machine and cannot be removed"):
        registry.remove("local")
    with pytest.raises(DeviceError, match="'local' is this machine already"):
        registry.add(Device("local", "nvidia@192.168.55.1"), KEY)


def test_an_added_device_is_found_again_with_its_key_under_its_alias(config: Path) -> None:
    board = Device("tx2", "nvidia@192.168.55.1", profile="jetson-tx2", python="/usr/bin/python3")
    before = datetime.now(UTC)
    registry.add(board, KEY)
    found = registry.find("tx2")
    assert replace(found, added_utc=None) == board
    assert 0 <= (datetime.fromisoformat(found.added_utc or "") - before).total_seconds() < 10
    # Every Jetson is 192.168.55.1 over USB: the key's name must be the alias, not the address.
    assert registry.known_hosts().read_text() == f"tx2 ssh-ed25519 {KEY.key}\n"
    with pytest.raises(DeviceError, match="gensynth devices remove tx2"):
        registry.add(board, KEY)


def test_what_became_known_of_a_device_stays(config: Path) -> None:
    registry.add(Device("tx2", "nvidia@192.168.55.1"), KEY)
    known = replace(registry.find("tx2"), profile="jetson-tx2", serial="0123456789abcdef")
    registry.replace(known)
    assert registry.find("tx2") == known


def test_removing_a_device_forgets_its_key_and_no_other(config: Path) -> None:
    for alias in ("b-2", "b", "b-3"):
        registry.add(Device(alias, f"user@{alias}"), KEY)
    registry.remove("b")
    assert [device.alias for device in registry.all_devices()] == ["local", "b-2", "b-3"]
    keys = registry.known_hosts().read_text().splitlines()
    assert [line.split()[0] for line in keys] == ["b-2", "b-3"]


def test_a_name_that_is_not_registered_comes_with_the_command_that_adds_it() -> None:
    with pytest.raises(DeviceError) as caught:
        registry.find("tx2")
    assert str(caught.value) == (
        "no device named 'tx2'; add it with: gensynth devices add tx2 USER@HOST"
    )
    registry.add(Device("tx2", "h"), KEY)
    with pytest.raises(DeviceError, match="no device named 'tx'; did you mean 'tx2'"):
        registry.find("tx")


HOSTILE = [
    "; rm -rf ~", "../x", "a\nb", "täx", "-oProxyCommand=x", "", "a" * 65, "A", "a b", "a/b",
    "$(x)",
]  # fmt: skip


@pytest.mark.parametrize("alias", HOSTILE)
def test_a_hostile_alias_is_refused(alias: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 of a-z, 0-9 and -"):
        Device(alias, "user@host")
    with pytest.raises(ConfigError):
        registry.find(alias)


@pytest.mark.parametrize(
    "destination",
    ["-oProxyCommand=touch x", "user@-oX", "a b", "host;ls", "host\n", "$(id)", "", "u@h@i", "`x`"],
)
def test_a_hostile_destination_is_refused(destination: str) -> None:
    with pytest.raises(ConfigError, match="a device is reached as USER@HOST"):
        Device("x", destination)


@pytest.mark.parametrize(
    "destination",
    ["tx2", "nvidia@192.168.55.1", "ssh://nvidia@board.lan:2222", "u.v@a-b.c", "me@[fe80::1%usb0]"],
)
def test_what_ssh_takes_is_taken(destination: str) -> None:
    assert Device("x", destination).destination == destination


def test_a_port_that_ssh_would_take_for_a_name_is_refused_with_the_right_form() -> None:
    with pytest.raises(ConfigError, match="ssh://USER@HOST:PORT"):
        Device("x", "nvidia@board:2222")


@given(st.text(max_size=80))
def test_whatever_is_taken_as_a_destination_is_one_harmless_word(text: str) -> None:
    try:
        Device("x", text)
    except ConfigError:
        return
    assert text.isascii()
    assert not text.startswith("-")
    assert "@-" not in text
    assert not set(text) & set(" \t\r\n;|&$`'\"\\<>(){}*?!#=,")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[tx2\n", "devices.toml is damaged"),
        ("tx2 = 3\n", "device 'tx2' cannot be read: the document must be an object, got 3"),
        ('[tx2]\ndestination = "h"\nport = 3\n', "device 'tx2' cannot be read"),
        ('[tx2]\ndestination = "h"\nprofile = "jetson-tx3"\n', "did you mean 'jetson-tx2'"),
        ('[tx2]\ndestination = "h"\nserial = "x"\n', "serial must be 16 hexadecimal digits"),
        (
            '[tx2]\ndestination = "h"\nadded_utc = 2026-11-24\n',
            "it holds what JSON cannot say: Object of type date",
        ),
        ('["../x"]\ndestination = "h"\n', "1 to 64 of a-z"),
    ],
)
def test_a_damaged_registry_is_named_and_left_alone(
    config: Path, content: str, message: str
) -> None:
    config.mkdir()
    path = config / "devices.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        registry.all_devices()
    with pytest.raises(ConfigError):
        registry.add(Device("nano", "h"), KEY)
    assert path.read_text() == content


def test_four_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gensynth.devices import registry\n"
        "from gensynth.devices.hostkeys import HostKey\n"
        f"registry.folder = lambda: Path({str(tmp_path / 'gensynth')!r})\n"
        "for n in range(5):\n"
        "    registry.add(registry.Device(f'd{sys.argv[1]}-{n}', 'h'), HostKey('t', 'AAAA'))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], env=toybox.environment())
        for n in range(4)
    ]
    assert [process.wait() for process in started] == [0] * 4
    assert len(registry.all_devices()) == 1 + 4 * 5
    assert len(registry.known_hosts().read_text().splitlines()) == 4 * 5


def test_a_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path) -> None:
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
    subprocess.run(make, check=True)
    kind, key, *_ = (tmp_path / "key.pub").read_text().split()
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    ).stdout
    assert HostKey(kind, key).fingerprint == shown.split()[1]
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    assert base64.b64decode(shown.split()[1].removeprefix("SHA256:") + "=") == digest
