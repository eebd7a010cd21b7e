"""Wilson's bounds against hand calculation, the literature and exact coverage."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.goals.intervals import bonferroni, lower_bound, upper_bound, wilson


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
