"""Joules per image with their interval, on simulated time where the truth is known by hand."""

import gc
import json
from collections.abc import Iterator

import numpy as np
import pytest

from gensynth.bench.energy import EnergyEstimate, estimate, ratio
from gensynth.bench.integrate import Window
from gensynth.bench.samples import Samples, Sensor, believe
from gensynth.errors import DeviceFault
from tests.fakes.simulated_time import IDLE_W, RUN_S, TAU_S, TRUTH_J, Board, sensor

WINDOWS = 10


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Spare every window the collection that the agent begins it with."""
    gc.disable()
    yield
    gc.enable()


def measured(seed: int, *, averages: bool, window_s: float = 2.0) -> EnergyEstimate:
    """Ten windows of one network, with the pauses that the agent makes."""
    board = Board(seed)
    board.spend(1.0, IDLE_W)
    settle_s = 5 * TAU_S if averages else 0.3
    windows = [board.window(settle_s, window_s) for _ in range(WINDOWS)]
    board.spend(0.5, IDLE_W)
    samples = board.samples(sensor(tau_s=TAU_S if averages else 0.0), averages=averages)
    return estimate(samples, windows)


@pytest.mark.slow
@pytest.mark.parametrize("averages", [False, True], ids=["snapshot", "averaging"])
def test_the_95_percent_interval_holds_the_truth_in_95_of_100_repeats(averages: bool) -> None:
    repeats = [measured(seed, averages=averages) for seed in range(1000)]
    held = [one.low <= TRUTH_J <= one.high for one in repeats if one.low and one.high]
    assert len(held) == 1000
    # With a coverage of 95 % the share of 1,000 has a standard deviation of 0.7 %.
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.mean([one.j_per_img for one in repeats]) == pytest.approx(TRUTH_J, rel=1e-3)


def in_turns(seed: int) -> tuple[EnergyEstimate, EnergyEstimate]:
    """Two networks in the agent's order, the second of which takes 0.8 of the power."""
    board = Board(seed)
    board.spend(1.0, IDLE_W)
    windows: dict[float, list[Window]] = {1.0: [], 0.8: []}
    for number in range(WINDOWS):
        for factor in (1.0, 0.8) if number.bit_count() % 2 == 0 else (0.8, 1.0):
            board.factor = factor
            windows[factor].append(board.window(0.3, 2.0))
    board.spend(0.5, IDLE_W)
    samples = board.samples(sensor())
    return estimate(samples, windows[1.0]), estimate(samples, windows[0.8])


@pytest.mark.slow
def test_the_interval_of_a_ratio_holds_the_truth_in_95_of_100_repeats() -> None:
    found = [ratio(*in_turns(seed)) for seed in range(1000)]
    held = [one.low <= 1.25 <= one.high for one in found if one.low and one.high]
    assert len(held) == 1000
    assert 0.93 <= np.mean(held) <= 0.97


def test_one_measurement_of_a_known_power() -> None:
    found = measured(1, averages=True, window_s=10.0)
    assert found.j_per_img == pytest.approx(TRUTH_J, rel=0.01)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.j_per_img < found.high
    assert found.img_per_j == pytest.approx(1 / TRUTH_J, rel=0.01)
    assert found.p_mean_w == pytest.approx(TRUTH_J / (RUN_S + 0.01 * 0.005), rel=0.01)
    # 0.306 W of 8.56 W, and the gain
    assert found.syst_pct == pytest.approx(100 * 0.306 / 8.56 + 1.5, rel=0.01)


def square_wave(run_s: float, seed: int, *, jittered: bool) -> float:
    """The error of a minute's J/img of runs that all take exactly so long, polled at 20 Hz."""
    board = Board(seed)
    board.spend(1.0, IDLE_W)
    board.spend(board._random.random() * run_s, IDLE_W)  # any phase
    onset = board.now

    def run() -> None:
        board.spend(0.7 * run_s, 9.5)
        board.spend(0.3 * run_s, 6.0)

    board.run = run  # type: ignore[method-assign]
    window = board.window(0.0, 60.0)
    assert window.onset_ns == onset
    board.spend(0.5, IDLE_W)
    found = estimate(board.samples(sensor(), jittered=jittered), [window])
    return found.j_per_img / (run_s * (0.7 * 9.5 + 0.3 * 6.0)) - 1


@pytest.mark.parametrize("periods", [0.5, 1, 2, 3])
def test_jittered_polling_has_no_aliasing_bias(periods: float) -> None:
    # A run takes whole polling periods, the worst case. Bias: the mean over phases and seeds.
    errors = [square_wave(periods / 20, seed, jittered=True) for seed in range(40)]
    assert abs(np.mean(errors)) < 0.003
    assert np.max(np.abs(errors)) < 0.02


def test_polling_at_equal_times_would_have_one() -> None:
    # Readings that all fall into the same phase say 9.5 W or 6 W where the mean is 8.45 W.
    errors = [square_wave(1 / 20, seed, jittered=False) for seed in range(20)]
    assert {round(error, 2) for error in errors} <= {0.12, -0.29}
    assert np.ptp(errors) > 0.3


def test_a_window_that_opens_at_load_onset_is_refused() -> None:
    board = Board(2)
    board.spend(5.0, IDLE_W)
    windows = [board.window(settle_s, 10.0) for settle_s in (0.0, 0.5, 5 * TAU_S)]
    board.spend(0.5, IDLE_W)
    found = estimate(board.samples(sensor(tau_s=TAU_S), averages=True), windows)
    assert [k for k, _ in found.rejected] == [0, 1]
    assert found.rejected[0][1] == (
        "opens 0.00 s after its load began; the sensor needs 2.10 s (5 tau)"
    )


def test_why_it_is_refused() -> None:
    # From the step of a filter with tau: a window of T loses (1 - 3 / 8.56) tau / T of its energy,
    # here 2.7 % of 10 s.
    board = Board(2)
    board.spend(5.0, IDLE_W)
    window = board.window(0.0, 10.0)
    board.spend(0.5, IDLE_W)
    found = estimate(board.samples(sensor(rate_hz=200.0), averages=True), [window])
    lost = 1 - found.j_per_img / TRUTH_J
    assert lost == pytest.approx((1 - IDLE_W / 8.56) * TAU_S / 10, abs=0.005)


def test_if_no_window_can_be_used_there_is_no_estimate() -> None:
    board = Board(2)
    windows = [board.window(0.0, 5.0)]
    with pytest.raises(DeviceFault, match="none of 1 energy windows can be used: opens") as caught:
        estimate(board.samples(sensor(tau_s=TAU_S)), windows)
    assert caught.value.status == "sensor_bad"


def flat(
    watts: list[float], *, window_s: float = 10.0, images: int = 100, of: Sensor | None = None
) -> tuple[Samples, list[Window]]:
    """Windows one after the other with a constant power each, read every 50 ms."""
    of = of or sensor()
    t_ns = np.arange(0, (len(watts) * window_s + 1) * 1e9, 5e7).astype(np.int64)
    values = np.repeat(np.append(watts, watts[-1]), round(window_s * 20))[: len(t_ns)]
    ripple = 1e-9 * (-1.0) ** np.arange(len(values))  # the reading of a sensor that is alive
    length = round(window_s * 1e9)
    windows = [Window(k * length, (k + 1) * length, images, 0) for k in range(len(watts))]
    return believe(t_ns, values + ripple, of), windows


def test_the_interval_is_students() -> None:
    # By hand: 0.8, 0.9, 1.0 J/img; mean 0.9, s 0.1, se 0.1 / sqrt 3 = 0.0577 or 6.415 %,
    # t(2) = 4.303: 0.9 exp(-+ 0.2760). The edges' interpolation changes some 1e-3.
    found = estimate(*flat([8.0, 9.0, 10.0]))
    assert found.j_per_img == pytest.approx(0.9, rel=2e-3)
    assert found.low == pytest.approx(0.9 * np.exp(-0.2760), rel=5e-3)
    assert found.high == pytest.approx(0.9 * np.exp(0.2760), rel=5e-3)


def test_the_interval_of_power_is_students_too() -> None:
    # By hand: 8, 9, 10 W over windows of one length; relative as above: 9 exp(-+ 0.2760) W.
    found = estimate(*flat([8.0, 9.0, 10.0])).record()
    assert found["p_mean_w"] == pytest.approx(9, rel=2e-3)
    assert found["p_mean_ci95_w"] == pytest.approx(
        [9 * np.exp(-0.2760), 9 * np.exp(0.2760)], rel=5e-3
    )
    assert estimate(*flat([8.0, 9.0])).record()["p_mean_ci95_w"] is None


def test_two_windows_have_no_interval() -> None:
    found = estimate(*flat([8.0, 9.0]))
    assert (found.interval, found.low, found.high) == (None, None, None)
    assert found.record()["ci95"] is None


def test_idle_power_is_reported_and_not_subtracted() -> None:
    samples, windows = flat([3.0, 9.0, 9.0, 9.0])
    found = estimate(samples, windows[1:], idle_ns=(0, 10 * 10**9))
    assert found.p_idle_w == pytest.approx(3.0, rel=2e-2)
    assert found.j_per_img == pytest.approx(0.9, rel=5e-3)
    assert found.net_j_per_img == pytest.approx(0.6, rel=2e-2)
    assert estimate(samples, windows[1:]).net_j_per_img is None


def test_a_record_is_json_without_odd_numbers() -> None:
    record = json.loads(json.dumps(estimate(*flat([8.0, 9.0, 10.0])).record(), allow_nan=False))
    assert (record["rail"], record["scope"], record["windows"]) == ("VDD_IN", "module", 3)
    assert record["img_per_j"] == pytest.approx(1 / record["j_per_img"])
    assert record["img_per_j_ci95"][0] == pytest.approx(1 / record["ci95"][1])


def test_a_ratio_of_two_networks_and_what_an_offset_can_shift_it_by() -> None:
    samples, windows = flat([9.0, 6.0, 6.0, 9.0, 9.0, 6.0])
    first = estimate(samples, [windows[k] for k in (0, 3, 4)])
    second = estimate(samples, [windows[k] for k in (1, 2, 5)])
    found = ratio(first, second)
    assert found.value == pytest.approx(1.5, rel=0.01)
    assert found.pairs == 3
    # 0.306 W * (1 / 6 W - 1 / 9 W) = 1.7 %
    assert found.offset_pct == pytest.approx(1.7, abs=0.03)


def test_figures_of_different_sensors_have_no_ratio() -> None:
    samples, windows = flat([9.0, 6.0])
    other, _ = flat([9.0, 6.0], of=sensor(rate_hz=19.9))
    with pytest.raises(ValueError, match="measured in turns by one sensor"):
        ratio(estimate(samples, windows), estimate(other, windows))


def test_a_window_in_which_the_reading_froze_is_left_out() -> None:
    rng = np.random.default_rng(0)
    t_ns = np.arange(0, 31e9, 5e7).astype(np.int64)
    values = 8 + rng.normal(0, 0.2, len(t_ns))
    values[200:400] = values[199]
    windows = [Window(k * 10**10, (k + 1) * 10**10, 100, 0) for k in range(3)]
    found = estimate(believe(t_ns, values, sensor()), windows)
    assert found.rejected == ((1, "the reading never changes"),)
