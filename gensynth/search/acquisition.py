"""Which seed a cycle takes: the inquisitor's guesses first, then a cheap look.

Hundreds of seeds are costed and predicted, a few are built and probed without training,
one is trained. What is trained fully, at the end, is what promises most beside what is in hand.
"""

import numpy as np
from scipy.special import ndtri

from gensynth.randomness import stream
from gensynth.search.cycle import Candidate, Settings, State
from gensynth.search.evolution import Objective
from gensynth.search.inquisitor import Inquisitor
from gensynth.search.regression import sigmoid
from gensynth.space.points import Points

LEVELS = 64
"""Quantiles that stand for what a predicted score leaves open."""


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
    points = generator.points(seeds)
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
