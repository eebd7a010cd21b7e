"""Means, percentiles and ratios: by hand, against scipy, and as often right as they say."""

import math

import numpy as np
import pytest
from scipy import stats

from gensynth.bench.compare import mean_interval, median_interval, paired_ratio
from gensynth.bench.figures import decode_times, drift_pct, latency
from gensynth.errors import DeviceFault


def test_times_are_little_endian_nanoseconds_round_by_round() -> None:
    blob = b"".join(int(ns).to_bytes(8, "little") for ns in (1e6, 2e6, 3e6, 5e6))
    assert decode_times(blob, 2).tolist() == [[1, 2], [3, 5]]


@pytest.mark.parametrize("blob", [b"", b"\1" * 12, b"\0" * 16, b"\1" * 24], ids=len)
def test_times_that_cannot_be_meant_are_refused(blob: bytes) -> None:
    with pytest.raises(DeviceFault, match="times must be positive") as caught:
        decode_times(blob, 2)
    assert caught.value.status == "protocol_error"


def test_the_figures_of_four_runs_by_hand() -> None:
    # Of two images each: mean 2.5 ms, so 800 images a second; standard deviation sqrt(1.25).
    found = latency(np.array([[1.0, 2.0], [3.0, 4.0]]), batch=2)
    assert found["n"] == 4
    assert found["mean_ms"] == 2.5
    assert found["p50_ms"] == 2.5
    assert found["img_per_s"] == 800
    assert found["cov_pct"] == pytest.approx(100 * math.sqrt(1.25) / 2.5)
    assert found["ci95_ms"] is None  # two rounds say nothing of their spread


def test_scatter_is_the_deviation_over_the_mean_and_not_the_median() -> None:
    # Of 1, 1, 1, 5: mean 2, median 1, standard deviation sqrt(3).
    found = latency(np.array([[1.0, 1.0], [1.0, 5.0]]), batch=1)
    assert found["cov_pct"] == pytest.approx(100 * math.sqrt(3) / 2)


def test_percentiles_are_given_only_where_ten_runs_are_beyond_them() -> None:
    runs = np.arange(1.0, 1001.0)
    some = latency(runs[:100].reshape(4, -1), 1)
    assert some["p90_ms"] == pytest.approx(90.1)
    assert (some["p95_ms"], some["p99_ms"]) == (None, None)
    assert latency(runs[:99].reshape(3, -1), 1)["p90_ms"] is None
    assert latency(runs.reshape(4, -1), 1)["p99_ms"] == pytest.approx(np.percentile(runs, 99))


def test_throughput_has_the_inverse_interval_of_the_mean() -> None:
    found = latency(np.random.default_rng(0).normal(5, 1, (8, 20)), batch=4)
    low, high = found["ci95_ms"]
    assert found["img_per_s_ci95"] == pytest.approx([4000 / high, 4000 / low])
    assert latency(np.array([[1.0], [2.0]]), 1)["img_per_s_ci95"] is None


@pytest.mark.parametrize("shape", [(8, 125), pytest.param((60, 17), marks=pytest.mark.slow)])
def test_the_interval_of_p99_holds_the_truth_in_nine_of_ten_repeats(shape: tuple[int, int]) -> None:
    # Of log-normal runs of sigma 0.1 the 99th percentile is exp(0.1 * 2.3263).
    random, truth = np.random.default_rng(1), math.exp(0.23263)
    held = 0
    for _ in range(200):
        low, high = latency(np.exp(0.1 * random.normal(size=shape)), 1)["p99_ci95_ms"]
        held += low <= truth <= high
    assert 180 <= held <= 199


def test_p99_has_no_interval_where_it_is_not_given() -> None:
    found = latency(np.random.default_rng(0).normal(5, 1, (8, 124)), 1)
    assert (found["p99_ms"], found["p99_ci95_ms"]) == (None, None)


def test_the_interval_of_the_mean_is_students_over_rounds() -> None:
    rounds = np.random.default_rng(0).normal(5, 1, (8, 20))
    low, high = stats.t.interval(
        0.95, 7, rounds.mean(axis=1).mean(), stats.sem(rounds.mean(axis=1))
    )
    # Where rounds hardly differ, the exponential is a straight line.
    assert mean_interval(rounds.tolist()) == pytest.approx((low, high), rel=2e-3)


def test_no_interval_of_a_time_goes_below_zero() -> None:
    # One round of five is a hundred times as slow: Student's t alone begins at -34.
    rounds = [[1.0]] * 4 + [[100.0]]
    found = mean_interval(rounds)
    assert found is not None
    # Mean 20.8, standard error 19.8, t(4) = 2.776: 20.8 exp(-+ 2.643).
    assert found == pytest.approx((1.480, 292.4), rel=1e-3)
    assert latency(np.array(rounds), 1)["ci95_ms"][0] > 0


def test_drift_is_the_last_quarter_over_the_first() -> None:
    # Eight rounds: medians of the first two 1.0, of the last two 1.1.
    times = np.array([[1.0], [1.0], [9.0], [9.0], [9.0], [9.0], [1.1], [1.1]])
    assert drift_pct(times) == pytest.approx(10)
    assert drift_pct(times[:3]) is None


def test_a_ratio_by_hand() -> None:
    # Medians of the rounds 2, 2, 8, 2, 2 over 1, 4, 1, 1, 1: logs of 2, 1/2, 8, 2, 2.
    found = paired_ratio(
        [[2, 2, 9], [1, 2, 3], [8, 8, 8], [2, 2, 2], [2, 2, 2]],
        [[1, 1, 1], [4, 4, 4], [1, 1, 7], [1, 1, 1], [1, 1, 1]],
    )
    assert found.value == pytest.approx(2)
    # They differ from log 2 by 0, -log 4, log 4, 0, 0: a deviation of log 4 / sqrt(2); t of four
    # degrees of freedom is 2.7764.
    half = 2.7764 * math.log(4) / math.sqrt(2) / math.sqrt(5)
    assert found.low == pytest.approx(2 * math.exp(-half), rel=1e-4)
    assert found.high == pytest.approx(2 * math.exp(half), rel=1e-4)


def test_what_slows_a_round_slows_both_and_does_not_widen_the_ratio() -> None:
    a = [[1.0], [5.0], [2.0], [9.0], [3.0]]
    found = paired_ratio([[1.5 * run for run in turn] for turn in a], a)
    assert (found.low, found.value, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_ratio_over_other_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="the same rounds on both sides, got 4 and 3"):
        paired_ratio([[1.0]] * 4, [[1.0]] * 3)


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_fewer_than_five_rounds_have_no_interval(rounds: int) -> None:
    times = np.random.default_rng(0).normal(5, 1, (rounds, 10)).tolist()
    assert mean_interval(times) is None
    assert median_interval(times) is None
    found = paired_ratio(times, times)
    assert found.value == pytest.approx(1)
    assert found.interval is None


def test_the_interval_of_the_median_is_students_of_the_logs_of_the_rounds_medians() -> None:
    rounds = np.random.default_rng(0).lognormal(1, 0.2, (8, 21))
    logs = np.log(np.median(rounds, axis=1))
    half = stats.t.ppf(0.975, 7) * stats.sem(logs)
    p50 = np.median(rounds)
    expected = (p50 * math.exp(-half), p50 * math.exp(half))
    assert median_interval(rounds.tolist()) == pytest.approx(expected)


def test_the_ratio_of_equals_covers_one_as_often_as_it_says() -> None:
    # Eight rounds of 50 runs that share what slows their round; 1,000 trials have a standard
    # error of 0.7 percent.
    draws = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        shared = draws.lognormal(0, 0.2, (8, 1))
        own = draws.lognormal(0, 0.03, (2, 8, 1))
        one, other = shared * own * draws.lognormal(0, 0.1, (2, 8, 50))
        found = paired_ratio(one.tolist(), other.tolist())
        low, high = found.interval or (0, 0)
        covered += low <= 1 <= high
    assert 0.93 <= covered / 1000 <= 0.97
