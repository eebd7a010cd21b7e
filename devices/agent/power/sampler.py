r"""Readings of a meter at random moments, taken by a process of their own.

    parent: start --- check --- check --- stop        child: open the meter, then for ever
               \                          /                  wait for the moment, read, append
                +-- a pipe, whose end ends the child --+

Each period of the rate has one reading, at a moment drawn uniformly over the whole of it.
Polling at equal times goes wrong by several percent, however long it lasts, when the network's
period is a multiple of the polling period; a narrower jitter leaves a part of that.
The file is pairs of CLOCK_MONOTONIC in ns (u64) and watts or joules (f64), little-endian.
A period that was slept through has no reading: the host sees the gap and counts it.
"""

import os
import random
import select
import struct
import subprocess
import sys
import time
from typing import IO, Callable, Iterator, Optional

from gensynth.devices.agent.power import meters
from gensynth.devices.agent.power.meter import Meter
from gensynth.devices.agent.wire import processes, timing
from gensynth.devices.agent.wire.status import Fault

PAIR = struct.Struct("<Qd")
SILENT_S = 1.0
FAILING_S = 0.5  # the child gives its reason before the parent finds it silent
START_S = 10.0
STOP_S = 5.0
_CHECK_EVERY_S = 0.2
_CHILD = "from gensynth.devices.agent.power import sampler; sampler.main(sys.argv[1:])"


def moments(rate_hz: float, seed: int) -> Iterator[float]:
    """Yield one moment for each period, in seconds since the start, uniform over the period."""
    draw = random.Random(seed).random  # noqa: S311 - moments are no secret
    period_s = 1.0 / rate_hz
    k = 0
    while True:
        yield (k + draw()) * period_s
        k += 1


class Sampler:
    """A running child; `check` it between batches, `stop` it once."""

    def __init__(self, process: "subprocess.Popen[bytes]", path: str, rate_hz: float) -> None:
        self.path = path
        self._process = process
        self._silent_s = max(SILENT_S, 3 / rate_hz)
        self._size = 0
        self._grown_s = self._checked_s = time.monotonic()

    def check(self) -> None:
        """Return at once, unless the readings have stopped.

        It looks at most five times a second; in between it costs the reading of a clock.

        Raises:
            Fault: `sensor_bad` if the child is gone or has been silent for a second. Shorter
                gaps are in the stamps, and cost the window that they are in.
        """
        now_s = time.monotonic()
        if now_s - self._checked_s >= _CHECK_EVERY_S:
            self._checked_s = now_s
            self._look(now_s)

    def _look(self, now_s: float) -> None:
        if self._process.poll() is not None:
            raise self._ended()
        size = os.path.getsize(self.path)
        if size > self._size:
            self._size, self._grown_s = size, now_s
        elif now_s - self._grown_s > self._silent_s:
            raise Fault(
                "sensor_bad",
                "the sampler must read the sensor at least once a second, got nothing for "
                "{:.1f} s".format(now_s - self._grown_s),
            )

    def stop(self) -> str:
        """End the child and return the path of the readings.

        Raises:
            Fault: `sensor_bad` if it had ended before.
        """
        try:
            if self._process.poll() is not None:
                raise self._ended()
        finally:
            self._end()
        return self.path

    def _ended(self) -> Fault:
        said = _said(self._process)
        return Fault(
            "sensor_bad",
            "the sampler ended by itself ({}): {}".format(
                self._process.returncode, said or "it said nothing"
            ),
        )

    def _end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def start(
    root: str, rate_hz: float, seed: int, path: str, processor: Optional[str] = None
) -> Sampler:
    """Start the child and return once its first reading is in the file.

    Args:
        root: as in `meters.open_meter`, and so is `processor`.
        rate_hz: readings a second.
        seed: of the moments.
        path: of the file, which must not be there yet.

    Raises:
        Fault: `sensor_bad` if no reading comes.
    """
    open(path, "xb").close()
    process = subprocess.Popen(
        processes.command(_CHILD, root, repr(rate_hz), str(seed), path, processor or ""),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    sampler = Sampler(process, path, rate_hz)
    deadline_s = time.monotonic() + START_S
    while os.path.getsize(path) == 0:
        if process.poll() is not None or time.monotonic() > deadline_s:
            process.kill()
            process.wait()
            fault = sampler._ended()
            sampler._end()
            raise fault
        time.sleep(0.005)
    return sampler


def main(arguments: "list[str]") -> None:
    """Be the child: sample until stdin ends."""
    root, rate, seed, path, processor = arguments
    try:
        meter = meters.open_meter(root, processor or None, examine_s=0)
        _take_a_spare_core()
        with open(path, "ab", 0) as file:
            _sample(meter, float(rate), int(seed), file)
    except Fault as fault:
        sys.stderr.write(fault.message)
        sys.exit(1)


def _stdin_ended(seconds: float) -> bool:
    """Wait for so long; nothing is ever written there: the parent has closed it, or is gone."""
    return bool(select.select([0], [], [], seconds)[0])


def _sample(
    meter: Meter,
    rate_hz: float,
    seed: int,
    file: IO[bytes],
    now_ns: timing.Clock = timing.now_ns,
    ended_within: Callable[[float], bool] = _stdin_ended,
) -> None:
    """Read the meter at its moments and append what it says, until the parent ends that."""
    start_ns = now_ns()
    failing_since_ns: Optional[int] = None
    last_ns = 0
    for k, moment_s in enumerate(moments(rate_hz, seed)):
        now_s = (now_ns() - start_ns) * 1e-9
        if now_s > (k + 1) / rate_hz:
            continue  # slept through: a burst of late readings would only pretend to be there
        if ended_within(max(0.0, moment_s - now_s)):
            return
        before_ns = now_ns()
        try:
            value = meter.read()
        except (OSError, ValueError, Fault) as error:
            failing_since_ns = failing_since_ns or before_ns
            if before_ns - failing_since_ns > FAILING_S * 1e9:
                raise Fault("sensor_bad", "the sensor cannot be read: {}".format(error)) from error
            continue
        failing_since_ns = None
        # the reading belongs to the middle of the time that it took
        stamp_ns = max((before_ns + now_ns()) // 2, last_ns + 1)
        last_ns = stamp_ns
        file.write(PAIR.pack(stamp_ns, value))


def _take_a_spare_core() -> None:
    """Keep off the network's cores where there are enough, and wake up in time.

    A core is spare where there are at least three; the last one is taken.
    """
    try:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= 3:
            os.sched_setaffinity(0, cores[-1:])
        # a reading takes some ten microseconds, so going first takes nothing from the network
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        pass  # not Linux, or not permitted: late readings show as gaps


def _said(process: "subprocess.Popen[bytes]") -> str:
    if process.stderr is None or process.stderr.closed:
        return ""
    return process.stderr.read().decode("utf-8", "replace").strip()[-500:]
