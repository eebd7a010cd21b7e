"""Intervals of means, medians and ratios from whole rounds, never from single runs.

Runs that follow each other are not independent (a busy neighbour slows ten in a row), so a round
gives one figure, and an interval is Student's t over the figures of the rounds. A ratio is that of
two medians of one round, which were neighbours in time. Fewer than five rounds have no interval:
what they say of their own spread is too little to be told.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gensynth.goals.student import quantile

ROUNDS_FOR_INTERVAL = 5


@dataclass(frozen=True)
class Ratio:
    """How many times one median is another.

    Attributes:
        value: the geometric mean of the rounds' ratios.
        low: lower end of its 95 % interval; None with fewer than five rounds.
        high: upper end; None likewise.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends; None with fewer than five rounds."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def mean_interval(rounds: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean run.

        mean exp(-+ h),    h = Student's t times the standard error of mean_k, over the mean

    over the means of rounds; the exponential keeps it above zero, where the time of a run is.

    Args:
        rounds: the runs of each round; as many in each.

    Returns:
        None with fewer than five rounds.
    """
    means = np.asarray(rounds, dtype=np.float64).mean(axis=1)  # (rounds,)
    if len(means) < ROUNDS_FOR_INTERVAL:
        return None
    mean = float(means.mean())
    half = _half_width(means) / mean
    return mean * math.exp(-half), mean * math.exp(half)


def median_interval(rounds: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of all runs, see `percentile_interval`."""
    return percentile_interval(rounds, 50)


def percentile_interval(
    rounds: Sequence[Sequence[float]] | Sequence[np.ndarray], percent: float
) -> tuple[float, float] | None:
    """Return the 95 % interval of a percentile of all runs.

        p exp(-+ h),    h = Student's t times the standard error of log(p_k)

    over the percentiles p_k of rounds; it is never below zero, and holds that of all runs.

    Args:
        rounds: the runs of each round; about as many in each, and enough for the percentile.
        percent: of the runs that are below, 50 for the median.

    Returns:
        None with fewer than five rounds.
    """
    if len(rounds) < ROUNDS_FOR_INTERVAL:
        return None
    of_all = float(np.percentile(np.concatenate([np.asarray(r) for r in rounds]), percent))
    half = _half_width(np.log([np.percentile(turn, percent) for turn in rounds]))
    return of_all * math.exp(-half), of_all * math.exp(half)


def paired_ratio(
    numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]
) -> Ratio:
    """Return how many times slower the first is, from rounds that were timed in turns.

        log ratio = mean of d_k,  d_k = log(median numerator_k / median denominator_k)

    with a 95 % interval of Student's t over the d_k.

    Raises:
        ValueError: if the two were not timed in the same rounds, or in none.
    """
    if len(numerator) != len(denominator) or not len(numerator):
        raise ValueError(
            f"a ratio needs the same rounds on both sides, got {len(numerator)} and "
            f"{len(denominator)}"
        )
    logs = np.log([np.median(turn) for turn in numerator]) - np.log(
        [np.median(turn) for turn in denominator]
    )  # (rounds,)
    middle = float(logs.mean())
    if len(logs) < ROUNDS_FOR_INTERVAL:
        return Ratio(math.exp(middle), None, None)
    half = _half_width(logs)
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def _half_width(values: np.ndarray) -> float:
    return quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
