"""A board whose power follows a model while the agent works: a root folder that lives.

    python simulated_board.py ROOT LAYOUT AVERAGED LOG

A process of its own plays the power monitor. Once in the chip's period it looks whether any
process with GENSYNTH_AGENT_ROOT=ROOT is at work, takes the model's power, and rewrites the rail's
files as the drivers of L4T R32 ("iio") and of JetPack 5 ("hwmon") show them.

    at rest    3.0 W
    at work    9.5 W for 22 ms, then 6.0 W for 8 ms, and so on: 8.5667 W in the mean
    chip       one conversion of 1.1 ms in every 6.6 ms, or a running average of AVERAGED of
               them; currents in steps of 8 mA (40 µV over 5 mOhm), as the datasheet has it

LOG gets the model's own energy since the start, without any sensor, as pairs of CLOCK_MONOTONIC
in ns (u64) and joules (f64): the truth that a measurement is held against.
"""

import contextlib
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import IO, Self

import numpy as np

from tests.fakes import boards

REST_W = 3.0
HIGH_W, HIGH_S = 9.5, 0.022
LOW_W, LOW_S = 6.0, 0.008
WORK_W = (HIGH_W * HIGH_S + LOW_W * LOW_S) / (HIGH_S + LOW_S)
CONVERSION_S = 0.0011
CYCLE_S = 6 * CONVERSION_S
STEP_MA = 8
PAIR = struct.Struct("<Qd")

_LOOKS = 8  # at work is who runs in half of the last looks: a sampler that wakes up is not
_RESCAN_EVERY_S = 0.1
_YOUNG_S = 2.0  # a process may not have become itself yet


def work_j(t_s: float) -> float:
    """The energy of a board that has been at work since time 0."""
    cycles, rest_s = divmod(t_s, HIGH_S + LOW_S)
    within_j = HIGH_W * min(rest_s, HIGH_S) + LOW_W * max(0.0, rest_s - HIGH_S)
    return cycles * WORK_W * (HIGH_S + LOW_S) + within_j


class Processes:
    """Those that belong to a root, and how many of the last looks found one running."""

    def __init__(self, root: str) -> None:
        self._mark = b"GENSYNTH_AGENT_ROOT=" + os.fsencode(root) + b"\0"
        self._since_s: dict[str, float] = {}  # when a process was first seen
        self._own: set[str] = set()
        self._scanned_s = float("-inf")
        self._looks: deque[bool] = deque([False] * _LOOKS, _LOOKS)

    def are_at_work(self, now_s: float) -> bool:
        """Look at them once more."""
        if now_s - self._scanned_s > _RESCAN_EVERY_S:
            self._scan(now_s)
            self._scanned_s = now_s
        self._looks.append(any(self._runs(pid) for pid in self._own))
        return 2 * sum(self._looks) >= _LOOKS

    def _scan(self, now_s: float) -> None:
        pids = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        self._since_s = {pid: self._since_s.get(pid, now_s) for pid in pids}
        self._own &= pids
        for pid in pids - self._own:
            if now_s - self._since_s[pid] < _YOUNG_S:
                try:
                    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                        if self._mark in file.read():
                            self._own.add(pid)
                except OSError:
                    pass

    @staticmethod
    def _runs(pid: str) -> bool:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                return file.read().rpartition(b") ")[2][:1] == b"R"
        except OSError:
            return False


class Chip:
    """An INA3221 with one rail, VDD_IN.

    Args:
        folder: where its files go.
        layout: "iio" or "hwmon".
        averaged: conversions in its running average; 1 for a snapshot.
    """

    def __init__(self, folder: Path, layout: str, averaged: int) -> None:
        folder.mkdir(parents=True)
        if layout == "iio":
            self._millivolts = 19144
            names = ["in_current0_input", "in_power0_input"]
            constant = {
                "name": "ina3221x",
                "rail_name_0": "VDD_IN",
                "running_mode": "1" if averaged > 1 else "0",
                "in_voltage0_input": str(self._millivolts),
                "crit_current_limit_0": "32760 ma",
            }
        else:
            self._millivolts = 5088
            names = ["curr1_input"]
            constant = {
                "name": "ina3221",
                "in1_label": "VDD_IN",
                "in1_input": str(self._millivolts),
                "samples": str(averaged),
                "update_interval": str(int(averaged * CYCLE_S * 1000)),
                "shunt1_resistor": "5000",
            }
        for name, text in constant.items():
            (folder / name).write_text(text + "\n")
        # the drivers compute a file when it is read; one write of a few bytes is as whole
        self._files = [os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o644) for name in names]
        self._averaged = averaged
        self._register_w = REST_W
        self.show()

    def convert(self, watts: float, conversions: float) -> None:
        """Take the power of one conversion, or of several that were missed as one."""
        self._register_w += (watts - self._register_w) * (
            1 - (1 - 1 / self._averaged) ** max(1.0, conversions)
        )

    def show(self) -> None:
        """Rewrite the files."""
        current_ma = self._register_w / self._millivolts * 1e6
        current_ma = STEP_MA * round(current_ma / STEP_MA)
        values = (current_ma, self._millivolts * current_ma // 1000)
        for file, value in zip(self._files, values, strict=False):
            os.pwrite(file, b"%-7d\n" % value, 0)


def live(root: str, layout: str, averaged: int, log: IO[bytes]) -> None:
    """Be the chip until stdin ends."""
    folder = {
        "iio": "sys/bus/i2c/devices/0-0041/iio:device1",
        "hwmon": "sys/class/hwmon/hwmon3",
    }[layout]
    chip = Chip(Path(root, folder), layout, averaged)
    processes = Processes(root)
    # Hardware waits for nobody. Where that is not permitted, readings are late; the truth is not.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    before_s = due_s = time.perf_counter()
    joules = 0.0
    while True:
        due_s = max(due_s + CYCLE_S, before_s)
        if select.select([0], [], [], max(0.0, due_s - time.perf_counter()))[0]:
            return  # nothing is ever written there
        now_s = time.perf_counter()
        passed_s = now_s - before_s
        if processes.are_at_work(now_s):
            spent_j = work_j(now_s) - work_j(before_s)
            snapshot_w = (work_j(now_s) - work_j(now_s - CONVERSION_S)) / CONVERSION_S
        else:
            spent_j, snapshot_w = REST_W * passed_s, REST_W
        chip.convert(snapshot_w, passed_s / CYCLE_S)
        chip.show()
        joules += spent_j
        log.write(PAIR.pack(round(now_s * 1e9), joules))
        before_s = now_s


class SimulatedBoard:
    """The process that lives in a root folder, while the block runs.

    Attributes:
        root: the folder, for GENSYNTH_AGENT_ROOT.
    """

    def __init__(self, folder: Path, board: boards.Files, layout: str, averaged: int) -> None:
        self.root = boards.lay(folder / "root", board)
        self._log = folder / "truth"
        self._command = [sys.executable, __file__, self.root, layout, str(averaged)]
        self._command.append(str(self._log))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=30)  # closes its stdin

    def truth_j(self, start_ns: int, end_ns: int) -> float:
        """The model's own energy between two moments; to be asked after the block."""
        content = self._log.read_bytes()
        pairs = np.frombuffer(content, np.dtype([("t_ns", "<u8"), ("joules", "<f8")]))
        assert pairs["t_ns"][0] <= start_ns <= end_ns <= pairs["t_ns"][-1]
        edges = np.interp([start_ns, end_ns], pairs["t_ns"].astype(float), pairs["joules"])
        return float(edges[1] - edges[0])


if __name__ == "__main__":
    with open(sys.argv[4], "wb") as file:  # noqa: PTH123
        live(sys.argv[1], sys.argv[2], int(sys.argv[3]), file)
