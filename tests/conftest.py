"""What holds for every test: no network, no traces in the user's home, two skips; and toys.

`gpu` tests are skipped without a CUDA device, `device` tests unless GENSYNTH_TEST_DEVICE names
a registered board, `jetpack` tests unless GENSYNTH_TEST_JETPACK names a Python like that of JetPack
4.6. `toys`, `here`, `gensynth` and `finished` are for tests of the command line.
"""

import gc
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.fakes.board import NO_SSH, agent_home, board, patient
from tests.once import made_once
from tests.runs import toybox

__all__ = ["agent_home", "board", "patient"]

# The networks here are tiny, two processes share the cores, and a second thread that waits for a
# core of a busy machine makes all of it six times slower. torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The time of one example says nothing on a shared machine; the examples are the same each run.
settings.register_profile("gensynth", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("gensynth")


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches, configuration and data go to a temporary folder."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """A connection that leaves this machine fails the test that makes it."""
    connect = socket.socket.connect

    def refuse_outside(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise AssertionError(f"a test connects to {host}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse_outside)
        yield


LONGEST = ("runs", "agent", "devices", "export", "cli")
"""Rooms whose files take or wait longest: begun first, so that no processor waits for the last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rooms = [item.nodeid.split("/")[1] for item in items]
    order = {room: place for place, room in enumerate((*LONGEST, *sorted({*rooms} - {*LONGEST})))}
    items.sort(key=lambda item: order[item.nodeid.split("/")[1]])


def pytest_collection_finish() -> None:
    """Leave all that is there before the first test out of every later collection of garbage.

    What measures time collects first, some 0.2 s each time with torch and four thousand tests.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    if item.get_closest_marker("device") and "GENSYNTH_TEST_DEVICE" not in os.environ:
        pytest.skip("GENSYNTH_TEST_DEVICE names no board")
    if item.get_closest_marker("jetpack") and "GENSYNTH_TEST_JETPACK" not in os.environ:
        pytest.skip("GENSYNTH_TEST_JETPACK names no Python")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests an ssh server would have let run, and how to get one."""
    skipped = terminalreporter.stats.get("skipped", [])
    without = sum(NO_SSH in str(report.longrepr) for report in skipped)
    if without:
        terminalreporter.write_line(
            f"{without} tests of boards behind ssh were skipped: they start an ssh server of their "
            "own, and none is installed here; on Debian and Ubuntu: apt-get install openssh-server"
        )


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy module, its trained weights and its run file."""

    def make(folder: Path) -> None:
        (folder / "toy.py").write_text(toybox.MODULE)
        (folder / "toy.toml").write_text(toybox.RUN)
        toybox.train(folder)

    return made_once(tmp_path_factory, "toys", make)


@pytest.fixture
def here(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a fresh copy of the toys."""
    for file in ("toy.py", "toy.toml", "toy.safetensors"):
        shutil.copy(toys / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delitem(sys.modules, "toy", raising=False)
    return tmp_path


@pytest.fixture
def gensynth(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> toybox.Command:
    """The command: its arguments -> exit code, stdout, stderr."""
    from gensynth.cli import app

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gensynth", *arguments])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        written = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, written.out, written.err

    return run


@pytest.fixture(scope="session")
def finished(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A finished run of the toys: its folder, stdout and stderr."""

    def make(folder: Path) -> None:
        command = "-m", "gensynth", "synth", "toy.toml", "--out", str(folder / "run")
        done = toybox.python(*command, cwd=toys)
        assert done.returncode == 0, done.stderr
        (folder / "stdout").write_text(done.stdout)
        (folder / "stderr").write_text(done.stderr)

    folder = made_once(tmp_path_factory, "finished", make)
    # What another process's user has named, this one's has not.
    from gensynth.config_file import read
    from gensynth.runs.trust import note

    note(read(folder / "run" / "run.toml"))
    return folder / "run", (folder / "stdout").read_text(), (folder / "stderr").read_text()
