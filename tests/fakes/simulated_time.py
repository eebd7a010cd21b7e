"""A board that has no time of its own: runs, power and readings on a clock that the test moves.

    run      22 ms at 9.5 W and 8 ms at 6 W, all of a run stretched by one random factor of mean
             1; one run in a hundred is followed by 5 ms at 7 W, which the system takes
    sensor   a snapshot, or an average with tau 0.42 s over conversions every 6.6 ms

So a run takes 0.22 * 9.5 + ... joules as written beside `TRUTH_J`, by hand.
"""

from collections.abc import Iterator

import numpy as np

from gensynth.bench.integrate import Window
from gensynth.bench.samples import Samples, Sensor, believe
from gensynth.devices.agent.power.sampler import moments
from gensynth.devices.agent.wire.timing import busy_window

RUN_S = 0.030
TRUTH_J = 0.022 * 9.5 + 0.008 * 6.0 + 0.01 * 0.005 * 7.0  # 0.25735 J
IDLE_W = 3.0
SPREAD = 0.05
CYCLE_S = 0.0066
TAU_S = 0.42


def sensor(rate_hz: float = 20.0, tau_s: float = 0.0) -> Sensor:
    """A rail of a TX2 that takes snapshots, or averages."""
    return Sensor(
        "VDD_IN", "module", "simulated INA3221", "power", rate_hz, CYCLE_S, tau_s,
        offset_w=0.306, gain_pct=1.5, plausible_w=(0.5, 40.0),
    )  # fmt: skip


class Board:
    """Its clock, and the power of every moment since its start.

    Args:
        seed: of the runs' lengths and of the sampler's moments.
        factor: how many times the power of every phase is that of the model above.
    """

    def __init__(self, seed: int, factor: float = 1.0) -> None:
        self._random = np.random.default_rng(seed)
        self._factors: Iterator[float] = iter(())
        self._seed = seed
        self.factor = factor
        self.now = 10**9
        self._ends_ns: list[int] = []
        self._watts: list[float] = []

    def clock(self) -> int:
        """CLOCK_MONOTONIC, in nanoseconds."""
        return self.now

    def spend(self, seconds: float, watts: float) -> None:
        """Let time go by at a power."""
        self.now += round(seconds * 1e9)
        self._ends_ns.append(self.now)
        self._watts.append(watts)

    def run(self) -> None:
        """One image."""
        stretch = next(self._factors, None)
        if stretch is None:
            # a log-normal factor of mean 1
            drawn = np.exp(self._random.normal(-(SPREAD**2) / 2, SPREAD, 1000))
            self._factors = iter(drawn.tolist())
            stretch = next(self._factors)
        self.spend(0.022 * stretch, 9.5 * self.factor)
        self.spend(0.008 * stretch, 6.0 * self.factor)
        if self._random.random() < 0.01:
            self.spend(0.005, 7.0 * self.factor)

    def window(self, settle_s: float, window_s: float) -> Window:
        """The agent's own window, on this clock."""
        taken = busy_window(self.run, lambda: None, settle_s, window_s, self.clock)
        return Window(taken.start_ns, taken.end_ns, taken.runs, taken.onset_ns)

    def power_w(self, t_ns: np.ndarray) -> np.ndarray:
        """The power at each of these times."""
        index = np.searchsorted(self._ends_ns, t_ns).clip(max=len(self._watts) - 1)
        return np.array(self._watts)[index]

    def times_ns(self, rate_hz: float, *, jittered: bool = True) -> np.ndarray:
        """When the sampler reads: at its random moments, or all equally far apart."""
        count = int((self.now * 1e-9 - 1) * rate_hz)
        if jittered:
            draw = moments(rate_hz, self._seed)
            taken = np.array([next(draw) for _ in range(count)])
        else:
            taken = (np.arange(count) + self._random.random()) / rate_hz
        return 10**9 + np.round(taken * 1e9).astype(np.int64)

    def samples(self, of: Sensor, *, averages: bool = False, jittered: bool = True) -> Samples:
        """What the sampler would have written.

        Args:
            averages: whether the sensor averages, whatever it says of itself.
            jittered: whether the moments are the sampler's.
        """
        times = self.times_ns(of.rate_hz, jittered=jittered)
        if not averages:
            return believe(times, self.power_w(times), of)
        converted = np.arange(10**9, self.now, round(CYCLE_S * 1e9))
        share = CYCLE_S / TAU_S
        power = self.power_w(converted)
        from scipy.signal import lfilter  # takes a second to import

        register, _ = lfilter([share], [1, share - 1], power, zi=[power[0] * (1 - share)])
        return believe(times, register[np.searchsorted(converted, times, "right") - 1], of)
