"""Which networks of a generator are worth measuring: those whose figures may change what is taken.

    worth of measuring i = E[max(v_i, b_i)] - max(E v_i, b_i)

v_i is the network's value once its costs on devices are known, b_i the best expected value of the
others, and the expectation is over what the estimate leaves open (log-normal, the same in all costs
of one device). That is the knowledge gradient of Frazier, Powell and Dayanik, 2008, of one
measurement without noise. It is large near a limit and where the expected utility is high, and
nothing for a network that is not taken whatever it takes.

v is the utility at the predicted score less mu a unit of probability that the score is missed; a
network beyond a device's limit is worth as little as the worst.
"""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from gensynth.search.cycle import Settings, State
from gensynth.search.regression import sigmoid
from gensynth.space.points import Points

LEVELS = 9
"""Quantiles that stand for what an estimate leaves open."""


def order(
    settings: Settings,
    state: State,
    points: Points,
    spreads: Mapping[str, float],
    limits: Mapping[str, float],
) -> list[int]:
    """Return networks by falling worth of measuring them; those of no worth are left out.

    Args:
        settings: of the search.
        state: whose inquisitor predicts scores, and whose space has the devices' costs.
        points: the networks.
        spreads: standard deviation of ln(true / estimated), by a device's cost.
        limits: the largest that a requirement allows of it.
    """
    space, objective = state.generator.space, settings.objective
    mean, sd = state.inquisitor.predict(points, objective.fidelity)
    score, missed = sigmoid(mean), state.penalty * objective.violation(mean, sd)
    costs = space.costs(points)
    columns = [space.names.index(name) for name in spreads]
    spread = np.array([spreads[name] for name in spreads])
    most = np.array([limits.get(name, np.inf) for name in spreads])
    values, kept = [], []
    for level in range(LEVELS):
        z = NormalDist().inv_cdf((level + 0.5) / LEVELS)
        then = costs.copy()
        then[:, columns] *= np.exp(z * spread)
        values.append(objective.utilities(score, then) - missed)
        kept.append((then[:, columns] <= most).all(axis=1))
    value, within = np.array(values), np.array(kept)  # (levels, networks)
    return ranked(np.where(within, value, value.min()))


def ranked(value: np.ndarray) -> list[int]:
    """Return networks by falling worth of knowing their value.

    Args:
        value: (levels, networks), equally probable.

    Example:
        >>> import numpy as np
        >>> ranked(np.array([[1.0, 0.0, 0.9], [1.0, 0.2, 1.3]]))  # only the last may be the best
        [2]
    """
    expected = value.mean(axis=0)
    if len(expected) < 2:
        return list(range(len(expected)))
    first, second = np.sort(expected)[[-1, -2]]
    others = np.full(len(expected), first)
    others[expected.argmax()] = second
    worth = np.maximum(value, others).mean(axis=0) - np.maximum(expected, others)
    found = np.argsort(-worth, kind="stable")
    return [int(place) for place in found if worth[place] > 1e-9]
