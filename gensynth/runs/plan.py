"""From what a run file says to what the search works with: aims, the cycles' plan, recipes.

requirements -> aims       what networks of the search are to reach
search -> WidthStep        in which widths change
search, finalists -> Plan  of every cycle, with its short distillation
finalists -> Recipe        of a finalist's full distillation
"""

from gensynth.config import RunConfig
from gensynth.errors import ConfigError
from gensynth.goals.certificate import certifiable
from gensynth.goals.requirements import ACCURACIES, Requirement, accuracy_limit, cost_limits
from gensynth.goals.utility import Utility
from gensynth.search.cycle import Plan
from gensynth.search.evolution import Aim
from gensynth.search.inquisitor import FULL
from gensynth.space.coupling import Coupling
from gensynth.space.width_step import WidthStep, width_step
from gensynth.training.fit import Recipe

COMPILED_FROM = 300_000
"""Images of a finalist's distillation from which compiling its network pays (20 to 40 s)."""

SHORT_BATCH = 64
"""Of a cycle's short distillation: many small steps, because there are few images."""


def aims_of(
    config: RunConfig, requirements: tuple[Requirement, ...], test_images: int
) -> tuple[Requirement, ...]:
    """Return the requirements as the search is to meet them.

    Raises:
        ConfigError: if certificates are aimed at and no accuracy is required, or one that a test
            split of this size cannot certify.
    """
    finalists = config.finalists
    if finalists.aim == "point":
        return requirements
    if accuracy_limit(requirements) is None:
        raise ConfigError(
            'aim = "certificate" needs a requirement on accuracy, such as --require "top1 >= 89%"'
        )
    return tuple(
        certifiable(one, test_images, sharing=finalists.count) if one.metric in ACCURACIES else one
        for one in requirements
    )


def step_of(config: RunConfig, coupling: Coupling) -> WidthStep:
    """Return the step of widths: the run file's, or the one that suits this machine's runtime."""
    sizes = [group.size for group in coupling.groups]
    if config.search.align is not None:
        return width_step(sizes, block=None, asked=config.search.align)
    from gensynth.export.runtime import convolution_block

    return width_step(sizes, block=convolution_block())


def plan_of(
    config: RunConfig, aims: tuple[Requirement, ...], utility: Utility, images: int
) -> Plan:
    """Return what every cycle works with.

    Args:
        aims: the requirements as the search is to meet them.
        images: of the training split.
    """
    search, finalists = config.search, config.finalists
    required = accuracy_limit(aims)
    accuracy = None
    if required is not None and required.limit > 0:
        accuracy = min(required.limit / 100, 1 - 1e-6)  # its logit must be finite
    recipe = Recipe(
        epochs=search.images / images,
        batch=min(SHORT_BATCH, finalists.batch),
        peak_lr=search.peak_lr,
        temperature=finalists.temperature,
        hard_weight=finalists.hard_weight,
    )
    return Plan(
        aim=Aim(utility, accuracy, FULL, risk=search.risk, diversity=search.diversity),
        limits={name: float(limit) for name, limit in cost_limits(aims).items()},
        recipe=recipe,
        cycles=search.cycles,
        candidates=search.candidates,
        shortlist=search.shortlist,
        directions=search.directions,
        absorb=search.absorb if search.learn_weights else 0.0,
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
