"""Joules per image with an honest interval, and the ratio of two networks.

    samples      what the sensor delivered, and whether it can be believed
    integrate    the energy of one window
    energy       what several windows say together                      (this module)

The figure is gross: everything that the rail delivered while the network ran. What is left
after idle power stands beside it and is never the figure. The interval is statistical, from
whole windows, because single samples follow each other too closely to count as independent;
what the sensor is systematically wrong by is a bound of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gensynth.bench.integrate import Window, WindowEnergy, integrate
from gensynth.bench.samples import Samples, Sensor
from gensynth.errors import DeviceFault
from gensynth.goals.student import quantile

WINDOWS_FOR_INTERVAL = 3
_DISTINCT_WHEN_ALIVE = 5


@dataclass(frozen=True)
class EnergyEstimate:
    """The energy of one network on one device.

    Attributes:
        windows: in the order they were measured, the rejected ones too; at least one is used.
        sensor: what was measured, and how.
        p_idle_w: mean power before the load; None if it was not measured.
    """

    windows: tuple[WindowEnergy, ...]
    sensor: Sensor
    p_idle_w: float | None = None

    @property
    def used(self) -> tuple[WindowEnergy, ...]:
        """The windows that count."""
        return tuple(window for window in self.windows if window.energy_j is not None)

    @property
    def rejected(self) -> tuple[tuple[int, str], ...]:
        """Index and reason of every window that does not count."""
        return tuple((k, w.rejected) for k, w in enumerate(self.windows) if w.rejected is not None)

    @cached_property
    def _totals(self) -> tuple[float, int, float]:
        """Joules, images and seconds of the windows that count."""
        return (
            sum(window.energy_j or 0.0 for window in self.used),
            sum(window.window.images for window in self.used),
            sum(window.window.seconds for window in self.used),
        )

    @property
    def j_per_img(self) -> float:
        """Gross joules of one image: all energy over all images."""
        return self._totals[0] / self._totals[1]

    @property
    def img_per_j(self) -> float:
        """Images of one joule of total consumption."""
        return 1 / self.j_per_img

    @property
    def p_mean_w(self) -> float:
        """Mean power while the network ran."""
        return self._totals[0] / self._totals[2]

    @property
    def net_j_per_img(self) -> float | None:
        """Joules of one image above idle power, for insight only; None without idle power."""
        if self.p_idle_w is None:
            return None
        return self.j_per_img - self.p_idle_w * self._totals[2] / self._totals[1]

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `j_per_img`; None with fewer than three windows.

            j_per_img exp(-+ t s),    s = sqrt(sum r_k^2 / (n (n - 1))) / (j_per_img m)

        with Student's t of n - 1 degrees of freedom and the residuals r_k = E_k - j_per_img
        m_k of the windows' energies; m is the mean number of images. With as many images in
        every window s is the relative standard error of the mean of the windows' J/img. The
        exponential keeps it positive, so that images per joule have the inverse interval.
        """
        return self._interval([window.window.images for window in self.used])

    @cached_property
    def power_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `p_mean_w`: that of `interval`, with seconds in place of images."""
        return self._interval([window.window.seconds for window in self.used])

    def _interval(self, amounts: Sequence[float]) -> tuple[float, float] | None:
        """Return the interval of all energy over all of something, which each window has."""
        n = len(self.used)
        if n < WINDOWS_FOR_INTERVAL:
            return None
        each = np.array(amounts, np.float64)
        energies = np.array([window.energy_j for window in self.used], np.float64)
        ratio = self._totals[0] / float(each.sum())
        error = math.sqrt(float(((energies - ratio * each) ** 2).sum()) / (n * (n - 1)))
        half = quantile(n - 1) * error / (ratio * float(each.mean()))
        return ratio * math.exp(-half), ratio * math.exp(half)

    @property
    def low(self) -> float | None:
        """Lower end of the interval of J/img; None with fewer than three windows."""
        return None if self.interval is None else self.interval[0]

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.interval is None else self.interval[1]

    @property
    def syst_pct(self) -> float | None:
        """Bound of the sensor's own error at this power; not part of the interval."""
        return self.sensor.systematic_pct(self.p_mean_w)

    @property
    def max_gap_s(self) -> float:
        """The longest time between two readings in a window that counts."""
        return max(window.max_gap_s or 0.0 for window in self.used)

    def record(self) -> dict[str, Any]:
        """Return everything as JSON values, finite or None."""
        low, high = self.interval or (None, None)
        return {
            "rail": self.sensor.rail,
            "scope": self.sensor.scope,
            "sensor": self.sensor.sensor,
            "kind": self.sensor.kind,
            "rate_hz": self.sensor.rate_hz,
            "jitter": "uniform over the whole period",
            "tau_s": self.sensor.tau_s,
            "windows": len(self.used),
            "window_s": self._totals[2] / len(self.used),
            "windows_rejected": [{"window": k, "why": why} for k, why in self.rejected],
            "j_per_img": self.j_per_img,
            "ci95": None if low is None else [low, high],
            "img_per_j": self.img_per_j,
            "img_per_j_ci95": None if low is None or high is None else [1 / high, 1 / low],
            "syst_pct": self.syst_pct,
            "p_mean_w": self.p_mean_w,
            "p_mean_ci95_w": None if self.power_interval is None else list(self.power_interval),
            "p_idle_w": self.p_idle_w,
            "net_j_per_img": self.net_j_per_img,
            "max_gap_s": self.max_gap_s,
        }


@dataclass(frozen=True)
class EnergyRatio:
    """How many times the J/img of one network is that of another.

    Attributes:
        value: geometric mean over the pairs of windows.
        low: lower end of its 95 % interval; None with fewer than three pairs.
        high: upper end.
        pairs: how many pairs of windows it is made of.
        offset_pct: how far a constant error of the sensor can shift it; None if not known.
    """

    value: float
    low: float | None
    high: float | None
    pairs: int
    offset_pct: float | None


def estimate(
    samples: Samples, windows: Sequence[Window], *, idle_ns: tuple[int, int] | None = None
) -> EnergyEstimate:
    """Return what one network's windows say.

    Args:
        samples: of the whole job, from `samples.believe`.
        windows: of this network alone, in the order they were measured.
        idle_ns: start and end of the window before the load; its power is reported only.

    Raises:
        DeviceFault: `sensor_bad` if no window can be used; the message has the reasons.
    """
    if not windows:
        raise ValueError("an estimate needs at least one window, got none")
    found = _without_frozen(samples, [integrate(samples, window) for window in windows])
    if all(window.energy_j is None for window in found):
        reasons = "; ".join(dict.fromkeys(window.rejected or "" for window in found))
        raise DeviceFault(
            "sensor_bad",
            f"none of {len(found)} energy windows can be used: {reasons}",
            {"rejected": [window.rejected for window in found]},
        )
    p_idle_w = None
    if idle_ns is not None:
        # nothing runs, so there is no load whose onset could still be in the sensor
        onset_ns = idle_ns[0] - math.ceil(5e9 * samples.sensor.tau_s)
        idle = integrate(samples, Window(*idle_ns, images=1, onset_ns=onset_ns))
        if idle.energy_j is not None:
            p_idle_w = idle.energy_j / idle.window.seconds
    return EnergyEstimate(tuple(found), samples.sensor, p_idle_w)


def pairs(one: EnergyEstimate, other: EnergyEstimate) -> list[tuple[float, float]]:
    """Return J/img of both in every pair of windows that both count."""
    return [
        (a.j_per_img, b.j_per_img)
        for a, b in zip(one.windows, other.windows, strict=True)
        if a.j_per_img is not None and b.j_per_img is not None
    ]


def ratio(one: EnergyEstimate, other: EnergyEstimate) -> EnergyRatio:
    """Return J/img of one network over that of another, both measured in turns.

        log value = mean of d_k,  d_k = log(one_k / other_k);  log ends = log value -+ t se(d)

    The k-th windows of the two are neighbours in time and make one pair; a pair with a
    rejected window is left out.

    Raises:
        ValueError: if the two do not have as many windows, were measured on different rails,
            or no pair is whole.
    """
    if len(one.windows) != len(other.windows) or one.sensor != other.sensor:
        raise ValueError(
            "a ratio needs two networks measured in turns by one sensor, got "
            f"{len(one.windows)} and {len(other.windows)} windows of {one.sensor.rail} and "
            f"{other.sensor.rail}"
        )
    logs = np.array([math.log(a / b) for a, b in pairs(one, other)])
    if not len(logs):
        raise ValueError("a ratio needs a pair of windows that both count, got none")
    offset_w = one.sensor.offset_w
    offset_pct = (
        None if offset_w is None else 100 * offset_w * abs(1 / one.p_mean_w - 1 / other.p_mean_w)
    )
    value, count = float(np.exp(logs.mean())), len(logs)
    if count < WINDOWS_FOR_INTERVAL:
        return EnergyRatio(value, None, None, count, offset_pct)
    half = quantile(count - 1) * float(logs.std(ddof=1)) / math.sqrt(count)
    return EnergyRatio(value, value * math.exp(-half), value * math.exp(half), count, offset_pct)


def _without_frozen(samples: Samples, found: list[WindowEnergy]) -> list[WindowEnergy]:
    """Reject windows with one reading only, where most windows show a sensor that is alive."""
    if samples.sensor.kind == "counter":
        return found  # a counter that stands still has been rejected already
    distinct = []
    for energy in found:
        start_s, end_s = (
            (t - samples.origin_ns) * 1e-9 for t in (energy.window.start_ns, energy.window.end_ns)
        )
        inside = samples.values[slice(*np.searchsorted(samples.t_s, [start_s, end_s]))]
        distinct.append(len(np.unique(inside)))
    if np.median(distinct) < _DISTINCT_WHEN_ALIVE:
        return found
    return [
        replace(energy, energy_j=None, rejected="the reading never changes")
        if energy.energy_j is not None and count == 1
        else energy
        for energy, count in zip(found, distinct, strict=True)
    ]
