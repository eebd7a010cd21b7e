"""One device of a run: what was measured there, and the estimates that follow.

A network's milliseconds are told relative to the prototype's in the same turns, so that a device
that is slower today teaches nothing wrong. What was measured of a network goes before every
estimate of it.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from onnx import ModelProto

from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.sample import Sample
from gensynth.devices.run_device import RunDevice
from gensynth.goals import metrics
from gensynth.goals.device_costs import summed
from gensynth.goals.figure import Figure
from gensynth.goals.metrics import JOULES, LATENCY, P99, POWER
from gensynth.runs.hardware.measuring import Outcome
from gensynth.space.cost_model import Tabulated
from gensynth.space.points import Point
from gensynth.space.space import Space

P99_RATIO = 1.1
"""99th percentile over median, before anything was measured."""

_LEAST_BIAS, _MOST_BIAS = 0.8, 1.25
_LEAST_DOUBT = 0.02


class Estimates(Protocol):
    """What is known of a device without measuring a network."""

    def kernels(self, model: ModelProto) -> tuple[Kernel, ...]:
        """Return what the device's runtime makes of a network."""

    def times(
        self, kernels: Sequence[Kernel], profile: Sequence[Mapping[str, Any]]
    ) -> tuple[float, ...] | None:
        """Return each kernel's milliseconds by a profile; None if it tells none of them."""

    def learned(self, samples: Sequence[Sample], watts: Sequence[float | None]) -> "Estimates":
        """Return what is known once these have been measured too."""

    def figures(self, kernels: Sequence[Kernel]) -> dict[str, Figure]:
        """Return figures of a network by the names of the sums."""

    def table(self, space: Space, names: Sequence[str], model: ModelProto) -> Tabulated:
        """Return the sums of a space's vertices."""


@dataclass(frozen=True)
class Seen:
    """One network that was measured.

    Attributes:
        point: the network.
        outcome: of the measurement.
        kernels: of the network.
    """

    point: Point
    outcome: Outcome
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True)
class Board:
    """A device and what a run knows of it.

    Attributes:
        device: its name, its settings and the machine, if there is one to ask.
        names: metrics that are asked of it.
        first: estimates from before the run.
        estimates: with what the run has measured.
        seen: in the order in which they were measured.
    """

    device: RunDevice
    names: tuple[str, ...]
    first: Estimates
    estimates: Estimates
    seen: tuple[Seen, ...] = field(default=())

    @property
    def sums(self) -> tuple[str, ...]:
        """The costs that a search sums for it, by the metric's name."""
        return summed(self.names)

    def with_seen(self, more: Sequence[Seen]) -> Self:
        """Return it with further measurements; failed ones teach nothing but that they failed."""
        seen = (*self.seen, *more)
        usual = [one.outcome.beside_ms for one in seen if one.outcome.beside_ms is not None]
        samples: list[Sample] = []
        watts: list[float | None] = []
        for one in seen:
            latency = one.outcome.figures.get(LATENCY.name)
            if latency is None:
                continue
            now = one.outcome.beside_ms
            drift = 1.0 if now is None else float(np.median(usual)) / now
            samples.append(self._sample(one, latency, drift))
            joule = one.outcome.figures.get(JOULES.name)
            batch = self.device.config.batch
            watts.append(None if joule is None else 1000 * batch * joule.value / latency.value)
        return replace(self, seen=seen, estimates=self.first.learned(samples, watts))

    def figures(self, point: Point, kernels: Sequence[Kernel]) -> dict[str, Figure]:
        """Return what is known of a network by the metric's name, measured before estimated."""
        found = dict(self.estimates.figures(kernels))
        for name in ("throughput", "img_per_joule"):
            source = LATENCY.name if name == "throughput" else JOULES.name
            if source in found:
                found[name] = found[source].inverse()
        if "throughput" in found:
            found["throughput"] = found["throughput"].scaled(1000.0 * self.device.config.batch)
        if JOULES.name in found:
            found[POWER.name] = _watts(
                found[JOULES.name], found[LATENCY.name], self.device.config.batch
            )
        found[P99.name] = found[LATENCY.name].scaled(self.p99_ratio)
        for one in self.seen:
            if one.point == point:
                found.update(one.outcome.figures)
        return {name: figure for name, figure in found.items() if name in {*self.names, *self.sums}}

    def is_known(self, point: Point) -> bool:
        """Return whether measuring this network would tell nothing new."""
        own = [one.outcome for one in self.seen if one.point == point]
        return any(outcome.figures or outcome.is_infeasible for outcome in own)

    def owed(self, attempts: int) -> list[Point]:
        """Return networks without figures for no fault of theirs, tried less often than this."""
        tried = Counter(one.point for one in self.seen)
        return [point for point in tried if tried[point] < attempts and not self.is_known(point)]

    def is_infeasible(self, point: Point) -> bool:
        """Return whether this network was seen to be one that can never run there."""
        return any(one.point == point and one.outcome.is_infeasible for one in self.seen)

    @property
    def p99_ratio(self) -> float:
        """99th percentile over median of what was measured."""
        ratios = [
            figures[P99.name].value / figures[LATENCY.name].value
            for figures in (one.outcome.figures for one in self.seen)
            if P99.name in figures and LATENCY.name in figures
        ]
        return float(np.median(ratios)) if ratios else P99_RATIO

    def margin(self, name: str, kernels: Sequence[Kernel]) -> float | None:
        """Return the upper end of an estimate's 80 % interval over its value; None without one."""
        figure = self.estimates.figures(kernels).get(name)
        return None if figure is None else figure.interval80[1] / figure.value

    def table(self, space: Space, model: ModelProto) -> Tabulated:
        """Return the cost model of a space, brought to what was measured of whole networks.

        A table leaves out what hangs on neighbours; the median ratio of measurements to it is put
        right, within a quarter.
        """
        table = self.estimates.table(space, self.sums, model)
        alone = space.with_models(table)
        bias = np.ones(len(table.names))
        for column, key in enumerate(table.names):
            name = metrics.parts_of(key)[0]
            told = [one for one in self.seen if name in one.outcome.figures]
            if told:
                costs = alone.costs(space.points([one.point for one in told]))
                sums = costs[:, alone.names.index(key)]
                values = np.array([one.outcome.figures[name].value for one in told])
                bias[column] = np.clip(np.median(values / sums), _LEAST_BIAS, _MOST_BIAS)
        return replace(table, tables=[entries * bias for entries in table.tables])

    def _sample(self, one: Seen, latency: Figure, drift: float) -> Sample:
        profile = one.outcome.profile
        times = None if profile is None else self.first.times(one.kernels, profile)
        low, high = latency.interval95
        return Sample(
            one.kernels,
            latency.value * drift,
            (low * drift, high * drift),
            None if times is None else tuple(ms * drift for ms in times),
        )


def _watts(joule: Figure, latency: Figure, batch: int) -> Figure:
    """Return the average power: what the joules' intervals are wider by than the time's."""
    value = 1000 * batch * joule.value / latency.value
    ends: list[tuple[float, float]] = []
    for own, time in (
        (joule.interval80, latency.interval80), (joule.interval95, latency.interval95),
    ):  # fmt: skip
        wider = math.log(own[1] / joule.value) ** 2 - math.log(time[1] / latency.value) ** 2
        least = max([_LEAST_DOUBT, *(math.log(high / value) for _, high in ends)])  # nested
        half = math.exp(max(math.sqrt(max(wider, 0.0)), least))
        ends.append((value / half, value * half))
    return replace(joule, value=value, interval80=ends[0], interval95=ends[1])
