"""From what a run file says to what the search works with.

requirements -> search requirements    what networks of the search are to reach
search -> WidthStep                    in which widths change
search, finalists -> Settings          of every cycle, with its short distillation
finalists -> Recipe                    of a finalist's full distillation
"""

from collections.abc import Sequence

from gensynth.config import RunConfig
from gensynth.errors import ConfigError
from gensynth.goals.certificate import certifiable
from gensynth.goals.requirements import Requirement, cost_limits, quality_limit
from gensynth.goals.utility import Utility
from gensynth.search.cycle import Settings
from gensynth.search.evolution import Objective
from gensynth.search.inquisitor import FULL
from gensynth.space.coupling import Coupling
from gensynth.space.space import Space
from gensynth.space.width_step import WidthStep, width_step
from gensynth.tasks.task import Task
from gensynth.training.fit import Recipe

COMPILED_FROM = 300_000
"""Images of a finalist's distillation from which compiling its network pays (20 to 40 s)."""

SHORT_BATCH = 64
"""Of a cycle's short distillation: many small steps, because there are few images."""


def search_requirements(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    task: Task,
    test_images: int,
    judged: int,
) -> tuple[Requirement, ...]:
    """Return the requirements as the search is to meet them.

    Args:
        config: the run file.
        requirements: of the run.
        task: that networks are scored for.
        test_images: that a certificate is shown on.
        judged: networks that these have judged already, which share the confidence.

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
    try:
        sharing = finalists.count + judged
        sought = certifiable(required, test_images, task.anticipated, sharing=sharing)
    except ConfigError:
        if finalists.aim is None:
            return requirements
        raise
    return tuple(sought if one == required else one for one in requirements)


def step_of(config: RunConfig, coupling: Coupling) -> WidthStep:
    """Return the step of widths: the run file's, or the one that suits this machine."""
    sizes = [group.size for group in coupling.groups]
    if config.search.round_to is not None:
        return width_step(sizes, block=None, asked=config.search.round_to)
    return suggested_step(sizes)


def suggested_step(sizes: Sequence[int]) -> WidthStep:
    """Return the step of widths that suits this machine's runtime, for groups of these sizes."""
    from gensynth.export.runtime import convolution_block

    return width_step(sizes, block=convolution_block())


def settings_of(
    config: RunConfig,
    requirements: tuple[Requirement, ...],
    utility: Utility,
    metric: str,
    space: Space,
    images: int,
) -> Settings:
    """Return what every cycle works with.

    Args:
        config: the run file.
        requirements: as the search is to meet them.
        utility: U.
        metric: the task's.
        space: of the prototype.
        images: of the training split.
    """
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
        ),
        limits={name: float(limit) for name, limit in cost_limits(requirements).items()},
        recipe=Recipe(
            epochs=search.images / images,
            batch=min(SHORT_BATCH, finalists.batch),
            peak_lr=search.peak_lr,
            temperature=finalists.temperature,
            hard_weight=finalists.hard_weight,
        ),
        search=search,
        warmup=round(search.warmup_images / search.images) if search.learn_weights else 0,
        seed=config.seed,
    )


def full_recipe(config: RunConfig, images: int) -> Recipe:
    """Return how a finalist is distilled, from so many training images."""
    finalists = config.finalists
    return Recipe(
        compiled=finalists.epochs * images >= COMPILED_FROM,
        epochs=finalists.epochs,
        batch=finalists.batch,
        peak_lr=finalists.peak_lr,
        temperature=finalists.temperature,
        hard_weight=finalists.hard_weight,
    )
