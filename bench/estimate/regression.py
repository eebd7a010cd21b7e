"""How kernels depart from the roofline: a Gaussian process on their kind and sizes.

    ln t = ln roofline + m + f(kind, sizes) + noise

    cov(f, f') = 0.3 [same] + r (0.3 exp(-|x - x'|^2 / (2 l^2)) + 0.03 x.x'),
    r = 1 if the kinds are the same, else 0.5

with x the standardised features (`columns`) and m the mean of all departures. The smooth part is
what staircases and caches do, the linear part carries beyond what was seen, and a kind of which
little was measured borrows half of either from the others whose sizes have the same names. The
scales are fixed: fitted by maximum likelihood they differ little and gave no better estimates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

NEIGHBOURS = 3
MOST = 1500
"""Kernels in one regression; its cost grows as their third power."""
UNSEEN = 3.0
"""Distance of a kernel whose kind was never measured, and the most that there is."""

_CONSTANT, _SMOOTH, _LINEAR, _SHARED = 0.3, 0.3, 0.03, 0.5
_LENGTH = 3.0
_NOISE = 1e-3
_LEAST_WIDTH = 0.05
"""Of a feature: what hardly varied says nothing of what happens where it does."""
_LEAST_DISTANCE = 0.05
_AT_ONCE = 256


class Departures:
    """ln(t / roofline) of kernels whose sizes have the same names.

    Args:
        kinds: of each kernel that was measured.
        features: (kernels, features).
        departure: (kernels,).
        variance: (kernels,) of the departures beyond the noise.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        features: np.ndarray,
        departure: np.ndarray,
        variance: np.ndarray,
    ) -> None:
        from scipy.linalg import cho_factor, cho_solve
        from scipy.spatial import cKDTree

        self._places = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
        self._kinds = np.array([self._places[kind] for kind in kinds])
        self._middle = features.mean(axis=0)
        self._width = np.maximum(features.std(axis=0), _LEAST_WIDTH)
        self.offset = float(np.average(departure, weights=1 / (_NOISE + variance)))
        self._x = self._standard(features)
        covariance = self._covariance()
        covariance[np.diag_indices_from(covariance)] += _NOISE + variance
        self._weights = cho_solve(cho_factor(covariance), departure - self.offset)
        self._trees = {
            kind: cKDTree(self._x[self._kinds == place]) for kind, place in self._places.items()
        }
        self._usual = {kind: _usual_distance(tree) for kind, tree in self._trees.items()}

    def __contains__(self, kind: object) -> bool:
        """Return whether a kernel of this kind was measured."""
        return kind in self._places

    def at(self, kind: str, features: np.ndarray) -> np.ndarray:
        """Return (kernels,) the departure of kernels of one kind."""
        same = self._kinds == self._places.get(kind, -1)
        weights = self._weights * np.where(same, 1, _SHARED)
        x = self._standard(features)
        smooth = [
            np.exp(_distances(part, self._x) / (-2 * _LENGTH**2)) @ weights
            for part in np.array_split(x, len(x) // _AT_ONCE + 1)
        ]
        constant = self.offset + _CONSTANT * self._weights[same].sum()
        linear = x @ (self._x.T @ weights)
        departure: np.ndarray = constant + _LINEAR * linear + _SMOOTH * np.concatenate(smooth)
        return departure

    def distance(self, kind: str, features: np.ndarray) -> np.ndarray:
        """Return (kernels,) how far the nearest measured ones are, beyond what is usual: 0 to 3."""
        tree = self._trees.get(kind)
        if tree is None:
            return np.full(len(features), UNSEEN)
        near, _ = tree.query(self._standard(features), min(NEIGHBOURS, tree.n))
        distance = near.reshape(len(features), -1).mean(axis=1) / self._usual[kind] - 1
        clipped: np.ndarray = np.clip(distance, 0, UNSEEN)
        return clipped

    def _standard(self, features: np.ndarray) -> np.ndarray:
        standard: np.ndarray = (features - self._middle) / self._width
        return standard

    def _covariance(self) -> np.ndarray:
        """Return (kernels, kernels) the covariance of f among those that were measured."""
        same = self._kinds[:, None] == self._kinds
        smooth = _SMOOTH * np.exp(_distances(self._x, self._x) / (-2 * _LENGTH**2))
        shared: np.ndarray = (smooth + _LINEAR * self._x @ self._x.T) * np.where(same, 1, _SHARED)
        return shared + _CONSTANT * same


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (rows of x, rows of y) squared distances."""
    squares: np.ndarray = x @ (-2 * y.T)
    squares += (x**2).sum(axis=1)[:, None]
    squares += (y**2).sum(axis=1)
    return np.maximum(squares, 0, out=squares)


def _usual_distance(tree: Any) -> float:
    """Return how far a measured kernel is from the nearest others of its kind, in the middle."""
    count = min(NEIGHBOURS, tree.n - 1)
    if not count:
        return 1.0
    apart = tree.query(tree.data, count + 1)[0][:, 1:].mean(axis=1)
    return max(float(np.median(apart)), _LEAST_DISTANCE)
