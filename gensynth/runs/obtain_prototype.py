"""The prototype of a run: kept, given, shipped, published by its library, or trained here.

Before any training, a prototype that does not suit the task is refused, and so are limits that no
network of its space can reach.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from gensynth.config import DataConfig, RunConfig
from gensynth.data.dataset import Dataset
from gensynth.devices.run_device import RunDevice
from gensynth.errors import PrototypeError
from gensynth.goals.exact import check_peak, exact_costs
from gensynth.goals.relative import settle
from gensynth.goals.requirements import Requirement, cost_limits
from gensynth.goals.utility import Utility
from gensynth.network.compute import Compute
from gensynth.progress import Listener
from gensynth.prototypes import is_of_library, libraries, make, shipped
from gensynth.prototypes.checkpoint import begin_from, load_weights, read_checkpoint
from gensynth.prototypes.factories import Made
from gensynth.prototypes.plain import copied, plain, unwrapped
from gensynth.runs.hardware.calibration import Calibration
from gensynth.runs.hardware.opening import open_hardware
from gensynth.runs.objects import OBJECT
from gensynth.runs.plan import space_of
from gensynth.space.prototype import Prototype, read_prototype
from gensynth.tasks.task import Task
from gensynth.training.evaluator import Trainer
from gensynth.training.pretrain import recipe_of, train_prototype


def seen_as_published(config: RunConfig) -> DataConfig:
    """Return how a run sees its images: as its library's weights do, where nothing else is said.

    That is size, mean and standard deviation of a folder of images; ready-made data sets have
    their own.
    """
    data, asked = config.data, config.prototype
    begins = asked.pretrained or asked.weights is not None
    if not (is_of_library(asked.network) and begins and Path(data.source).exists()):
        return data
    seen = libraries.sees(asked.network)
    if seen is None or data.colour == "grey":
        return data
    turned = -1 if data.colour == "bgr" else 1
    if data.mean is None:
        data = replace(data, mean=seen.mean[::turned], std=seen.std[::turned])
    if data.size is None and seen.size is not None and config.task.kind != "segmentation":
        data = replace(data, size=seen.size)
    return data


def prototype_of(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    utility: Utility,
    dataset: Dataset,
    task: Task,
    compute: Compute,
    listener: Listener,
    kept: Path | None,
    training: Callable[[str], Path] | None,
    known: Calibration,
    devices: Sequence[RunDevice],
    module: nn.Module | None = None,
    trainer: Trainer | None = None,
) -> tuple[Prototype, dict[str, bytes]]:
    """Return the trained prototype, and the record of its training if that was done here.

    Args:
        config, requirements, utility, dataset, task, compute: of the run.
        listener: hears of the training.
        kept: weights that a run folder keeps, in place of the run file's.
        training: as `gensynth.runs.prepare.prepare` is given it.
        known: what was measured on the run's devices before.
        devices: these.
        module: the prototype itself, in place of the run file's name.
        trainer: the user's own training function, in place of ours.

    Raises:
        PrototypeError: if there are no weights, they do not fit, or nothing can be changed.
        UnreachableError: if no network of the space meets the limits on cost, or is likely to
            meet those on a device.
    """
    asked, classes = config.prototype, len(dataset.classes)
    name = asked.network.removeprefix(OBJECT)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        made = (
            make(
                asked.network,
                classes=classes,
                channels=dataset.shape[0],
                arguments=dict(asked.arguments),
            )
            if module is None
            else Made(copied(module))
        )
        network = unwrapped(made.network, name=name)
        begins = False
        if kept is None:
            begins = _begin(network, config, dataset, listener, is_given=module is not None,
                            is_planned=training is None)  # fmt: skip
        network = plain(network, [dataset.shape], name=name)
    if kept is not None:
        load_weights(network, kept, name=name)

    def read(network: nn.Module) -> Prototype:
        prototype = read_prototype(network, dataset.shape, name=name, outputs=asked.outputs)
        try:
            task.check(prototype.graph, dataset)
        except PrototypeError as error:
            graph = prototype.graph
            of_classes = any(graph[output].shape[0] == classes for output in graph.outputs)
            may_help = module is None and not asked.outputs and not of_classes
            way_out = f"; {made.way_out(classes)}" if may_help else ""
            raise PrototypeError(f"{error}{way_out}") from error
        asked_of_it = settle(requirements, exact_costs(prototype.graph))
        _, space = space_of(config, prototype.coupling, devices, asked_of_it)
        space.check_reachable({k: float(v) for k, v in cost_limits(asked_of_it).items()})
        check_peak(asked_of_it, space)
        open_hardware(config, asked_of_it, utility, space, known).check_reachable()
        return prototype

    if kept is not None or not asked.train or training is None:
        return read(network), {}
    read(network)
    folder = training(dataset.name)
    listener.phase("train prototype")
    trained = train_prototype(
        asked.network,
        dataset,
        folder,
        network=network,
        recipe=recipe_of(
            dataset, begins=begins, epochs=asked.epochs, batch=asked.batch, peak_lr=asked.peak_lr
        ),
        finds_rate=asked.peak_lr is None and trainer is None,
        has_learned=begins,
        checkpoint=folder / "checkpoint.safetensors",
        seed=config.seed,
        compute=compute,
        task=task,
        trainer=trainer,
        outputs=asked.outputs,
        progress=lambda share, loss: listener.progress("prototype", share, f"loss {loss:.3f}"),
    )
    listener.phase("prepare")
    return read(trained.cpu()), {"training.json": next(folder.glob("*.json")).read_bytes()}


def _begin(
    network: nn.Module,
    config: RunConfig,
    dataset: Dataset,
    listener: Listener,
    *,
    is_given: bool,
    is_planned: bool,
) -> bool:
    """Give a network the weights that it begins from; return whether there are any.

    Raises:
        PrototypeError: if it needs some, and has none that fit.
    """
    asked = config.prototype
    name = asked.network.removeprefix(OBJECT)
    left: tuple[str, ...] = ()
    if asked.weights is not None:
        tensors = read_checkpoint(asked.weights, name=name)
        left = begin_from(network, tensors, str(asked.weights), name=name, train=asked.train)
    elif is_given:
        return True
    elif not asked.train and (own := shipped(asked.network, dataset.name)) is not None:
        load_weights(network, own, name=name)
    elif asked.pretrained and is_of_library(asked.network):
        seen = libraries.sees(asked.network)
        if not asked.train:
            _check_published(name, seen, len(dataset.classes))
        if seen is None or (asked.train and is_planned):  # nothing is fetched for a plan's sake
            return False
        left = libraries.pretrain(network, name, channels=dataset.shape[0], train=asked.train)
    elif not asked.train:
        raise PrototypeError(
            f"no trained weights of '{asked.network}' for {dataset.name} ship with gensynth; "
            "name a file of them by --weights, or train it first by --train-prototype"
        )
    else:
        return False
    if left:
        listener.note(f"the prototype's training begins anew at {', '.join(left)}")
    return True


def _check_published(name: str, seen: libraries.Sees | None, classes: int) -> None:
    if seen is None:
        raise PrototypeError(
            f"no weights of {name} are published; name a file of them by --weights, or train it "
            "first by --train-prototype"
        )
    if seen.classes != classes:
        raise PrototypeError(
            f"the published weights of {name} tell {seen.classes} classes apart, and the data have "
            f"{classes}; add --train-prototype to go on from them"
        )
