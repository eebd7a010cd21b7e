"""How long a run will take: a few steps are timed on this machine and multiplied.

They are of a network that meets the cost limits, and nothing of them is kept. What the run can
reach is said by `reach`, which takes no measurement.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from gensynth.data.passes import images_in_memory
from gensynth.goals.score import Score
from gensynth.graph.activations import all_elements
from gensynth.network.module import Network
from gensynth.probing.operator_probe import switching_nats
from gensynth.probing.probe import Probe
from gensynth.search.cycle import Settings
from gensynth.space.operator_choices import Sites
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.training.evaluator import Evaluator
from gensynth.training.fit import ROOM_BYTES, Recipe, Teacher
from gensynth.training.learning_rate import USUAL_TRIALS

TIMED_STEPS = 6
LEAST_TIMED = 4
"""Images of a timed step: a norm needs several."""


@dataclass(frozen=True)
class Part:
    """One part of a run's time.

    Attributes:
        name: of it.
        count: how often it is done.
        each_s: seconds that it takes once, on this machine as it is now.
    """

    name: str
    count: float
    each_s: float

    @property
    def total_s(self) -> float:
        """Seconds in all."""
        return self.count * self.each_s


@dataclass(frozen=True)
class Forecast:
    """How long a run will take, and what its prototype reaches.

    Attributes:
        search_score: of the prototype on the search split, measured; None for a prototype that
            is to be trained first.
        seen_search: whether the prototype was trained on these images.
        parts: of the time, which add up.
        views, kept_views: training images of a finalist, and of how many of them the prototype's
            answers fit in memory; those of the others are computed anew for every network.
    """

    search_score: Score | None
    seen_search: bool
    parts: tuple[Part, ...]
    views: int
    kept_views: int

    @property
    def total_s(self) -> float:
        """Seconds in all."""
        return sum(part.total_s for part in self.parts)


@dataclass(frozen=True)
class Pace:
    """Seconds for pieces of the work, from one short measurement each.

    Attributes:
        step_s: a training step of a network at the limits, a teacher's answers known.
        teach_s: the teacher's answers to the batch of one step.
        image_s: evaluating one image.
        probe_s: probing one network.
        switch_s: finding what every substitute that the run allows would lose.
        answers_s: one network's answers to the stimuli, by which a shortlist is ranked.
    """

    step_s: float
    teach_s: float
    image_s: float
    probe_s: float
    switch_s: float
    answers_s: float = 0.0

    def parts(
        self,
        settings: Settings,
        recipe: Recipe,
        evaluator: Evaluator,
        *,
        full_networks: int,
        count: int,
    ) -> tuple[Part, ...]:
        """Return the parts of a run's time."""
        train, search, test = (
            len(evaluator.dataset.train), len(evaluator.dataset.search), len(evaluator.dataset.test)
        )  # fmt: skip
        batch_share = settings.recipe.batch / recipe.batch
        short_steps = settings.recipe.epochs * (train // settings.recipe.batch)
        full_steps = recipe.epochs * (train // recipe.batch)
        short = short_steps * self.step_s * batch_share
        fresh = short_steps * self.teach_s * batch_share if settings.reptile_rate else 0.0
        shortlist = settings.search.shortlist * self.answers_s
        cycle = short + fresh + search * self.image_s + self.probe_s + shortlist
        full = full_steps * self.step_s + search * self.image_s
        early = min(full_networks, settings.search.cycles)
        seen, kept = views_kept(evaluator, recipe)
        again = 1 + (count + early - 1) * (1 - kept / seen)  # every student sees the same views
        return (
            Part("probe the prototype", 1, self.probe_s + self.switch_s),
            *((Part("learning rate", USUAL_TRIALS, short),) if settings.finds_rate else ()),
            Part("warm-up", settings.warmup, short + fresh),
            Part("cycles", settings.search.cycles, cycle),
            Part("distilled in cycles", early, full),
            Part("finalists", count, full + test * self.image_s),
            Part("prototype's answers", again, full_steps * self.teach_s),
        )


def views_kept(evaluator: Evaluator, recipe: Recipe) -> tuple[int, int]:
    """Return how many images a full distillation sees, and of how many answers are kept."""
    graph = evaluator.prototype.graph
    answer_bytes = 4 * sum(math.prod(graph[output].shape) for output in graph.outputs)
    seen = max(1, round(recipe.epochs * (len(evaluator.dataset.train) // recipe.batch)))
    return seen * recipe.batch, min(seen * recipe.batch, ROOM_BYTES // answer_bytes)


def point_at_limits(space: Space, limits: dict[str, int]) -> Points:
    """Return the widest network of equal relative widths that meets the limits.

    Without limits the goal is half of the prototype's MACs.
    """
    whole, first = space.whole(1), space.names[0]
    goal = limits or {first: int(space.named_costs(whole)[first]) // 2}
    for share in (step / 32 for step in range(32, 0, -1)):
        widths = space.sizes * share // space.round_to * space.round_to
        narrow = widths.astype(int)[None].clip(space.floors, space.sizes)
        points = Points(narrow, whole.kept_blocks)
        costs = space.named_costs(points)
        if all(costs[name] <= limit for name, limit in goal.items()):
            return points
    return space.smallest()


def pace(
    evaluator: Evaluator, probe: Probe, space: Space, limits: dict[str, int], recipe: Recipe
) -> Pace:
    """Time a few steps of a network at the limits, on this machine as it is now."""
    views = evaluator.views
    # Of few images, where many do not fit in memory; a step takes as much longer as it has more.
    kept = 2 * all_elements(evaluator.prototype.graph)
    timed = min(recipe.batch, max(LEAST_TIMED, images_in_memory(kept, recipe.batch)), len(views))
    more = recipe.batch / timed
    aside = replace(
        evaluator, teacher=Teacher(evaluator.prototype.network(), views, evaluator.compute)
    )
    batches = list(views.epoch(0, timed, limit=TIMED_STEPS))
    teach_s = _timed(
        lambda: [aside.teacher.answers(0, batch.images, batch.places) for batch in batches]
    )
    network = _network(aside, space, limits)
    epochs = len(batches) / max(1, len(views) // timed)
    probe_s = _timed(lambda: probe(network, seed=0))
    recipe = replace(recipe, epochs=epochs, batch=timed)
    aside.distil(network, recipe)  # pays for what is set up once
    step_s = _step_s(aside, network, recipe, len(batches))
    images = batches[0].images
    with torch.no_grad():
        network(images)
        image_s = _timed(lambda: network(images))
    each_s = image_s / len(images)
    return Pace(
        step_s * more, teach_s / len(batches) * more, each_s, probe_s,
        _switching(evaluator, probe, space), len(probe) * each_s,
    )  # fmt: skip


def _step_s(evaluator: Evaluator, network: Network, recipe: Recipe, steps: int) -> float:
    """Return the seconds of one training step, compilation left out.

    A trainer of one's own says nothing of its steps; it is timed as a whole.
    """
    ends: list[float] = []

    def stepped(done: float, loss: float) -> None:
        ends.append(time.perf_counter())

    whole_s = _timed(lambda: evaluator.distil(network, recipe, progress=stepped))
    return float(np.median(np.diff(ends))) if len(ends) > 1 else whole_s / steps


def _switching(evaluator: Evaluator, probe: Probe, space: Space) -> float:
    """Return the seconds that all substitutes take, from the first of them."""
    substitutes = space.sites.substitutes
    if not substitutes:
        return 0.0
    first = Sites(space.coupling.graph, substitutes[:1])
    return len(substitutes) * _timed(lambda: switching_nats(evaluator, probe, first, seed=0))


def _network(evaluator: Evaluator, space: Space, limits: dict[str, int]) -> Network:
    points = point_at_limits(space, limits)
    ranking = [np.arange(size) for size in space.sizes]
    graph = space.coupling.apply(space.selection(points, 0, ranking))
    return evaluator.inherit(graph, evaluator.prototype.weights)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
