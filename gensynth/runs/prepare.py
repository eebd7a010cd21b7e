"""Everything a synthesis run needs, made ready from its run file before anything is written.

    RunConfig -> requirements, utility -> data -> prototype -> graph, space, probe, settings

What a user can get wrong surfaces in `prepare`: names that nobody knows, files that are
missing or damaged, shapes that do not fit, costs that no network can reach. Only a prototype
that is to be trained first is trained here, after all that.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gensynth import references
from gensynth.config import RunConfig
from gensynth.data import open_dataset
from gensynth.data.augment import augmented_as
from gensynth.data.dataset import Dataset
from gensynth.data.passes import images_a_pass, images_in_memory
from gensynth.data.views import Views, normaliser
from gensynth.errors import ConfigError, DataError
from gensynth.goals.device_costs import derived
from gensynth.goals.difference import difference
from gensynth.goals.exact import exact_costs
from gensynth.goals.relative import settle, settled_texts
from gensynth.goals.requirements import Requirement, cost_limits, quality_limit
from gensynth.goals.score import Score
from gensynth.goals.utility import Utility
from gensynth.graph.activations import all_elements, peak_elements
from gensynth.network.compute import detect
from gensynth.network.outputs import as_float, each
from gensynth.probing import stimuli
from gensynth.probing.probe import Probe
from gensynth.progress import SILENT, Listener
from gensynth.runs.ahead.forecast import Forecast, pace, views_kept
from gensynth.runs.ahead.reach import Reach, reach_of
from gensynth.runs.hardware import calibration
from gensynth.runs.hardware.calibration import Calibration
from gensynth.runs.hardware.hardware import Hardware
from gensynth.runs.hardware.opening import open_hardware
from gensynth.runs.objects import NOTHING, Objects
from gensynth.runs.obtain_prototype import prototype_of, seen_as_published
from gensynth.runs.plan import (
    devices_of,
    full_recipe,
    goals_of,
    search_requirements,
    settings_of,
    space_of,
    with_batches,
    with_metric,
)
from gensynth.search.cycle import Settings
from gensynth.space.placement import check_substitutes
from gensynth.space.points import Point
from gensynth.space.prototype import Prototype
from gensynth.space.space import Space
from gensynth.space.width_step import WidthStep
from gensynth.tasks import MEASURED
from gensynth.tasks.task import Task
from gensynth.training.evaluator import Evaluator, open_trainer
from gensynth.training.fit import Recipe, Teacher

LEAST_IMAGES = 256
"""That a network's norms take their statistics from, if images are small."""
LEAST_POSITIONS = LEAST_IMAGES * 32 * 32
"""That are as good: of larger images fewer do."""
PROBED_AT_ONCE = 128
LEAST_STIMULI = 16
ANSWERS_BYTES = 2**28
"""That the prototype's answers to the stimuli may fill; only those of large masks do."""


@dataclass(frozen=True)
class Job:
    """A run that is ready to start.

    Attributes:
        config: what was asked, with the step of widths that was chosen where none was asked, and
            the limits that relative requirements came to.
        requirements: read, the stricter of two on one metric; relative to a prototype that is not
            trained yet are those on its score alone.
        search_requirements: the same, the one on the task's metric with the limit that networks
            of the search are to reach.
        dataset, prototype, evaluator, space, probe, settings: what `synthesis` works with.
        step: of the space's widths, and why it is that.
        recipe: of a finalist's full distillation.
        search_score: of the prototype on the search split.
        training: the record of the prototype's training, if it was trained here.
        is_trained: False if an untrained prototype stands in for the one that is to be trained.
        hardware: the devices that something is asked of, which learn as the run goes on.
        calibration: what was measured on them before it.
        reach: what can be reached, exactly.
    """

    config: RunConfig
    requirements: tuple[Requirement, ...]
    search_requirements: tuple[Requirement, ...]
    dataset: Dataset
    prototype: Prototype
    evaluator: Evaluator
    space: Space
    step: WidthStep
    probe: Probe
    settings: Settings
    recipe: Recipe
    search_score: Score
    training: Mapping[str, bytes]
    is_trained: bool
    hardware: Hardware
    calibration: Calibration
    reach: Reach

    @property
    def utility(self) -> Utility:
        """U."""
        return self.settings.objective.utility

    def at_rates(self, peak_lr: float, brief_peak_lr: float) -> "Job":
        """Return the same with learning rates that were found, where the run file gives none.

        Args:
            peak_lr: of finalists.
            brief_peak_lr: of cycles.
        """
        job = self
        if self.config.search.peak_lr is None:
            recipe = replace(self.settings.recipe, peak_lr=brief_peak_lr)
            job = replace(job, settings=replace(self.settings, recipe=recipe))
        if self.config.finalists.peak_lr is None:
            job = replace(job, recipe=replace(self.recipe, peak_lr=peak_lr))
        return job

    def limits(self) -> dict[str, float]:
        """Return the largest allowed cost by name: counted ones, and those of devices as of now."""
        return {**self.settings.limits, **self.hardware.limits()}

    def costs(self, point: Point) -> dict[str, float]:
        """Return the costs of a network by name: counted ones, and what is known of devices."""
        known = {key: figure.value for key, figure in self.hardware.figures(point).items()}
        return {**self.space.named_costs(self.space.points([point])), **known}

    @property
    def task(self) -> Task:
        """What networks are trained and scored for."""
        return self.evaluator.task

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
                **{f"{s.name}_sha256": s.sha256 for s in (data.train, data.search, data.test)},
            },
            "prototype": {
                "name": self.config.prototype.network,
                "graph_sha256": self.prototype.graph.sha256,
            },
        }

    def forecast(self) -> Forecast:
        """Return how long the run will take here; times a few steps."""
        limits = cost_limits(self.requirements)
        measured = pace(self.evaluator, self.probe, self.space, limits, self.recipe)
        views, kept = views_kept(self.evaluator, self.recipe)
        return Forecast(
            search_score=self.search_score if self.is_trained else None,
            seen_search=self.config.prototype.seen_search,
            parts=measured.parts(
                self.settings,
                self.recipe,
                self.evaluator,
                full_networks=self.config.search.full_networks,
                count=self.config.finalists.count,
            ),
            views=views,
            kept_views=kept,
        )


def prepare(
    config: RunConfig,
    *,
    listener: Listener = SILENT,
    kept: Path | None = None,
    training: Callable[[str], Path] | None = None,
    objects: Objects = NOTHING,
    judged: int = 0,
    known: Calibration | None = None,
    tell: Callable[[Reach], None] | None = None,
) -> Job:
    """Make a run ready.

    Args:
        config: the run file.
        listener: hears of phases, and of the prototype's training.
        kept: weights of the prototype that a run folder keeps, in place of the run file's.
        training: called with the data set's name before a prototype is trained; returns the
            folder for its checkpoint and its record. If None, nothing is trained: an untrained
            prototype stands in, which has the costs and the speed of the trained one.
        objects: a module and a data set in place of what the run file names.
        judged: networks that the test split has judged before the run's finalists.
        known: what a run folder keeps of measurements before it; None asks the store.
        tell: called with what can be reached as soon as that is known, before the prototype is
            scored and probed.

    Raises:
        GensynthError: for whatever the user can put right; nothing is written or trained then.
    """
    listener.phase("prepare")
    references.search(config.modules)
    objects.check(config)
    config = with_metric(config)
    task, trainer = objects.open_task(config), open_trainer(config.task)
    asked, utility = goals_of(config, task.metric)
    _check_measured(config, asked, task)
    check_substitutes(config.search.substitutes)
    config = replace(config, data=seen_as_published(config))
    dataset = (
        open_dataset(config.data, config.task.kind) if objects.dataset is None else objects.dataset
    )
    dataset = augmented_as(dataset, config.data.augments)
    check_size(dataset)
    config, notes = with_batches(config, len(dataset.train))
    for note in notes:
        listener.note(note)
    judges = {
        "test_images": len(dataset.test), "search_images": len(dataset.search), "judged": judged,
    }  # fmt: skip
    if all(r.points is None for r in asked):  # refuses what no training would help
        search_requirements(config, asked, task, **judges, paired=False)
    compute = detect()
    devices = [device for device, _ in devices_of(config, asked, utility).values()]
    if known is None:
        known = calibration.from_store(devices)
    prototype, record = prototype_of(
        config,
        asked,
        utility,
        dataset,
        task,
        compute,
        listener,
        kept,
        training,
        known,
        devices,
        objects.prototype,
        trainer,
    )
    is_trained = bool(record) or kept is not None or not config.prototype.train
    reference = exact_costs(prototype.graph)
    requirements = settle(asked, reference)
    step, space = space_of(config, prototype.coupling, devices, requirements)
    hardware = open_hardware(config, requirements, utility, space, known)
    _check_searchable(utility, task, hardware)
    for name in config.search.substitutes:
        if not space.sites.standing(name):
            listener.note(f"nothing of '{config.prototype.network}' can be {name}")
    reach = reach_of(config, requirements, dataset, task, prototype, space, step, hardware, judged)
    if tell is not None:
        tell(reach)
    targets = task.targets(dataset.train, compute.device)
    views = Views(dataset, dataset.train, config.seed, compute.device, targets)
    teacher = Teacher(prototype.network(), views, compute)
    evaluator = Evaluator(prototype, dataset, views, teacher, compute, task, trainer)
    evaluator.check_apart(prototype.network(), f"prototype '{config.prototype.network}'")
    search_score = evaluator.score(prototype.network(), dataset.search)
    if is_trained:
        reference[task.metric] = 100 * search_score.value
        requirements = settle(requirements, reference)
    paired = difference(search_score, search_score) is not None
    sought = search_requirements(config, requirements, task, **judges, paired=paired)
    required = quality_limit(sought, task.metric)
    reached_pct = 100 * search_score.value
    if required is not None and is_trained and not required.allows(reached_pct):
        listener.note(
            f"the prototype reaches {reached_pct:.2f} % on the search split, less than "
            f'"{required}" asks of networks that learn from it'
        )
    return Job(
        config=replace(
            config,
            requirements=settled_texts(config.requirements, reference),
            search=replace(config.search, round_to=step.channels),
        ),
        requirements=requirements,
        search_requirements=sought,
        dataset=dataset,
        prototype=prototype,
        evaluator=evaluator,
        space=space,
        step=step,
        probe=make_probe(evaluator, config.search.probe_images, config.seed),
        settings=settings_of(
            config,
            sought,
            utility,
            task.metric,
            hardware.space,
            len(dataset.train),
            hardware.batches,
        ),
        recipe=full_recipe(config, len(dataset.train)),
        search_score=search_score,
        training=record,
        is_trained=is_trained,
        hardware=hardware,
        calibration=known,
        reach=reach,
    )


def _check_searchable(utility: Utility, task: Task, hardware: Hardware) -> None:
    """Refuse a utility that reads what is not known of every network of the search."""
    known = derived(dict.fromkeys(hardware.space.names, 1.0), hardware.batches)
    searchable = sorted({task.metric, *known})
    unknown = sorted(utility.needs - set(searchable))
    if unknown:
        raise ConfigError(
            f'utility "{utility.expression}" reads {unknown[0]}, which is known of finalists '
            f"only; the search weighs {', '.join(searchable)}; limit {unknown[0]} by a "
            "requirement instead"
        )


def _check_measured(config: RunConfig, requirements: tuple[Requirement, ...], task: Task) -> None:
    """Refuse a requirement on a quality of another task, or another metric of this one."""
    for requirement in requirements:
        if requirement.of == "task" and requirement.metric != task.metric:
            if config.requirements == RunConfig().requirements:  # nobody has asked for these
                raise ConfigError(
                    f"a run that judges by {task.metric} needs requirements of its own, for "
                    f'example --require "{task.metric} >= 85%" --require "macs <= 4M"'
                )
            raise ConfigError(
                f'"{requirement}" is on {requirement.metric}, and this run judges by '
                f"{task.metric}; {_home(requirement.metric, task.metric)}"
            )


def _home(metric: str, own: str) -> str:
    """Return what to do about a requirement on a metric that is not the task's."""
    for kind, measured in MEASURED.items():
        if metric in measured and own in measured:
            return f'require "{own} >= 85%" alone, or set metric = "{metric}" in [task]'
        if metric in measured:
            way = f'set kind = "{kind}" in [task], or --task {kind}'
            return f'require for example "{own} >= 85%", or {way}'
    return f'require for example "{own} >= 85%", or set kind and metric in [task]'


def check_size(dataset: Dataset) -> None:
    """Raise `DataError` where there are too few training images, with how many there must be."""
    there = len(dataset.train)
    enough = -(-LEAST_POSITIONS // math.prod(dataset.shape[1:]))
    least = max(LEAST_STIMULI, min(LEAST_IMAGES, enough))
    if there < least:
        raise DataError(
            f"{dataset.name} has {there} training images; at least {least} of "
            f"{' x '.join(map(str, dataset.shape[:0:-1]))} pixels are needed"
        )


def make_probe(evaluator: Evaluator, count: int, seed: int) -> Probe:
    """Return the probe of one run: `count` stimuli from the training images, see `stimuli`."""
    train = evaluator.dataset.train
    task, network = evaluator.task, evaluator.prototype.network()
    # All answers to the stimuli are kept: some images may be all there is room for.
    graph = network.graph
    answer_bytes = 4 * sum(math.prod(graph[output].shape) for output in graph.outputs)
    count = min(count, len(train), max(LEAST_STIMULI, ANSWERS_BYTES // answer_bytes))
    pool = stimuli.pool(count, len(train), seed)
    normalise = normaliser(evaluator.dataset, evaluator.compute.device)
    device = evaluator.compute.device
    evaluator.compute.place(network).eval()
    at_once, margins = images_a_pass(evaluator.dataset.shape, LEAST_IMAGES), []
    at_once = images_in_memory(2 * peak_elements(graph), at_once)
    with torch.no_grad():
        for part in np.array_split(pool, -(-len(pool) // at_once)):
            images = torch.from_numpy(train.images[part]).to(device)
            outputs = as_float(network(normalise(images)))
            margins.append(task.margins(each(lambda x: x.cpu().numpy(), outputs)))
    chosen = pool[stimuli.choose(task.strata(train, pool), np.concatenate(margins), count, seed)]
    images = normalise(torch.from_numpy(train.images[chosen]).to(device))
    targets = task.targets(train, device)(torch.from_numpy(chosen))
    batch = images_a_pass(evaluator.dataset.shape, PROBED_AT_ONCE)
    batch = images_in_memory(2 * all_elements(graph), batch)
    return Probe(evaluator.prototype.coupling, images, targets, task, network, batch)
