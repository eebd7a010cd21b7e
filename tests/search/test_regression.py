"""The regression, against hand formulas, dense grids, scipy and simulated truth."""

import itertools

import numpy as np
import pytest
from scipy import stats

from gensynth.goals.score import Proportion
from gensynth.search import regression
from gensynth.search.regression import EFFECT_SDS, RESIDUAL_SDS, Posterior, fit, sigmoid

RANDOM = np.random.default_rng(0)


@pytest.fixture
def one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no choice of scales: reach 0.3, scatter 0.1."""
    monkeypatch.setattr(regression, "EFFECT_SDS", np.array([0.3]))
    monkeypatch.setattr(regression, "RESIDUAL_SDS", np.array([0.1]))


@pytest.mark.usefixtures("one_scale")
def test_the_posterior_of_one_weight_by_hand() -> None:
    # Prior N(1, 0.5^2): precision 1 / 0.25 + sum x^2 / v with v = 0.04 + 0.1^2, so
    # 4 + 5.25 / 0.05 = 109 and mean (4 + (2 * 1.4 + 0.9 + 0.3) / 0.05) / 109 = 84 / 109.
    found = fit(
        np.array([[2.0], [-1.0], [0.5]]),
        np.array([1.4, -0.9, 0.6]),
        np.full(3, 0.04),
        prior_mean=np.array([1.0]),
        prior_sd=np.array([0.5]),
        small=np.array([False]),
    )
    assert found.mean == pytest.approx([84 / 109])
    assert found.factor @ found.factor.T == pytest.approx(np.array([[1 / 109]]))
    assert (found.effect_sd, found.residual_sd) == pytest.approx((0.3, 0.1))


def problem(networks: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = np.column_stack([np.ones(networks), random.normal(size=(networks, 2))])
    logits = features @ np.array([1.5, -0.4, 0.2]) + random.normal(0, 0.1, networks)
    return features, logits, np.full(networks, 0.01)


PRIOR = {
    "prior_mean": np.array([1.0, 0.0, 0.0]),
    "prior_sd": np.array([1.0, 0.5, 99.0]),  # the last is small, so its reach counts instead
    "small": np.array([False, False, True]),
}


@pytest.mark.usefixtures("one_scale")
def test_the_posterior_is_the_one_on_a_dense_grid() -> None:
    # Bayes' rule, weight by weight, on 61^3 points.
    features, logits, variances = problem(12, seed=1)
    found = fit(features, logits, variances, **PRIOR)
    sd = np.array([1.0, 0.5, 0.3])
    spread = np.sqrt(np.diag(found.factor @ found.factor.T))
    axes = [np.linspace(m - 6 * s, m + 6 * s, 61) for m, s in zip(found.mean, spread, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    log_p = -0.5 * (((points - PRIOR["prior_mean"]) / sd) ** 2).sum(axis=1)
    log_p -= 0.5 * ((logits - points @ features.T) ** 2 / (variances + 0.1**2)).sum(axis=1)
    mean, covariance = moments(points, log_p)
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.factor @ found.factor.T == pytest.approx(covariance, rel=1e-3, abs=1e-7)


def moments(points: np.ndarray, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ points
    return mean, (points - mean).T @ ((points - mean) * p[:, None])


def test_scales_are_averaged_by_their_marginal_likelihood() -> None:
    # The mixture sampled: a pair by scipy's density of the data, then weights given the pair.
    features, logits, variances = problem(9, seed=2)
    found = fit(features, logits, variances, **PRIOR)
    pairs = list(itertools.product(EFFECT_SDS, RESIDUAL_SDS))
    log_p, samples = [], []
    random = np.random.default_rng(0)
    for reach, scatter in pairs:
        prior = np.diag([1.0, 0.25, reach**2])
        covariance = features @ prior @ features.T + np.diag(variances + scatter**2)
        law = stats.multivariate_normal(features @ PRIOR["prior_mean"], covariance)
        log_p.append(law.logpdf(logits))
        gain = prior @ features.T @ np.linalg.inv(covariance)  # Kalman's form of the posterior
        mean = PRIOR["prior_mean"] + gain @ (logits - features @ PRIOR["prior_mean"])
        left = prior - gain @ features @ prior
        samples.append(random.multivariate_normal(mean, left, 4000))
    weight = np.exp(np.array(log_p) - max(log_p))
    mean, covariance = moments(
        np.concatenate(samples), np.repeat(np.log(weight / weight.sum()), 4000)
    )
    assert found.mean == pytest.approx(mean, abs=0.005)
    assert found.factor @ found.factor.T == pytest.approx(covariance, rel=0.05, abs=2e-4)
    mean_square = weight @ np.square(pairs) / weight.sum()
    assert [found.effect_sd**2, found.residual_sd**2] == pytest.approx(
        mean_square.tolist(), rel=1e-2
    )


def test_without_an_observation_the_prior_is_left() -> None:
    found = fit(np.zeros((0, 3)), np.zeros(0), np.zeros(0), **PRIOR)
    assert found.mean == pytest.approx(PRIOR["prior_mean"])
    assert np.sqrt(np.diag(found.factor @ found.factor.T))[:2] == pytest.approx([1.0, 0.5])
    assert found.effect_sd == pytest.approx(EFFECT_SDS[len(EFFECT_SDS) // 2])
    assert found.residual_sd == pytest.approx(RESIDUAL_SDS[len(RESIDUAL_SDS) // 2])


def test_planted_weights_are_found() -> None:
    random = np.random.default_rng(3)
    truth = np.array([2.0, -0.7, 0.15, 0.0])
    features = np.column_stack([np.ones(400), random.normal(size=(400, 3))])
    logits = features @ truth + random.normal(0, np.hypot(0.1, 0.05), 400)
    found = fit(
        features,
        logits,
        np.full(400, 0.05**2),
        prior_mean=np.zeros(4),
        prior_sd=np.ones(4),
        small=np.array([False, False, True, True]),
    )
    assert found.mean == pytest.approx(truth, abs=0.03)  # 5 standard errors of 0.11 / 20
    assert found.residual_sd == pytest.approx(0.1, rel=0.25)


def test_predicted_intervals_hold_what_they_promise() -> None:
    # 100 truths drawn from the prior with 20 effects, 24 networks each to learn from: the
    # 95 % interval of a network never seen holds its logit in about 95 of 100 cases.
    random = np.random.default_rng(4)
    small = np.arange(20) >= 2
    prior_sd, inside = np.where(small, 0.1, 1.0), []
    for _ in range(100):
        truth = random.normal(0, prior_sd)
        features = np.column_stack([np.ones(48), random.normal(size=(48, 19))])
        latent = features @ truth + random.normal(0, 0.08, 48)
        logits = latent + random.normal(0, 0.06, 48)
        found = fit(
            features[:24],
            logits[:24],
            np.full(24, 0.06**2),
            prior_mean=np.zeros(20),
            prior_sd=prior_sd,
            small=small,
        )
        mean, sd = found.predict(features[24:])
        inside.extend(np.abs(latent[24:] - mean) < 1.96 * sd)
    assert len(inside) == 2400
    assert 0.93 < np.mean(inside) < 0.97


def test_prediction_and_draws_are_of_one_normal() -> None:
    features, logits, variances = problem(10, seed=5)
    found = fit(features, logits, variances, **PRIOR)
    draws = np.array([found.draw(z) for z in RANDOM.standard_normal((20_000, 3))])
    covariance = found.factor @ found.factor.T
    assert draws.mean(axis=0) == pytest.approx(found.mean, abs=0.01)
    assert np.cov(draws.T) == pytest.approx(covariance, rel=0.1, abs=1e-4)
    assert found.draw(np.zeros(3)).tolist() == found.mean.tolist()
    mean, sd = found.predict(features[:1])
    drawn = draws @ features[0] + found.residual_sd * RANDOM.standard_normal(20_000)
    assert mean[0] == pytest.approx(drawn.mean(), abs=0.01)
    assert sd[0] == pytest.approx(drawn.std(), rel=0.03)


def test_more_networks_leave_less_doubt() -> None:
    few, many = (fit(*problem(n, seed=6), **PRIOR) for n in (5, 80))
    point = np.array([[1.0, 0.3, -0.2]])
    assert uncertainty(many, point) < uncertainty(few, point) / 2


def uncertainty(posterior: Posterior, features: np.ndarray) -> float:
    return float(np.linalg.norm(features @ posterior.factor))


@pytest.mark.parametrize(
    ("correct", "n", "expected", "variance"),
    [
        # By hand: p = 90.5 / 101; log(90.5 / 10.5) = 2.1540; 1 / (100 p (1 - p)) = 0.10735.
        (90, 100, 2.1540, 0.10735),
        # p = 0.5 / 11: log(0.5 / 10.5) = -3.0445; 1 / (10 p (1 - p)) = 2.3048.
        (0, 10, -3.0445, 2.3048),
        (10, 10, 3.0445, 2.3048),
        (50, 100, 0.0, 0.04),
    ],
)
def test_empirical_logits_by_hand(correct: int, n: int, expected: float, variance: float) -> None:
    found = Proportion("top1", correct, n).logit()
    assert found[0] == pytest.approx(expected, abs=1e-4)
    assert found[1] == pytest.approx(variance, rel=1e-4)


def test_counting_noise_is_as_large_as_said() -> None:
    counts = np.random.default_rng(7).binomial(2000, 0.9, 20_000)
    pairs = [Proportion("top1", int(count), 2000).logit() for count in counts]
    logits, variances = np.array(pairs).T
    assert logits.mean() == pytest.approx(np.log(9), abs=0.005)
    assert logits.var() == pytest.approx(variances.mean(), rel=0.03)


def test_sigmoid_is_the_inverse_of_the_logit_and_never_overflows() -> None:
    accuracy = np.array([0.01, 0.5, 0.999])
    assert sigmoid(np.log(accuracy / (1 - accuracy))) == pytest.approx(accuracy)
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
