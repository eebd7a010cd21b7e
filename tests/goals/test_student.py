"""Student's t against closed forms and the printed tables."""

import math

import pytest

from gensynth.goals.student import quantile


def test_the_quantile_has_a_closed_form_for_one_and_two_degrees_of_freedom() -> None:
    # F(t) = 1/2 + atan(t) / pi, and 1/2 + t / (2 sqrt(2 + t^2)).
    for confidence in (0.5, 0.8, 0.95, 0.999):
        assert quantile(1, confidence) == pytest.approx(math.tan(math.pi * confidence / 2))
        two = confidence * math.sqrt(2 / (1 - confidence**2))
        assert quantile(2, confidence) == pytest.approx(two)


def test_the_quantile_of_the_tables() -> None:
    # Any table: 97.5 % one-sided.
    assert [round(quantile(n), 3) for n in (1, 2, 4, 9)] == [12.706, 4.303, 2.776, 2.262]


@pytest.mark.parametrize(("freedom", "confidence"), [(0, 0.95), (3, 0.0), (3, 1.0)])
def test_what_has_no_quantile(freedom: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="freedom must be at least 1"):
        quantile(freedom, confidence)
