"""Wilson's bounds against hand calculation, the literature and exact coverage."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.goals.intervals import bonferroni, lower_bound, newcombe, upper_bound, wilson


def test_wilson_of_8_in_10() -> None:
    # By hand with z = 1.959964, z^2 = 3.841459: centre (0.8 + 0.192073) / 1.384146
    # = 0.716740; half 1.959964 sqrt(0.016 + 0.00960365) / 1.384146 = 0.226578.
    assert wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_wilson_of_81_in_263_as_newcombe_printed_it() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 0.2553 to 0.3662
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_of_0_in_20_as_newcombe_printed_it() -> None:
    # Same table: 0 to 0.1611
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_bounds_of_none_and_all_are_closed_forms() -> None:
    # p = 0: the lower root is 0, the upper z^2 / (n + z^2); p = 1 is its mirror.
    z_squared = 1.6448536**2
    assert wilson(0, 50, sided=1) == pytest.approx((0, z_squared / (50 + z_squared)))
    assert wilson(50, 50, sided=1) == pytest.approx((50 / (50 + z_squared), 1))
    assert wilson(0, 50)[0] == 0.0
    assert wilson(50, 50)[1] == 1.0


def test_a_one_sided_95_percent_bound_is_a_two_sided_90_percent_one() -> None:
    assert wilson(870, 1000, 0.95, sided=1) == pytest.approx(wilson(870, 1000, 0.90, sided=2))
    assert (lower_bound(870, 1000), upper_bound(870, 1000)) == wilson(870, 1000, sided=1)


@given(n=st.integers(1, 10_000), data=st.data(), confidence=st.floats(0.5001, 0.9999))
def test_each_bound_solves_the_score_equation(
    n: int, data: st.DataObject, confidence: float
) -> None:
    # The definition: |p - q| = z sqrt(q (1 - q) / n) at both bounds q.
    correct = data.draw(st.integers(0, n))
    z = NormalDist().inv_cdf(confidence)
    for bound in wilson(correct, n, confidence, sided=1):
        assert -1e-12 <= bound <= 1 + 1e-12
        error = z * math.sqrt(max(0.0, bound * (1 - bound)) / n)
        assert abs(correct / n - bound) == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize(
    ("share", "most"), [(0.5, 0.956), (0.8, 0.956), (0.87, 0.956), (0.9, 0.956), (0.98, 0.967)]
)
def test_one_sided_coverage_on_2000_images_is_as_the_docstring_says(
    share: float, most: float
) -> None:
    # Exact: the binomial probability of all counts whose lower bound does not exceed share.
    n = 2_000
    coverage = sum(
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(share)
            + (n - k) * math.log(1 - share)
        )
        for k in range(n + 1)
        if lower_bound(k, n) <= share
    )
    assert 0.947 <= coverage <= most


def test_five_finalists_share_five_percent_as_one_percent_each() -> None:
    assert bonferroni(0.95, 5) == pytest.approx(0.99)
    assert bonferroni(0.95, 1) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(11, 10),
        lambda: wilson(-1, 10),
        lambda: wilson(0, 0),
        lambda: wilson(5, 10, 95),
        lambda: wilson(5, 10, sided=3),
        lambda: bonferroni(0.95, 0),
        lambda: bonferroni(1.0, 2),
    ],
)
def test_impossible_counts_and_confidences_are_refused(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="must be"):
        call()


@pytest.mark.parametrize(
    ("counts", "low", "high", "digits"),
    [
        # Growth on two media, Armitage and Berry 1994; StatsDirect's manual, paired proportions.
        ((20, 12, 2, 16), 0.056156, 0.329207, 6),
        # Airway hyper-responsiveness, Bentur et al. 2009; Fagerland, Lydersen and Laake 2014.
        ((1, 1, 7, 12), -0.507, -0.026, 3),
    ],
)
def test_paired_proportions_are_as_apart_as_was_published(
    counts: tuple[int, int, int, int], low: float, high: float, digits: int
) -> None:
    found = newcombe(*counts)
    assert [round(bound, digits) for bound in found] == [low, high]


def test_paired_bounds_by_hand() -> None:
    # 8 and 6 of 10, both on 5: p1 - p2 = 0.2, phi = (5 - 3) / sqrt(8 x 2 x 6 x 4) with 2 - 10/2 in
    # place of 2, which is below 0: so 0. Wilson's bounds of 8 in 10 are 0.490162 and 0.943318, of
    # 6 in 10 0.312674 and 0.831820: 0.2 - sqrt(0.309838^2 + 0.231820^2) = -0.186963, and
    # 0.2 + sqrt(0.143318^2 + 0.287326^2) = 0.521087.
    assert newcombe(5, 3, 1, 1) == pytest.approx((-0.186963, 0.521087), abs=2e-6)


@given(st.tuples(*[st.integers(0, 3_000)] * 4).filter(any), st.floats(0.6, 0.999))
def test_paired_bounds_hold_the_difference_and_are_mirrored_with_the_networks(
    counts: tuple[int, int, int, int], confidence: float
) -> None:
    both, first, second, neither = counts
    low, high = newcombe(*counts, confidence, sided=1)
    assert low <= (first - second) / sum(counts) + 1e-12
    assert high >= (first - second) / sum(counts) - 1e-12
    mirrored = newcombe(both, second, first, neither, confidence, sided=1)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, -1, 0, 0)])
def test_impossible_pairs_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        newcombe(*counts)


@pytest.mark.parametrize(
    ("n", "share", "first", "second", "most"),
    [
        (1_000, 0.90, 0.010, 0.020, 0.055),
        (1_000, 0.60, 0.045, 0.055, 0.055),
        (3_200, 0.98, 0.0025, 0.0075, 0.055),
        (10_000, 0.90, 0.025, 0.035, 0.055),
        (1_000, 0.75, 0.001, 0.021, 0.067),  # one is hardly ever right alone
    ],
)
def test_one_sided_paired_bounds_fail_as_seldom_as_the_docstring_says(
    n: int, share: float, first: float, second: float, most: float
) -> None:
    # 20,000 draws of images; three standard errors are 0.5 % of them.
    cells = [share - second, first, second, 1 - share - first]
    draws = np.random.default_rng(n).multinomial(n, cells, 20_000)
    counts, times = np.unique(draws, axis=0, return_counts=True)
    bounds = [newcombe(*map(int, one), sided=1) for one in counts]
    truth = first - second
    too_high = sum(t for (low, _), t in zip(bounds, times, strict=True) if low > truth)
    too_low = sum(t for (_, high), t in zip(bounds, times, strict=True) if high < truth)
    assert 0.025 < too_low / 20_000 < 0.056
    assert 0.025 < too_high / 20_000 < most
