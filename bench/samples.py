"""What a power sensor delivered, and whether it can be believed.

A device sends pairs of a monotonic time and a reading: watts, or joules of a counter. No
window, no network and no interval is known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gensynth.errors import DeviceFault

PAIR = np.dtype([("t_ns", "<u8"), ("value", "<f8")])
"""A reading on the wire: CLOCK_MONOTONIC of the device, then watts or joules."""

SPIKES_AT_MOST = 1e-3
"""The share of unbelievable readings above which the sensor, not a window, is bad."""


@dataclass(frozen=True)
class Sensor:
    """Where the readings come from, as the device describes it.

    Attributes:
        rail: what is measured, as the board names it, such as VDD_IN.
        scope: how much of the machine that is: module, sum_of_rails, gpu_board, package, wall.
            Energies of different scopes are never compared.
        sensor: what measures it, in words.
        kind: "power" for watts at a time, "counter" for joules since some time.
        rate_hz: how often it was polled.
        period_s: how often it has something new.
        tau_s: time constant of its own averaging; 0 for snapshots and for counters.
        offset_w: bound of the constant error; None where nobody states one.
        gain_pct: bound of the proportional error; None likewise.
        plausible_w: the least and the most that the board can draw.
    """

    rail: str
    scope: str
    sensor: str
    kind: str
    rate_hz: float
    period_s: float
    tau_s: float
    offset_w: float | None = None
    gain_pct: float | None = None
    plausible_w: tuple[float, float] = (1e-3, 1e5)

    def __post_init__(self) -> None:
        if self.kind not in ("power", "counter"):
            raise ValueError(f'kind must be "power" or "counter", got {self.kind!r}')
        if not (self.rate_hz > 0 and self.period_s > 0 and self.tau_s >= 0):
            raise ValueError(f"rate and period must be positive and tau at least 0, got {self}")

    @classmethod
    def from_record(cls, power: Mapping[str, Any]) -> "Sensor":
        """Return the sensor of a result's "power" object; other keys are left out.

        Raises:
            DeviceFault: `sensor_bad` if something needed is absent or cannot be meant.
        """
        try:
            optional = {
                key: None if power.get(key) is None else float(power[key])
                for key in ("offset_w", "gain_pct")
            }
            least, most = power.get("plausible_w") or cls.plausible_w
            return cls(
                rail=str(power["rail"]),
                scope=str(power["scope"]),
                sensor=str(power["sensor"]),
                kind=str(power["kind"]),
                rate_hz=float(power["rate_hz"]),
                period_s=float(power["period_s"]),
                tau_s=float(power["tau_s"]),
                plausible_w=(float(least), float(most)),
                **optional,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DeviceFault(
                "sensor_bad",
                f"a power sensor must say rail, scope, sensor, kind, rate_hz, period_s and tau_s: "
                f"{error!r}",
            ) from error

    @property
    def poll_s(self) -> float:
        """The time between two polls."""
        return 1 / self.rate_hz

    def systematic_pct(self, power_w: float) -> float | None:
        """Return the bound of the error that no averaging removes, at this power.

        100 offset_w / power_w + gain_pct; None where the sensor states no bound.
        """
        if self.offset_w is None or self.gain_pct is None:
            return None
        return 100 * self.offset_w / power_w + self.gain_pct


@dataclass(frozen=True)
class Samples:
    """Readings in the order they were taken.

    Attributes:
        origin_ns: CLOCK_MONOTONIC of the first.
        t_s: (samples,), seconds since the first, strictly increasing.
        values: (samples,), watts or joules.
        doubtful: (samples,), readings outside what the board can draw.
        sensor: what took them.
    """

    origin_ns: int
    t_s: np.ndarray
    values: np.ndarray
    doubtful: np.ndarray
    sensor: Sensor


def decode(blob: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the times, (samples,) in ns, and the readings, (samples,), of a samples file.

    Raises:
        DeviceFault: `sensor_bad` if it is not a whole number of pairs.
    """
    if len(blob) % PAIR.itemsize:
        raise DeviceFault(
            "sensor_bad",
            f"samples must be pairs of {PAIR.itemsize} bytes, got {len(blob)} bytes in all",
        )
    pairs = np.frombuffer(blob, PAIR)
    return pairs["t_ns"].astype(np.int64), pairs["value"].astype(np.float64)


def believe(t_ns: np.ndarray, values: np.ndarray, sensor: Sensor) -> Samples:
    """Return the readings, once it is clear that a working sensor took them.

    Args:
        t_ns: (samples,), CLOCK_MONOTONIC of the device.
        values: (samples,), watts, or joules of a counter.
        sensor: what took them.

    Raises:
        DeviceFault: `sensor_bad` if there are fewer than 20, times do not increase, a number is
            not finite, the reading never changes, or more than 0.1 % of the readings (for a
            counter: of the rises) are beyond what the board can draw; a unit that is wrong by
            a thousand is named.
    """
    t_ns, values = np.asarray(t_ns, np.int64), np.asarray(values, np.float64)
    if t_ns.shape != values.shape or t_ns.ndim != 1 or len(t_ns) < 20:
        _refuse(sensor, f"must give at least 20 readings, got {len(t_ns)}")
    if not (np.isfinite(values).all() and (np.diff(t_ns) > 0).all()):
        _refuse(sensor, "must give finite readings at increasing times")
    t_s = (t_ns - t_ns[0]) * 1e-9
    if (values == values[0]).all():
        _refuse(sensor, f"must change, got {values[0]:g} in all of {len(values)} readings")
    least_w, most_w = sensor.plausible_w
    if sensor.kind == "counter":
        rises = np.diff(values)
        doubtful = np.append(False, (rises < 0) | (rises > most_w * (np.diff(t_s) + 1)))
        typical_w = float(values[-1] - values[0]) / float(t_s[-1])
    else:
        doubtful = (values < least_w) | (values > most_w)
        typical_w = float(np.median(values))
    if doubtful.mean() > SPIKES_AT_MOST or not least_w <= typical_w <= most_w:
        _refuse(
            sensor,
            f"must be between {least_w:g} and {most_w:g} W, got {typical_w:g} W typically and "
            f"{int(doubtful.sum())} of {len(values)} readings beyond"
            + _unit_hint(typical_w, sensor),
        )
    return Samples(int(t_ns[0]), t_s, values, doubtful, sensor)


def _unit_hint(typical_w: float, sensor: Sensor) -> str:
    least_w, most_w = sensor.plausible_w
    for factor, unit in ((1e-3, "mW"), (1e-6, "µW"), (1e3, "kW")):
        if not least_w <= typical_w <= most_w and least_w <= typical_w * factor <= most_w:
            return f"; that looks like {unit} read as W"
    return ""


def _refuse(sensor: Sensor, why: str) -> None:
    raise DeviceFault("sensor_bad", f"{sensor.rail} ({sensor.sensor}) {why}")
