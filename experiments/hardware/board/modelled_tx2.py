"""A whole simulated TX2 behind a real sshd: real agent, modelled TensorRT, rails that live.

    with modelled_tx2(folder) as board: ...     a registered device "tx2"

What it takes and draws is said in `modelled_work`. All that is measured there is marked
simulated, since the agent reads the board's files from below another root.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from experiments.hardware.board.drawn_rail import DrawnRail
from tests.fakes import boards
from tests.fakes.board import Board, ssh_with_own_configuration
from tests.places import FAKES

ALIAS = "tx2"


class ModelledTX2(Board):
    """See the module.

    Attributes:
        befallen: what befell, one word each: "failed", "throttled", "cut".
    """

    def __init__(self, folder: Path, faults: float = 0.0) -> None:
        super().__init__(folder)
        files = {name: text for name, text in boards.TX2.items() if "/i2c/" not in name}
        self.root = Path(boards.lay(folder / "root", files))
        self._draw, self._log = folder / "draw", folder / "befallen"
        packages = folder / "packages"
        packages.mkdir(parents=True)
        own = Path(__file__).parent
        shutil.copy(own / "modelled_tensorrt.py", packages / "tensorrt.py")
        for file in (own / "modelled_work.py", FAKES / "old_tensorrt.py"):
            shutil.copy(file, packages)
        library = folder / "cuda" / "libcudart.so"
        library.parent.mkdir()
        command = ["cc", "-shared", "-fPIC", "-o", str(library), str(FAKES / "fake_cudart.c")]
        subprocess.run(command, check=True)
        surroundings = {
            "PYTHONPATH": packages, "LD_LIBRARY_PATH": library.parent, "GENSYNTH_DRAW": self._draw,
            "GENSYNTH_FAULTS": faults, "GENSYNTH_BEFALLEN": self._log, "OMP_NUM_THREADS": 1,
        }  # fmt: skip
        words = " ".join(f"{name}={value}" for name, value in surroundings.items())
        self._options |= {"SetEnv": f"{self.surroundings(self.root)} {words}"}
        self.device = replace(self.device, alias=ALIAS, profile="jetson-tx2", python=sys.executable)
        self._way = f"HostKeyAlias={ALIAS}\0".encode()
        self._ended = threading.Event()

    def start(self) -> None:
        """Start it; a board has processors of its own, so none of this machine's work delays it.

        What watches over a run goes before the run itself, which never lets go of a processor.
        """
        super().start()
        assert self._process is not None
        with suppress(OSError):  # where that is not permitted
            os.sched_setscheduler(self._process.pid, os.SCHED_RR, os.sched_param(2))

    @property
    def befallen(self) -> list[str]:
        """Return what befell until now."""
        done = self._log.with_name(self._log.name + ".done")
        return done.read_text().split() if done.exists() else []

    def watch(self) -> None:
        """Cut the cable whenever the board says so."""
        seen = 0
        while not self._ended.wait(0.05):
            found = self.befallen
            if "cut" in found[seen:]:
                self.relay.cut()
            seen = len(found)


@contextmanager
def modelled_tx2(folder: Path, faults: float = 0.0) -> Iterator[ModelledTX2]:
    """Run the board, registered in a configuration folder of its own.

    Args:
        folder: for all of its files.
        faults: share of networks that something befalls.
    """
    folder.mkdir(parents=True, exist_ok=True)
    programs = ssh_with_own_configuration(folder, folder / "user_key")
    before = {name: os.environ.get(name) for name in ("PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    for kind in ("CONFIG", "DATA"):
        os.environ[f"XDG_{kind}_HOME"] = str(folder / kind.lower())
    board = ModelledTX2(folder, faults)
    watcher = threading.Thread(target=board.watch, daemon=True)
    try:
        with DrawnRail(board.root, board._draw), board:
            watcher.start()
            yield board
            board._ended.set()
            watcher.join()
    finally:
        board._ended.set()
        for name, value in before.items():
            with suppress(KeyError):
                os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
