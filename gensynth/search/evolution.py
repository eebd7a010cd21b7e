"""Delta theta_G: the step that the inquisitor's predictions make the generator take.

The objective looks at a family and not at one network:

    J(theta) = mean_s U(G(s)) - mu * (mean_s P(violation) - delta) + beta * log det(I + K)
               - SAMENESS * (repeats + max(0, 1 - distance / LEAST_DISTANCE))

U from pessimistic predicted score and cost, P the predicted probability that a
seed's network violates the requirement on it, K a Gaussian kernel on the relative
widths of the seeds, `repeats` the share of seeds that give no network of their own, and
`distance` the median between two. All of it is predicted: no network is built or trained here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtr

from gensynth.goals.device_costs import derived
from gensynth.goals.utility import Utility
from gensynth.randomness import stream
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import Inquisitor
from gensynth.search.regression import sigmoid
from gensynth.search.theta import Theta
from gensynth.space.points import Points

LEAST_DISTANCE = 0.08
"""Median distance of relative widths that a few seeds must keep; 0.05 is promised of many."""

KERNEL_WIDTH = 0.1
"""Distance of relative widths at which two networks count as half different."""

SAMENESS = 10.0
"""Price of a family that is one network only, in units of U: a seed must pay its way."""

DRIFT = 0.01
"""Price of the squared distance from theta_G,0, in units of U."""

PESSIMISM = 0.5
"""Standard deviations taken off the predicted logit accuracy: less trust far from data."""


@dataclass(frozen=True)
class Objective:
    """What the family is asked for.

    Attributes:
        utility: U.
        metric: the task's, that scores are of.
        costs: names of the costs, in the order of the space's.
        least_score: in [0, 1], or None where none is required.
        fidelity: at which the score is meant.
        risk: delta, the share of seeds that may violate the requirement on the score.
        diversity: beta.
        batches: images of one run, by device; what follows from a device's costs hangs on it.
    """

    utility: Utility
    metric: str
    costs: tuple[str, ...]
    least_score: float | None
    fidelity: int
    risk: float = 0.1
    diversity: float = 0.02
    batches: Mapping[str, int] = field(default_factory=dict)

    def utilities(self, scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Return U of many networks from scores in [0, 1] and costs."""
        named = {name: costs[..., i] for i, name in enumerate(self.costs)}
        known = derived(named, self.batches)
        values: np.ndarray = np.asarray(self.utility({self.metric: 100 * scores, **known}))
        return values

    def violation(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the probability that the score is below the requirement."""
        return np.asarray(ndtr((self.least_logit - mean) / sd))

    @property
    def least_logit(self) -> float:
        """The logit of the least score; -inf where none is required."""
        if self.least_score is None:
            return -np.inf
        least = min(max(self.least_score, 1e-9), 1 - 1e-9)  # 0 and 1 have no logit
        return float(np.log(least / (1 - least)))


@dataclass(frozen=True)
class Outlook:
    """What a family is predicted to be.

    Attributes:
        utility: mean predicted utility of its seeds.
        violation: mean probability of violating the requirement on the score.
        distance: median pairwise distance of relative widths.
        worth: J.
    """

    utility: float
    violation: float
    distance: float
    worth: float


def improve(
    generator: Generator,
    inquisitor: Inquisitor,
    objective: Objective,
    *,
    penalty: float,
    anchor: Theta,
    seed: int,
    cycle: int,
    steps: int = 4,
    offspring: int = 16,
    family: int = 10,
) -> tuple[Theta, Outlook]:
    """Return theta_G after one update, and what it promises.

    Saliency is set to the inquisitor's log information. The rest climbs J by an evolution
    strategy: each step draws offspring around the parameters, moves to the weighted mean of
    the better half, and keeps it only if J rises and the family stays diverse. All parameters
    of one step are compared on the same seeds.

    Args:
        generator: to be changed; it is not modified.
        inquisitor: whose predictions count.
        objective: what the family is asked for.
        penalty: mu, the price of violating the requirement.
        anchor: parameters from which a drift is penalised, as a normal prior of spread 1.
        seed: of the run.
        cycle: of the run; the draws depend on both.
        steps, offspring, family: of the evolution strategy; networks a step are their product.
    """
    theta = replace(generator.theta, u=inquisitor.importance.log_saliency())
    random = stream(seed, "evolution", cycle)
    seeds = [int(s) for s in random.integers(0, 2**31, family)]

    def judge(thetas: list[Theta]) -> list[Outlook]:
        return _outlooks(generator, inquisitor, objective, thetas, seeds, penalty, anchor)

    best = judge([theta])[0]
    centre = theta.vector()
    sigma = np.full(len(centre), 0.25)
    sigma[-3 - len(theta.direction_scale) : -3] = 0.1
    sigma[-1] = 0.1  # log cost
    half = offspring // 2
    weights = np.log(half + 0.5) - np.log(np.arange(1, half + 1))
    weights /= weights.sum()
    for _ in range(steps):
        draws = random.standard_normal((half, len(centre)))
        draws = np.concatenate([draws, -draws]) * sigma
        if objective.least_score is None or generator.theta.budget == (0.0, 0.0):
            draws[:, -1] = 0.0
        trials = [theta.with_vector(centre + d) for d in draws]
        outlooks = judge(trials)
        order = np.argsort([-o.worth for o in outlooks], kind="stable")[:half]
        moved = theta.with_vector(centre + weights @ draws[order])
        outlook = judge([moved])[0]
        diverse = outlook.distance >= min(LEAST_DISTANCE, best.distance)
        if outlook.worth > best.worth and diverse:
            best, centre, theta = outlook, moved.vector(), moved
        else:
            sigma = sigma * 0.6
    return theta, best


def _outlooks(
    generator: Generator,
    inquisitor: Inquisitor,
    objective: Objective,
    thetas: list[Theta],
    seeds: list[int],
    penalty: float,
    anchor: Theta,
) -> list[Outlook]:
    """Judge a family of the same seeds for each of many parameters, as one batch."""
    repeated = [theta for theta in thetas for _ in seeds]
    points = generator.points_of(repeated, seeds * len(thetas))
    mean, sd = inquisitor.predict(points, objective.fidelity)
    utilities = objective.utilities(sigmoid(mean - PESSIMISM * sd), generator.space.costs(points))
    violations = objective.violation(mean, sd)
    relative = generator.space.relative(points)
    outlooks = []
    for index, theta in enumerate(thetas):
        rows = slice(index * len(seeds), (index + 1) * len(seeds))
        utility, violation = float(utilities[rows].mean()), float(violations[rows].mean())
        distances = pairwise(relative[rows])
        drift = theta.vector() - anchor.vector()
        distance = float(np.median(distances[np.triu_indices(len(seeds), 1)]))
        repeats = 1 - len(np.unique(relative[rows], axis=0)) / len(seeds)
        worth = (
            utility
            - penalty * (violation - objective.risk)
            + objective.diversity * _log_det(distances)
            - SAMENESS * (repeats + max(0.0, 1 - distance / LEAST_DISTANCE))
            - DRIFT * float(drift @ drift)
        )
        outlooks.append(Outlook(utility, violation, distance, worth))
    return outlooks


def pairwise(relative: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of relative widths of every two networks.

    Args:
        relative: (networks, groups) in [0, 1].

    Returns:
        (networks, networks), symmetric, 0 on the diagonal.
    """
    distances: np.ndarray = np.abs(relative[:, None] - relative[None]).mean(axis=2)
    return distances


def _log_det(distances: np.ndarray) -> float:
    kernel = np.exp(-np.log(2) * np.square(distances / KERNEL_WIDTH))
    return float(np.linalg.slogdet(np.eye(len(kernel)) + kernel)[1])


def median_distance(generator: Generator, points: Points) -> float:
    """Return the median pairwise distance of relative widths of some networks."""
    distances = pairwise(generator.space.relative(points))
    return float(np.median(distances[np.triu_indices(len(points), 1)]))
