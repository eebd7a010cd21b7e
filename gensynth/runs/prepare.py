"""Everything a synthesis run needs, made ready from its run file before anything is written.

    RunConfig -> requirements, utility -> data -> prototype -> graph, space, probe, plan

What a user can get wrong surfaces in `prepare`: names that nobody knows, files that are
missing or damaged, shapes that do not fit, costs that no network can reach. Only a prototype
that is to be trained first is trained here, after all that.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gensynth.config import RunConfig
from gensynth.data import open_dataset
from gensynth.data.dataset import Dataset
from gensynth.data.views import Views, normaliser
from gensynth.errors import ConfigError, DataError
from gensynth.goals.ledger import split_sha256
from gensynth.goals.requirements import Requirement, accuracy_limit, cost_limits, parse_all
from gensynth.goals.utility import Utility
from gensynth.network.compute import detect
from gensynth.probing import stimuli
from gensynth.probing.probe import Probe
from gensynth.progress import SILENT, Watch
from gensynth.runs.forecast import Forecast, frozen_macs_share, pace
from gensynth.runs.obtain_prototype import prototype_of
from gensynth.runs.plan import aims_of, full_recipe, plan_of, step_of
from gensynth.search.cycle import Plan
from gensynth.space.placement import check_operators
from gensynth.space.points import COSTS
from gensynth.space.prototype import Prototype
from gensynth.space.space import Space
from gensynth.space.width_step import WidthStep
from gensynth.tasks.classification import read_task
from gensynth.training.evaluator import Workshop
from gensynth.training.fit import Recipe, Teacher

SEARCHABLE = frozenset({"top1", *COSTS})
"""Metrics that are known of every network of the search, trained or only generated."""

LEAST_IMAGES = 256
"""A network's norms take their statistics from batches of this size."""


@dataclass(frozen=True)
class Job:
    """A run that is ready to start.

    Attributes:
        config: what was asked, with the step of widths that was chosen where none was asked.
        requirements: read, the stricter of two on one metric.
        aims: the same, on accuracy with the limit that networks of the search are to reach.
        prototype_name: as asked.
        dataset, prototype, workshop, space, probe, plan: what `synthesis` works with.
        step: of the space's widths, and why it is that.
        recipe: of a finalist's full distillation.
        search_correct: images of the search split that the prototype classifies correctly.
        training: the record of the prototype's training, if it was trained here.
        is_trained: False if an untrained prototype stands in for the one that is to be trained.
    """

    config: RunConfig
    requirements: tuple[Requirement, ...]
    aims: tuple[Requirement, ...]
    dataset: Dataset
    prototype: Prototype
    workshop: Workshop
    space: Space
    step: WidthStep
    probe: Probe
    plan: Plan
    recipe: Recipe
    search_correct: int
    training: Mapping[str, bytes]
    is_trained: bool

    @property
    def utility(self) -> Utility:
        """U."""
        return self.plan.aim.utility

    @functools.cached_property
    def inputs(self) -> dict[str, Any]:
        """What a resumed run must find unchanged, as JSON values: the data and the prototype."""
        data = self.dataset
        return {
            "data": {
                "name": data.name,
                "mean": list(data.mean),
                "std": list(data.std),
                "classes": list(data.classes),
                **{
                    f"{s.name}_sha256": split_sha256(s)
                    for s in (data.train, data.search, data.test)
                },
            },
            "prototype": {
                "name": self.config.prototype.network,
                "graph_sha256": self.prototype.graph.sha256,
            },
        }

    def forecast(self) -> Forecast:
        """Return what can be reached, and how long it will take here; times a few steps."""
        config, space = self.config, self.space
        limits = cost_limits(self.requirements)
        measured = pace(self.workshop, self.probe, space, limits, self.recipe)
        initialise, cycle, finalist, total = measured.seconds(
            self.plan,
            self.recipe,
            self.workshop,
            full_networks=config.search.full_networks,
            count=config.finalists.count,
        )
        smallest = dict(zip(COSTS, space.costs(space.smallest())[0], strict=True))
        whole = dict(zip(COSTS, space.prototype, strict=True))
        return Forecast(
            prototype=config.prototype.network,
            data=self.dataset.name,
            macs=(int(smallest["macs"]), int(whole["macs"])),
            params=(int(smallest["params"]), int(whole["params"])),
            limits=limits,
            requirements=tuple(r.text for r in self.requirements),
            search_top1_pct=(
                100 * self.search_correct / len(self.dataset.search) if self.is_trained else None
            ),
            search_n=len(self.dataset.search),
            seen_search=config.prototype.seen_search,
            frozen_macs_share=frozen_macs_share(self.prototype.coupling),
            groups=tuple((g.name, g.size) for g in self.prototype.coupling.groups),
            step=self.step,
            blocks=tuple(b.name for b in self.prototype.coupling.blocks),
            operators=tuple(
                (word, len(space.sites.standing(word))) for word in config.search.operators
            ),
            cycles=self.plan.cycles,
            finalists=config.finalists.count,
            initialise_s=initialise,
            cycle_s=cycle,
            finalist_s=finalist,
            total_s=total,
        )


def prepare(
    config: RunConfig,
    *,
    watch: Watch = SILENT,
    kept: Path | None = None,
    training: Callable[[str], Path] | None = None,
) -> Job:
    """Make a run ready.

    Args:
        config: the run file.
        watch: hears of phases, and of the prototype's training.
        kept: weights of the prototype that a run folder keeps, in place of the run file's.
        training: called with the data set's name before a prototype is trained; returns the
            folder for its checkpoint and its record. If None, nothing is trained: an untrained
            prototype stands in, which has the costs and the speed of the trained one.

    Raises:
        GensynthError: for whatever the user can put right; nothing is written or trained then.
    """
    watch.phase("prepare")
    requirements = parse_all(config.requirements)
    utility = _utility(config.utility)
    check_operators(config.search.operators)
    dataset = open_dataset(config.data)
    _check_size(dataset, config)
    aims = aims_of(config, requirements, len(dataset.test))
    hard_loss, trainer = read_task(config.task, dataset)
    compute = detect()
    prototype, record = prototype_of(config, requirements, dataset, compute, watch, kept, training)
    is_trained = bool(record) or kept is not None or not config.prototype.train
    step = step_of(config, prototype.coupling)
    space = Space(prototype.coupling, step.channels, config.search.operators)
    for word in config.search.operators:
        if not space.sites.standing(word):
            watch.note(f"nothing of '{config.prototype.network}' can be {word}")
    views = Views(dataset, dataset.train, config.seed, compute.device)
    teacher = Teacher(prototype.network(), views, compute)
    workshop = Workshop(
        prototype, dataset, views, teacher, compute, hard_loss=hard_loss, trainer=trainer
    )
    search_correct = workshop.correct(prototype.network(), dataset.search)
    accuracy = accuracy_limit(aims)
    reached = 100 * search_correct / len(dataset.search)
    if accuracy is not None and is_trained and not accuracy.allows(reached):
        watch.note(
            f'the prototype reaches {reached:.2f} % on the search split, less than "{accuracy}" '
            "asks of networks that learn from it"
        )
    return Job(
        config=replace(config, search=replace(config.search, align=step.channels)),
        requirements=requirements,
        aims=aims,
        dataset=dataset,
        prototype=prototype,
        workshop=workshop,
        space=space,
        step=step,
        probe=make_probe(workshop, config.search.probe_images, config.seed),
        plan=plan_of(config, aims, utility, len(dataset.train)),
        recipe=full_recipe(config, len(dataset.train)),
        search_correct=search_correct,
        training=record,
        is_trained=is_trained,
    )


def _utility(expression: str) -> Utility:
    utility = Utility(expression)
    unknown = sorted(utility.needs - SEARCHABLE)
    if unknown:
        raise ConfigError(
            f'utility "{expression}" reads {unknown[0]}, which is measured on finalists only; '
            f"the search weighs {', '.join(sorted(SEARCHABLE))}; limit {unknown[0]} by a "
            "requirement instead"
        )
    return utility


def _check_size(dataset: Dataset, config: RunConfig) -> None:
    least = max(LEAST_IMAGES, config.finalists.batch)
    if len(dataset.train) < least:
        raise DataError(
            f"{dataset.name} has {len(dataset.train)} training images; at least {least} are needed"
        )
    if len(dataset.classes) < 2:
        raise DataError(f"{dataset.name} has one class; telling apart takes at least two")


def make_probe(workshop: Workshop, count: int, seed: int) -> Probe:
    """Return the probe of one run: `count` stimuli from the training images, see `stimuli`."""
    train = workshop.dataset.train
    count = min(count, len(train))
    pool = stimuli.pool(count, len(train), seed)
    normalise = normaliser(workshop.dataset, workshop.compute.device)
    device = workshop.compute.device
    network = workshop.prototype.network()
    workshop.compute.place(network).eval()
    answers = []
    with torch.no_grad():
        for part in np.array_split(pool, -(-len(pool) // LEAST_IMAGES)):
            images = torch.from_numpy(train.images[part]).to(device)
            answers.append(network(normalise(images)).float().cpu().numpy())
    chosen = pool[
        stimuli.choose(train.labels[pool], stimuli.margins(np.concatenate(answers)), count, seed)
    ]
    images = normalise(torch.from_numpy(train.images[chosen]).to(device))
    labels = torch.from_numpy(train.labels[chosen]).to(device)
    return Probe(workshop.prototype.coupling, images, labels, network)
