"""The prototype of a run: kept, given, shipped with gensynth, or trained here.

Before any training, a prototype that does not suit the task is refused, and so are limits that no
network of its space can reach.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from gensynth.config import RunConfig
from gensynth.data.dataset import Dataset
from gensynth.devices.run_device import RunDevice
from gensynth.errors import PrototypeError
from gensynth.goals.exact import check_peak, exact_costs
from gensynth.goals.relative import settle
from gensynth.goals.requirements import Requirement, cost_limits
from gensynth.goals.utility import Utility
from gensynth.network.compute import Compute
from gensynth.progress import Listener
from gensynth.prototypes import create, shipped
from gensynth.runs.hardware.calibration import Calibration
from gensynth.runs.hardware.opening import open_hardware
from gensynth.runs.objects import OBJECT
from gensynth.runs.plan import step_of
from gensynth.space.prototype import Prototype, load_weights, read_prototype
from gensynth.space.space import Space
from gensynth.tasks.task import Task
from gensynth.training.pretrain import train_prototype


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

    Raises:
        PrototypeError: if there are no weights, they do not fit, or nothing can be changed.
        UnreachableError: if no network of the space meets the limits on cost, or is likely to
            meet those on a device.
    """
    asked = config.prototype

    def read(network: nn.Module) -> Prototype:
        name = asked.network.removeprefix(OBJECT)
        prototype = read_prototype(network, dataset.shape, name=name, outputs=asked.outputs)
        task.check(prototype.graph, dataset)
        step = step_of(config, prototype.coupling, devices)
        space = Space(prototype.coupling, step.channels, config.search.substitutes)
        asked_of_it = settle(requirements, exact_costs(prototype.graph))
        space.check_reachable({k: float(v) for k, v in cost_limits(asked_of_it).items()})
        check_peak(asked_of_it, space)
        open_hardware(config, asked_of_it, utility, space, known).check_reachable()
        return prototype

    network = module or create(
        asked.network, classes=len(dataset.classes), channels=dataset.shape[0]
    )
    network.eval()
    if kept is None and asked.train:
        untrained = read(network)
        if training is None:
            return untrained, {}
        folder = training(dataset.name)
        listener.phase("train prototype")
        trained = train_prototype(
            asked.network,
            dataset,
            folder,
            checkpoint=folder / "checkpoint.safetensors",
            seed=config.seed,
            compute=compute,
            task=task,
            outputs=asked.outputs,
            progress=lambda share, loss: listener.progress("prototype", share, f"loss {loss:.3f}"),
        )
        listener.phase("prepare")
        return read(trained.cpu()), {"training.json": next(folder.glob("*.json")).read_bytes()}
    weights = kept or asked.weights
    if weights is None and module is None:
        weights = shipped(asked.network, dataset.name)
        if weights is None:
            raise PrototypeError(
                f"no trained weights of '{asked.network}' for {dataset.name} ship with gensynth; "
                "name a safetensors file by --weights, or train it first by --train-prototype"
            )
    if weights is not None:
        load_weights(network, weights, name=asked.network)
    return read(network), {}
