"""Bayesian linear regression of logit accuracy, with exact uncertainty.

Accuracies are proportions of few thousand images, and networks number in the tens; so the
model is linear, the posterior is exact, and the two scales that matter (how far unnamed
effects may reach, how much accuracy scatters beyond counting noise) are fitted by the
marginal likelihood.
"""

import math
from dataclasses import dataclass

import numpy as np

REACHES = np.geomspace(0.02, 0.6, 6)
"""Prior standard deviations tried for the effects of single groups and blocks, in logits."""

SCATTERS = np.geomspace(0.01, 0.3, 6)
"""Standard deviations tried for the scatter of a network around the model, in logits."""


@dataclass(frozen=True)
class Posterior:
    """What is believed about the weights: a normal distribution.

    Attributes:
        mean: (features,).
        factor: (features, features); its product with its transpose is the covariance.
        scatter: standard deviation of a network around the model, in logits.
        reach: prior standard deviation of the small effects that the evidence chose.
    """

    mean: np.ndarray
    factor: np.ndarray
    scatter: float
    reach: float

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of logit accuracy: (networks,) each."""
        spread = np.square(features @ self.factor).sum(axis=1) + self.scatter**2
        return features @ self.mean, np.sqrt(spread)

    def draw(self, normal: np.ndarray) -> np.ndarray:
        """Return one draw of the weights from a standard normal draw: (features,)."""
        drawn: np.ndarray = self.mean + self.factor @ normal
        return drawn


def logit(correct: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return empirical logit accuracy and its counting variance.

        y = log((correct + 1/2) / (n - correct + 1/2)),  var = 1 / (n p (1 - p))

    with p shrunk in the same way, so that 0 and n have finite values (Haldane 1956,
    Anscombe 1956).
    """
    p = (correct + 0.5) / (n + 1.0)
    return np.log(p / (1 - p)), 1 / (n * p * (1 - p))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logits))."""
    return 1 / (1 + np.exp(-np.asarray(logits)))


def fit(
    features: np.ndarray,
    logits: np.ndarray,
    variances: np.ndarray,
    *,
    prior_mean: np.ndarray,
    prior_sd: np.ndarray,
    small: np.ndarray,
) -> Posterior:
    """Return the posterior of w in  logits = features @ w + scatter + counting noise.

    Args:
        features: (networks, features).
        logits, variances: (networks,) observed logit accuracy and its counting variance.
        prior_mean, prior_sd: (features,) of the normal prior of w.
        small: (features,) bool; the prior of these is normal(0, reach) instead.

    The pair (reach, scatter) is the one of the grid with the largest marginal likelihood.
    Without an observation the posterior is the prior at the middle of the grid.
    """
    middle = REACHES[len(REACHES) // 2], SCATTERS[len(SCATTERS) // 2]
    best = (-math.inf, *middle)
    if len(logits):
        best = max(
            (
                _evidence(
                    features, logits, variances + scatter**2, prior_mean,
                    np.where(small, reach, prior_sd),
                ),
                reach,
                scatter,
            )
            for reach in REACHES
            for scatter in SCATTERS
        )  # fmt: skip
    _, reach, scatter = best
    precision = np.diag(1 / np.where(small, reach, prior_sd) ** 2)
    right = precision @ prior_mean
    if len(logits):
        weighted = features / (variances + scatter**2)[:, None]
        precision = precision + features.T @ weighted
        right = right + weighted.T @ logits
    lower = np.linalg.cholesky(precision)
    factor = np.linalg.inv(lower).T
    return Posterior(factor @ (factor.T @ right), factor, float(scatter), float(reach))


def _evidence(
    features: np.ndarray,
    logits: np.ndarray,
    variances: np.ndarray,
    prior_mean: np.ndarray,
    prior_sd: np.ndarray,
) -> float:
    """Return the log marginal likelihood, up to a constant."""
    covariance = (features * prior_sd**2) @ features.T + np.diag(variances)
    lower = np.linalg.cholesky(covariance)
    rest = np.linalg.solve(lower, logits - features @ prior_mean)
    return float(-0.5 * rest @ rest - np.log(np.diag(lower)).sum())
