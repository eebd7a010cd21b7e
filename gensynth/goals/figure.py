"""What is known of a network on a device: a value, how sure it is, and where it comes from.

    measured              by the device's agent, with the interval of its rounds
    calibrated estimate   from measurements of other networks on this device
    estimate              from what is known of its kind of board alone

An estimate is never printed without its interval, and never compared with a limit as if it were
a measurement: what counts is the probability that the limit is kept.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Literal

Provenance = Literal["measured", "calibrated estimate", "estimate", "simulated"]

_LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
_NORMAL = NormalDist()
_Z = tuple(map(_NORMAL.inv_cdf, _LEVELS))


@dataclass(frozen=True)
class Figure:
    """One metric of one network on one device.

    Attributes:
        value: the median, in the metric's unit; positive.
        interval80: (low, high) that hold the true value with probability 0.8.
        interval95: the same with 0.95.
        provenance: where it comes from.
        measurements: networks measured on the device that it rests on.
        unknown: kernels that nothing is known of, by name; the figure leaves them out and
            promises nothing.
    """

    value: float
    interval80: tuple[float, float]
    interval95: tuple[float, float]
    provenance: Provenance
    measurements: int = 0
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        (low80, high80), (low95, high95) = self.interval80, self.interval95
        if not 0 < low95 <= low80 <= self.value <= high80 <= high95 < math.inf:
            raise ValueError(
                "a figure's value and intervals must be positive, finite and nested, got "
                f"{self.value} in {self.interval80} in {self.interval95}"
            )

    @property
    def measured(self) -> bool:
        """Whether the network itself was measured."""
        return self.provenance == "measured"

    def probability_below(self, limit: float) -> float:
        """Return the probability that the true value is at most `limit`, in [0, 1].

        Between the five quantiles that the intervals give, log value is taken as linear in the
        normal quantile; beyond them it goes on as steeply. 0 where kernels are unknown.
        """
        if limit <= 0 or self.unknown:
            return 0.0
        quantiles = (self.interval95[0], self.interval80[0], self.value, *self._above())
        points = list(zip(map(math.log, quantiles), _Z, strict=True))
        x = math.log(limit)
        (x0, z0), (x1, z1) = next(
            (pair for pair in pairwise(points) if x <= pair[1][0]), (points[-2], points[-1])
        )
        if x1 <= x0:
            return float(x >= x0)
        return _NORMAL.cdf(z0 + (x - x0) * (z1 - z0) / (x1 - x0))

    def inverse(self) -> "Figure":
        """Return the figure of one over the metric: images a joule from joules an image."""
        (low80, high80), (low95, high95) = self.interval80, self.interval95
        return Figure(
            1 / self.value,
            (1 / high80, 1 / low80),
            (1 / high95, 1 / low95),
            self.provenance,
            self.measurements,
            self.unknown,
        )

    def scaled(self, factor: float) -> "Figure":
        """Return the figure of a positive multiple of the metric."""
        (low80, high80), (low95, high95) = self.interval80, self.interval95
        return replace(
            self,
            value=self.value * factor,
            interval80=(low80 * factor, high80 * factor),
            interval95=(low95 * factor, high95 * factor),
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "value": self.value,
            "interval80": list(self.interval80),
            "interval95": list(self.interval95),
            "provenance": self.provenance,
            "measurements": self.measurements,
            **({"unknown": list(self.unknown)} if self.unknown else {}),
        }

    def _above(self) -> tuple[float, float]:
        return self.interval80[1], self.interval95[1]
