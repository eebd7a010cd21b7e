"""What a run can reach, exactly: known from its data, its prototype's graph and its requirements.

Nothing is trained, scored or timed for it, so it is told at once; `forecast` says how long the run
will take.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gensynth.config import RunConfig
from gensynth.data.dataset import Dataset
from gensynth.data.description import described
from gensynth.data.passes import parts_of_a_step
from gensynth.environment import memory_bytes
from gensynth.errors import ConfigError
from gensynth.goals.certificate import certifiable
from gensynth.goals.exact import peak_limit, peak_range
from gensynth.goals.figure import Figure
from gensynth.goals.requirements import Requirement, cost_limits, quality_limit
from gensynth.graph.activations import all_elements
from gensynth.graph.graph import Graph
from gensynth.runs.hardware.hardware import Hardware
from gensynth.space.coupling import Coupling
from gensynth.space.inspection import inspection
from gensynth.space.prototype import Prototype
from gensynth.space.space import Space
from gensynth.space.width_step import WidthStep
from gensynth.tasks.task import Task

MOST_IMAGES = 1 << 27
"""Of a test split that is spoken of."""

BYTES = 4
"""Of an activation in training."""


@dataclass(frozen=True)
class Reach:
    """The exact part of what `gensynth synth --plan` says.

    Attributes:
        prototype, data: their names.
        description: of the data, sentences.
        certificate: whether the test split is large enough for what is asked, a sentence; empty if
            no score is required, or one relative to the prototype's.
        costs: of (the smallest network of the space, the prototype), by name.
        limits: largest allowed cost by name.
        figures: what is estimated of (the smallest network, the prototype) on devices, by key.
        in_fp16: devices that compute in FP16.
        requirements: as written.
        frozen_macs_share: share of the prototype's MACs, in [0, 1], in vertices that no
            generated network can change.
        groups: (name, channels) of the coupled channels that can be narrowed.
        step: channels that a width changes by.
        blocks: names of the residual branches that can be removed.
        substitutes: (substitute, places where it may stand), of those that the run allows.
        peak_lr: largest learning rate of cycles and finalists; None where one is to be found.
        training_bytes: what the activations of one training step of the prototype take, about.
        training_parts: that a step's images go through the prototype in, see `parts_of_a_step`.
        memory_bytes: of this machine.
    """

    prototype: str
    data: str
    description: tuple[str, ...]
    certificate: str
    costs: dict[str, tuple[float, float]]
    limits: dict[str, float]
    figures: dict[str, tuple[Figure, Figure]]
    in_fp16: tuple[str, ...]
    requirements: tuple[str, ...]
    frozen_macs_share: float
    groups: tuple[tuple[str, int], ...]
    step: WidthStep
    blocks: tuple[str, ...]
    substitutes: tuple[tuple[str, int], ...]
    peak_lr: tuple[float | None, float | None]
    training_bytes: int
    training_parts: int
    memory_bytes: int


def reach_of(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    dataset: Dataset,
    task: Task,
    prototype: Prototype,
    space: Space,
    step: WidthStep,
    hardware: Hardware,
    judged: int = 0,
) -> Reach:
    """Return what a run can reach."""
    limits: dict[str, float] = dict(cost_limits(requirements))
    peak = peak_limit(requirements)
    smallest, whole = (space.named_costs(p) for p in (space.smallest(), space.whole(1)))
    costs = {name: (smallest[name], whole[name]) for name in space.names}
    if peak is not None:
        costs[peak.metric] = peak_range(space)
        limits[peak.metric] = peak.limit
    return Reach(
        prototype=prototype.graph.name,
        data=dataset.name,
        description=tuple(described(dataset)),
        certificate=certificate_told(
            quality_limit(requirements, task.metric),
            len(dataset.test),
            task,
            config.finalists.count + judged,
        ),
        costs=costs,
        limits=limits,
        figures=hardware.reach(),
        in_fp16=hardware.in_fp16,
        requirements=tuple(r.text for r in requirements),
        frozen_macs_share=frozen_macs_share(prototype.coupling),
        groups=tuple((g.name, g.size) for g in prototype.coupling.groups),
        step=step,
        blocks=tuple(b.name for b in prototype.coupling.blocks),
        substitutes=tuple(
            (name, len(space.sites.standing(name))) for name in config.search.substitutes
        ),
        peak_lr=(config.search.peak_lr, config.finalists.peak_lr),
        training_bytes=training_bytes(prototype.graph, config.finalists.batch),
        training_parts=parts_of_a_step(
            all_elements(prototype.graph), config.finalists.batch, memory_bytes()
        ),
        memory_bytes=memory_bytes(),
    )


def certificate_told(required: Requirement | None, n: int, task: Task, sharing: int) -> str:
    """Return whether so many test images can certify what is required, in one sentence."""
    if required is None or required.points is not None:  # of a score that is not known yet
        return ""

    def from_(images: int) -> Requirement | None:
        try:
            return certifiable(required, images, task.anticipated, sharing=sharing)
        except ConfigError:
            return None

    many = f"{sharing} networks" if sharing > 1 else "one network"
    if (sought := from_(n)) is not None:
        return f'{n:,} test images certify "{required}" of {many} from {sought.limit:.2f} % on'
    needed = _least(lambda images: from_(images) is not None, n)
    enough = "no number of images is enough" if needed is None else f"{needed:,} would be enough"
    return (
        f'{n:,} test images are too few to certify "{required}" of {many}, even of networks that '
        f"are always right; {enough}"
    )


def _least(holds: Callable[[int], bool], above: int) -> int | None:
    """Return the least number above another that holds; None if none up to MOST_IMAGES does."""
    low, high = above, 2 * above
    while not holds(high):
        low, high = high, 2 * high
        if high > MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def training_bytes(graph: Graph, batch: int) -> int:
    """Return what a training step keeps for its gradients: at most every activation once."""
    return BYTES * all_elements(graph) * batch


def frozen_macs_share(coupling: Coupling) -> float:
    """Return the share of MACs in vertices that no group and no block touches."""
    found = inspection(coupling)
    return 1 - found.changeable_macs_share if found.cost.macs else 0.0
