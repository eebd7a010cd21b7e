"""What is believed of quantities that are positive and not known exactly: log-normal numbers.

The logarithms of all quantities of a board are jointly normal. What is measured of whole networks
moves them together: `updated` finds the most probable logarithms given the measurements, and the
curvature there (Laplace's approximation). Without measurements they stay as they were, so that an
estimate goes over from what is known of a kind of board to what is known of a board.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from gensynth.randomness import stream


@dataclass(frozen=True)
class Belief:
    """One quantity.

    Attributes:
        median: in its own unit; positive.
        spread: standard deviation of its natural logarithm; 0.35 is a factor of two either way
            at 95 %.
        source: where it comes from.
    """

    median: float
    spread: float
    source: str


Quantities = Mapping[str, np.ndarray]
"""Values of every quantity by name, one a draw."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one network, and what the quantities say of it.

    Attributes:
        value: the measurement.
        predicted: gives what it would be, for every draw.
        spread: standard deviation of ln(measurement / prediction) at the true quantities.
    """

    value: float
    predicted: Callable[[Quantities], np.ndarray]
    spread: float


class Beliefs:
    """Several quantities, with how their errors hang together.

    Args:
        beliefs: by name.
    """

    def __init__(self, beliefs: Mapping[str, Belief]) -> None:
        self.names = tuple(beliefs)
        self._mean = np.log([belief.median for belief in beliefs.values()])
        self._factor = np.diag([belief.spread for belief in beliefs.values()])

    def medians(self) -> Quantities:
        """Return the median of every quantity, as one draw."""
        return self._named(self._mean[None])

    def spread(self, name: str) -> float:
        """Return the standard deviation of a quantity's logarithm."""
        return float(np.linalg.norm(self._factor[self.names.index(name)]))

    def draws(self, count: int) -> Quantities:
        """Return draws, the same ones each time."""
        normal = stream(0, "beliefs").standard_normal((count, len(self.names)))
        return self._named(self._mean + normal @ self._factor.T)

    def updated(self, measured: Sequence[Measured]) -> "Beliefs":
        """Return what is believed after measurements.

        Minimises |z|^2 + sum over measurements of (ln value - ln predicted(z))^2 / spread^2,
        where z are the logarithms' deviations in units of what was believed before; the inverse
        of half the curvature there is the covariance of z.
        """
        if not measured:
            return self

        def residuals(z: np.ndarray) -> np.ndarray:
            at = self._named((self._mean + self._factor @ z)[None])
            misses = [
                (np.log(one.value) - np.log(one.predicted(at)[0])) / one.spread for one in measured
            ]
            return np.concatenate([z, misses])

        found = least_squares(residuals, np.zeros(len(self.names)))
        covariance = np.linalg.inv(found.jac.T @ found.jac)
        after = copy(self)
        after._mean = self._mean + self._factor @ found.x
        after._factor = self._factor @ np.linalg.cholesky(covariance)
        return after

    def _named(self, logarithms: np.ndarray) -> Quantities:
        return {name: np.exp(logarithms[:, i]) for i, name in enumerate(self.names)}
