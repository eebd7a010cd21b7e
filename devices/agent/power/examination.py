"""A sensor's self-test: is it alive, can its readings be meant, how fast and how smooth is it.

It is read as often as possible, first at rest and then while one core works. A sensor that
shows the same figure all the time, or one that the board cannot draw, is bad. The time
between changes tells its period, the shape of the step its averaging.
"""

import subprocess
import time
from typing import Callable, List, NamedTuple, Optional, Tuple

from gensynth.devices.agent.power.meter import Meter
from gensynth.devices.agent.wire import processes, timing
from gensynth.devices.agent.wire.status import Fault

POLL_S = 0.001
REST_SHARE = 0.3  # of the time, before the step
FAILED_AT_MOST = 0.02
CHANGES_AT_LEAST = 8
_READY = b"ready"
_SPIN = "import os; os.write(1, b'ready'); sys.stdin.read(1)\nwhile True: pass"

_UNITS = ((1e-3, "mW read as W"), (1e-6, "µW read as W"), (1e3, "kW read as W"))


class Load:
    """One core kept busy by a process of its own."""

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(
            processes.command(_SPIN), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:
            said.read(len(_READY))  # its start is work too, and must be over before the board rests
        return self

    def begin(self) -> None:
        """Let the core work from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"!")
        self._process.stdin.flush()

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


class Trace(NamedTuple):
    """Readings of a self-test.

    Attributes:
        t_s: when, since its begin.
        values: watts, or joules of a counter.
        step_s: when the core began to work.
        failed: readings that could not be taken.
    """

    t_s: List[float]
    values: List[float]
    step_s: float
    failed: int


def examine(
    meter: Meter,
    seconds: float,
    load: Optional[Load] = None,
    now_ns: Callable[[], int] = timing.now_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Note in `meter.seen` how the sensor behaves, and correct its period and averaging.

    The period of a counter is the one that was seen. A sensor whose averaging the driver does
    not state, and whose step is twice as slow as the driver's default, gets the slower one.

    Raises:
        Fault: `sensor_bad` if the readings cannot be those of a working sensor.
    """
    seconds = max(seconds, 6 * meter.period_s)
    with load or Load() as work:
        trace = _record(meter, seconds, work, now_ns, sleep)
    taken = len(trace.values)
    if trace.failed > FAILED_AT_MOST * (taken + trace.failed) or taken < CHANGES_AT_LEAST:
        _refuse(meter, "{} of {} readings failed".format(trace.failed, taken + trace.failed))
    if len(set(trace.values)) == 1:
        _refuse(meter, "must change with the load, got {:g} always".format(trace.values[0]))
    power_w = _typical_w(meter, trace)
    least, most = meter.plausible_w
    if not least <= power_w <= most:
        hint = [text for factor, text in _UNITS if least <= power_w * factor <= most]
        _refuse(
            meter,
            "must be between {:g} and {:g} W, got {:g} W{}".format(
                least, most, power_w, "; that looks like " + hint[0] if hint else ""
            ),
        )
    period_s = _period_s(trace)
    meter.seen = {"seconds": round(trace.t_s[-1], 3), "readings": taken, "power_w": power_w}
    meter.seen["period_s"] = period_s
    if meter.kind == "counter":
        meter.period_s = max(meter.period_s, period_s or 0.0)
        return
    tau_s = _tau_s(trace)
    meter.seen["tau_s"] = tau_s
    if tau_s is not None and not meter.tau_known and tau_s > 2 * meter.tau_s:
        meter.tau_s = tau_s


def _record(
    meter: Meter,
    seconds: float,
    load: Load,
    now_ns: Callable[[], int],
    sleep: Callable[[float], None],
) -> Trace:
    t_s, values, failed = [], [], 0
    begin_ns, step_s = now_ns(), 0.0
    elapsed_s = 0.0
    while elapsed_s < seconds:
        if not step_s and elapsed_s >= REST_SHARE * seconds:
            load.begin()
            step_s = (now_ns() - begin_ns) * 1e-9
        try:
            value = meter.read()
        except (OSError, ValueError, Fault):
            failed += 1
        else:
            t_s.append((now_ns() - begin_ns) * 1e-9)
            values.append(value)
        sleep(POLL_S)
        elapsed_s = (now_ns() - begin_ns) * 1e-9
    return Trace(t_s, values, step_s, failed)


def _typical_w(meter: Meter, trace: Trace) -> float:
    if meter.kind == "power":
        return sorted(trace.values)[len(trace.values) // 2]
    return (trace.values[-1] - trace.values[0]) / (trace.t_s[-1] - trace.t_s[0])


def _period_s(trace: Trace) -> Optional[float]:
    """Return the lower quartile of the times between changes; None if there are few.

    Two readings after each other may be equal by chance, which makes a time longer and never
    shorter, so the lower quartile is nearer the truth than the middle.
    """
    changed = [
        t for t, now, before in zip(trace.t_s[1:], trace.values[1:], trace.values) if now != before
    ]
    if len(changed) < CHANGES_AT_LEAST:
        return None
    times = sorted(b - a for a, b in zip(changed, changed[1:]))
    return round(times[len(times) // 4], 5)


def _tau_s(trace: Trace) -> Optional[float]:
    """Return the time constant of the answer to the step; None if the step hardly shows.

    For an exponential answer the area between it and its end is tau times its height.
    """
    # the first half of the rest may still have in it what was before
    rest = [v for t, v in zip(trace.t_s, trace.values) if trace.step_s / 2 < t < trace.step_s]
    work = [(t, v) for t, v in zip(trace.t_s, trace.values) if t >= trace.step_s]
    if len(rest) < 20 or len(work) < 50:
        return None
    before, rest_spread = _mean_and_spread(rest)
    after, spread = _mean_and_spread([v for _, v in work[-len(work) // 5 :]])
    height = after - before
    if height < 3 * max(rest_spread, spread):
        return None
    area = sum((after - v) * (t_next - t) for (t, v), (t_next, _) in zip(work, work[1:]))
    return round(max(0.0, area / height), 4)


def _mean_and_spread(values: List[float]) -> Tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5


def _refuse(meter: Meter, why: str) -> None:
    raise Fault("sensor_bad", "{} ({}): {}".format(meter.rail, meter.sensor, why))
