"""What the estimator says of kernels and networks that it was not told of."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.bench.estimate.conformal import Scores
from gensynth.bench.estimate.estimator import Estimator
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.prior import PROCESSOR, Roofline
from gensynth.bench.estimate.sample import Sample

LAUNCH_MS = 0.002


def kernel(read: int, written: int, kind: str = "conv blocked") -> Kernel:
    macs = 9 * read * written * 256
    sizes = {"read": float(read), "written": float(written), "height": 16.0, "width": 16.0}
    return Kernel(kind, "v", macs, 1024 * read + 36 * read * written, 1024 * written, sizes)


def true_ms(one: Kernel) -> float:
    """A device with a staircase: blocks of 8 channels are what is computed."""
    read, written = (math.ceil(one.sizes[name] / 8) * 8 for name in ("read", "written"))
    return LAUNCH_MS + 9 * read * written * 256 / 4e10 * 1e3


def network(random: np.random.Generator, kernels: int = 12) -> Sample:
    """A network, measured to 0.5 %, of which a profiler reads 1 us too much a kernel."""
    widths = random.integers(4, 64, kernels + 1)
    own = tuple(kernel(int(a), int(b)) for a, b in pairwise(widths))
    times = np.array([true_ms(one) for one in own])
    read = tuple(((times + 0.001) * random.normal(1, 0.01, kernels)).tolist())
    return Sample(own, float(times.sum() * random.normal(1, 0.005)), None, read)


def networks(count: int, seed: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    return [network(random) for _ in range(count)]


def errors(estimator: Estimator, told: Sequence[Sample]) -> np.ndarray:
    values = [estimator.latency_ms(sample.kernels).value for sample in told]
    return np.abs(np.array(values) / [sample.latency_ms for sample in told] - 1)


@pytest.mark.parametrize(("count", "most"), [(4, 0.15), (12, 0.06), (40, 0.03)])
def test_networks_are_told_from_a_few_others(count: int, most: float) -> None:
    estimator = Estimator.fit(networks(count), PROCESSOR)
    assert np.median(errors(estimator, networks(20, seed=1))) < most
    assert estimator.measurements == count


def test_a_call_takes_no_time_below_zero_however_noisy_the_measurements_were() -> None:
    # Small networks were measured too fast: a line through them all meets zero at 20 us of kernels.
    noisy = [replace(one, latency_ms=max(one.latency_ms - 0.02, 0.003)) for one in networks(12)]
    assert Estimator.fit(noisy, PROCESSOR).offset_ms >= 0


def test_a_staircase_is_learned() -> None:
    # Between 17 and 24 channels the device computes three blocks of 8, whatever the width.
    estimator = Estimator.fit(networks(40), PROCESSOR)
    below, on, above = estimator.kernel_ms([kernel(32, width) for width in (20, 24, 28)])
    assert abs(on / below - 1) < 0.08
    assert above / on > 1.15  # four blocks are a third more than three


@pytest.mark.parametrize("count", [12, 25, 40])
def test_intervals_hold_what_they_promise(count: int) -> None:
    estimator, told = Estimator.fit(networks(count), PROCESSOR), networks(100, seed=1)
    held = {80: 0, 95: 0}
    for sample in told:
        figure = estimator.latency_ms(sample.kernels)
        for level in held:
            low, high = getattr(figure, f"interval{level}")
            held[level] += low <= sample.latency_ms <= high
    assert held[80] >= 70
    assert held[95] >= 90


def test_without_a_measurement_it_is_the_roofline_and_says_so() -> None:
    # By hand: 1e9 MACs at 1e12 a second take 1 ms; 4e6 bytes at 1e10 a second would take 0.4 ms.
    roofline = Roofline(1e12, 1e10, 0.5, {"conv": 1.0}, spread=0.5)
    one = Kernel("conv", "v", 10**9, 3 * 10**6, 10**6, {"read": 1.0})
    figure = Estimator.fit([], roofline).latency_ms([one, one])
    assert figure.value == pytest.approx(2 * (1 + 0.5))
    assert figure.provenance == "estimate"
    assert math.log(figure.interval95[1] / figure.value) == pytest.approx(1.96 * 0.5, rel=1e-3)


def test_a_kernel_of_no_known_kind_makes_the_figure_unknown() -> None:
    figure = Estimator.fit(networks(5), PROCESSOR).latency_ms(
        [kernel(16, 16), kernel(16, 16, "sorting")]
    )
    assert figure.unknown == ("v (sorting)",)
    assert figure.probability_below(1e9) == 0


def test_a_kind_that_was_measured_is_known_even_if_the_roofline_has_it_not() -> None:
    own = (kernel(16, 16, "sorting"),)
    estimator = Estimator.fit([Sample(own, 2.0, None, (2.0,))], PROCESSOR)
    assert estimator.latency_ms(own).unknown == ()
    assert estimator.latency_ms(own).value == pytest.approx(2.0, rel=0.2)


def test_far_from_what_was_measured_intervals_are_wider() -> None:
    estimator = Estimator.fit(networks(20), PROCESSOR)

    def width(kernels: Sequence[Kernel]) -> float:
        figure = estimator.latency_ms(kernels)
        return math.log(figure.interval95[1] / figure.interval95[0])

    assert width([kernel(2048, 2048)] * 3) > 2 * width(networks(1, seed=3)[0].kernels)


def test_totals_alone_calibrate_too() -> None:
    # A machine three times as slow as the roofline's.
    totals = [Sample(s.kernels, 3 * s.latency_ms) for s in networks(32)]
    estimator, before = Estimator.fit(totals[:12], PROCESSOR), Estimator.fit([], PROCESSOR)
    told = totals[12:]
    assert np.median(errors(estimator, told)) < 0.15 < np.median(errors(before, told))


def test_another_contexts_networks_count_less_than_ones_own() -> None:
    # The other context took three times as long.
    others = [
        Sample(s.kernels, 3 * s.latency_ms, None, tuple(3 * t for t in s.kernel_ms or ()), 0.1)
        for s in networks(20)
    ]
    told = networks(20, seed=1)
    inherited = Estimator.fit(others, PROCESSOR)
    assert inherited.measurements == 0
    assert inherited.latency_ms(told[0].kernels).provenance == "estimate"
    corrected = Estimator.fit([*others, *networks(6, seed=2)], PROCESSOR)
    assert corrected.measurements == 6
    assert np.median(errors(corrected, told)) < 0.15


def test_a_network_is_its_kernels_and_an_offset() -> None:
    estimator, (one,) = Estimator.fit(networks(12), PROCESSOR), networks(1, seed=5)
    total = estimator.kernel_ms(one.kernels).sum() + estimator.offset_ms
    assert estimator.latency_ms(one.kernels).value == pytest.approx(total)


def test_a_half_width_is_the_conformal_score_of_its_rank() -> None:
    # ceil(0.95 * 40) = 38th and ceil(0.8 * 40) = 32nd of 39 scores.
    scores = Scores.of([k / 100 for k in range(1, 40)], [0.0] * 39, spread=1.0)
    assert scores.half_widths(0) == pytest.approx((0.32, 0.38))
    assert scores.half_widths(1) == pytest.approx((0.64, 0.76))


@given(st.lists(st.floats(-3, 3), max_size=40), st.floats(0.01, 1))
def test_an_interval_of_95_percent_is_no_narrower_than_one_of_80(
    errors: list[float], spread: float
) -> None:
    # Of 8 scores 80 percent have a rank, the largest, and 95 have none.
    half80, half95 = Scores.of(errors, [0.0] * len(errors), spread).half_widths(0)
    assert half80 <= half95
