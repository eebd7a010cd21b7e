"""Milliseconds of networks that were not measured, from those that were.

    kernel    exp(f(sizes)) * roofline, f from every kernel that was measured (`regression`)
    network   a + b * sum of its kernels, a and b from whole networks
    interval  conformal: how far networks are from what the others say of them, wider for one whose
              kernels are far from all that were measured

It works from no measurement on: then it is the roofline with what the roofline is known to be
wrong by. A kernel of a kind that neither the roofline nor a measurement knows makes the figure
"unknown".
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gensynth.bench.estimate.columns import Columns, by_kind
from gensynth.bench.estimate.conformal import Scores
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.prior import Prior
from gensynth.bench.estimate.regression import MOST, UNSEEN, Departures
from gensynth.goals.figure import Figure

FOLDS = 10
LEAVE_ONE_OUT = 30
"""Below so many networks each is left out alone; from there on a tenth at a time."""
_CALIBRATED = 0.12
"""Standard deviation of ln(true / estimated) that is expected of the first measurements."""
_ERROR = 0.02
"""Of a network's estimate by its kernels."""
_OFFSET_MS, _SLOPE, _SPREAD = 0.01, 0.2, 0.5
"""Standard deviations of an offset, of a factor, and of factors by kind as a share."""
_LEAST_FACTOR = 0.1
_KERNEL_ERROR = 0.05
_LEAST_MS = 5e-4
_ANY_BYTES_PER_MS = 1e7


@dataclass(frozen=True)
class Sample:
    """One network that was measured.

    Attributes:
        kernels: of its plan.
        latency_ms: of the whole network.
        interval_ms: that holds it with probability 0.95; None where it is not known.
        kernel_ms: of each kernel, by the runtime's own profile; None without.
        variance: of ln(true / measured) where it was measured in another context; 0 in this one.
    """

    kernels: tuple[Kernel, ...]
    latency_ms: float
    interval_ms: tuple[float, float] | None = None
    kernel_ms: tuple[float, ...] | None = None
    variance: float = 0.0

    def __post_init__(self) -> None:
        if self.kernel_ms is not None and len(self.kernel_ms) != len(self.kernels):
            raise ValueError(
                f"a network of {len(self.kernels)} kernels must have as many times, got "
                f"{len(self.kernel_ms)}"
            )


class Estimator:
    """What networks take on one device in one context; see `fit`.

    Attributes:
        measurements: networks of this context that it rests on.
    """

    def __init__(self, model: "_Model", scores: Scores, measurements: int) -> None:
        self._model, self._scores = model, scores
        self.measurements = measurements

    @staticmethod
    def fit(samples: Sequence[Sample], prior: Prior) -> "Estimator":
        """Return the estimator that follows from measured networks, any number of them.

        Args:
            samples: of one device; those of other contexts have a variance.
            prior: what is known of its kind of device.
        """
        known = [s for s in samples if _is_known(s, prior)]
        model = _Model.of(known, prior)
        own = [sample for sample in known if sample.variance == 0]
        errors: list[float] = []
        distances: list[float] = []
        for out in _folds(len(own)):
            left_out = [own[place] for place in out]
            rest = [s for s in known if all(s is not other for other in left_out)]
            if rest:
                without = _Model.of(rest, prior)
                values, far = without.networks([sample.kernels for sample in left_out])
                times = np.array([sample.latency_ms for sample in left_out])
                errors.extend(np.log(times / values).tolist())
                distances.extend(far.tolist())
        spread = prior.spread
        if known:
            least = min(sample.variance for sample in known)
            spread = min(spread, math.sqrt(_CALIBRATED**2 + least))
        return Estimator(model, Scores.of(errors, distances, spread), len(own))

    @property
    def offset_ms(self) -> float:
        """Milliseconds of a network beyond its kernels'."""
        return self._model.offset_ms

    def latency_ms(self, kernels: Sequence[Kernel]) -> Figure:
        """Return the latency of the network with these kernels.

        Raises:
            ValueError: if it has none of a known kind.
        """
        (value,), (distance,) = (found.tolist() for found in self._model.networks([kernels]))
        half80, half95 = self._scores.half_widths(distance)
        kinds = {columns.kind for columns, _ in by_kind(kernels) if not self._model.knows(columns)}
        unknown = {kernel.vertex: kernel.kind for kernel in kernels if kernel.kind in kinds}
        return Figure(
            value,
            (value * math.exp(-half80), value * math.exp(half80)),
            (value * math.exp(-half95), value * math.exp(half95)),
            "calibrated estimate" if self.measurements else "estimate",
            self.measurements,
            tuple(f"{vertex} ({kind})" for vertex, kind in unknown.items()),
        )

    def kernel_ms(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Return (kernels,) what each adds to its network, in milliseconds; NaN if unknown.

        A network takes their sum and `offset_ms`.
        """
        found = np.full(len(kernels), np.nan)
        for columns, places in by_kind(kernels):
            found[places] = self.columns_ms(columns)
        return found

    def columns_ms(self, columns: Columns) -> np.ndarray:
        """Return what each of many kernels of one kind adds, as `kernel_ms` does."""
        if not self._model.knows(columns):
            return np.full(len(columns), np.nan)
        return self._model.kernels(columns)


@dataclass(frozen=True)
class _Model:
    """Kernels' milliseconds, and networks' from them.

    Attributes:
        prior: of the device.
        departures: from it, by the names of kernels' sizes.
        shift: ln(t / roofline) of kernels whose sizes have other names.
        factors: from a kernel's own time to what it adds to a network, by kind; `factor` for others.
        each_ms: that a kernel adds beyond that; negative where a profiler's own time is in it.
        offset_ms: of a network beyond its kernels'.
    """

    prior: Prior
    departures: Mapping[tuple[str, ...], Departures]
    shift: float = 0.0
    factor: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)
    offset_ms: float = 0.0
    each_ms: float = 0.0

    @staticmethod
    def of(samples: Sequence[Sample], prior: Prior) -> "_Model":
        """Fit kernels to their profiles, then networks to their kernels."""
        departures = _departures(samples, prior)
        shift = float(np.median([d.offset for d in departures.values()])) if departures else 0.0
        model = _Model(prior, departures, shift)
        return replace(model, **_fit_networks(model, samples)) if samples else model

    def knows(self, columns: Columns) -> bool:
        """Return whether anything is known of a kind of kernels."""
        near = self.departures.get(columns.names)
        if near is not None and columns.kind in near:
            return True
        return self.prior.kernel_ms(columns) is not None

    def kernels(self, columns: Columns) -> np.ndarray:
        """Return what each kernel adds to its network."""
        raw = self.raw(columns)
        added: np.ndarray = raw * self.factors.get(columns.kind, self.factor) + self.each_ms
        return np.maximum(added, raw * _LEAST_FACTOR)

    def raw(self, columns: Columns) -> np.ndarray:
        """Return each kernel's own time."""
        roofline = _roofline(self.prior, columns)
        near = self.departures.get(columns.names)
        if near is None:
            return roofline * math.exp(self.shift)
        raw: np.ndarray = roofline * np.exp(near.at(columns.kind, columns.features()))
        return raw

    def distances(self, columns: Columns) -> np.ndarray:
        """Return how far each kernel is from those that were measured, 0 to `UNSEEN`."""
        near = self.departures.get(columns.names)
        if near is None:
            return np.full(len(columns), UNSEEN if self.departures else 0.0)
        return near.distance(columns.kind, columns.features())

    def networks(self, networks: Sequence[Sequence[Kernel]]) -> tuple[np.ndarray, np.ndarray]:
        """Return (networks,) milliseconds, and how far each is from what was measured."""
        total, far = np.zeros((2, len(networks)))
        for columns, owners in _of_all(networks):
            if self.knows(columns):
                each = self.kernels(columns)
                np.add.at(total, owners, each)
                np.add.at(far, owners, each * self.distances(columns))
        if not (total > 0).all():
            raise ValueError("a network must have a kernel of a known kind")
        return np.maximum(total + self.offset_ms, total * _LEAST_FACTOR), far / total


def _of_all(networks: Sequence[Sequence[Kernel]]) -> Iterator[tuple[Columns, np.ndarray]]:
    """Yield the kernels of all networks kind by kind, with (kernels,) whose each is."""
    owners = np.repeat(np.arange(len(networks)), [len(kernels) for kernels in networks])
    for columns, places in by_kind([kernel for kernels in networks for kernel in kernels]):
        yield columns, owners[places]


def _fit_networks(model: _Model, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return `factor`, `factors`, `each_ms` and `offset_ms` by weighted least squares of relative errors.

    With profiles it is one factor and an offset. Without them it is a factor for each kind, near
    one that is common to all.
    """
    kinds, each = [], []
    for columns, owners in _of_all([sample.kernels for sample in samples]):
        if model.knows(columns):
            kinds.append(columns.kind)
            each.append(np.bincount(owners, model.raw(columns), len(samples)))
    sums = np.stack(each, axis=1)
    times = np.array([sample.latency_ms for sample in samples])
    weights = 1 / (_ERROR**2 + np.array([sample.variance for sample in samples]))
    common = math.exp(float(np.median(np.log(times / sums.sum(axis=1)))))
    if model.departures:
        counts = np.array([len(sample.kernels) for sample in samples])
        columns = [np.ones(len(times)), sums.sum(axis=1), counts]
        shares = np.stack(columns, axis=1) / times[:, None]
        towards = np.array([0.0, 1.0, 0.0])
        deviations = np.array([_OFFSET_MS, _SLOPE, _OFFSET_MS])
        offset, factor, each = _ridge(shares, weights, towards, deviations)
        return {"factor": float(factor), "offset_ms": float(offset), "each_ms": float(each)}
    shares = sums / times[:, None]
    towards = np.full(len(kinds), common)
    factors = _ridge(shares, weights, towards, towards * _SPREAD)
    least = common * _LEAST_FACTOR
    return {
        "factor": common,
        "factors": {k: max(float(f), least) for k, f in zip(kinds, factors, strict=True)},
    }


def _ridge(
    shares: np.ndarray, weights: np.ndarray, towards: np.ndarray, deviations: np.ndarray
) -> np.ndarray:
    """Return x of least sum of weights * (shares @ x - 1)^2 + ((x - towards) / deviations)^2."""
    normal = (shares * weights[:, None]).T @ shares + np.diag(deviations**-2.0)
    right = (shares * weights[:, None]).T @ np.ones(len(shares)) + towards / deviations**2
    solution: np.ndarray = np.linalg.solve(normal, right)
    return solution


def _departures(samples: Sequence[Sample], prior: Prior) -> dict[tuple[str, ...], Departures]:
    """Return the regressions of the kernels that were profiled.

    Kernels of one kind and equal sizes are one, with the mean of their departures.
    """
    profiled = [sample for sample in samples if sample.kernel_ms is not None]
    times = np.array([ms for sample in profiled for ms in sample.kernel_ms or ()])
    variances = np.array([s.variance for s in profiled for _ in s.kernels])
    parts: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for columns, places in by_kind([kernel for sample in profiled for kernel in sample.kernels]):
        departure = np.log(np.maximum(times[places], _LEAST_MS) / _roofline(prior, columns))
        features, which = np.unique(columns.features(), axis=0, return_inverse=True)
        weights = 1 / (_KERNEL_ERROR**2 + variances[places])
        total = np.bincount(which.reshape(-1), weights)
        mean = np.bincount(which.reshape(-1), weights * departure) / total
        part = [columns.kind] * len(total), features, mean, 1 / total
        parts.setdefault(columns.names, []).append(part)
    found = {}
    for names, own in parts.items():
        kinds, *arrays = zip(*own, strict=True)
        every = [kind for some in kinds for kind in some]
        features, mean, variance = map(np.concatenate, arrays)
        order = np.random.default_rng(0).permutation(len(mean))
        kept = order[np.argsort(variance[order], kind="stable")][:MOST]
        found[names] = Departures(
            [every[place] for place in kept], features[kept], mean[kept], variance[kept]
        )
    return found


def _roofline(prior: Prior, columns: Columns) -> np.ndarray:
    """Return the prior's times, or where it has none, times in proportion to bytes."""
    found = prior.kernel_ms(columns)
    return columns.moved / _ANY_BYTES_PER_MS if found is None else found


def _is_known(sample: Sample, prior: Prior) -> bool:
    """Return whether a network says anything: its kernels' times, or a prior of each of them."""
    return sample.kernel_ms is not None or all(
        prior.kernel_ms(columns) is not None for columns, _ in by_kind(sample.kernels)
    )


def _folds(count: int) -> list[np.ndarray]:
    """Return which networks are left out at a time."""
    folds = count if count < LEAVE_ONE_OUT else FOLDS
    return np.array_split(np.random.default_rng(0).permutation(count), folds) if count else []
