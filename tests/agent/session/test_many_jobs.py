"""A queue of jobs with faults among them: every one ends, and nothing stays behind.

Which job meets which fault is drawn from a seed. Half of the faults are the worker's, the
other half happen to the agent, or to the way to it.
"""

import os
import random
import signal
from typing import Any

import pytest

from gensynth.devices.agent.wire.status import STATUSES
from gensynth.devices.client import Connection, connect
from gensynth.errors import DeviceFault
from tests.fakes.board import MISBEHAVING, Board
from tests.onnx_files import errands

WORKERS = (
    "exit-3",
    "raises",
    "remembers",
    "nan",
    "odd",
    "stubborn",
    "leaves",
    "dies-loading",
    "dies-building",
    f"signal-{signal.SIGSEGV:d}",
    f"signal-{signal.SIGKILL:d}",
    "fault-invalid-output",
    "fault-sensor-bad",
)
WORLDS = {
    "cut": "ok",  # of the run that goes on
    "kill-agent": "ok",  # of a second run
    "wrong-blob": "ok",  # likewise
    "kill-worker": "oom",  # what else would kill it?
    "interrupt": "cancelled",
}


class Queue:
    """Jobs one after the other, as a search asks for them: a connection is used while it lasts."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.ends: dict[str, str] = {}
        self.faults: list[str] = []

    def run(self, jobs: dict[str, str | None]) -> None:
        """Run jobs by name, each with its fault, until each has an end."""
        waiting = list(jobs)
        while waiting:
            try:
                with connect(self._board.device, agent=MISBEHAVING) as connection:
                    while waiting:
                        name = waiting[0]
                        fault, jobs[name] = jobs[name], None  # it happens once
                        self.ends[name] = self._end_of(connection, name, fault)
                        waiting.pop(0)
            except DeviceFault as fault:
                self.faults.append(fault.status)

    def _end_of(self, connection: Connection, name: str, fault: str | None) -> str:
        errand = errands.good(
            name,
            network_id=fault if fault in WORKERS else "sleep-100" if fault else "good",
            limits={"run_s": 0.5} if fault == "stubborn" else {},
        )

        def happen(header: dict[str, Any]) -> None:
            if header["phase"] != "latency":
                return
            if fault == "cut":
                self._board.relay.cut()
            elif fault == "kill-agent":
                os.kill(connection.hello["pid"], signal.SIGKILL)
            elif fault == "kill-worker":
                for pid, command in self._board.processes(over_there=True):
                    if " work " in command:
                        os.kill(pid, signal.SIGKILL)
            elif fault == "interrupt":
                raise KeyboardInterrupt

        wrong = {errands.sha256(name.encode()): b"wrong"} if fault == "wrong-blob" else {}
        try:
            return str(connection.run(errand.spec, errand.blobs | wrong, happen)["status"])
        except KeyboardInterrupt:
            return "cancelled"


def drawn(count: int, share: float, seed: int) -> dict[str, str | None]:
    """Jobs by name, a share of them with a fault."""
    draw = random.Random(seed)
    with_fault = set(draw.sample(range(count), round(count * share)))
    kinds = [*WORKERS, *WORLDS]
    return {
        f"job-{number}": draw.choice(kinds) if number in with_fault else None
        for number in range(count)
    }


@pytest.mark.slow
@pytest.mark.parametrize(("count", "share"), [(16, 0.5), (200, 0.05)])
def test_a_queue_with_faults_ends_and_leaves_nothing(
    board: Board, count: int, share: float
) -> None:
    jobs = drawn(count, share, seed=count)
    queue = Queue(board)
    queue.run(dict(jobs))
    assert list(queue.ends) == list(jobs)
    for name, fault in jobs.items():
        if fault not in WORKERS:
            assert queue.ends[name] == WORLDS.get(fault or "", "ok"), fault
    assert set(queue.ends.values()) <= set(STATUSES)
    assert board.leftovers() == []
