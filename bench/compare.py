"""Intervals of medians and of their ratios, by a bootstrap of whole rounds.

Runs that follow each other are not independent (a busy neighbour slows ten in a row), so
single runs are never resampled: rounds are drawn with replacement, and a ratio draws the
same rounds for both sides, which were timed in turns. Percentile intervals, 2.5 % to
97.5 %, of 1,000 draws of a fixed stream. With fewer than ten rounds they are too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gensynth.randomness import stream

DRAWS = 1000
_TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Ratio:
    """How many times one median is another.

    Attributes:
        value: the ratio of the medians over all runs.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def median_interval(rounds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the 95 % interval of the median of all runs.

    Args:
        rounds: the runs of each round; as many in each.
    """
    low, high = np.percentile(_medians(rounds), _TAILS)
    return float(low), float(high)


def ratio_of_medians(
    numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]
) -> Ratio:
    """Return median(numerator) / median(denominator) with its 95 % interval.

    Args:
        numerator: the runs of each round; as many in each.
        denominator: of the same rounds.

    Raises:
        ValueError: if the two were not timed in the same number of rounds.
    """
    if len(numerator) != len(denominator):
        raise ValueError(
            f"a ratio needs the same rounds on both sides, got {len(numerator)} and "
            f"{len(denominator)}"
        )
    low, high = np.percentile(_medians(numerator) / _medians(denominator), _TAILS)
    return Ratio(
        float(np.median(np.asarray(numerator)) / np.median(np.asarray(denominator))),
        float(low),
        float(high),
    )


def _medians(rounds: Sequence[Sequence[float]]) -> np.ndarray:
    """(draws,): the median of each draw of rounds, the same draws for every call."""
    samples = np.asarray(rounds, dtype=np.float64)  # (rounds, runs)
    chosen = stream(0, "bootstrap-rounds", len(samples)).integers(
        len(samples), size=(DRAWS, len(samples))
    )
    medians: np.ndarray = np.median(samples[chosen].reshape(DRAWS, -1), axis=1)
    return medians
