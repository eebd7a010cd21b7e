"""A sensor's self-test, on simulated time and with sensors whose answer to a step is known."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from gensynth.devices.agent.power.examination import Load, examine
from gensynth.devices.agent.power.meter import Meter
from gensynth.devices.agent.wire.status import Fault

REST_W, WORK_W = 3.0, 5.0


class Bench(Load):
    """A clock, and one core that works from the moment it is told to."""

    def __init__(self) -> None:
        self.ns = 0
        self.step_s = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self) -> None:
        self.step_s = self.s

    @property
    def s(self) -> float:
        return self.ns * 1e-9

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def power_w(self, tau_s: float, period_s: float) -> float:
        """The last conversion of a sensor that averages, with a ripple of 10 mW."""
        conversion = math.floor(self.s / period_s)
        since_s = conversion * period_s - self.step_s
        risen = 0.0 if since_s < 0 else 1 - (math.exp(-since_s / tau_s) if tau_s else 0)
        return REST_W + (WORK_W - REST_W) * risen + 0.01 * (conversion % 2)

    def examine(self, read: Callable[[], float], seconds: float = 3.0, **of: Any) -> Meter:
        """Examine a meter that differs from a TX2's as told."""
        known: dict[str, Any] = {
            "rail": "VDD_IN", "scope": "module", "sensor": "simulated", "kind": "power",
            "period_s": 0.0066, "tau_s": 0.0, "plausible_w": (0.5, 40.0),
        }  # fmt: skip
        meter = Meter(read, **{**known, **of})
        examine(meter, seconds, self, self.now_ns, self.sleep)
        return meter


def test_a_snapshot_has_its_period_and_no_tau() -> None:
    bench = Bench()
    seen = bench.examine(lambda: bench.power_w(0, 0.0066)).seen
    assert seen["period_s"] == pytest.approx(0.0066, abs=0.001)
    assert seen["tau_s"] == pytest.approx(0, abs=0.01)
    assert seen["power_w"] == pytest.approx(WORK_W, abs=0.02)


def test_the_time_constant_is_that_of_the_step() -> None:
    bench = Bench()
    meter = bench.examine(lambda: bench.power_w(0.2, 0.0066), tau_s=0.2)
    assert meter.seen["tau_s"] == pytest.approx(0.2, rel=0.1)


def test_an_averaging_that_the_driver_does_not_state_is_corrected() -> None:
    bench = Bench()
    meter = bench.examine(lambda: bench.power_w(0.3, 0.0066), tau_s=0.0, tau_known=False)
    assert meter.tau_s == pytest.approx(0.3, rel=0.15)


def test_an_averaging_that_the_driver_states_is_left() -> None:
    bench = Bench()
    meter = bench.examine(lambda: bench.power_w(0.3, 0.0066), tau_s=0.106)
    assert meter.tau_s == 0.106


def test_a_counter_has_the_period_that_is_seen() -> None:
    bench = Bench()
    meter = bench.examine(
        lambda: 250 * math.floor(bench.s / 0.1) * 0.1,
        kind="counter",
        period_s=0.02,
        plausible_w=(2.0, 2500.0),
    )
    assert meter.period_s == pytest.approx(0.1, abs=0.002)
    assert meter.seen["power_w"] == pytest.approx(250, rel=0.05)


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda bench: 4.135, "must change with the load, got 4.135 always"),
        (lambda bench: 0.0, "must change with the load, got 0 always"),
        (lambda bench: -bench.power_w(0, 0.0066), "must be between 0.5 and 40 W, got -5"),
        (lambda bench: bench.power_w(0, 0.0066) * 1e3, "that looks like mW read as W"),
        (lambda bench: bench.power_w(0, 0.0066) * 1e6, "that looks like µW read as W"),
        (lambda bench: bench.power_w(0, 0.0066) / 1e3, "that looks like kW read as W"),
    ],
    ids="stuck zero negative milli micro kilo".split(),
)
def test_a_sensor_that_cannot_be_right_is_bad(read: Callable[[Bench], float], why: str) -> None:
    bench = Bench()
    with pytest.raises(Fault, match=why) as caught:
        bench.examine(lambda: read(bench))
    assert caught.value.status == "sensor_bad"
    assert caught.value.message.startswith("VDD_IN (simulated): ")


def test_a_sensor_that_often_fails_is_bad() -> None:
    bench = Bench()

    def read() -> float:
        if bench.ns // 10**6 % 20 == 0:
            raise OSError("[Errno 121] Remote I/O error")
        return bench.power_w(0, 0.0066)

    with pytest.raises(Fault, match="of [0-9]+ readings failed") as caught:
        bench.examine(read)
    assert caught.value.status == "sensor_bad"


def test_a_slow_sensor_is_examined_for_longer() -> None:
    bench = Bench()
    seen = bench.examine(lambda: bench.power_w(0, 1.0), 1.5, period_s=1.0).seen
    assert seen["seconds"] == pytest.approx(6, abs=0.1)


def test_the_load_is_a_process_that_ends() -> None:
    with Load() as load:
        pid = load._process.pid
        load.begin()
        assert Path(f"/proc/{pid}").exists() or os.name != "posix"
    assert load._process.returncode == -9
