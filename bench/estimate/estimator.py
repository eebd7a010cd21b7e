"""Milliseconds of networks that were not measured, from those that were.

    kernel    roofline * exp(f(kind, sizes)), f from every kernel that was measured (`regression`)
    network   a sum over its kernels, corrected by whole networks (`model`)
    interval  how far networks are from what the others say of them, wider for one whose kernels are
              far from all that were measured (`conformal`)

It works from no measurement on: then it is the roofline with what the roofline is known to be
wrong by. A kernel of a kind that neither the roofline nor a measurement knows makes the figure
"unknown".
"""

import math
from collections.abc import Sequence

import numpy as np

from gensynth.bench.estimate.columns import Columns, by_kind
from gensynth.bench.estimate.conformal import Scores
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.model import Model
from gensynth.bench.estimate.prior import Prior
from gensynth.bench.estimate.sample import Sample
from gensynth.goals.figure import Figure

FOLDS = 10
LEAVE_ONE_OUT = 30
"""Below so many networks each is left out alone; from there on a tenth at a time."""
_CALIBRATED = 0.12
"""Standard deviation of ln(true / estimated) that is expected of the first measurements."""


class Estimator:
    """What networks take on one device in one context; see `fit`.

    Attributes:
        measurements: networks of this context that it rests on.
    """

    def __init__(self, model: "Model", scores: Scores, measurements: int) -> None:
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
        model = Model.of(known, prior)
        own = [sample for sample in known if sample.variance == 0]
        errors: list[float] = []
        distances: list[float] = []
        for out in _folds(len(own)):
            left_out = [own[place] for place in out]
            rest = [s for s in known if all(s is not other for other in left_out)]
            if rest:
                without = Model.of(rest, prior)
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


def _is_known(sample: Sample, prior: Prior) -> bool:
    """Return whether a network says anything: its kernels' times, or a prior of each of them."""
    return sample.kernel_ms is not None or all(
        prior.kernel_ms(columns) is not None for columns, _ in by_kind(sample.kernels)
    )


def _folds(count: int) -> list[np.ndarray]:
    """Return which networks are left out at a time."""
    folds = count if count < LEAVE_ONE_OUT else FOLDS
    return np.array_split(np.random.default_rng(0).permutation(count), folds) if count else []
