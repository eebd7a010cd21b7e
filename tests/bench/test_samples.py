"""What a sensor delivered, and every reason not to believe it."""

import struct

import numpy as np
import pytest

from gensynth.bench.samples import Sensor, believe, decode
from gensynth.errors import DeviceFault
from tests.fakes.simulated_time import sensor

T_NS = np.arange(100) * 50_000_000


def alive() -> np.ndarray:
    return 8 + np.sin(np.arange(100.0))


def test_samples_are_pairs_of_a_time_and_a_reading() -> None:
    blob = struct.pack("<QdQd", 1_500_000_000, 8.5, 1_600_000_000, 9.0)
    t_ns, values = decode(blob)
    assert t_ns.tolist() == [1_500_000_000, 1_600_000_000]
    assert values.tolist() == [8.5, 9.0]
    with pytest.raises(DeviceFault, match="pairs of 16 bytes, got 31 bytes") as caught:
        decode(blob[:-1])
    assert caught.value.status == "sensor_bad"


def test_a_working_sensor_is_believed() -> None:
    samples = believe(T_NS + 7, alive(), sensor())
    assert samples.origin_ns == 7
    assert samples.t_s[1] == pytest.approx(0.05)
    assert not samples.doubtful.any()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.full(100, 8.0), "must change, got 8 in all of 100 readings"),
        (np.zeros(100), "must change, got 0 in all of 100 readings"),
        (-alive(), "must be between 0.5 and 40 W, got -8"),
        (alive() * 1000, "that looks like mW read as W"),
        (alive() * 1e6, "that looks like µW read as W"),
        (np.where(np.arange(100) % 20 == 3, 80.0, alive()), "5 of 100 readings beyond"),
        (np.where(np.arange(100) == 50, np.nan, alive()), "finite readings at increasing times"),
        (np.where(np.arange(100) == 50, np.inf, alive()), "finite readings at increasing times"),
    ],
    ids="stuck zero negative milli micro spikes nan inf".split(),
)
def test_a_sensor_that_cannot_be_believed(values: np.ndarray, why: str) -> None:
    with pytest.raises(DeviceFault, match=why) as caught:
        believe(T_NS, values, sensor())
    assert caught.value.status == "sensor_bad"
    assert caught.value.message.startswith("VDD_IN (simulated INA3221) ")


@pytest.mark.parametrize("t_ns", [T_NS[::-1], np.zeros(100, np.int64)], ids=["back", "still"])
def test_times_that_do_not_increase_are_refused(t_ns: np.ndarray) -> None:
    with pytest.raises(DeviceFault, match="increasing times"):
        believe(t_ns, alive(), sensor())


def test_a_few_readings_are_none() -> None:
    with pytest.raises(DeviceFault, match="at least 20 readings, got 19"):
        believe(T_NS[:19], alive()[:19], sensor())


RECORD = {
    "rail": "VDD_IN", "scope": "module", "sensor": "INA3221", "kind": "power", "rate_hz": 20,
    "period_s": 0.0066, "tau_s": 0.42, "plausible_w": [0.5, 40], "offset_w": 0.306,
    "gain_pct": 1.5, "samples": "0" * 64, "seen": {},
}  # fmt: skip


def test_a_sensor_is_what_the_device_describes() -> None:
    found = Sensor.from_record(RECORD)
    assert (found.rail, found.tau_s, found.plausible_w) == ("VDD_IN", 0.42, (0.5, 40.0))
    # 0.306 W of 8 W is 3.8 %, and the gain
    assert found.systematic_pct(8.0) == pytest.approx(5.3, abs=0.03)
    unknown = Sensor.from_record({**RECORD, "offset_w": None})
    assert unknown.systematic_pct(8.0) is None


@pytest.mark.parametrize(
    "change",
    [{"rate_hz": 0}, {"kind": "volts"}, {"tau_s": "slow"}, {"plausible_w": [1]}, {"rail": None}],
)
def test_a_description_that_cannot_be_meant_is_refused(change: dict[str, object]) -> None:
    record = {**RECORD, **change}
    if change.get("rail", "") is None:
        del record["rail"]
    with pytest.raises(DeviceFault, match="a power sensor must say rail") as caught:
        Sensor.from_record(record)
    assert caught.value.status == "sensor_bad"
