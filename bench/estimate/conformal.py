"""Intervals from how far measured networks are from what the others say of them.

Each network that was measured has a score, |ln(measured / estimated)| / (1 + distance), where the
estimate was made without it. The interval of a new network holds its true value with probability p
if its half width is the ceil(p (n + 1))-th smallest score of n times its own 1 + distance
(Lei et al., arXiv:1604.04173, with scores scaled by the distance). With fewer scores than that rank
the half width is Student's, from their root mean square and what is known before any measurement.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from gensynth.goals.student import quantile

_BEFORE = 2
"""Scores that `Scores.spread` counts for where there are few."""
_LEAST = 1e-3


@dataclass(frozen=True)
class Scores:
    """Scores of the networks that were measured.

    Attributes:
        values: (networks,), sorted.
        spread: standard deviation of ln(true / estimated) that is expected without them.
    """

    values: tuple[float, ...]
    spread: float

    @staticmethod
    def of(errors: Sequence[float], distances: Sequence[float], spread: float) -> "Scores":
        """Return the scores of estimates.

        Args:
            errors: ln(measured / estimated) of each network, estimated without it.
            distances: of each from the others, 0 among them.
            spread: see `Scores`.
        """
        scaled = np.abs(np.asarray(errors)) / (1 + np.asarray(distances))
        return Scores(tuple(sorted(scaled.tolist())), spread)

    def half_widths(self, distance: float) -> tuple[float, float]:
        """Return the half widths, in ln, of the intervals of 80 and 95 percent."""
        near80, near95 = self._half_width(0.8), self._half_width(0.95)
        # Where only 80 percent have a rank, a single score may be wider than Student's 95.
        return near80 * (1 + distance), max(near80, near95) * (1 + distance)

    def _half_width(self, probability: float) -> float:
        count = len(self.values)
        if not count:
            return NormalDist().inv_cdf((1 + probability) / 2) * self.spread
        rank = math.ceil(probability * (count + 1))
        if rank <= count:
            return max(self.values[rank - 1], _LEAST)
        squares = sum(value**2 for value in self.values) + _BEFORE * self.spread**2
        deviation = math.sqrt(squares / (count + _BEFORE))
        return quantile(count + _BEFORE, probability) * deviation
