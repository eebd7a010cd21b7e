"""Bayesian linear regression of the logit of a score, with exact uncertainty.

Scores are measured on a few thousand images, and networks number in the tens; so the
model is linear, the posterior is exact, and the two scales that matter (how large unnamed
effects may be, how far a score lies from the model beyond sampling noise) are averaged over by
their marginal likelihood. To take the likeliest pair alone promises too much: with two dozen
networks its 95 % intervals hold 92 %.
"""

import itertools
from dataclasses import dataclass

import numpy as np

EFFECT_SDS = np.geomspace(0.02, 0.6, 6)
"""Prior standard deviations tried for the effects of single groups and blocks, in logits."""

RESIDUAL_SDS = np.geomspace(0.01, 1.0, 7)
"""Standard deviations tried for the residual_sd of a network around the model, in logits.

Up to what a short training's luck can be: too small a residual_sd is taken for an effect."""

NEGLIGIBLE = 1e-6
"""Weight below which a pair of scales is left out of the average."""


@dataclass(frozen=True)
class Posterior:
    """What is believed about the weights: a normal distribution.

    Attributes:
        mean: (features,).
        factor: (features, features); its product with its transpose is the covariance.
        residual_sd: standard deviation of a network around the model, in logits.
        effect_sd: prior standard deviation of the small effects, as the evidence has it.
    """

    mean: np.ndarray
    factor: np.ndarray
    residual_sd: float
    effect_sd: float

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of logit accuracy: (networks,) each."""
        spread = np.square(features @ self.factor).sum(axis=1) + self.residual_sd**2
        return features @ self.mean, np.sqrt(spread)

    def draw(self, normal: np.ndarray) -> np.ndarray:
        """Return one draw of the weights from a standard normal draw: (features,)."""
        drawn: np.ndarray = self.mean + self.factor @ normal
        return drawn


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logits))."""
    inverse: np.ndarray = np.exp(-np.logaddexp(0.0, -np.asarray(logits)))  # never overflows
    return inverse


def fit(
    features: np.ndarray,
    logits: np.ndarray,
    variances: np.ndarray,
    *,
    prior_mean: np.ndarray,
    prior_sd: np.ndarray,
    small: np.ndarray,
) -> Posterior:
    """Return the posterior of w in  logits = features @ w + residual_sd + counting noise.

    Args:
        features: (networks, features).
        logits, variances: (networks,) observed logit accuracy and its counting variance.
        prior_mean, prior_sd: (features,) of the normal prior of w.
        small: (features,) bool; the prior of these is normal(0, effect_sd) instead.

    Every pair (effect_sd, residual_sd) of the grid gives a normal posterior; what is returned has
    mean and covariance of their mixture, each weighing as much as its marginal likelihood.
    Without an observation the posterior is the prior at the middle of the grid.
    """
    middle = float(EFFECT_SDS[len(EFFECT_SDS) // 2]), float(RESIDUAL_SDS[len(RESIDUAL_SDS) // 2])
    scales = np.array([middle])
    weights = np.ones(1)
    if len(logits):
        scales = np.array(list(itertools.product(EFFECT_SDS, RESIDUAL_SDS)))
        evidence = np.array(
            [
                _evidence(
                    features,
                    logits,
                    variances + residual_sd**2,
                    prior_mean,
                    np.where(small, effect_sd, prior_sd),
                )
                for effect_sd, residual_sd in scales
            ]
        )
        weights = np.exp(evidence - evidence.max())
        weights /= weights.sum()
        scales, weights = scales[weights > NEGLIGIBLE], weights[weights > NEGLIGIBLE]
        weights /= weights.sum()
    parts = [
        _normal(
            features,
            logits,
            variances + residual_sd**2,
            prior_mean,
            np.where(small, effect_sd, prior_sd),
        )
        for effect_sd, residual_sd in scales
    ]
    means = np.stack([mean for mean, _ in parts])
    mean = weights @ means
    rest = (means - mean) * np.sqrt(weights)[:, None]
    covariance = np.tensordot(weights, np.stack([c for _, c in parts]), 1) + rest.T @ rest
    effect_sd, residual_sd = np.sqrt(weights @ scales**2)
    return Posterior(mean, np.linalg.cholesky(covariance), float(residual_sd), float(effect_sd))


def _normal(
    features: np.ndarray,
    logits: np.ndarray,
    variances: np.ndarray,
    prior_mean: np.ndarray,
    prior_sd: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of the weights where all scales are known."""
    weighted = features / variances[:, None]
    precision = np.diag(1 / prior_sd**2) + features.T @ weighted
    lower_inverse = np.linalg.inv(np.linalg.cholesky(precision))
    covariance = lower_inverse.T @ lower_inverse
    return covariance @ (prior_mean / prior_sd**2 + weighted.T @ logits), covariance


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
