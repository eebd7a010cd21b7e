"""The cycle: a generator and an inquisitor that learn from each other's work.

    G_0, I_0 from phi, U, 1_r                          `initialise`
    for k = 0, 1, 2, ...                               `synthesise`
        s_k      the best of some promising seeds, untrained networks probed      `choose`
        N        = G_k(s_k)                            `Generator.generate`
        U, 1_r   of N, after a short distillation      `Workshop`
        Y        responses of N's vertices and edges   `Probe`
        I_k+1    from Y, U and 1_r                     `Inquisitor`
        G_k+1    = G_k + Delta theta_G(I_k+1)          `evolution.change`

A `State` is everything that a cycle changes. It is kept after every cycle, and the next one
depends on it and on counter-based randomness alone, so a killed run resumes to the same end.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gensynth.probing.operator_probe import switching_nats
from gensynth.probing.probe import Probe
from gensynth.randomness import stream
from gensynth.search import evolution
from gensynth.search.acquisition import shortlist, worth
from gensynth.search.cycle import Cycle, Plan, State
from gensynth.search.generator import Generator
from gensynth.search.importance import first_insight
from gensynth.search.inquisitor import FULL, SHORT, Inquisitor, Observation
from gensynth.search.regression import sigmoid
from gensynth.search.theta import initial_theta
from gensynth.space.points import COSTS
from gensynth.space.space import Space
from gensynth.training.evaluator import Workshop

TILT = 0.9
"""First spread of a seed's tilt of a log-gain."""

PRICE = 20.0
"""First price mu of violating the requirement, in units of U a unit of probability."""

PRICE_STEP = 20.0


def initialise(plan: Plan, workshop: Workshop, probe: Probe, space: Space) -> State:
    """Return G_0, I_0 and W_0 from the prototype, the utility and the requirements."""
    network = workshop.prototype.network()
    workshop.compute.place(network)
    insight = first_insight(probe(network, seed=_number(plan.seed, "draws", 0)))
    operator_loss = None
    if len(space.sites):
        seed = _number(plan.seed, "draws", 0)
        operator_loss = switching_nats(workshop, probe, space.sites, seed)
        insight = replace(insight, operator_nats=operator_loss)
    limits = np.array([plan.limits.get(name, np.inf) for name in COSTS])
    share = float(np.log(np.minimum(1.0, limits / space.prototype)).mean())
    budget = (0.0, 0.0)
    if plan.free_budget:
        budget = (share if np.isfinite(limits).any() else float(np.log(0.5)), 0.1)
    theta = initial_theta(
        space,
        insight.log_saliency(),
        insight.block_nats,
        seed=plan.seed,
        directions=plan.directions,
        spread=TILT,
        budget=budget,
        operator_loss=operator_loss,
    )
    generator = Generator(space, theta, plan.limits)
    weights = dict(workshop.prototype.weights)
    state = State(0, generator, Inquisitor(space, insight), weights, PRICE, theta)
    for round_ in range(plan.warmup):
        seed = _number(plan.seed, "warm-up", round_)
        network = workshop.inherit(generator.generate(seed), state.weights)
        workshop.distil(network, plan.recipe, first_epoch=round_)
        state = replace(state, weights=workshop.absorb(state.weights, network, plan.absorb))
    return state


def synthesise(
    plan: Plan,
    workshop: Workshop,
    probe: Probe,
    state: State,
    *,
    keep: Callable[[State, State, Cycle], State],
) -> State:
    """Run the cycles that are left, and return the state after the last.

    Args:
        plan: what is asked.
        workshop: that trains and counts.
        probe: that observes.
        state: from `initialise`, or the last that was kept.
        keep: called after every cycle with the states before and after it and its record;
            returns the state to go on from, which may know more than the cycle did.
    """
    while state.cycle < plan.cycles:
        after, cycle = turn(plan, workshop, probe, state)
        state = keep(state, after, cycle)
    return state


def turn(plan: Plan, workshop: Workshop, probe: Probe, state: State) -> tuple[State, Cycle]:
    """Run one cycle."""
    clock = _Clock()
    seeds, points = shortlist(plan, state)
    graphs = [state.generator.graph(points, i, seed) for i, seed in enumerate(seeds)]
    clock.lap("generate")
    nats = [probe.shift(workshop.inherit(graph, state.weights)) for graph in graphs]
    inquisitor = state.inquisitor.shifted(points, nats, state.cycle)
    clock.lap("probe")
    best = int(worth(plan, state, inquisitor, points).argmax())
    seed, graph, points = seeds[best], graphs[best], points.take([best])
    predicted = _interval(*inquisitor.predict(points, SHORT))
    clock.lap("generate")

    network = workshop.inherit(graph, state.weights)
    epoch = plan.warmup + state.cycle if plan.absorb else 0
    workshop.distil(network, plan.recipe, first_epoch=epoch)
    clock.lap("train")
    correct = workshop.correct(network, workshop.dataset.search)
    clock.lap("evaluate")
    responses = probe(network, seed=_number(plan.seed, "draws", state.cycle + 1))
    clock.lap("probe")

    widths, bits, operators = points.rows()[0]
    observed = Observation(widths, bits, SHORT, correct, len(workshop.dataset.search), operators)
    inquisitor = inquisitor.observe(observed).consolidate(points, responses)
    theta, outlook = evolution.change(
        state.generator,
        inquisitor,
        plan.aim,
        multiplier=state.price,
        anchor=state.anchor,
        seed=plan.seed,
        cycle=state.cycle,
    )
    price = max(0.0, state.price + PRICE_STEP * (outlook.violation - plan.aim.risk))
    weights = state.weights
    if plan.absorb:
        weights = workshop.absorb(weights, network, plan.absorb)
    clock.lap("learn")
    costs = state.generator.space.costs(points)
    accuracy = max(correct, 1) / observed.n
    cycle = Cycle(
        number=state.cycle + 1,
        seed=seed,
        graph=graph,
        costs={name: int(costs[0, i]) for i, name in enumerate(COSTS)},
        utility=float(plan.aim.utilities(np.array([accuracy]), costs)[0]),
        predicted=predicted,
        promised=_interval(*inquisitor.predict(points, FULL)),
        correct=correct,
        n=observed.n,
        responses=responses,
        outlook=outlook,
        scatter=inquisitor.posterior.scatter,
        reach=inquisitor.posterior.reach,
        curvature=inquisitor.insight.curvature,
        price=price,
        seconds=clock.laps,
    )
    generator = replace(state.generator, theta=theta)
    return State(state.cycle + 1, generator, inquisitor, weights, price, state.anchor), cycle


def _interval(mean: np.ndarray, sd: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = sigmoid(np.array([mean[0] - 1.96 * sd[0], mean[0], mean[0] + 1.96 * sd[0]]))
    return float(low), float(middle), float(high)


def _number(seed: int, purpose: str, index: int) -> int:
    return int(stream(seed, purpose, index).integers(0, 2**31))


class _Clock:
    """Wall time by phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[phase] = self.laps.get(phase, 0.0) + now - self._last
        self._last = now
