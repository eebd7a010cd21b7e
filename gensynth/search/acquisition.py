"""Which seed a cycle takes: the inquisitor's guesses first, then a cheap look.

Hundreds of seeds are costed and predicted, a few are built and probed without training,
one is trained.
"""

import numpy as np

from gensynth.randomness import stream
from gensynth.search.cycle import Plan, State
from gensynth.search.inquisitor import Inquisitor
from gensynth.search.regression import sigmoid
from gensynth.space.points import Points


def shortlist(plan: Plan, state: State) -> tuple[list[int], Points]:
    """Return the seeds whose untrained networks are probed, and their points.

    Thompson sampling: for each place of the list one draw of the inquisitor's models is
    believed, and the best of `candidates` fresh seeds under it that is not on the list yet
    is put there. In the first cycle seeds are taken as they come.
    """
    random = stream(plan.seed, "choose", state.cycle)
    seeds = [int(s) for s in random.integers(0, 2**31, plan.candidates)]
    if state.cycle == 0:
        seeds = seeds[: 4 * plan.shortlist]
        return seeds, state.generator.points(seeds)
    points = state.generator.points(seeds)
    costs = state.generator.space.costs(points)
    scatter = np.full(len(seeds), state.inquisitor.posterior.scatter)
    chosen: list[int] = []
    for _ in range(min(plan.shortlist, len(seeds))):
        normal = random.standard_normal(state.inquisitor.width)
        logits = state.inquisitor.draw(points, plan.aim.fidelity, normal)
        value = plan.aim.utilities(sigmoid(logits), costs)
        value = value - state.price * plan.aim.violation(logits, scatter)
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
    return [seeds[i] for i in chosen], points.take(chosen)


def worth(plan: Plan, state: State, inquisitor: Inquisitor, points: Points) -> np.ndarray:
    """Return each network's predicted utility, less mu a unit of probability of violation."""
    mean, sd = inquisitor.predict(points, plan.aim.fidelity)
    costs = state.generator.space.costs(points)
    return plan.aim.utilities(sigmoid(mean), costs) - state.price * plan.aim.violation(mean, sd)
