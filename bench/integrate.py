"""The energy of one window of work, from samples of power or of a counter.

A window that cannot be trusted is rejected with its reason and gives no energy. What several
windows say together is in `energy`.
"""

from dataclasses import dataclass

import numpy as np

from gensynth.bench.samples import Samples

GAP_PERIODS = 3
DROPPED_AT_MOST = 1e-3
SETTLE_TAUS = 5
SAMPLES_AT_LEAST = 20
SPIKE_FACTOR = 8
_LATE_PERIODS = 0.5  # how late a poll may come without counting as one dropped


@dataclass(frozen=True)
class Window:
    """A whole number of batches, synchronised at both ends.

    Attributes:
        start_ns: CLOCK_MONOTONIC of the device before the first batch.
        end_ns: after the last.
        images: runs times batch.
        onset_ns: when this load began: the first batch of the settling time before the window.
    """

    start_ns: int
    end_ns: int
    images: int
    onset_ns: int

    def __post_init__(self) -> None:
        if not self.onset_ns <= self.start_ns < self.end_ns or self.images < 1:
            raise ValueError(f"a window must begin after its load and hold images, got {self}")

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) * 1e-9


@dataclass(frozen=True)
class WindowEnergy:
    """What one window took.

    Attributes:
        window: which.
        energy_j: gross, idle power included; None if the window was rejected.
        rejected: why; None if it was not.
        max_gap_s: the longest time between two readings; None if none cover it.
    """

    window: Window
    energy_j: float | None
    rejected: str | None
    max_gap_s: float | None

    @property
    def j_per_img(self) -> float | None:
        """Joules of one image; None if the window was rejected."""
        return None if self.energy_j is None else self.energy_j / self.window.images


def integrate(samples: Samples, window: Window) -> WindowEnergy:
    """Return the energy of one window, or the reason why there is none.

        power      the trapezoid rule over the samples, with the power at the window's two
                   edges interpolated between their neighbours
        counter    the difference of the counter at the two edges, each interpolated between
                   the readings at which the counter rose

    Rejected is a window that opens less than 5 tau after its load began (the sensor's own
    averaging still remembers what was before), that has a gap above 3 polling periods or more
    than 0.1 % of its polls dropped (EnergyRunner's limit), that the samples do not cover, or
    in which a reading is beyond belief: outside what the board can draw, above eight times the
    window's median, or a counter that fell.
    """
    sensor = samples.sensor
    start_s = (window.start_ns - samples.origin_ns) * 1e-9
    end_s = (window.end_ns - samples.origin_ns) * 1e-9
    settled_s = (window.start_ns - window.onset_ns) * 1e-9
    if settled_s < SETTLE_TAUS * sensor.tau_s:
        return _rejected(
            window,
            f"opens {settled_s:.2f} s after its load began; the sensor needs "
            f"{SETTLE_TAUS * sensor.tau_s:.2f} s (5 tau)",
        )
    first = int(np.searchsorted(samples.t_s, start_s, "right")) - 1
    last = int(np.searchsorted(samples.t_s, end_s, "left"))
    if first < 0 or last >= len(samples.t_s):
        return _rejected(window, "the samples do not cover it")
    if last - first - 1 < SAMPLES_AT_LEAST:
        return _rejected(window, f"holds {last - first - 1} readings; at least {SAMPLES_AT_LEAST}")
    t_s = samples.t_s[first : last + 1]
    values = samples.values[first : last + 1]
    gap_s = float(np.diff(t_s).max())
    why = _lost(t_s, sensor.poll_s) or _unbelievable(samples, first, last)
    if why is None and sensor.kind == "counter":
        rose = np.append(True, np.diff(values) > 0)
        # the first reading after the window may not have risen yet: the next rise closes it
        beyond = np.flatnonzero(np.diff(samples.values[last:]) > 0)
        if not rose[-1] and len(beyond):
            closing = last + 1 + int(beyond[0])
            t_s = np.append(t_s, samples.t_s[closing])
            values = np.append(values, samples.values[closing])
            rose = np.append(rose, True)
        t_s, values = t_s[rose], values[rose]
        if t_s[-1] < end_s or float(np.diff(t_s).max()) > GAP_PERIODS * (
            sensor.poll_s + sensor.period_s
        ):
            why = "the counter stood still"
    if why is not None:
        return WindowEnergy(window, None, why, gap_s)
    if sensor.kind == "counter":
        opened, closed = np.interp([start_s, end_s], t_s, values)
        return WindowEnergy(window, float(closed - opened), None, gap_s)
    at_edges = np.interp([start_s, end_s], t_s, values)
    t_s = np.concatenate([[start_s], t_s[1:-1], [end_s]])
    values = np.concatenate([at_edges[:1], values[1:-1], at_edges[1:]])
    return WindowEnergy(window, float(np.trapezoid(values, t_s)), None, gap_s)


def _rejected(window: Window, why: str) -> WindowEnergy:
    return WindowEnergy(window, None, why, None)


def _lost(t_s: np.ndarray, poll_s: float) -> str | None:
    """Say why too few of the polls came, or nothing.

    The sampler polls once at a random moment of each period, so two polls are at most two
    periods apart: what is longer, less some lateness, are periods without one. That there are
    more polls than periods from the first to the last is the other bound.
    """
    gaps = np.diff(t_s) / poll_s  # (samples - 1,), in periods
    if gaps.max() > GAP_PERIODS:
        return f"a gap of {gaps.max() * poll_s:.3f} s; at most {GAP_PERIODS} periods"
    expected = (t_s[-1] - t_s[0]) / poll_s
    by_gap = np.ceil(gaps - _LATE_PERIODS - 2).clip(min=0).sum()
    by_count = max(0.0, float(np.floor(expected)) - len(t_s))
    dropped = max(float(by_gap), by_count)
    if dropped > DROPPED_AT_MOST * expected:
        return f"{dropped:.0f} of {expected:.0f} polls dropped; at most 0.1 %"
    return None


def _unbelievable(samples: Samples, first: int, last: int) -> str | None:
    if samples.doubtful[first : last + 1].any():
        if samples.sensor.kind == "counter":
            return "the counter fell, or rose beyond what the board can draw"
        return "a reading beyond what the board can draw"
    if samples.sensor.kind == "counter":
        return None
    values = samples.values[first : last + 1]
    typical = float(np.median(values))
    if values.max() > SPIKE_FACTOR * typical:
        return f"a spike of {values.max():.2f} W, where {typical:.2f} W is typical"
    return None
