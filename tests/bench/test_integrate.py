"""The energy of one window, and every reason not to trust one."""

import numpy as np
import pytest

from gensynth.bench.integrate import Window, integrate
from gensynth.bench.samples import Samples, Sensor, believe
from tests.fakes.simulated_time import sensor

SECOND = 10**9


def counter(rate_hz: float = 20.0, period_s: float = 0.1) -> Sensor:
    return Sensor("GPU", "gpu_board", "NVML", "counter", rate_hz, period_s, 0.0)


def read(power_w: np.ndarray, t_s: np.ndarray, of: Sensor | None = None) -> Samples:
    return believe((t_s * 1e9).astype(np.int64), power_w, of or sensor())


EVEN = np.arange(0, 30, 0.05)
WINDOW = Window(10 * SECOND, 20 * SECOND, 100, 0)


def ramp() -> np.ndarray:
    return 5 + EVEN / 10  # watts


def test_a_ramp_has_the_area_of_its_trapezoid() -> None:
    # From 6 W to 7 W in 10 s: 65 J, however the edges fall between readings.
    assert integrate(read(ramp(), EVEN), WINDOW).energy_j == pytest.approx(65)
    odd = Window(round(10.0123 * SECOND), round(20.0371 * SECOND), 100, 0)
    by_hand = 5 * 10.0248 + (20.0371**2 - 10.0123**2) / 20
    found = integrate(read(ramp(), EVEN), odd)
    assert found.energy_j == pytest.approx(by_hand)
    assert found.j_per_img == pytest.approx(by_hand / 100)


def test_a_counter_is_the_difference_at_the_edges() -> None:
    # It rises by 25 J every 100 ms, between two polls at 20 Hz: 250 W.
    joules = 25 * np.floor(EVEN / 0.1 + 1e-9)
    found = integrate(read(joules, EVEN, counter()), WINDOW)
    assert found.energy_j == pytest.approx(2500, abs=13)


def test_a_counter_that_closes_after_the_window_counts() -> None:
    # No rise between 19.9 s and 20.15 s: the window's end lies between two rises.
    joules = np.where(EVEN < 20.15, np.minimum(EVEN, 19.9), EVEN) * 100
    found = integrate(read(joules, EVEN, counter(period_s=0.2)), WINDOW)
    assert found.energy_j == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("gap", "a gap of 0.200 s; at most 3 periods"),
        ("dropped", "polls dropped; at most 0.1 %"),
        ("spike", "a spike of 70.00 W, where 6.50 W is typical"),
        ("beyond", "a reading beyond what the board can draw"),
        ("short", "holds 19 readings; at least 20"),
        ("uncovered", "the samples do not cover it"),
    ],
)
def test_what_makes_a_window_worthless(change: str, why: str) -> None:
    of = sensor()
    t_s, power_w, window = EVEN, ramp(), WINDOW
    if change == "gap":
        keep = (t_s < 12) | (t_s > 12.14)
        t_s, power_w = t_s[keep], power_w[keep]
    elif change == "dropped":
        keep = np.ones(len(t_s), bool)
        keep[240:380:10] = False
        t_s, power_w = t_s[keep], power_w[keep]
    elif change == "spike":
        of = Sensor("VDD_IN", "module", "s", "power", 20, 0.0066, 0, plausible_w=(0.5, 100.0))
        power_w[300] = 70
    elif change == "beyond":
        many = np.tile(power_w, 4)
        t_s = np.arange(len(many)) * 0.05
        power_w = many
        power_w[300] = 45  # one of 2,400 readings
    elif change == "short":
        window = Window(10 * SECOND, 11 * SECOND, 10, 0)
        window = Window(window.start_ns + 1, window.end_ns - 1, 10, 0)
    else:
        window = Window(25 * SECOND, 35 * SECOND, 100, 0)
    found = integrate(read(power_w, t_s, of), window)
    assert found.energy_j is None
    assert found.j_per_img is None
    assert found.rejected is not None
    assert why in found.rejected


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("fell", "the counter fell, or rose beyond what the board can draw"),
        ("stood", "the counter stood still"),
    ],
)
def test_a_counter_that_cannot_be_believed(change: str, why: str) -> None:
    t_s = np.arange(0, 120, 0.05)
    joules = 100 * t_s
    if change == "fell":
        joules[t_s >= 15] -= 50
    else:
        joules[(t_s > 13) & (t_s < 15)] = 1300
    found = integrate(read(joules, t_s, counter()), WINDOW)
    assert (found.energy_j, found.rejected) == (None, why)


@pytest.mark.parametrize(
    "values", [(0, SECOND, 0, 0), (0, 0, 1, 0), (0, SECOND, 1, 1), (SECOND, 0, 1, 0)]
)
def test_a_window_that_cannot_be_is_our_bug(values: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="a window must begin after its load and hold images"):
        Window(*values)
