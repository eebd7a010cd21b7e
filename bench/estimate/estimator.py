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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gensynth.bench.estimate.columns import Columns, by_kind
from gensynth.bench.estimate.conformal import Scores
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.prior import Prior
from gensynth.bench.estimate.regression import Departure
from gensynth.goals.figure import Figure

FOLDS = 10
LEAVE_ONE_OUT = 30
"""Below so many networks each is left out alone; from there on a tenth at a time."""
_CALIBRATED = 0.12
"""Standard deviation of ln(true / estimated) that is expected of the first measurements."""
_ERROR = 0.02
"""Of a network's estimate by its kernels."""
_PENALTY, _SPREAD = 0.5, 0.5
"""Standard deviations of an offset and a factor, and of factors by kind, as shares."""
_LEAST_FACTOR = 0.1
_KERNEL_ERROR = 0.05
_LEAST_MS = 5e-4
_ANY_BYTES_PER_MS = 1e7
_UNSEEN = 3.0
"""Distance at most, and that of a kernel whose kind was never measured."""


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
        errors, distances = [], []
        for out in _folds(len(own)):
            left_out = [own[place] for place in out]
            rest = [s for s in known if all(s is not other for other in left_out)]
            if rest:
                without = _Model.of(rest, prior, model.scales)
                for sample in left_out:
                    value, distance = without.network(sample.kernels)
                    errors.append(math.log(sample.latency_ms / value))
                    distances.append(distance)
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
        value, distance = self._model.network(kernels)
        half80, half95 = self._scores.half_widths(distance)
        unknown = {k.vertex: k.kind for k in kernels if not self._model.knows(k.kind)}
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
        if not self._model.knows(columns.kind):
            return np.full(len(columns), np.nan)
        return self._model.kernels(columns)


@dataclass(frozen=True)
class _Model:
    """Kernels' milliseconds, and networks' from them.

    Attributes:
        prior: of the device.
        departures: of each kind whose kernels were measured.
        shift: ln(t / roofline) of kinds that were not.
        factors: from a kernel's own time to what it adds to a network, by kind; `factor` for others.
        offset_ms: of a network beyond its kernels'.
    """

    prior: Prior
    departures: Mapping[str, Departure]
    shift: float = 0.0
    factor: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)
    offset_ms: float = 0.0

    @property
    def scales(self) -> dict[str, Any]:
        """Of each kind's regression, for a fit to fewer networks."""
        return {kind: departure.scales for kind, departure in self.departures.items()}

    @staticmethod
    def of(
        samples: Sequence[Sample], prior: Prior, scales: Mapping[str, Any] | None = None
    ) -> "_Model":
        """Fit kernels to their profiles, then networks to their kernels."""
        departures = {
            kind: Departure(*seen, (scales or {}).get(kind))
            for kind, seen in _measured(samples, prior).items()
        }
        shift = float(np.median([d.offset for d in departures.values()])) if departures else 0.0
        model = _Model(prior, departures, shift)
        if not samples:
            return model
        return replace(model, **_fit_networks(model, samples))

    def knows(self, kind: str) -> bool:
        """Return whether anything is known of a kind of kernels."""
        return kind in self.departures or self.prior.kernel_ms(_one(kind)) is not None

    def kernels(self, columns: Columns) -> np.ndarray:
        """Return what each kernel adds to its network."""
        return self.raw(columns) * self.factors.get(columns.kind, self.factor)

    def raw(self, columns: Columns) -> np.ndarray:
        """Return each kernel's own time."""
        roofline = _roofline(self.prior, columns)
        departure = self.departures.get(columns.kind)
        if departure is None:
            return roofline * math.exp(self.shift)
        raw: np.ndarray = roofline * np.exp(departure.at(columns.features()))
        return raw

    def network(self, kernels: Sequence[Kernel]) -> tuple[float, float]:
        """Return a network's milliseconds, and how far it is from what was measured."""
        total, far = 0.0, 0.0
        for columns, _ in by_kind(kernels):
            if not self.knows(columns.kind):
                continue
            each = self.kernels(columns)
            departure = self.departures.get(columns.kind)
            distance = np.full(len(each), _UNSEEN if self.departures else 1.0)
            if departure is not None:
                distance = departure.distance(columns.features())
            total += each.sum()
            far += (each * np.clip(distance - 1, 0, _UNSEEN)).sum()
        if total <= 0:
            raise ValueError("a network must have a kernel of a known kind")
        return total + self.offset_ms, far / total


def _fit_networks(model: _Model, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return `factor`, `factors` and `offset_ms` by weighted least squares of relative errors.

    With profiles it is one factor and an offset. Without them it is a factor for each kind, near
    one that is common to all.
    """
    kinds = sorted({kernel.kind for sample in samples for kernel in sample.kernels})
    kinds = [kind for kind in kinds if model.knows(kind)]
    sums = np.zeros((len(samples), len(kinds)))
    for row, sample in enumerate(samples):
        for columns, _ in by_kind(sample.kernels):
            if columns.kind in kinds:
                sums[row, kinds.index(columns.kind)] = model.raw(columns).sum()
    times = np.array([sample.latency_ms for sample in samples])
    weights = 1 / (_ERROR**2 + np.array([sample.variance for sample in samples]))
    common = math.exp(float(np.median(np.log(times / sums.sum(axis=1)))))
    if model.departures:
        shares = np.stack([np.ones(len(times)), sums.sum(axis=1)], axis=1) / times[:, None]
        towards, deviations = np.array([0.0, common]), np.array([times.min(), common]) * _PENALTY
        offset, factor = _ridge(shares, weights, towards, deviations)
        return {"factor": float(factor), "offset_ms": max(float(offset), 0.0)}
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


def _measured(
    samples: Sequence[Sample], prior: Prior
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return features, departures and variances of the profiled kernels of each kind.

    Kernels of one kind and equal sizes are one, with the mean of their departures.
    """
    profiled = [sample for sample in samples if sample.kernel_ms is not None]
    kernels = [kernel for sample in profiled for kernel in sample.kernels]
    times = np.array([ms for sample in profiled for ms in sample.kernel_ms or ()])
    variances = np.array([s.variance for s in profiled for _ in s.kernels])
    found = {}
    for columns, places in by_kind(kernels):
        departure = np.log(np.maximum(times[places], _LEAST_MS) / _roofline(prior, columns))
        features, which = np.unique(columns.features(), axis=0, return_inverse=True)
        which = which.reshape(-1)
        weights = 1 / (_KERNEL_ERROR**2 + variances[places])
        total = np.bincount(which, weights)
        mean = np.bincount(which, weights * departure) / total
        excess = np.maximum(1 / total - _KERNEL_ERROR**2, 0)
        found[columns.kind] = (features, mean, excess)
    return found


def _roofline(prior: Prior, columns: Columns) -> np.ndarray:
    """Return the prior's times, or where it has none, times in proportion to bytes."""
    found = prior.kernel_ms(columns)
    return columns.moved / _ANY_BYTES_PER_MS if found is None else found


def _is_known(sample: Sample, prior: Prior) -> bool:
    """Return whether a network says anything: its kernels' times, or a prior of each of them."""
    return sample.kernel_ms is not None or all(
        prior.kernel_ms(_one(kernel.kind)) is not None for kernel in sample.kernels
    )


def _one(kind: str) -> Columns:
    one = np.ones(1)
    return Columns(kind, one, one, {})


def _folds(count: int) -> list[np.ndarray]:
    """Return which networks are left out at a time."""
    folds = count if count < LEAVE_ONE_OUT else FOLDS
    return np.array_split(np.random.default_rng(0).permutation(count), folds) if count else []
