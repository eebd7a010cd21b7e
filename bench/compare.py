"""Intervals of means, medians and ratios from whole rounds, never from single runs.

Runs that follow each other are not independent (a busy neighbour slows ten in a row), so
single runs are never resampled. Two ways:

    many short rounds     a bootstrap: rounds are drawn with replacement, and a ratio draws the
                          same ones for both sides. Percentiles, 2.5 % to 97.5 %, of 1,000
                          draws of a fixed stream. With fewer than ten rounds too narrow.
    few long rounds       Student's t over one figure a round; for a ratio that is the log of
                          the ratio of the two medians of a round, which were neighbours in time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gensynth.bench.student import quantile
from gensynth.randomness import stream

DRAWS = 1000
ROUNDS_FOR_INTERVAL = 3
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


def mean_interval(rounds: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean run, by Student's t over the means of rounds.

    Args:
        rounds: the runs of each round; as many in each.

    Returns:
        None with fewer than three rounds.
    """
    means = np.asarray(rounds, dtype=np.float64).mean(axis=1)  # (rounds,)
    if len(means) < ROUNDS_FOR_INTERVAL:
        return None
    half = _half_width(means)
    return float(means.mean() - half), float(means.mean() + half)


def paired_ratio(
    numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]
) -> Ratio:
    """Return how many times slower the first is, from rounds that were timed in turns.

        log ratio = mean of d_k,  d_k = log(median numerator_k / median denominator_k)

    with a 95 % interval of Student's t over the d_k.

    Raises:
        ValueError: if the two were not timed in the same rounds, or in fewer than three.
    """
    if len(numerator) != len(denominator) or len(numerator) < ROUNDS_FOR_INTERVAL:
        raise ValueError(
            f"a ratio needs the same rounds on both sides, at least {ROUNDS_FOR_INTERVAL}, got "
            f"{len(numerator)} and {len(denominator)}"
        )
    logs = np.log([np.median(turn) for turn in numerator]) - np.log(
        [np.median(turn) for turn in denominator]
    )  # (rounds,)
    middle, half = float(logs.mean()), _half_width(logs)
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def _half_width(values: np.ndarray) -> float:
    return quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))


def _medians(rounds: Sequence[Sequence[float]]) -> np.ndarray:
    """(draws,): the median of each draw of rounds, the same draws for every call."""
    samples = np.asarray(rounds, dtype=np.float64)  # (rounds, runs)
    chosen = stream(0, "bootstrap-rounds", len(samples)).integers(
        len(samples), size=(DRAWS, len(samples))
    )
    medians: np.ndarray = np.median(samples[chosen].reshape(DRAWS, -1), axis=1)
    return medians
