"""Energy of a job: an idle window, then windows of whole runs in turns, under a sampler.

    settle_s idle | idle window | (settle_s of work | window of work), in turns

Windows in which the board throttled are repeated, at most three times for a network; what was
taken before stands in the result as rejected, with the signals.
"""

import os
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from gensynth.devices.agent.board import board
from gensynth.devices.agent.power import meters, sampler
from gensynth.devices.agent.runtimes.networks import Loaded
from gensynth.devices.agent.wire.spool import Spool, partial_name
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.timing import busy_window, idle_window, order

RETRIES = 3
SETTLE_TAUS = 5


class Energy(NamedTuple):
    """What was taken.

    Attributes:
        power: the sensor, and the blob of its samples.
        idle: the window before the work.
        windows: for each network, its windows as JSON objects, in order.
        rejected: for each network, those that were repeated.
        throttled: whether a window that was kept has signs of throttling.
    """

    power: Dict[str, Any]
    idle: Dict[str, int]
    windows: List[List[Dict[str, Any]]]
    rejected: List[List[Dict[str, Any]]]
    throttled: bool


def measure(
    networks: Sequence[Loaded],
    asked: Dict[str, Any],
    processor: str,
    spool: Spool,
    job_id: str,
    root: str,
    after_window: Callable[[int], None] = lambda done: None,
) -> Energy:
    """Take the windows of a job's networks.

    Args:
        networks: each runs in this process.
        asked: the "energy" of a job's specification.
        processor: "gpu" or "cpu", whose energy it is.
        spool: where the samples go.
        job_id: whose they are.
        root: the folder below which the system's files are.
        after_window: called with the number of windows done.

    Raises:
        Fault: `sensor_missing` where there is no sensor, `sensor_bad` if it cannot be
            believed, stops or lags.
    """
    for network in networks:
        if network.no_windows is not None:
            raise Fault("sensor_missing", network.no_windows)
    meter = meters.open_meter(root, processor)
    meter.close()  # the sampler has its own, and nothing else shall run beside the networks
    description = meter.describe()
    # the sensor's own averaging may need longer than was asked
    settle_s = max(asked["settle_s"], SETTLE_TAUS * meter.tau_s)
    asked = dict(asked, settle_s=settle_s)
    path = partial_name(os.path.join(spool.home, "samples"))
    running = sampler.start(root, asked["rate_hz"], asked["seed"], path, processor)
    try:
        idle = idle_window(asked["settle_s"], asked["idle_s"])
        running.check()
        turns = _Turns(networks, asked, root, running)
        done = 0
        for number in range(asked["windows"]):
            for index in order(len(networks), number):
                turns.take(index)
                done += 1
                after_window(done)
        # the last window ends between two readings, and within a period of a counter
        time.sleep(3 / asked["rate_hz"] + meter.period_s)
    except BaseException:
        with suppress(Fault):
            running.stop()
        os.remove(path)
        raise
    try:
        running.stop()
        with open(path, "rb") as file:
            samples = spool.put_result_blob(job_id, file.read())
    finally:
        os.remove(path)
    return Energy(
        dict(description, rate_hz=asked["rate_hz"], samples=samples),
        {"start_ns": idle.start_ns, "end_ns": idle.end_ns},
        turns.kept,
        turns.rejected,
        any(window["throttle"] for windows in turns.kept for window in windows),
    )


class _Turns:
    """The windows of every network so far."""

    def __init__(
        self, networks: Sequence[Loaded], asked: Dict[str, Any], root: str, running: sampler.Sampler
    ) -> None:
        self._networks = networks
        self._asked = asked
        self._root = root
        self._running = running
        self.kept: List[List[Dict[str, Any]]] = [[] for _ in networks]
        self.rejected: List[List[Dict[str, Any]]] = [[] for _ in networks]

    def take(self, index: int) -> None:
        """Take a window of a network, again after a pause if the board throttled."""
        while True:
            window = self._window(self._networks[index])
            if not window["throttle"] or len(self.rejected[index]) == RETRIES:
                self.kept[index].append(window)
                return
            self.rejected[index].append(window)
            time.sleep(self._asked["window_s"])  # to cool down

    def _window(self, network: Loaded) -> Dict[str, Any]:
        running = self._running

        def run() -> None:
            network.run()
            running.check()

        before = board.throttle(self._root)
        window = busy_window(
            run, network.synchronise, self._asked["settle_s"], self._asked["window_s"]
        )
        after = board.throttle(self._root)
        return dict(window._asdict(), throttle=sorted(set(before) | set(after)))
