"""From a learned generator to the few networks that a run ends with.

    rank        seeds of the final generator, by a cautious prediction of their worth
    distil      one fully, score it on the search split, tell the inquisitor
    choose      rank again; a network that misses what the run strives for makes way for the next

The test split is not touched here.
"""

import math

import numpy as np

from gensynth.goals import metrics
from gensynth.goals.device_costs import derived
from gensynth.goals.exact import peak_limit
from gensynth.graph.activations import peak_mib
from gensynth.progress import Listener
from gensynth.randomness import stream
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import FullDistillation, distil_once
from gensynth.runs.hardware.turns import before_distillation, recall_end
from gensynth.runs.prepare import Job
from gensynth.search.cycle import Candidate, State
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import FULL, Inquisitor
from gensynth.search.regression import sigmoid

CAUTION = 1.0
"""Standard deviations taken off a predicted logit when finalists are ranked."""

LEAST_DISTANCE = 0.05
"""Mean absolute difference of relative widths that two finalists have at least."""

TRIES_A_FINALIST = 2

REFUSED_A_FINALIST = 4
"""Networks that are measured and found too slow, before one is distilled all the same."""


class Ranking:
    """Seeds of a generator, in the order in which they deserve full distillation.

        worth = U(sigmoid(mean - sd), costs) - mu * P(violation)

    A network that is distilled already competes at what it reached. One whose peak of activations,
    or whose estimated power, is above its limit does not compete, unless every one is: no sum over
    vertices says either, so the generator does not steer by them.
    """

    def __init__(self, job: Job, generator: Generator, penalty: float) -> None:
        self._job, self._generator, self._penalty = job, generator, penalty
        count = job.settings.search.candidates
        draws = stream(job.settings.seed, "finalists").integers(0, 2**31, count)
        self.seeds = [int(seed) for seed in draws]
        self.points = generator.points(self.seeds)
        self._relative = job.space.relative(self.points)
        self._competes = self._within_peak()
        if (self._competes & (within := self._within_power())).any():
            self._competes = self._competes & within

    def worth(self, inquisitor: Inquisitor) -> np.ndarray:
        """Return the cautious worth of every seed: (seeds,)."""
        objective, costs = self._job.settings.objective, self._job.hardware.space.costs(self.points)
        mean, sd = inquisitor.predict(self.points, FULL)
        utilities = objective.utilities(sigmoid(mean - CAUTION * sd), costs)
        worth: np.ndarray = utilities - self._penalty * objective.violation(mean, sd)
        return worth

    def refuse(self, place: int) -> None:
        """Leave a seed's network out, and others of its shape: a device has shown what it takes."""
        same = (self._relative == self._relative[place]).all(axis=1)
        self._competes = self._competes & ~same

    def known_worth(self, one: FullDistillation) -> float:
        """Return the worth of a network that is distilled already."""
        return one.utility(self._job) - self._penalty * (not one.accepted(self._job))

    def best(self, inquisitor: Inquisitor, taken: list[FullDistillation]) -> int | None:
        """Return the place of the best seed that is unlike what is taken.

        Where none of them is at least `LEAST_DISTANCE` away, the farthest will do; None if
        every one of them is taken.
        """
        worth = self.worth(inquisitor)
        distance = np.full(len(worth), math.inf)
        for one in taken:
            other = self._job.space.relative(one.points(self._job))
            distance = np.minimum(distance, np.abs(self._relative - other).mean(axis=1))
        distance[~self._competes] = 0
        unlike = distance >= LEAST_DISTANCE
        if unlike.any():
            return int(np.where(unlike, worth, -math.inf).argmax())
        farthest = int(distance.argmax())
        return farthest if distance[farthest] > 0 else None

    def _within_peak(self) -> np.ndarray:
        """Return which seeds' networks are within the limit on activations: (seeds,), bool."""
        limit, count = peak_limit(self._job.requirements), len(self.seeds)
        if limit is None:
            return np.ones(count, bool)
        within = [limit.allows(peak_mib(self.candidate(place).graph)) for place in range(count)]
        return np.array(within) if any(within) else np.ones(count, bool)

    def _within_power(self) -> np.ndarray:
        """Return which seeds' networks draw no more than they may by estimate: (seeds,), bool."""
        hardware, within = self._job.hardware, np.ones(len(self.seeds), bool)
        asked = [r for r in self._job.requirements if r.metric == metrics.POWER.name]
        known = hardware.reach() if asked else {}
        space = hardware.space
        named = dict(zip(space.names, space.costs(self.points).T, strict=True))
        costs = derived(named, hardware.batches)
        for requirement in asked:
            if requirement.key in known:  # some watts were measured, or are believed of its kind
                within &= costs[requirement.key] <= requirement.limit
        return within

    def candidate(self, place: int) -> Candidate:
        """Return one seed's network."""
        seed = self.seeds[place]
        graph = self._generator.graph(self.points, place, seed)
        return Candidate(seed, graph, self.points.take([place]))


def choose(
    run: RunFolder, job: Job, state: State, early: list[FullDistillation], *, listener: Listener
) -> tuple[list[FullDistillation], list[FullDistillation], Inquisitor]:
    """Distil networks of the final generator until enough of them reach what the run strives for.

    Args:
        run: where distillations are kept, and found again.
        job: the run.
        state: after the last cycle.
        early: networks that cycles distilled fully.
        listener: hears of every one.

    Returns:
        (finalists by falling utility on the search split, all distilled in their order, the
        inquisitor that has seen them all). If not enough networks reach it
        within twice as many, those that come closest fill up the finalists.
    """
    count = job.config.finalists.count
    ranking = Ranking(job, state.generator, state.penalty)
    inquisitor = state.inquisitor
    waiting = list(early)
    taken: list[FullDistillation] = []
    made: list[FullDistillation] = []
    refused = 0
    recall_end(run, job)
    while sum(a.accepted(job) for a in taken) < count:
        place = ranking.best(inquisitor, taken)
        promised = -math.inf if place is None else float(ranking.worth(inquisitor)[place])
        known = max(waiting, key=ranking.known_worth, default=None)
        if known is not None and _unlike(job, known, taken):
            if ranking.known_worth(known) >= promised:
                waiting.remove(known)
                taken.append(known)
                continue
        elif known is not None:
            waiting.remove(known)
            continue
        if place is None or len(made) == TRIES_A_FINALIST * count:
            break
        candidate = ranking.candidate(place)
        why_not = before_distillation(run, job, candidate, state.weights, listener)
        if why_not is not None and refused < REFUSED_A_FINALIST * count:
            refused += 1
            ranking.refuse(place)
            listener.note(f"seed {candidate.seed} is not distilled: {why_not}")
            continue
        made.append(
            distil_once(
                run, job, state, inquisitor, candidate,
                name=f"network-{len(made) + 1}", listener=listener,
            )
        )  # fmt: skip
        taken.append(made[-1])
        inquisitor = inquisitor.observe(made[-1].observation())
        _tell(listener, job, made[-1])
    chosen = [a for a in taken if a.accepted(job)]
    missed = [a for a in [*taken, *waiting] if not a.accepted(job)]
    chosen += sorted(missed, key=lambda a: -a.score.value)[: count - len(chosen)]
    chosen.sort(key=lambda a: -a.utility(job))
    if len(chosen) < count:
        listener.note(
            f"the generator has only {len(chosen)} different networks for {count} finalists"
        )
    missing = sum(not a.accepted(job) for a in chosen)
    if missing:
        listener.note(
            f"{missing} of {len(chosen)} finalists miss a requirement on the search split; "
            "more cycles, more epochs or a looser requirement would help"
        )
    return chosen, [*early, *made], inquisitor


def _unlike(job: Job, one: FullDistillation, taken: list[FullDistillation]) -> bool:
    own = job.space.relative(one.points(job))
    others = [job.space.relative(other.points(job)) for other in taken]
    return all(np.abs(own - other).mean() >= LEAST_DISTANCE for other in others)


def _tell(listener: Listener, job: Job, made: FullDistillation) -> None:
    missed = made.missed(job)
    meets = f"misses {' and '.join(missed)}" if missed else "kept"
    listener.note(f"{made.name}: {100 * made.score.value:.2f} % on the search split, {meets}")
