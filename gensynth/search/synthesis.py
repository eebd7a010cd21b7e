"""The cycle: a generator and an inquisitor that learn from each other's work.

    G_0, I_0 from phi, U, 1_r                          `initialise`
    for k = 0, 1, 2, ...                               `synthesise`
        s_k      the best of some promising seeds, untrained networks probed
        N        = G_k(s_k)
        U, 1_r   of N, after a short distillation
        Y        responses of N's vertices and edges
        I_k+1    from Y, U and 1_r
        G_k+1    = G_k + Delta theta_G(I_k+1)

A `State` is everything that a cycle changes. It is kept after every cycle, and the next one
depends on it and on counter-based randomness alone, so a killed run resumes to the same end.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gensynth.errors import ConfigError
from gensynth.graph.graph import Graph
from gensynth.probing.operator_probe import switching_nats
from gensynth.probing.probe import Probe
from gensynth.randomness import stream
from gensynth.search import evolution
from gensynth.search.acquisition import choose, shortlist
from gensynth.search.cycle import Cycle, Laps, Settings, State, record
from gensynth.search.generator import Generator
from gensynth.search.importance import first_importance
from gensynth.search.inquisitor import SHORT, Inquisitor, Observation
from gensynth.search.theta import initial_theta
from gensynth.space.space import Space
from gensynth.training.evaluator import Evaluator
from gensynth.training.learning_rate import (
    BRIEF_GAIN,
    FIRST,
    RangeTest,
    is_guessing,
    outcome,
    range_test,
)

DIRECTION_SCALE = 0.9
"""First spread of what a seed's directions add to a log-gain."""

TELLING_STEPS = 16
"""Of a short distillation; after fewer, a loss like that of guessing says nothing."""

FIRST_PENALTY = 20.0
"""First mu of violating the requirement, in units of U a unit of probability."""


def initialise(settings: Settings, evaluator: Evaluator, probe: Probe, space: Space) -> State:
    """Return G_0, I_0 and W_0 from the prototype, the utility and the requirements."""
    return warm_up(settings, evaluator, first_state(settings, evaluator, probe, space))


def first_state(settings: Settings, evaluator: Evaluator, probe: Probe, space: Space) -> State:
    """Return G_0 and I_0, and the prototype's weights as they are."""
    network = evaluator.prototype.network()
    evaluator.compute.place(network)
    seed = _number(settings.seed, "draws", 0)
    importance = first_importance(probe(network, seed=seed))
    substitute_loss = None
    if len(space.sites):
        substitute_loss = switching_nats(evaluator, probe, space.sites, seed)
        importance = replace(importance, substitute_nats=substitute_loss)
    theta = initial_theta(
        space,
        importance.log_saliency(),
        importance.block_nats,
        seed=settings.seed,
        directions=settings.search.directions,
        spread=DIRECTION_SCALE,
        budget=_first_budget(settings, space),
        substitute_loss=substitute_loss,
    )
    generator = Generator(space, theta, settings.limits, settings.budgeted)
    weights = dict(evaluator.prototype.weights)
    return State(0, generator, Inquisitor(space, importance), weights, FIRST_PENALTY, theta)


def find_rate(settings: Settings, evaluator: Evaluator, state: State) -> RangeTest:
    """Return which learning rates suit the distillation of G_0's first network.

    Raises:
        ConfigError: if it learns nothing at any.
    """
    graph = _of_warm_up(settings, state, 0)

    def train(rate: float) -> float | None:
        network = evaluator.inherit(graph, state.weights)
        return evaluator.distil(network, replace(settings.recipe, peak_lr=rate))

    test = range_test(train, FIRST, evaluator.guess, gain=BRIEF_GAIN)
    if is_guessing(test.chosen.loss, test.guess) and _tells(settings):
        raise ConfigError(
            f"no learning rate teaches a network as small as is asked for: {test.told()}; give a "
            f"cycle more images than {settings.search.images:,} (images in [search]), loosen the "
            "limits on cost, or check that the prototype's weights are of this data set"
        )
    return test


def warm_up(settings: Settings, evaluator: Evaluator, state: State) -> State:
    """Return W_0: what short distillations of G_0's networks have taught the shared weights.

    Raises:
        ConfigError: if the last of them has learned nothing.
    """
    for round_ in range(settings.warmup):
        network = evaluator.inherit(_of_warm_up(settings, state, round_), state.weights)
        loss = evaluator.distil(network, settings.recipe, first_epoch=round_)
        if round_ == settings.warmup - 1:
            _check_learned(settings, evaluator, loss)
        absorbed = evaluator.absorb(state.weights, network, settings.reptile_rate)
        state = replace(state, weights=absorbed)
    return state


def _of_warm_up(settings: Settings, state: State, round_: int) -> Graph:
    return state.generator.generate(_number(settings.seed, "warm-up", round_))


def _tells(settings: Settings) -> bool:
    """Return whether a short distillation is long enough that a network must have learned."""
    return settings.search.images >= TELLING_STEPS * settings.recipe.batch


def _check_learned(settings: Settings, evaluator: Evaluator, loss: float | None) -> None:
    """Refuse to go on where a short distillation ended no better than by guessing."""
    if is_guessing(loss, evaluator.guess) and _tells(settings):
        raise ConfigError(
            f"a short distillation at learning rate {settings.recipe.peak_lr:g} "
            f"{outcome(loss, evaluator.guess)}: networks learn nothing; lower peak_lr in [search], "
            "or leave it out and one is found that suits"
        )


def synthesise(
    settings: Settings,
    evaluator: Evaluator,
    probe: Probe,
    state: State,
    *,
    keep: Callable[[State, Cycle], State],
) -> State:
    """Run the cycles that are left, and return the state after the last.

    Args:
        settings: what is asked.
        evaluator: that trains and scores.
        probe: that observes.
        state: from `initialise`, or the last that was kept.
        keep: called after every cycle with the state before it and its record; returns the
            state to go on from, which may know more than the cycle did.
    """
    while state.cycle < settings.search.cycles:
        state = keep(state, run_cycle(settings, evaluator, probe, state))
    return state


def run_cycle(settings: Settings, evaluator: Evaluator, probe: Probe, state: State) -> Cycle:
    """Run one cycle; its record holds the state that it leaves."""
    laps, space = Laps(), state.generator.space
    candidates = shortlist(settings, state)
    points = space.points([c.points[0] for c in candidates])
    laps.lap("generate")
    nats = [probe.divergence(evaluator.inherit(c.graph, state.weights)) for c in candidates]
    inquisitor = state.inquisitor.hear(points, nats, state.cycle)
    laps.lap("probe")
    chosen = choose(settings, state, inquisitor, candidates)
    predicted = inquisitor.interval(chosen.points, SHORT)
    laps.lap("generate")

    network = evaluator.inherit(chosen.graph, state.weights)
    loss = evaluator.distil(network, settings.recipe, first_epoch=settings.first_epoch(state.cycle))
    if state.cycle == settings.warmup == 0:
        _check_learned(settings, evaluator, loss)
    evaluator.recalibrate(network)
    laps.lap("train")
    score = evaluator.score(network, evaluator.dataset.search)
    laps.lap("evaluate")
    responses = probe(network, seed=_number(settings.seed, "draws", state.cycle + 1))
    laps.lap("probe")

    inquisitor = inquisitor.observe(Observation(chosen.points[0], SHORT, score))
    inquisitor = inquisitor.consolidate(chosen.points, responses)
    theta, outlook = evolution.improve(
        state.generator, inquisitor, settings.objective, penalty=state.penalty,
        anchor=state.anchor, seed=settings.seed, cycle=state.cycle,
    )  # fmt: skip
    weights = evaluator.absorb(state.weights, network, settings.reptile_rate)
    after = State(
        state.cycle + 1, replace(state.generator, theta=theta), inquisitor, weights,
        settings.next_penalty(state.penalty, outlook.violation), state.anchor,
    )  # fmt: skip
    laps.lap("learn")
    return record(settings, chosen, predicted, score, responses, outlook, after, laps.seconds)


def _first_budget(settings: Settings, space: Space) -> tuple[float, float]:
    """Return mean and spread of the seeds' log cost at first: the limits', or a half without."""
    if not settings.free_budget:
        return 0.0, 0.0
    budgeted = space.named(settings.budgeted)
    limits = space.limits_of(settings.limits)[budgeted]
    if not np.isfinite(limits).any():
        return float(np.log(0.5)), 0.1
    return float(np.log(np.minimum(1.0, limits / space.prototype[budgeted])).mean()), 0.1


def _number(seed: int, purpose: str, index: int) -> int:
    return int(stream(seed, purpose, index).integers(0, 2**31))
