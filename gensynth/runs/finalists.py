"""From a learned generator to the few networks that a run ends with.

    rank        seeds of the final generator, at its own budget and at others around it
    distil      one fully, score it on the search split, tell the inquisitor
    choose      rank again; a network that misses what the run strives for makes way for the next

A family must keep what is required at the asked risk, for nobody looks at each of its seeds. A
finalist is looked at: one that misses has cost a distillation, no more. So as long as there is
another to fall back on, what promises most beside that one is tried, and what a score has left over
above the required one is turned into lower costs. The test split is not touched here.
"""

import math
from dataclasses import replace

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
from gensynth.search.acquisition import around, promise
from gensynth.search.cycle import Candidate, State
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import FULL, Inquisitor
from gensynth.search.regression import sigmoid

CAUTION = 1.0
"""Standard deviations taken off a predicted logit when finalists are ranked."""

LEAST_DISTANCE = 0.05
"""Mean absolute difference of relative widths that two finalists have at least."""

TRIES_A_FINALIST = 2
"""Networks that are distilled for a finalist's place, until one can have it."""

LEAST_GAIN = 0.05
"""In standard deviations of U over the seeds; what promises less is not worth a distillation."""

REFUSED_A_FINALIST = 4
"""Networks that are measured and found too slow, before one is distilled all the same."""


class Ranking:
    """Seeds of a generator, in the order in which they deserve full distillation.

    Where no place is filled yet and no try is to spare, that is the order of a cautious worth,

        worth = U(sigmoid(mean - sd), costs) - mu * P(violation)

    else of what they promise beside what would have the place, see `promise`. One whose peak of
    activations, or whose estimated power, is above its limit does not compete, unless every one is:
    no sum over vertices says either, so the generator does not steer by them.

    Where a score is required, and so the family's cost is learned, the seeds are dealt out to
    budgets around the learned one.
    """

    def __init__(self, job: Job, generator: Generator, penalty: float) -> None:
        self._job, self._generator, self._penalty = job, generator, penalty
        count = job.settings.search.candidates
        draws = stream(job.settings.seed, "finalists").integers(0, 2**31, count)
        self.seeds = [int(seed) for seed in draws]
        self._thetas = around(job.settings.objective, generator.theta, count)
        self.points = generator.points_of(self._thetas, self.seeds)
        self._relative = job.space.relative(self.points)
        self._competes = self._within_peak()
        if (self._competes & (within := self._within_power())).any():
            self._competes = self._competes & within

    def worth(self, inquisitor: Inquisitor) -> np.ndarray:
        """Return the cautious worth of every seed: (seeds,)."""
        violation = self._job.settings.objective.violation(*inquisitor.predict(self.points, FULL))
        return self.utility(inquisitor) - self._penalty * violation

    def utility(self, inquisitor: Inquisitor) -> np.ndarray:
        """Return U of every seed at a cautious score: (seeds,)."""
        objective, costs = self._job.settings.objective, self._job.hardware.space.costs(self.points)
        mean, sd = inquisitor.predict(self.points, FULL)
        return objective.utilities(sigmoid(mean - CAUTION * sd), costs)

    def promise(self, inquisitor: Inquisitor, beaten: float) -> np.ndarray:
        """Return what a place is worth once a seed was tried for it: (seeds,)."""
        objective, costs = self._job.settings.objective, self._job.hardware.space.costs(self.points)
        predicted = inquisitor.predict(self.points, FULL)
        return promise(objective, self._penalty, predicted, costs, beaten)

    def refuse(self, place: int) -> None:
        """Leave a seed's network out, and others of its shape: a device has shown what it takes."""
        same = (self._relative == self._relative[place]).all(axis=1)
        self._competes = self._competes & ~same

    def best(
        self, inquisitor: Inquisitor, taken: list[FullDistillation], beaten: float = -math.inf
    ) -> int | None:
        """Return the place of the best seed that is unlike what is taken.

        Where none of them is at least `LEAST_DISTANCE` away, the farthest will do; None if
        every one of them is taken, or none promises to be better than what it has to beat.

        Args:
            inquisitor: whose predictions count.
            taken: networks that are distilled already.
            beaten: what the place is worth otherwise; -inf where nothing else would have it.
        """
        alone = beaten == -math.inf
        worth = self.worth(inquisitor) if alone else self.promise(inquisitor, beaten)
        distance = np.full(len(worth), math.inf)
        for one in taken:
            other = self._job.space.relative(one.points(self._job))
            distance = np.minimum(distance, np.abs(self._relative - other).mean(axis=1))
        distance[~self._competes] = 0
        unlike = distance >= LEAST_DISTANCE
        if not unlike.any():
            farthest = int(distance.argmax())
            return farthest if distance[farthest] > 0 else None
        place = int(np.where(unlike, worth, -math.inf).argmax())
        if alone:
            return place
        spread = float(self.utility(inquisitor)[self._competes].std())
        return place if worth[place] > beaten + LEAST_GAIN * spread else None

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

    def generator(self, place: int) -> Generator:
        """Return the generator whose network of this seed it is."""
        return replace(self._generator, theta=self._thetas[place])

    def candidate(self, place: int) -> Candidate:
        """Return one seed's network."""
        seed = self.seeds[place]
        graph = self._generator.graph(self.points, place, seed)
        return Candidate(seed, graph, self.points.take([place]))


def choose(
    run: RunFolder, job: Job, state: State, early: list[FullDistillation], *, listener: Listener
) -> tuple[list[FullDistillation], list[FullDistillation], Inquisitor]:
    """Distil networks of the final generator for the finalists' places.

    Up to twice as many are tried as there are places, as long as one promises to be better than
    what has the last of them. A try that would leave too few for the places that are open is
    cautious; one before that has to beat what is in hand, or else what the cautious one
    would put there.

    Args:
        run: where distillations are kept, and found again.
        job: the run.
        state: after the last cycle.
        early: networks that cycles distilled fully, which compete at what they reached.
        listener: hears of every one.

    Returns:
        (finalists by falling utility on the search split, all distilled in their order, the
        inquisitor that has seen them all). If not enough networks reach what is required, those
        that come closest fill up the finalists.
    """
    count = job.config.finalists.count
    ranking = Ranking(job, state.generator, state.penalty)
    inquisitor = state.inquisitor
    made: list[FullDistillation] = []
    refused = 0
    recall_end(run, job)
    while (left := TRIES_A_FINALIST * count - len(made)) > 0:
        distilled = [*early, *made]
        held = _best_that_meet(job, distilled, count)
        beaten = -math.inf
        if len(held) == count:
            beaten = held[-1].utility(job)
        elif left > count - len(held):
            cautious = ranking.best(inquisitor, distilled)
            if cautious is not None:
                beaten = float(ranking.utility(inquisitor)[cautious])
        place = ranking.best(inquisitor, distilled, beaten)
        if place is None and len(held) < count:
            place = ranking.best(inquisitor, distilled)
        if place is None:
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
                run, job, replace(state, generator=ranking.generator(place)), inquisitor, candidate,
                name=f"network-{len(made) + 1}", listener=listener,
            )
        )  # fmt: skip
        inquisitor = inquisitor.observe(made[-1].observation())
        _tell(listener, job, made[-1])
    chosen = _best_that_meet(job, [*early, *made], count)
    missed = [a for a in [*made, *early] if not a.accepted(job)]
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


def _best_that_meet(job: Job, made: list[FullDistillation], count: int) -> list[FullDistillation]:
    """Return the networks of highest utility that miss nothing, no two of them alike."""
    held: list[FullDistillation] = []
    for one in sorted((a for a in made if a.accepted(job)), key=lambda a: -a.utility(job)):
        if len(held) < count and _unlike(job, one, held):
            held.append(one)
    return held


def _unlike(job: Job, one: FullDistillation, taken: list[FullDistillation]) -> bool:
    own = job.space.relative(one.points(job))
    others = [job.space.relative(other.points(job)) for other in taken]
    return all(np.abs(own - other).mean() >= LEAST_DISTANCE for other in others)


def _tell(listener: Listener, job: Job, made: FullDistillation) -> None:
    missed = made.missed(job)
    meets = f"misses {' and '.join(missed)}" if missed else "kept"
    listener.note(f"{made.name}: {100 * made.score.value:.2f} % on the search split, {meets}")
