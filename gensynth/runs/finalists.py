"""From a learned generator to the few networks that a run ends with.

    rank        seeds of the final generator, by a cautious prediction of their worth
    attempt     distil one fully, count on the search split, tell the inquisitor
    choose      rank again; a network that misses what the run aims at makes way for the next

The test split is not touched here.
"""

import math

import numpy as np

from gensynth.graph.graph import Graph
from gensynth.progress import Watch
from gensynth.randomness import stream
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import Attempt, attempt
from gensynth.runs.prepare import Job
from gensynth.search.cycle import State
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import FULL, Inquisitor
from gensynth.search.regression import sigmoid
from gensynth.space.points import Points

CAUTION = 1.0
"""Standard deviations taken off a predicted logit accuracy when finalists are ranked."""

LEAST_DISTANCE = 0.05
"""Mean absolute difference of relative widths that two finalists have at least."""

ATTEMPTS_A_FINALIST = 2


class Ranking:
    """Seeds of a generator, in the order in which they deserve full distillation.

        worth = U(sigmoid(mean - sd), costs) - mu * P(violation)

    A network that is distilled already competes at what it reached.
    """

    def __init__(self, job: Job, generator: Generator, price: float) -> None:
        self._job, self._generator, self._price = job, generator, price
        draws = stream(job.plan.seed, "finalists").integers(0, 2**31, job.plan.candidates)
        self.seeds = [int(seed) for seed in draws]
        self.points = generator.points(self.seeds)
        self._relative = job.space.relative(self.points)

    def worth(self, inquisitor: Inquisitor) -> np.ndarray:
        """Return the cautious worth of every seed: (seeds,)."""
        aim = self._job.plan.aim
        mean, sd = inquisitor.predict(self.points, FULL)
        utilities = aim.utilities(sigmoid(mean - CAUTION * sd), self._job.space.costs(self.points))
        worth: np.ndarray = utilities - self._price * aim.violation(mean, sd)
        return worth

    def known_worth(self, attempt: Attempt) -> float:
        """Return the worth of a network that is distilled already."""
        return attempt.utility(self._job) - self._price * (not attempt.accepted(self._job))

    def best(self, inquisitor: Inquisitor, taken: list[Attempt]) -> int | None:
        """Return the place of the best seed that is unlike what is taken.

        Where none of them is at least `LEAST_DISTANCE` away, the farthest will do; None if
        every one of them is taken.
        """
        worth = self.worth(inquisitor)
        distance = np.full(len(worth), math.inf)
        for one in taken:
            other = self._job.space.relative(one.point)
            distance = np.minimum(distance, np.abs(self._relative - other).mean(axis=1))
        unlike = distance >= LEAST_DISTANCE
        if unlike.any():
            return int(np.where(unlike, worth, -math.inf).argmax())
        farthest = int(distance.argmax())
        return farthest if distance[farthest] > 0 else None

    def point(self, place: int) -> Points:
        """Return one seed's network as a point."""
        return self.points.take([place])

    def graph(self, place: int) -> Graph:
        """Return one seed's network."""
        return self._generator.graph(self.points, place, self.seeds[place])


def choose(
    run: RunFolder, job: Job, state: State, early: list[Attempt], *, watch: Watch
) -> tuple[list[Attempt], list[Attempt], Inquisitor]:
    """Distil networks of the final generator until enough of them reach what the run aims at.

    Args:
        run: where attempts are kept, and found again.
        job: the run.
        state: after the last cycle.
        early: networks that cycles distilled fully.
        watch: hears of every attempt.

    Returns:
        (finalists by falling utility on the search split, all attempts in their order, the
        inquisitor that has seen them all). If not enough networks reach it
        within twice as many attempts, those that come closest fill up the finalists.
    """
    count = job.config.finalists.count
    ranking = Ranking(job, state.generator, state.price)
    inquisitor = state.inquisitor
    waiting = list(early)
    taken: list[Attempt] = []
    made: list[Attempt] = []
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
        if place is None or len(made) == ATTEMPTS_A_FINALIST * count:
            break
        made.append(
            attempt(
                run, job, state, inquisitor, ranking.point(place), ranking.graph(place),
                ranking.seeds[place], name=f"network-{len(made) + 1}", watch=watch,
            )
        )  # fmt: skip
        taken.append(made[-1])
        inquisitor = inquisitor.observe(made[-1].observation())
        _tell(watch, job, made[-1])
    chosen = [a for a in taken if a.accepted(job)]
    missed = [a for a in [*taken, *waiting] if not a.accepted(job)]
    chosen += sorted(missed, key=lambda a: -a.correct)[: count - len(chosen)]
    chosen.sort(key=lambda a: -a.utility(job))
    if len(chosen) < count:
        watch.note(f"the generator has only {len(chosen)} different networks for {count} finalists")
    missing = sum(not a.accepted(job) for a in chosen)
    if missing:
        watch.note(
            f"{missing} of {len(chosen)} finalists miss a requirement on the search split; "
            "more cycles, more epochs or a looser requirement would help"
        )
    return chosen, [*early, *made], inquisitor


def _unlike(job: Job, one: Attempt, taken: list[Attempt]) -> bool:
    own = job.space.relative(one.point)
    return all(
        np.abs(own - job.space.relative(other.point)).mean() >= LEAST_DISTANCE for other in taken
    )


def _tell(watch: Watch, job: Job, made: Attempt) -> None:
    missed = made.missed(job)
    meets = f"misses {' and '.join(missed)}" if missed else "kept"
    watch.note(f"{made.name}: {100 * made.accuracy:.2f} % on the search split, {meets}")
