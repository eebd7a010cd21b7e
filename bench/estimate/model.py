"""Milliseconds of kernels by roofline and regression, and of networks by their kernels.

    network = a + sum over kernels of (b t + c)

a, b and c follow from whole networks by least squares of relative errors; c is mostly the
profiler's own time in t and so is negative. Without profiles there is a factor for each kind.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gensynth.bench.estimate.columns import Columns, by_kind
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.prior import Prior
from gensynth.bench.estimate.regression import MOST, UNSEEN, Departures
from gensynth.bench.estimate.sample import Sample

_ERROR = 0.02
"""Of a network's estimate by its kernels, as a standard deviation of its logarithm."""
_KERNEL_ERROR = 0.05
"""Of a kernel's time by its profile."""
_OFFSET_MS, _SLOPE, _SPREAD = 0.01, 0.2, 3.0
"""Standard deviations of a and c, of b, and of factors by kind as a share."""
_LEAST_FACTOR = 0.1
_LEAST_MS = 5e-4
_ANY_BYTES_PER_MS = 1e7


@dataclass(frozen=True)
class Model:
    """Kernels' milliseconds, and networks' from them.

    Attributes:
        prior: of the device.
        departures: from it, by the names of kernels' sizes.
        shift: ln(t / roofline) of kernels whose sizes have other names.
        factors: from a kernel's own time to what it adds to a network, by kind.
        factor: the same of kinds that are not among them.
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
    def of(samples: Sequence[Sample], prior: Prior) -> "Model":
        """Fit kernels to their profiles, then networks to their kernels."""
        departures = _departures(samples, prior)
        shift = float(np.median([d.offset for d in departures.values()])) if departures else 0.0
        model = Model(prior, departures, shift)
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


def _fit_networks(model: Model, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return `offset_ms`, `factor` and `each_ms`, or without profiles `factor` and `factors`."""
    samples = [sample for sample in samples if sample.variance == 0] or samples
    kinds, each = [], []
    for columns, owners in _of_all([sample.kernels for sample in samples]):
        if model.knows(columns):
            kinds.append(columns.kind)
            each.append(np.bincount(owners, model.raw(columns), len(samples)))
    sums = np.stack(each, axis=1)
    times = np.array([sample.latency_ms for sample in samples])
    weights = 1 / (_ERROR**2 + np.array([sample.variance for sample in samples]))
    common = math.exp(float(np.median(np.log(times / sums.sum(axis=1)))))
    counts = np.array([len(sample.kernels) for sample in samples])
    if model.departures:
        terms = [np.ones(len(times)), sums.sum(axis=1), counts]
        shares = np.stack(terms, axis=1) / times[:, None]
        towards = np.array([0.0, 1.0, 0.0])
        deviations = np.array([_OFFSET_MS, _SLOPE, _OFFSET_MS])
        # A call takes time of its own; what a profiler adds to each kernel goes off again.
        bounds = np.array([0.0, 0.0, -np.inf])
        offset, factor, each = _ridge(shares, weights, towards, deviations, bounds)
        return {"factor": float(factor), "offset_ms": float(offset), "each_ms": float(each)}
    shares = np.column_stack([sums, counts]) / times[:, None]
    towards = np.append(np.full(len(kinds), common), 0.0)
    deviations = np.append(np.full(len(kinds), common * _SPREAD), np.median(times / counts))
    none = np.zeros(len(towards))
    *factors, each_ms = _ridge(shares, weights, towards, deviations, none)
    least = common * _LEAST_FACTOR
    return {
        "factor": common,
        "factors": {k: max(float(f), least) for k, f in zip(kinds, factors, strict=True)},
        "each_ms": float(each_ms),
    }


def _ridge(
    shares: np.ndarray,
    weights: np.ndarray,
    towards: np.ndarray,
    deviations: np.ndarray,
    least: np.ndarray,
) -> np.ndarray:
    """Return the x, nowhere below `least`, that makes this least.

    sum weights * (shares @ x - 1)^2 + sum ((x - towards) / deviations)^2
    """
    from scipy.optimize import lsq_linear

    root = np.sqrt(weights)
    matrix = np.concatenate([shares * root[:, None] * deviations, np.eye(len(deviations))])
    right = np.concatenate([root, towards / deviations])
    bounds = (least / deviations, np.inf)
    solution: np.ndarray = lsq_linear(matrix, right, bounds, method="bvls").x * deviations
    return solution


def _departures(samples: Sequence[Sample], prior: Prior) -> dict[tuple[str, ...], Departures]:
    """Return the regressions of the kernels that were profiled.

    Kernels of one kind, equal sizes and one context are one, with the mean of their departures.
    """
    profiled = [sample for sample in samples if sample.kernel_ms is not None]
    times = np.array([ms for sample in profiled for ms in sample.kernel_ms or ()])
    variances = np.array([s.variance for s in profiled for _ in s.kernels])
    parts: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for columns, places in by_kind([kernel for sample in profiled for kernel in sample.kernels]):
        departure = np.log(np.maximum(times[places], _LEAST_MS) / _roofline(prior, columns))
        told = np.column_stack([columns.features(), variances[places]])
        told, which = np.unique(told, axis=0, return_inverse=True)
        counts = np.bincount(which.reshape(-1))
        mean = np.bincount(which.reshape(-1), departure) / counts
        noise = _KERNEL_ERROR**2 / counts
        part = [columns.kind] * len(counts), told[:, :-1], mean, noise, told[:, -1]
        parts.setdefault(columns.names, []).append(part)
    found = {}
    for names, own in parts.items():
        kinds, *arrays = zip(*own, strict=True)
        every = [kind for some in kinds for kind in some]
        features, mean, noise, context = map(np.concatenate, arrays)
        order = np.random.default_rng(0).permutation(len(mean))
        kept = order[np.argsort(context[order], kind="stable")][:MOST]
        found[names] = Departures(
            [every[place] for place in kept],
            *(values[kept] for values in (features, mean, noise, context)),
        )
    return found


def _roofline(prior: Prior, columns: Columns) -> np.ndarray:
    """Return the prior's times, or where it has none, times in proportion to bytes."""
    found = prior.kernel_ms(columns)
    return columns.moved / _ANY_BYTES_PER_MS if found is None else found
