"""What a figure says of a limit, and what it cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.goals.figure import Figure

ESTIMATE = Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate")
STEPS = st.floats(1e-3, 1.0)


@pytest.mark.parametrize(
    ("limit", "probability"), [(2.9, 0.025), (3.3, 0.1), (4.1, 0.5), (5.2, 0.9), (6.1, 0.975)]
)
def test_the_ends_of_the_intervals_have_the_probability_they_are_of(
    limit: float, probability: float
) -> None:
    assert ESTIMATE.probability_below(limit) == pytest.approx(probability)


@given(st.floats(0.1, 1e3), STEPS, STEPS, STEPS, STEPS, st.floats(0.01, 1e4), st.floats(1, 10))
def test_a_wider_limit_is_never_less_probable(
    value: float, a: float, b: float, c: float, d: float, limit: float, wider: float
) -> None:
    low80, high80 = value / (1 + a), value * (1 + b)
    figure = Figure(value, (low80, high80), (low80 / (1 + c), high80 * (1 + d)), "estimate")
    assert figure.probability_below(limit) <= figure.probability_below(limit * wider) + 1e-12


def test_an_estimate_with_an_unknown_kernel_promises_nothing() -> None:
    figure = Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate", unknown=("GridSample",))
    assert figure.probability_below(1e9) == 0


def test_an_inverse_has_the_same_probabilities() -> None:
    inverse = ESTIMATE.inverse()
    assert inverse.probability_below(1 / 5.2) == pytest.approx(0.1)
    assert inverse.inverse().value == pytest.approx(ESTIMATE.value)


def test_a_measurement_without_spread_keeps_its_limit_or_not() -> None:
    exact = Figure(2.0, (2.0, 2.0), (2.0, 2.0), "measured")
    assert (exact.probability_below(1.99), exact.probability_below(2.0)) == (0, 1)


@pytest.mark.parametrize("low", [-1.0, 0.0, 5.0])
def test_intervals_are_nested_and_positive(low: float) -> None:
    with pytest.raises(ValueError, match="nested"):
        Figure(4.1, (low, 5.2), (2.9, 6.1), "estimate")
