"""Which network a cycle takes: the inquisitor's guesses first, then a cheap look.

Hundreds of seeds are costed and predicted, a few are built and probed without training,
one is trained: the one that promises most beside what was seen. A family that may violate what is
required with a small probability only stays where it is sure; what is tried beyond shows how far
it may go. So where the family's cost is learned, seeds are dealt out to budgets around it.
"""

from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from gensynth.randomness import stream
from gensynth.search.cycle import Candidate, Settings, State
from gensynth.search.evolution import Objective
from gensynth.search.inquisitor import Inquisitor
from gensynth.search.regression import sigmoid
from gensynth.search.theta import Theta
from gensynth.space.points import Points

LEVELS = 64
"""Quantiles that stand for what a predicted score leaves open."""

BUDGETS = (0.0, 0.35, -0.35, -0.7, -1.05)
"""What is added to the mean log cost of the learned family: neighbours' spreads of 0.1 meet."""


def shortlist(settings: Settings, state: State) -> list[Candidate]:
    """Return the seeds whose untrained networks are probed, and their networks.

    Thompson sampling: for each place of the list one draw of the inquisitor's models is
    believed, and the best of `candidates` fresh seeds under it that is not on the list yet
    is put there. In the first cycle, when nothing is known, four times as many seeds are taken
    as they come.
    """
    search, objective, generator = settings.search, settings.objective, state.generator
    random = stream(settings.seed, "choose", state.cycle)
    seeds = [int(s) for s in random.integers(0, 2**31, search.candidates)]
    if state.cycle == 0:
        seeds = seeds[: 4 * search.shortlist]
        return _candidates(state, seeds, generator.points(seeds))
    points = generator.points_of(around(objective, generator.theta, len(seeds)), seeds)
    costs = generator.space.costs(points)
    residual_sd = np.full(len(seeds), state.inquisitor.posterior.residual_sd)
    chosen: list[int] = []
    for _ in range(min(search.shortlist, len(seeds))):
        normal = random.standard_normal(state.inquisitor.width)
        logits = state.inquisitor.draw(points, objective.fidelity, normal)
        value = objective.utilities(sigmoid(logits), costs)
        value = value - state.penalty * objective.violation(logits, residual_sd)
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
    return _candidates(state, [seeds[i] for i in chosen], points.take(chosen))


def around(objective: Objective, theta: Theta, count: int) -> list[Theta]:
    """Return parameters for so many seeds, dealt out to budgets where the cost is learned."""
    mean, spread = theta.budget
    learned = objective.least_score is not None and (mean, spread) != (0.0, 0.0)
    steps = BUDGETS if learned else (0.0,)
    dealt = [replace(theta, budget=(min(0.0, mean + by), spread)) for by in steps]
    return [dealt[place % len(dealt)] for place in range(count)]


def choose(
    settings: Settings, state: State, inquisitor: Inquisitor, candidates: list[Candidate]
) -> Candidate:
    """Return the candidate that promises most beside the best of what was trained, see `promise`.

    One that was trained before is no choice while there is another: its promise is that it may
    turn out to meet what is required, and a second short training hardly tells.

    Args:
        settings: of the run.
        state: before the cycle.
        inquisitor: that has heard what the candidates answer untrained.
        candidates: of the shortlist.
    """
    objective, space = settings.objective, state.generator.space
    beaten, points = -np.inf, space.points([c.points[0] for c in candidates])
    if inquisitor.observations:
        seen = space.points([one.point for one in inquisitor.observations])
        beaten = float(worth(settings, state, inquisitor, seen).max())
    predicted = inquisitor.predict(points, objective.fidelity)
    promises = promise(objective, state.penalty, predicted, space.costs(points), beaten)
    known = {one.point for one in inquisitor.observations}
    fresh = np.array([one.points[0] not in known for one in candidates])
    if fresh.any():
        promises = np.where(fresh, promises, -np.inf)
    return candidates[int(promises.argmax())]


def worth(settings: Settings, state: State, inquisitor: Inquisitor, points: Points) -> np.ndarray:
    """Return each network's predicted utility, less mu a unit of probability of violation."""
    objective = settings.objective
    mean, sd = inquisitor.predict(points, objective.fidelity)
    utilities = objective.utilities(sigmoid(mean), state.generator.space.costs(points))
    return utilities - state.penalty * objective.violation(mean, sd)


def promise(
    objective: Objective,
    penalty: float,
    predicted: tuple[np.ndarray, np.ndarray],
    costs: np.ndarray,
    beaten: float,
) -> np.ndarray:
    """Return what a place is worth once a network has been tried for it: (networks,).

        promise = E[max(v, beaten)],  v = U(score, costs) - mu * (score is missed)

    The expectation is over the predicted score. Who misses leaves the place to what has it
    otherwise, so only the networks that meet the requirement are to be better: that is the
    expected improvement under a constraint of Gardner et al., 2014, with mu for its weight.

    Args:
        objective: U and the required score.
        penalty: mu.
        predicted: mean and standard deviation of the score's logit, (networks,) each.
        costs: (networks, costs).
        beaten: what the place is worth if the network is no better.
    """
    mean, sd = predicted
    logits = mean[:, None] + sd[:, None] * ndtri((np.arange(LEVELS) + 0.5) / LEVELS)
    values = objective.utilities(sigmoid(logits), costs[:, None])
    values = values - penalty * (logits < objective.least_logit)
    promised: np.ndarray = np.maximum(values, beaten).mean(axis=1)
    return promised


def _candidates(state: State, seeds: list[int], points: Points) -> list[Candidate]:
    return [
        Candidate(seed, state.generator.graph(points, i, seed), points.take([i]))
        for i, seed in enumerate(seeds)
    ]
