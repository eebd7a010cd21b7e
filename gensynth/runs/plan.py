"""From what a run file says to what the search works with.

requirements -> the task's metric      that they are on
requirements, utility -> read           on the run's devices, which are looked up
requirements -> search requirements    what networks of the search are to reach
search -> WidthStep                    in which widths change
search, finalists -> Settings          of every cycle, with its short distillation
finalists -> Recipe                    of a finalist's full distillation

The first two need no torch, so that a name that nobody knows is refused at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gensynth.config import DeviceConfig, RunConfig, TaskConfig
from gensynth.devices.run_device import RunDevice, known_names, run_device
from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.goals.certificate import promising
from gensynth.goals.device_costs import sum_of
from gensynth.goals.devices import asked_of_devices, check_known, placed
from gensynth.goals.requirements import Requirement, cost_limits, parse_all, quality_limit
from gensynth.goals.utility import Utility
from gensynth.tasks import MEASURED

if TYPE_CHECKING:
    from gensynth.search.cycle import Settings
    from gensynth.space.coupling import Coupling
    from gensynth.space.space import Space
    from gensynth.space.width_step import WidthStep
    from gensynth.tasks.task import Task
    from gensynth.training.fit import Recipe

SHORT_BATCH = 64
"""Of a cycle's short distillation: many small steps, because there are few images."""
PROTOTYPE_BATCH = 128
"""Of a prototype's training where none is asked, see `gensynth.training.pretrain`."""
STEPS = 4
"""Of an epoch of images that are fewer than a batch was to have."""


def goals_of(
    config: RunConfig, metric: str = metrics.TOP1.name
) -> tuple[tuple[Requirement, ...], Utility]:
    """Return requirements and utility as a run file means them: every metric on its device.

    Args:
        config: the run file.
        metric: the task's, which scores are computed from.

    Raises:
        ConfigError: if they cannot be read, contradict each other, or leave open on which device.
    """
    utility = Utility(config.utility, metric)
    return placed(parse_all(config.requirements), utility, tuple(config.devices))


def with_metric(config: RunConfig) -> RunConfig:
    """Return a run file whose task judges by what the requirements are on, if it names no metric.

    A task of one's own has one metric, which nobody knows before it is opened.

    Raises:
        ConfigError: if the requirements cannot be read.
    """
    if ":" in config.task.kind:
        return config
    known = MEASURED[config.task.kind]
    asked = {r.metric for r in parse_all(config.requirements)} & set(known)
    if config.task.metric is not None or len(asked) != 1 or asked == {known[0]}:
        return config
    return replace(config, task=replace(config.task, metric=asked.pop()))


def usual_requirements(task: TaskConfig) -> tuple[str, ...]:
    """Return what is asked where nobody says it: half the work, at a score that is nearly kept.

    A task of one's own has a metric that is not known here.
    """
    measured = (task.metric,) if task.metric else MEASURED.get(task.kind, ())
    return ("macs <= 50%", *(f"{metric} >= prototype - 1" for metric in measured[:1]))


def check_names(config: RunConfig) -> None:
    """Refuse requirements, a utility and devices that hold a name which nobody knows.

    A task of one's own may bring metrics with it, so of such a run nothing is said yet.

    Raises:
        ConfigError: naming the nearest that there is.
    """
    if ":" in config.task.kind:
        return
    config = with_metric(config)
    known = MEASURED[config.task.kind]
    requirements, utility = goals_of(config, config.task.metric or known[0])
    devices_of(config, requirements, utility)


def devices_of(
    config: RunConfig, requirements: Sequence[Requirement], utility: Utility
) -> dict[str, tuple[RunDevice, tuple[str, ...]]]:
    """Return every device of a run, and the metrics that are asked of it.

    Raises:
        ConfigError: if there is no such device and no such kind of board, or it cannot do what is
            asked of it.
    """
    asked_of = asked_of_devices(requirements, utility)
    every = {name: asked_of.get(name, ()) for name in [*config.devices, *asked_of]}
    devices, kinds = known_names()
    described = [name for name, device in config.devices.items() if device.profile is not None]
    check_known(every, [*devices, *described], kinds)
    found = {}
    for name, asked_for in every.items():
        energy = any(metrics.find(one, name).needs_energy for one in asked_for)
        settings = config.devices.get(name, DeviceConfig())
        found[name] = run_device(name, settings, energy=energy), asked_for
    return found


def search_requirements(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    task: "Task",
    *,
    test_images: int,
    search_images: int,
    judged: int,
    paired: bool,
) -> tuple[Requirement, ...]:
    """Return the requirements as the search is to meet them.

    Args:
        config: the run file.
        requirements: of the run.
        task: that networks are scored for.
        test_images: that a certificate is shown on.
        search_images: that networks are chosen by.
        judged: networks that these have judged already, which share the confidence.
        paired: whether the task's scores tell how far networks are apart on the same images.

    Raises:
        ConfigError: if certificates are striven for and no score is required, or one that a test
            split of this size cannot certify.
    """
    finalists = config.finalists
    required = quality_limit(requirements, task.metric)
    if finalists.aim == "point" or (finalists.aim is None and required is None):
        return requirements
    if required is None:
        raise ConfigError(
            f'aim = "certificate" needs a requirement on {task.metric}, such as '
            f'--require "{task.metric} >= 89%"'
        )
    own = [one for one in requirements if one.metric == task.metric and not one.relative]
    try:
        sharing = finalists.count + judged
        sought = {
            one: promising(
                one, test_images, task.anticipated, chosen_on=search_images, sharing=sharing,
                paired=paired,
            )
            for one in own
        }  # fmt: skip
    except ConfigError:
        if finalists.aim is None:
            return requirements
        raise
    return tuple(sought.get(one, one) for one in requirements)


def with_batches(config: RunConfig, images: int) -> tuple[RunConfig, list[str]]:
    """Return a run whose batches its training images fill, and in words what became smaller.

    Where there are fewer images than a batch was to have, it has a quarter of them: an epoch of one
    step would teach little.
    """
    smaller, notes = images // STEPS, []
    finalists, prototype = config.finalists, config.prototype
    told = (
        f"a batch of [{{}}] has {smaller} images and not {{}}, since {images} are there to train on"
    )
    if finalists.batch > images:
        notes.append(told.format("finalists", finalists.batch))
        finalists = replace(finalists, batch=smaller)
    if prototype.train and (asked := prototype.batch or PROTOTYPE_BATCH) > images:
        notes.append(told.format("prototype", asked))
        prototype = replace(prototype, batch=smaller)
    return replace(config, finalists=finalists, prototype=prototype), notes


def space_of(
    config: RunConfig,
    coupling: "Coupling",
    devices: Sequence[RunDevice],
    requirements: Sequence[Requirement],
) -> "tuple[WidthStep, Space]":
    """Return the step of widths and the space: the run file's, or what suits devices and limits.

    What a width between two blocks costs is told by the estimates of a device, if it has any, and
    need not be kept out of the space then. Without a device it is this machine, which trains.

    Args:
        config: the run file.
        coupling: of the prototype.
        devices: that the run asks of.
        requirements: settled.
    """
    from gensynth.space.space import Space
    from gensynth.space.width_step import of_coupling, reaching, width_step

    asked, substitutes = config.search.round_to, config.search.substitutes
    sizes, macs = of_coupling(coupling)
    if asked is not None:
        return width_step(sizes, macs, block=None, asked=asked), Space(coupling, asked, substitutes)
    step = suggested_step(coupling)
    if devices:
        steps = {device.name: _block(device) for device in devices}
        block, why = steps[max(steps, key=lambda one: steps[one][0])]
        step = width_step(sizes, macs, block=block, why=why)
    return reaching(step, coupling, cost_limits(requirements), substitutes)


def _block(device: RunDevice) -> tuple[int, str]:
    """Return in which steps a device's networks change their widths, and why."""
    from gensynth.bench.estimate.boards.known import ROOFLINES
    from gensynth.space.width_step import FINE_STEP, USUAL_BLOCK

    precision, name = device.config.precision, device.name
    knows = f"the estimate for {name} knows what a width between two blocks"
    if device.profile.runtimes == ("onnxruntime",):
        return FINE_STEP, f"{knows} costs ONNX Runtime, whose blocks are multiples of {FINE_STEP}"
    if device.profile.name not in ROOFLINES:
        return USUAL_BLOCK, f"the usual block, since that of {name} is not known"
    block = ROOFLINES[device.profile.name].block.get(precision, 1)
    return FINE_STEP, f"{knows} of {block} costs TensorRT in {precision.upper()}"


def suggested_step(coupling: "Coupling") -> "WidthStep":
    """Return the step of widths that suits this machine's runtime and a prototype."""
    from gensynth.export.runtime import convolution_block
    from gensynth.space.width_step import of_coupling, width_step

    return width_step(*of_coupling(coupling), block=convolution_block())


def settings_of(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    utility: Utility,
    metric: str,
    space: "Space",
    images: int,
    batches: Mapping[str, int],
) -> "Settings":
    """Return what every cycle works with.

    Args:
        config: the run file.
        requirements: as the search is to meet them.
        utility: U.
        metric: the task's.
        space: of the prototype.
        images: of the training split.
        batches: images of one run, by device.
    """
    from gensynth.search.cycle import Settings
    from gensynth.search.evolution import Objective
    from gensynth.search.inquisitor import FULL
    from gensynth.training.fit import Recipe
    from gensynth.training.learning_rate import FIRST

    search, finalists = config.search, config.finalists
    required = quality_limit(requirements, metric)
    least = None
    if required is not None and required.limit > 0:
        least = min(required.limit / 100, 1 - 1e-6)  # its logit must be finite
    return Settings(
        objective=Objective(
            utility=utility,
            metric=metric,
            costs=space.names,
            least_score=least,
            fidelity=FULL,
            risk=search.risk,
            diversity=search.diversity,
            batches=batches,
        ),
        limits={name: float(limit) for name, limit in cost_limits(requirements).items()},
        recipe=Recipe(
            epochs=search.images / images,
            batch=min(SHORT_BATCH, finalists.batch),
            peak_lr=search.peak_lr or FIRST,
            temperature=finalists.temperature,
            hard_weight=finalists.hard_weight,
        ),
        search=search,
        warmup=round(search.warmup_images / search.images) if search.learn_weights else 0,
        seed=config.seed,
        budgeted=_budgeted(requirements, utility, space),
        finds_rate=None in (search.peak_lr, finalists.peak_lr) and config.task.train is None,
    )


def _budgeted(
    requirements: tuple[Requirement, ...], utility: Utility, space: "Space"
) -> tuple[str, ...]:
    """Return the costs that are asked about: a family is made cheaper in these, in no others.

    None where they are the exact ones, or none is asked about.
    """
    asked = {sum_of(key) for key in utility.needs} | set(cost_limits(requirements))
    asked |= {sum_of(requirement.key) for requirement in requirements}
    found = tuple(name for name in space.names if name in asked)
    exact = tuple(n for n, is_exact in zip(space.names, space.exact, strict=True) if is_exact)
    return () if found == exact else found


def full_recipe(config: RunConfig, images: int) -> "Recipe":
    """Return how a finalist is distilled, from so many training images."""
    from gensynth.training.fit import COMPILED_FROM, Recipe
    from gensynth.training.learning_rate import FIRST

    finalists = config.finalists
    return Recipe(
        compiled=finalists.epochs * images >= COMPILED_FROM,
        epochs=finalists.epochs,
        batch=finalists.batch,
        peak_lr=finalists.peak_lr or FIRST,
        temperature=finalists.temperature,
        hard_weight=finalists.hard_weight,
    )
