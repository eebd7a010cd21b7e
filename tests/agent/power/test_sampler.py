"""Readings at random moments: on simulated time, and by the real process."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gensynth.bench.samples import decode
from gensynth.devices import package
from gensynth.devices.agent.power import sampler
from gensynth.devices.agent.power.meter import Meter
from gensynth.devices.agent.power.sampler import _sample, moments, start
from gensynth.devices.agent.wire.status import Fault
from tests.fakes import boards

VDD_IN = "/sys/bus/i2c/devices/0-0041/iio:device1/in_power0_input"


def test_every_period_has_one_moment_anywhere_in_it() -> None:
    draw = moments(20.0, seed=1)
    found = np.array([next(draw) for _ in range(20000)]) * 20  # in periods
    assert (np.floor(found) == np.arange(20000)).all()
    share = found % 1
    # Uniform over the whole period: mean 1/2, variance 1/12, with 20,000 draws.
    assert share.mean() == pytest.approx(1 / 2, abs=4 * np.sqrt(1 / 12 / 20000))
    assert share.var() == pytest.approx(1 / 12, rel=0.03)
    assert (share.min(), share.max()) == pytest.approx((0, 1), abs=1e-3)


def test_the_moments_follow_the_seed() -> None:
    def first(seed: int) -> list[float]:
        draw = moments(10.0, seed)
        return [next(draw) for _ in range(5)]

    assert first(3) == first(3) != first(4)


class Time:
    """A clock that goes on when somebody waits, and the file that a sampler fills meanwhile."""

    def __init__(self, end_s: float) -> None:
        self.ns = 1_000_000_000
        self.end_ns = self.ns + round(end_s * 1e9)
        self.file = io.BytesIO()
        self.late: dict[int, float] = {}  # seconds that a wait takes too long, by its number
        self.waits = 0

    @property
    def s(self) -> float:
        """Seconds since the start."""
        return self.ns * 1e-9 - 1

    def now_ns(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> bool:
        self.waits += 1
        self.ns += round((seconds + self.late.get(self.waits, 0.0)) * 1e9)
        return self.ns >= self.end_ns

    def sample(self, read: Callable[[], float], rate_hz: float = 20.0, took_s: float = 0.0) -> None:
        def reading() -> float:
            self.ns += round(took_s * 1e9)
            return read()

        meter = Meter(reading, "VDD_IN", "module", "simulated", "power", 0.0066, 0.0, (0.5, 40.0))
        _sample(meter, rate_hz, 7, self.file, self.now_ns, self.wait)

    @property
    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        t_ns, values = decode(self.file.getvalue())
        return t_ns * 1e-9 - 1, values


def test_readings_are_taken_at_the_moments() -> None:
    time_ = Time(5.0)
    time_.sample(lambda: 8.0)
    draw = moments(20.0, 7)
    t_s, values = time_.readings
    assert t_s == pytest.approx([next(draw) for _ in range(len(t_s))], abs=1e-8)
    assert len(t_s) in (100, 101)
    assert (values == 8).all()


def test_a_reading_is_stamped_in_the_middle_of_the_time_that_it_took() -> None:
    time_ = Time(1.0)
    time_.sample(lambda: 8.0, rate_hz=5.0, took_s=0.02)
    assert time_.readings[0][0] == pytest.approx(next(moments(5.0, 7)) + 0.01, abs=1e-8)


def test_what_was_slept_through_is_a_gap_and_no_burst() -> None:
    time_ = Time(5.0)
    time_.late = {40: 1.0}
    time_.sample(lambda: 8.0)
    gaps = np.diff(time_.readings[0])
    assert gaps.max() > 1
    assert len(time_.readings[0]) in (80, 81, 82)  # 20 periods have none


def test_a_sensor_that_fails_for_a_moment_leaves_a_gap() -> None:
    time_ = Time(5.0)

    def read() -> float:
        if 2.0 < time_.s < 2.4:
            raise OSError("EIO")
        return 8.0

    time_.sample(read)
    t_s, values = time_.readings
    assert 0.4 < np.diff(t_s).max() < 0.6
    assert (values == 8).all()


def test_a_sensor_that_fails_for_longer_is_bad() -> None:
    time_ = Time(5.0)

    def read() -> float:
        if time_.s > 2.0:
            raise OSError("[Errno 5] Input/output error")
        return 8.0

    with pytest.raises(Fault, match="the sensor cannot be read: .Errno 5") as caught:
        time_.sample(read)
    assert caught.value.status == "sensor_bad"
    assert 2.5 < time_.s < 2.7


def test_a_wall_clock_that_steps_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python would read changes by decades; the stamps do not.
    wall = iter([0.0, 2e9, 1e9, 0.0] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(wall))
    monkeypatch.setattr(time, "time_ns", lambda: round(next(wall) * 1e9))
    time_ = Time(5.0)
    time_.sample(lambda: 8.0)
    assert len(time_.readings[0]) in (100, 101)
    assert np.diff(time_.readings[0]).max() < 0.1


def test_no_module_of_the_agent_reads_the_wall_clock_for_a_measurement() -> None:
    folder = Path(package.__file__).parent / "agent"
    for name in "sampler timing windows examination meters rails module_power rapl nvml".split():
        (path,) = folder.rglob(f"{name}.py")
        source = path.read_text()
        for call in ("time.time(", "time.time_ns(", "datetime"):
            assert call not in source, f"{name} calls {call}"


@pytest.fixture
def root(tmp_path: Path) -> str:
    return boards.lay(tmp_path / "root", boards.TX2)


def check_for_a_minute(running: sampler.Sampler) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        running.check()
        time.sleep(0.05)


def await_readings(path: str, count: int) -> None:
    deadline_s = time.monotonic() + 60
    while os.path.getsize(path) < count * sampler.PAIR.size:  # noqa: PTH202
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_process_reads_the_rail_until_it_is_stopped(root: str, tmp_path: Path) -> None:
    path = str(tmp_path / "samples")
    running = start(root, 100.0, 1, path)
    await_readings(path, 30)
    running.check()
    assert running.stop() == path
    t_ns, values = decode(Path(path).read_bytes())
    assert len(t_ns) >= 30
    assert (np.diff(t_ns) > 0).all()
    assert (values == 4.135).all()  # 19144 mV, 216 mA
    now_ns = time.perf_counter_ns()
    assert 0 < (now_ns - t_ns[-1]) * 1e-9 < 60  # the same clock as that of the runs


def test_a_process_that_dies_is_noticed(root: str, tmp_path: Path) -> None:
    path = str(tmp_path / "samples")
    running = start(root, 100.0, 1, path)
    os.kill(running._process.pid, signal.SIGKILL)
    running._process.wait()
    time.sleep(sampler._CHECK_EVERY_S)
    with pytest.raises(Fault, match="the sampler ended by itself .-9.") as caught:
        running.check()
    assert caught.value.status == "sensor_bad"
    with pytest.raises(Fault):
        running.stop()


def test_a_process_that_hangs_is_noticed(root: str, tmp_path: Path) -> None:
    running = start(root, 100.0, 1, str(tmp_path / "samples"))
    os.kill(running._process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Fault, match="got nothing for 1") as caught:
            check_for_a_minute(running)
        assert caught.value.status == "sensor_bad"
    finally:
        os.kill(running._process.pid, signal.SIGCONT)
        running.stop()


@pytest.mark.realtime  # its reason must come before it is found silent
def test_a_sensor_that_disappears_ends_the_process_with_its_reason(
    root: str, tmp_path: Path
) -> None:
    running = start(root, 100.0, 1, str(tmp_path / "samples"))
    Path(root + VDD_IN).unlink()
    with pytest.raises(Fault, match="the sensor cannot be read: .*in_power0_input") as caught:
        check_for_a_minute(running)
    assert caught.value.status == "sensor_bad"
    with pytest.raises(Fault):
        running.stop()


def test_a_process_without_a_sensor_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no INA3221 monitor") as caught:
        start(str(tmp_path), 100.0, 1, str(tmp_path / "samples"))
    assert caught.value.status == "sensor_bad"


def test_the_process_ends_with_its_parent(root: str, tmp_path: Path) -> None:
    path = str(tmp_path / "samples")
    code = (
        "import sys, time; from gensynth.devices.agent.power import sampler; "
        "running = sampler.start(sys.argv[1], 100.0, 1, sys.argv[2]); "
        "print(running._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, root, path], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline_s = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and state(child) != "Z":
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "Z"
