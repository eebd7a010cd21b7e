"""The prototype of a run: kept, given, shipped with gensynth, or trained here.

Before any training, a prototype without freedom is refused, and so are limits that no network
of its space can reach.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gensynth.config import RunConfig
from gensynth.data.dataset import Dataset
from gensynth.errors import PrototypeError
from gensynth.goals.requirements import Requirement, cost_limits
from gensynth.network.compute import Compute
from gensynth.progress import Watch
from gensynth.prototypes import create, shipped
from gensynth.runs.plan import step_of
from gensynth.search.generator import Generator
from gensynth.search.theta import initial_theta
from gensynth.space.prototype import Prototype, load_weights, read_prototype
from gensynth.space.space import Space
from gensynth.training.pretrain import train_prototype


def prototype_of(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    dataset: Dataset,
    compute: Compute,
    watch: Watch,
    kept: Path | None,
    training: Callable[[str], Path] | None,
) -> tuple[Prototype, dict[str, bytes]]:
    """Return the trained prototype, and the record of its training if that was done here.

    Args:
        config, requirements, dataset, compute: of the run.
        watch: hears of the training.
        kept: weights that a run folder keeps, in place of the run file's.
        training: as `gensynth.runs.prepare.prepare` is given it.

    Raises:
        PrototypeError: if there are no weights, they do not fit, or nothing can be changed.
        UnreachableError: if no network of the space meets the limits on cost.
    """
    asked = config.prototype
    network = create(asked.network, classes=len(dataset.classes), channels=dataset.shape[0])
    network.eval()
    read = functools.partial(
        read_prototype, shape=dataset.shape, name=asked.network, classes=len(dataset.classes)
    )
    weights = kept or asked.weights or shipped(asked.network, dataset.name)
    if kept is None and asked.train:
        untrained = read(network)
        _check_reachable(untrained, config, requirements)
        if training is None:
            return untrained, {}
        folder = training(dataset.name)
        watch.phase("train prototype")
        trained = train_prototype(
            asked.network,
            dataset,
            folder,
            checkpoint=folder / "checkpoint.safetensors",
            seed=config.seed,
            compute=compute,
            progress=lambda share, loss: watch.progress("prototype", share, f"loss {loss:.3f}"),
        )
        watch.phase("prepare")
        return read(trained.cpu()), {"training.json": next(folder.glob("*.json")).read_bytes()}
    if weights is None:
        raise PrototypeError(
            f"no trained weights of '{asked.network}' for {dataset.name} ship with gensynth; "
            "name a safetensors file by --weights, or train it first by --train-prototype"
        )
    load_weights(network, weights, name=asked.network)
    prototype = read(network)
    _check_reachable(prototype, config, requirements)
    return prototype, {}


def _check_reachable(
    prototype: Prototype, config: RunConfig, requirements: tuple[Requirement, ...]
) -> None:
    """Refuse a prototype without freedom, and limits below its smallest network.

    Raises:
        PrototypeError, UnreachableError: accordingly.
    """
    coupling = prototype.coupling
    if not coupling.groups:
        raise PrototypeError(
            f"prototype '{config.prototype.network}' has no channels that can be removed: all of "
            "them reach its input, its output or a part that cannot be looked into"
        )
    step = step_of(config, coupling)
    space = Space(coupling, step.channels, config.search.operators)
    zeros = tuple(np.zeros(size) for size in space.sizes)
    theta = initial_theta(
        space, zeros, np.ones(len(coupling.blocks)), seed=0, directions=1, spread=0.0,
        budget=(0.0, 0.0),
    )  # fmt: skip
    limits: dict[str, float] = dict(cost_limits(requirements))
    Generator(space, theta, limits)  # knows what no network of the space can reach
