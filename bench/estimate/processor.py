"""Networks on a processor with ONNX Runtime: their figures, and tables for a search.

    joule_per_img = watts * latency_ms / (1000 batch)

Power varies far less between networks than their time does, so watts are the median of what was
measured, with its spread, and time carries the rest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from onnx import ModelProto

from gensynth.bench.estimate.estimator import Estimator
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.bench.estimate.prior import PROCESSOR, Prior
from gensynth.bench.estimate.profile import KernelTime, match
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.estimate.table import tabulate
from gensynth.goals.figure import Figure
from gensynth.space.cost_model import Tabulated
from gensynth.space.space import Space

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


@dataclass(frozen=True)
class Processor:
    """What is known of one processor, in one context.

    Attributes:
        device: its name.
        block: channels of a block of its convolutions; None without.
        batch: images of one run.
        samples: networks that were measured.
        watts: that were measured of them.
        prior: what is known of its kind.
    """

    device: str
    block: int | None
    batch: int = 1
    samples: tuple[Sample, ...] = ()
    watts: tuple[float, ...] = ()
    prior: Prior = PROCESSOR

    @cached_property
    def estimator(self) -> Estimator:
        """Of milliseconds."""
        return Estimator.fit(self.samples, self.prior)

    @property
    def power(self) -> AveragePower | None:
        """None until joules were measured."""
        return AveragePower.of(self.watts)

    def kernels(self, model: ModelProto) -> tuple[Kernel, ...]:
        """Return what ONNX Runtime makes of a network."""
        return plan(model, self.block, self.batch)

    def times(
        self, kernels: Sequence[Kernel], profile: Sequence[Mapping[str, Any]]
    ) -> tuple[float, ...] | None:
        """Return each kernel's milliseconds by the runtime's profile; None if they do not fit."""
        return match(kernels, [KernelTime.of(entry) for entry in profile], self.block)

    def learned(self, samples: Sequence[Sample], watts: Sequence[float | None]) -> "Processor":
        """Return what is known once these have been measured too."""
        return replace(
            self,
            samples=(*self.samples, *samples),
            watts=(*self.watts, *(w for w in watts if w is not None)),
        )

    def figures(self, kernels: Sequence[Kernel]) -> dict[str, Figure]:
        """Return latency and, once watts are known, joules of a network by the metric's name."""
        latency = self.estimator.latency_ms(kernels)
        found = {"latency_ms": latency}
        if self.power is not None:
            found["joule_per_img"] = self.power.joules(latency, self.batch)
        return found

    def table(self, space: Space, names: Sequence[str], model: ModelProto) -> Tabulated:
        """Return the costs of a space's vertices.

        Args:
            space: whose.
            names: "latency_ms", and "joule_per_img" where joules are asked for; a watt is
                assumed while none was measured, which keeps their order and nothing else.
            model: the prototype's file.
        """
        latency = tabulate(
            self.estimator, space, device=self.device, block=self.block, batch=self.batch
        )
        if "joule_per_img" not in names:
            return latency
        watts = 1.0 if self.power is None else self.power.watts
        scale = watts / (1000 * self.batch)
        tables = [np.concatenate([t, t * scale], axis=-1) for t in latency.tables]
        return replace(
            latency, names=(*latency.names, f"joule_per_img@{self.device}"), tables=tables
        )
