"""How the kernels of one kind depart from the roofline: a Gaussian process on their sizes.

    ln t = ln roofline + f(sizes) + noise

f has a part that is linear in the logarithms of sizes, which is what carries it beyond what was
seen, and a smooth part. Its scales are fitted by maximum likelihood; with few kernels the prior
keeps f near one constant.
"""

import warnings
from typing import Any

import numpy as np

MOST_FOR_SCALES = 160
"""Kernels that the scales are fitted to; more say nothing new and take long."""
LEAST_FOR_SCALES = 8
NEIGHBOURS = 3


class Departure:
    """ln(t / roofline) of kernels of one kind.

    Args:
        features: (kernels, features), all different.
        departure: (kernels,) of those that were measured.
        variance: (kernels,) of their departures beyond the noise that is fitted.
        scales: the scales of an earlier fit, which are kept.

    Attributes:
        offset: the mean departure.
        scales: of the regression.
    """

    def __init__(
        self,
        features: np.ndarray,
        departure: np.ndarray,
        variance: np.ndarray,
        scales: Any | None = None,
    ) -> None:
        from scipy.spatial import cKDTree

        self._middle = features.mean(axis=0)
        self._width = np.maximum(features.std(axis=0), _LEAST_WIDTH)
        self.offset = float(np.average(departure, weights=1 / (_NOISE + variance)))
        x, y = self._standard(features), departure - self.offset
        self.scales = _scales(x, y, variance) if scales is None else scales
        self._process = _process(self.scales, None, variance).fit(x, y)
        self._tree = cKDTree(x)
        self._count = min(NEIGHBOURS, len(x) - 1)
        apart = self._tree.query(x, self._count + 1)[0] if self._count else np.ones((1, 2))
        self._usual = max(float(np.median(apart[:, 1:].mean(axis=1))), _LEAST_DISTANCE)

    def at(self, features: np.ndarray) -> np.ndarray:
        """Return (kernels,) the departure."""
        found = [
            self._process.predict(part)
            for part in np.array_split(self._standard(features), len(features) // _AT_ONCE + 1)
        ]
        departure: np.ndarray = np.concatenate(found) + self.offset
        return departure

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return (kernels,) how far the nearest measured ones are; 1 is as usual among them."""
        near, _ = self._tree.query(self._standard(features), max(self._count, 1))
        distance: np.ndarray = near.reshape(len(features), -1).mean(axis=1) / self._usual
        return distance

    def _standard(self, features: np.ndarray) -> np.ndarray:
        standard: np.ndarray = (features - self._middle) / self._width
        return standard


_LEAST_WIDTH = 0.05
"""Of a feature: what hardly varied says nothing of what happens where it does."""
_LEAST_DISTANCE = 0.05
_NOISE = 1e-3
_AT_ONCE = 8192


def _scales(x: np.ndarray, y: np.ndarray, variance: np.ndarray) -> Any:
    """Return the kernel function of greatest likelihood."""
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    smooth = ConstantKernel(0.3, (1e-3, 1e1)) * RBF(3.0, (0.5, 30.0))
    linear = ConstantKernel(0.03, (1e-5, 1.0)) * DotProduct(1.0, "fixed")
    start = smooth + linear + WhiteKernel(_NOISE, (1e-5, 1e-1))
    if len(x) < LEAST_FOR_SCALES:
        return start
    some = np.random.default_rng(0).permutation(len(x))[:MOST_FOR_SCALES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a scale is at its bound
        return _process(start, "fmin_l_bfgs_b", variance[some]).fit(x[some], y[some]).kernel_


def _process(scales: Any, optimizer: str | None, variance: np.ndarray) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor

    return GaussianProcessRegressor(scales, alpha=1e-8 + variance, optimizer=optimizer)
