"""A TX2's power rail that shows what the running network draws: a root folder that lives.

    python -m experiments.hardware.board.drawn_rail ROOT DRAW

at rest 3.0 W; at work 4.0 W; while a network runs what stands in DRAW
(`modelled_work`). The chip is that of `tests/fakes/simulated_board.py`, taking snapshots; a
board that throttles recovers after three seconds.
"""

import contextlib
import mmap
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from experiments.hardware.board.modelled_work import DRAW
from tests.fakes.simulated_board import CYCLE_S, REST_W, Chip, Processes

WORK_W = 4.0
RAIL = "sys/bus/i2c/devices/0-0041/iio:device1"
THROTTLE = "sys/class/thermal/cooling_device1/cur_state"
RECOVERS_S = 3.0


class DrawnRail:
    """The process that plays the rail, while the block runs.

    Args:
        root: of a board's files, without those of the rail.
        draw: the file in which the watts stand.
    """

    def __init__(self, root: Path, draw: Path) -> None:
        self._root, self._draw = root, draw

    def __enter__(self) -> Self:
        self._draw.write_bytes(DRAW.pack(0, REST_W))
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "experiments.hardware.board.drawn_rail",
                str(self._root),
                str(self._draw),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=30)  # closes its stdin


def live(root: Path, draw: Path) -> None:
    """Be the rail until stdin ends."""
    chip, processes = Chip(root / RAIL, "iio", 1), Processes(str(root))
    with draw.open("r+b") as file:
        shown = mmap.mmap(file.fileno(), DRAW.size)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    due_s, throttled_s = time.perf_counter(), None
    while True:
        due_s = max(due_s + CYCLE_S, time.perf_counter())
        if select.select([0], [], [], max(0.0, due_s - time.perf_counter()))[0]:
            return
        until_ns, watts = DRAW.unpack_from(shown, 0)
        if time.monotonic_ns() > until_ns:
            watts = WORK_W if processes.are_at_work(time.perf_counter()) else REST_W
        chip.convert(watts, 1.0)
        chip.show()
        state = (root / THROTTLE).read_text().strip()
        if state == "0":
            throttled_s = None
        elif throttled_s is None:
            throttled_s = time.perf_counter()
        elif time.perf_counter() - throttled_s > RECOVERS_S:
            (root / THROTTLE).write_text("0\n")


if __name__ == "__main__":
    live(Path(sys.argv[1]), Path(sys.argv[2]))
