"""A board for tests: a real sshd of our own on loopback, and the agent's folder behind it.

The sshd is an ordinary process with its own port, keys and configuration. The host's side is
the system's ssh, called through a program of that name which adds a configuration of our own,
since ssh takes no other home than the one of the password file. Nothing of the user's is
read or written.

    with Board(folder) as board:
        with connect(board.device) as connection: ...
        assert board.leftovers() == []
"""

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from gensynth.devices import package, registry
from gensynth.devices.client import connect
from gensynth.devices.hostkeys import HostKey
from gensynth.devices.package import Agent
from gensynth.devices.registry import Device
from tests.fakes.relay import Relay
from tests.places import FAKES

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
NO_SSH = "OpenSSH's server and client are not installed"
_START_S = 60.0

REACHED_WITHIN_S = 60.0
"""In place of the ten seconds in which a board must answer: this machine may be busy."""

MEASURING = "gensynth/devices/agent/measuring/"
SESSION = "gensynth/devices/agent/session/"


def altered(*changes: tuple[str, str, str], **modules: bytes) -> Agent:
    """The agent with other constants, and other modules in place of those of `measuring`.

    Args:
        changes: a file, a line's beginning in it, and what stands there instead.
        modules: content by a module's name.
    """
    sources = package.sources()
    sources |= {f"{MEASURING}{name}.py": content for name, content in modules.items()}
    for file, old, new in changes:
        text = sources[file].decode()
        assert text.count(f"\n{old}") == 1, (file, old)
        sources[file] = text.replace(f"\n{old}", f"\n{new}").encode()
    return package.pack(sources)


IMPATIENT = (f"{SESSION}child.py", "GRACE_S = 2.0", "GRACE_S = 0.3")
"""A worker that ignores TERM is killed soon."""

BRIEF = ("gensynth/devices/agent/power/meters.py", "EXAMINE_S = 3.0", "EXAMINE_S = 0.5")
"""A short self-test of the sensor."""

WORKER = (FAKES / "misbehaving.py").read_bytes()
"""A worker that does what its network's id says."""

MISBEHAVING = altered(IMPATIENT, work=WORKER)
"""The agent with that worker."""


class Home:
    """An agent's folder on this machine.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What tells a process of the agent from every other, and ssh on the way to it.
        self._mark = b"GENSYNTH_AGENT_HOME=" + os.fsencode(path) + b"\0"
        self._way = self._mark

    def leftovers(self, within_s: float = 60.0) -> list[str]:
        """What is there that belongs to no job that has ended, once it does not change any more.

        Processes of the agent and whatever they started, half-written files, jobs without a
        result, requests, a lock that is held or names an owner, clocks to be put back.
        """
        deadline = time.monotonic() + within_s
        while (found := self._leftovers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _leftovers(self) -> list[str]:
        found = [f"process {pid}: {what[:200]}" for pid, what in self.processes()]
        found += [str(path) for path in self.path.rglob(".partial-*")]
        for folder in self.path.glob("results/*"):
            if not (folder / "result.json").exists():
                found.append(str(folder))
        found += [str(path) for path in self.path.glob("requests/*")]
        found += [str(path) for path in self.path.glob("clocks.json")]
        lock = self.path / "lock"
        if lock.exists():
            found += [f"lock: {lock.read_text()}"] * bool(lock.read_text())
            with lock.open() as file, contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return found
            found.append("lock: held")
        return found

    def processes(self, *, over_there: bool = False) -> list[tuple[int, str]]:
        """Every process that runs for this folder, on the way to it or only over there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()  # a zombie has none
                own = self._mark in (folder / "environ").read_bytes()
                if command and (own or (self._way in command and not over_there)):
                    found.append((int(folder.name), command.replace(b"\0", b" ").decode()))
        return found

    def end_processes(self) -> None:
        """Let a test that fails leave none."""
        for pid, _ in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def journal(self, event: str) -> list[str]:
        """The jobs of an event of the journal, in order."""
        path = self.path / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line["id"] for line in map(json.loads, lines) if line["event"] == event]


class Board(Home):
    """A machine behind ssh.

    Attributes:
        folder: for keys, configuration and the agent's home.
        device: as it is registered.
        relay: the cable that the device's connections go through.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        """Prepare a board.

        Args:
            options: lines of sshd's configuration, instead of or beside our own.
        """
        super().__init__(folder / "home")
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.relay = Relay()
        alias = f"board-{self.relay.port}"
        self._way = f"HostKeyAlias={alias}\0".encode()
        self.device = Device(
            alias, f"ssh://{_user()}@127.0.0.1:{self.relay.port}", python=sys.executable
        )

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "user_key"):
            self.make_key(name)
        self.accept("user_key")
        self.start()
        self.relay.__enter__()
        registry.add(self.device, self.host_key)
        return self

    def __exit__(self, *error: object) -> None:
        self.relay.__exit__(*error)
        self.stop()
        self.end_processes()

    @property
    def host_key(self) -> HostKey:
        """The public key that the board shows."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return HostKey(kind, key)

    def surroundings(self, root: Path | str | None = None) -> str:
        """What is set for every process over there.

        Another home, so that no start file of the user's is read, and a board of its own, so that
        tests that run at the same time are not to wait for each other.

        Args:
            root: below which the board's files are, if not this machine's.
        """
        found = (
            f"HOME={self.folder} GENSYNTH_AGENT_HOME={self.path} GENSYNTH_AGENT_BOARD={self.path}"
        )
        return found if root is None else f"{found} GENSYNTH_AGENT_ROOT={root}"

    def make_key(self, name: str) -> None:
        """Make a pair of keys anew."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def accept(self, name: str) -> None:
        """Let in who has this key, and nobody else."""
        shutil.copy(self.folder / f"{name}.pub", self.folder / "authorized_keys")

    def configure(self, **options: str) -> None:
        """Change the configuration and start sshd anew."""
        self._options |= options
        self.stop()
        self.start()

    def start(self) -> None:
        """Start sshd on a free port and wait until it answers."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's separates privilege
        deadline = time.monotonic() + _START_S
        while not self._starts(_free_port(), deadline):  # another may take the port before it
            assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text()
            time.sleep(0.1)

    def _starts(self, port: int, deadline: float) -> bool:
        path = self.folder / "sshd_config"
        settings = {"Port": str(port)} | self._settings()
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        assert SSHD is not None
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(path)], stdin=subprocess.DEVNULL, stderr=log
            )
        while not _answers(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        self.relay.target = port
        return True

    def stop(self) -> None:
        """End the sshd that listens; sessions go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _settings(self) -> dict[str, str]:
        own = {
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.folder / "host_key"),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "PidFile": "none",
            "StrictModes": "no",  # a temporary folder's parents belong to others
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": "100",
            "LogLevel": "ERROR",
            "SetEnv": self.surroundings(),
        }
        return own | self._options


def ssh_with_own_configuration(folder: Path, key: Path) -> Path:
    """Write a program `ssh` that is the system's, with a configuration for tests.

    Returns:
        The folder to be put first in PATH.
    """
    real = shutil.which("ssh")
    assert real is not None
    configuration = folder / "ssh_config"
    configuration.write_text(
        f"Host *\n  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        "  GlobalKnownHostsFile /dev/null\n"
    )
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "ssh"
    program.write_text(f'#!/bin/sh\nexec {real} -F {configuration} "$@"\n')
    program.chmod(0o755)
    return programs


def start_file(text: str, folder: Path) -> dict[str, str]:
    """The options with which the shell over there reads a start file before anything else."""
    path = folder / "start"
    path.write_text(text)
    return {"ForceCommand": f'. {path}; eval "$SSH_ORIGINAL_COMMAND"'}


@pytest.fixture
def board(tmp_path: Path, patient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A running board, registered, with the user's key accepted."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip(NO_SSH)
    if _is_locked(_user()):
        pytest.skip("this account is locked, so sshd lets nobody in")
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes can only be counted where there is /proc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "board"
    folder.mkdir()
    programs = ssh_with_own_configuration(folder, folder / "user_key")
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    with Board(folder) as running:
        yield running


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects waits long, where no time is named."""
    defaults = connect.__wrapped__.__kwdefaults__  # type: ignore[attr-defined]
    monkeypatch.setitem(defaults, "timeout_s", REACHED_WITHIN_S)


@pytest.fixture
def agent_home(tmp_path: Path, patient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The folder of this machine's own agent."""
    path = tmp_path / "agent-home"
    monkeypatch.setenv("GENSYNTH_AGENT_HOME", str(path))
    # Tests that run at the same time are not to wait for each other.
    monkeypatch.setenv("GENSYNTH_AGENT_BOARD", str(path))
    home = Home(path)
    yield home
    home.end_processes()


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _is_locked(user: str) -> bool:
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:  # nor can sshd see it then
        return False
    return any(line.startswith(f"{user}:!") for line in lines)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False
