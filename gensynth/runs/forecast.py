"""What a run can reach and how long it will take, said before anything is trained.

Ranges of cost are exact. Times are forecasts: a few steps of a network that meets the cost
limits are timed on this machine and multiplied; nothing of them is kept.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from gensynth.goals.figure import Figure
from gensynth.goals.score import Score
from gensynth.network.module import Network
from gensynth.probing.operator_probe import switching_nats
from gensynth.probing.probe import Probe
from gensynth.search.cycle import Settings
from gensynth.space.coupling import Coupling
from gensynth.space.inspection import inspection
from gensynth.space.operator_choices import Sites
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.space.width_step import WidthStep
from gensynth.training.evaluator import Evaluator
from gensynth.training.fit import ROOM_BYTES, Recipe, Teacher

TIMED_STEPS = 6


@dataclass(frozen=True)
class Forecast:
    """What `gensynth synth --plan` says.

    Attributes:
        prototype, data: their names.
        costs: of (the smallest network of the space, the prototype), by name.
        limits: largest allowed cost by name.
        figures: what is estimated of (the smallest network, the prototype) on devices, by key.
        requirements: as written.
        search_score: of the prototype on the search split, measured; None for a prototype that
            is to be trained first.
        seen_search: whether the prototype was trained on these images.
        frozen_macs_share: share of the prototype's MACs, in [0, 1], in vertices that no
            generated network can change.
        groups: (name, channels) of the coupled channels that can be narrowed.
        step: channels that a width changes by.
        blocks: names of the residual branches that can be removed.
        substitutes: (substitute, places where it may stand), of those that the run allows.
        cycles, finalists: how many.
        initialise_s, cycle_s, finalist_s, total_s: forecasts, on this machine as it is now.
        views, kept_views: training images of a finalist, and of how many of them the prototype's
            answers fit in memory; those of the others are computed anew for every network.
    """

    prototype: str
    data: str
    costs: dict[str, tuple[float, float]]
    limits: dict[str, float]
    figures: dict[str, tuple[Figure, Figure]]
    requirements: tuple[str, ...]
    search_score: Score | None
    seen_search: bool
    frozen_macs_share: float
    groups: tuple[tuple[str, int], ...]
    step: WidthStep
    blocks: tuple[str, ...]
    substitutes: tuple[tuple[str, int], ...]
    cycles: int
    finalists: int
    initialise_s: float
    cycle_s: float
    finalist_s: float
    total_s: float
    views: int
    kept_views: int


@dataclass(frozen=True)
class Pace:
    """Seconds for pieces of the work, from one short measurement each.

    Attributes:
        step_s: a training step of a network at the limits, a teacher's answers known.
        teach_s: the teacher's answers to the batch of one step.
        image_s: evaluating one image.
        probe_s: probing one network.
        switch_s: finding what every substitute that the run allows would lose.
    """

    step_s: float
    teach_s: float
    image_s: float
    probe_s: float
    switch_s: float

    def seconds(
        self,
        settings: Settings,
        recipe: Recipe,
        evaluator: Evaluator,
        *,
        full_networks: int,
        count: int,
    ) -> tuple[float, float, float, float]:
        """Return forecasts of (initialisation, a cycle, a finalist, all), in seconds."""
        train, search, test = (
            len(evaluator.dataset.train), len(evaluator.dataset.search), len(evaluator.dataset.test)
        )  # fmt: skip
        batch_share = settings.recipe.batch / recipe.batch
        short_steps = settings.recipe.epochs * (train // settings.recipe.batch)
        full_steps = recipe.epochs * (train // recipe.batch)
        short = short_steps * self.step_s * batch_share
        fresh = short_steps * self.teach_s * batch_share if settings.reptile_rate else 0.0
        initialise = self.probe_s + self.switch_s + settings.warmup * (short + fresh)
        cycle = short + fresh + search * self.image_s + self.probe_s
        finalist = full_steps * self.step_s + (search + test) * self.image_s
        taught = full_steps * self.teach_s
        networks = count + min(full_networks, settings.search.cycles)
        seen, kept = views_kept(evaluator, recipe)
        again = 1 + (networks - 1) * (1 - kept / seen)  # every student sees the same views
        total = initialise + settings.search.cycles * cycle + again * taught + networks * finalist
        return initialise, cycle, finalist, total


def views_kept(evaluator: Evaluator, recipe: Recipe) -> tuple[int, int]:
    """Return how many images a full distillation sees, and of how many answers are kept."""
    graph = evaluator.prototype.graph
    answer_bytes = 4 * sum(math.prod(graph[output].shape) for output in graph.outputs)
    seen = max(1, round(recipe.epochs * (len(evaluator.dataset.train) // recipe.batch)))
    return seen * recipe.batch, min(seen * recipe.batch, ROOM_BYTES // answer_bytes)


def frozen_macs_share(coupling: Coupling) -> float:
    """Return the share of MACs in vertices that no group and no block touches."""
    found = inspection(coupling)
    return 1 - found.changeable_macs_share if found.cost.macs else 0.0


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
    aside = replace(
        evaluator, teacher=Teacher(evaluator.prototype.network(), views, evaluator.compute)
    )
    batches = list(views.epoch(0, recipe.batch, limit=TIMED_STEPS))
    teach_s = _timed(
        lambda: [aside.teacher.answers(0, batch.images, batch.places) for batch in batches]
    )
    network = _network(aside, space, limits)
    epochs = len(batches) / max(1, len(views) // recipe.batch)
    probe_s = _timed(lambda: probe(network, seed=0))
    recipe = replace(recipe, epochs=epochs)
    aside.distil(network, recipe)  # pays for what is set up once
    step_s = _step_s(aside, network, recipe, len(batches))
    images = batches[0].images
    with torch.no_grad():
        network(images)
        image_s = _timed(lambda: network(images))
    count = len(batches)
    return Pace(
        step_s, teach_s / count, image_s / len(images), probe_s,
        _switching(evaluator, probe, space),
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
