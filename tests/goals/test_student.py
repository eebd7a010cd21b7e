"""Student's t against another implementation and the printed tables."""

import pytest
from scipy import stats

from gensynth.goals.student import quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 30, 99, 100, 999])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.999])
def test_the_quantile_is_scipys(freedom: int, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert quantile(freedom, confidence) == pytest.approx(expected, rel=1e-9)


def test_the_quantile_of_the_tables() -> None:
    # Any table: 97.5 % one-sided.
    assert [round(quantile(n), 3) for n in (1, 2, 4, 9)] == [12.706, 4.303, 2.776, 2.262]


@pytest.mark.parametrize(("freedom", "confidence"), [(0, 0.95), (3, 0.0), (3, 1.0)])
def test_what_has_no_quantile(freedom: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="freedom must be at least 1"):
        quantile(freedom, confidence)
