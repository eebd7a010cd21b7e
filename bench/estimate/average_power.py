"""Joules from milliseconds: a device's average power while it computes one network after the other.

    joule_per_img = watts * latency_ms / (1000 batch)

A board's power varies far less between networks of one kind than their time does, so watts are
estimated and time carries the rest. They are the median of what was measured; their spread is that
of the measurements, and never less than a sensor's own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gensynth.goals.figure import Figure

LEAST_SPREAD = 0.03
_Z80, _Z95 = 1.2816, 1.9600


@dataclass(frozen=True)
class AveragePower:
    """Watts of a device under load.

    Attributes:
        watts: the median.
        spread: standard deviation of ln(true / estimated).
        measurements: networks that it rests on.
    """

    watts: float
    spread: float
    measurements: int = 0

    @staticmethod
    def of(
        measured_w: Sequence[float], prior: "AveragePower | None" = None
    ) -> "AveragePower | None":
        """Return what measurements say, the prior where there are none; None without either."""
        if not measured_w:
            return prior
        logs = np.log(np.asarray(measured_w, float))
        middle = float(np.median(logs))
        spread = float(np.sqrt(np.square(logs - middle).mean() + 0.1**2 / len(logs)))
        return AveragePower(math.exp(middle), max(spread, LEAST_SPREAD), len(logs))

    def joules(self, latency_ms: Figure, batch: int) -> Figure:
        """Return the joules of an image from the latency of a run.

        Both errors are taken as independent and log-normal.
        """
        scale = self.watts / (1000 * batch)
        value = latency_ms.value * scale

        def interval(of: tuple[float, float], z: float) -> tuple[float, float]:
            low, high = (abs(math.log(end / latency_ms.value)) for end in of)
            own = z * self.spread
            return value * math.exp(-math.hypot(low, own)), value * math.exp(math.hypot(high, own))

        return Figure(
            value,
            interval(latency_ms.interval80, _Z80),
            interval(latency_ms.interval95, _Z95),
            "calibrated estimate" if self.measurements else "estimate",
            min(self.measurements, latency_ms.measurements),
            latency_ms.unknown,
        )
