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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensynth import evolution
from gensynth.evaluation import Workshop
from gensynth.evolution import Aim, Outlook
from gensynth.generator import Generator
from gensynth.graph import Graph
from gensynth.inquisitor import FULL, SHORT, Inquisitor, Observation
from gensynth.insight import first_insight
from gensynth.intervals import wilson
from gensynth.network import Network
from gensynth.probe import Probe
from gensynth.randomness import stream
from gensynth.regression import sigmoid
from gensynth.space import COSTS, Points, Space
from gensynth.theta import Theta, initial_theta
from gensynth.train import Recipe

TILT = 0.9
"""First spread of a seed's tilt of a log-gain."""

PRICE = 20.0
"""First price mu of violating the requirement, in units of U a unit of probability."""

PRICE_STEP = 20.0


@dataclass(frozen=True)
class Plan:
    """What a synthesis is told.

    Attributes:
        aim: utility, accuracy requirement, diversity.
        limits: largest allowed cost by name, inclusive.
        recipe: of a cycle's short distillation.
        cycles: how many.
        candidates: seeds costed and ranked in a cycle.
        shortlist: how many of them are probed, untrained, before one is picked; four times
            as many in the first cycle, when nothing is known yet.
        directions: independent draws that tilt a network.
        align: channels that a move adds or removes.
        absorb: share of a cycle's fine-tuning that the shared weights take over; 0
            freezes them, and then every cycle trains on the same views.
        warmup: networks of G_0 whose fine-tuning the shared weights absorb before the
            first cycle.
        seed: of the run.
        free_budget: whether the family's cost may be learned, below the limits.
    """

    aim: Aim
    limits: dict[str, float]
    recipe: Recipe
    cycles: int
    candidates: int = 256
    shortlist: int = 6
    directions: int = 4
    align: int = 2
    absorb: float = 0.0
    warmup: int = 0
    seed: int = 0
    free_budget: bool = True


@dataclass(frozen=True)
class State:
    """Everything that a cycle changes.

    Attributes:
        cycle: how many cycles are done.
        generator: G_k with theta_G.
        inquisitor: I_k with theta_I.
        weights: W, the shared weights, on the processor.
        price: mu of the requirement.
        anchor: theta_G,0, from which drift is penalised.
    """

    cycle: int
    generator: Generator
    inquisitor: Inquisitor
    weights: dict[str, Tensor]
    price: float
    anchor: Theta


@dataclass(frozen=True)
class Cycle:
    """What one cycle did and saw; a line of the journal.

    Attributes:
        number: k, from 1.
        seed: s_k.
        graph: of N.
        costs: exact, by name.
        utility: U of N at the observed accuracy.
        predicted: (low, mean, high) accuracy in [0, 1] at 95 %, said before N was trained.
        promised: (low, mean, high) accuracy after full distillation at 95 %, said after it.
        correct, n: observed on the search split.
        outlook: what the changed generator promises.
        scatter, reach, curvature: of theta_I.
        price: mu after the cycle.
        seconds: wall time by phase.
    """

    number: int
    seed: int
    graph: Graph
    costs: dict[str, int]
    utility: float
    predicted: tuple[float, float, float]
    promised: tuple[float, float, float]
    correct: int
    n: int
    outlook: Outlook
    scatter: float
    reach: float
    curvature: float
    price: float
    seconds: dict[str, float]

    def to_document(self) -> dict[str, Any]:
        """Return the journal's line as JSON values."""
        return {
            "cycle": self.number,
            "seed": self.seed,
            "graph": self.graph.sha256,
            **self.costs,
            "utility": self.utility,
            "predicted_top1_pct": [100 * p for p in self.predicted],
            "top1_pct": 100 * self.correct / self.n,
            "interval_pct": [100 * b for b in wilson(self.correct, self.n)],
            "correct": self.correct,
            "n": self.n,
            "split": "search",
            "promised_top1_pct": [100 * p for p in self.promised],
            "family_utility": self.outlook.utility,
            "family_violation": self.outlook.violation,
            "family_distance": self.outlook.distance,
            "scatter": self.scatter,
            "reach": self.reach,
            "curvature": self.curvature,
            "price": self.price,
            "seconds": {phase: round(s, 3) for phase, s in self.seconds.items()},
        }


def initialise(plan: Plan, workshop: Workshop, probe: Probe, space: Space) -> State:
    """Return G_0, I_0 and W_0 from the prototype, the utility and the requirements."""
    network = workshop.prototype.network()
    workshop.compute.place(network)
    insight = first_insight(probe(network, seed=_number(plan.seed, "draws", 0)))
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
    )
    generator = Generator(space, theta, plan.limits)
    weights = dict(workshop.prototype.weights)
    state = State(0, generator, Inquisitor(space, insight), weights, PRICE, theta)
    for round_ in range(plan.warmup):
        seed = _number(plan.seed, "warm-up", round_)
        network = workshop.inherit(generator.generate(seed), state.weights)
        workshop.distil(network, plan.recipe, first_epoch=round_)
        state = replace(state, weights=absorb(state.weights, network, workshop, plan.absorb))
    return state


def synthesise(
    plan: Plan,
    workshop: Workshop,
    probe: Probe,
    state: State,
    *,
    keep: Callable[[State, Cycle], None],
) -> State:
    """Run the cycles that are left, and return the state after the last.

    Args:
        plan: what is asked.
        workshop: that trains and counts.
        probe: that observes.
        state: from `initialise`, or the last that was kept.
        keep: called with the new state and the cycle's record after every cycle.
    """
    while state.cycle < plan.cycles:
        state, cycle = turn(plan, workshop, probe, state)
        keep(state, cycle)
    return state


def turn(
    plan: Plan, workshop: Workshop, probe: Probe, state: State
) -> tuple[State, Cycle]:
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

    observed = Observation(
        tuple(int(w) for w in points.widths[0]),
        tuple(bool(b) for b in points.bits[0]),
        SHORT,
        correct,
        len(workshop.dataset.search),
    )
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
        weights = absorb(weights, network, workshop, plan.absorb)
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
        outlook=outlook,
        scatter=inquisitor.posterior.scatter,
        reach=inquisitor.posterior.reach,
        curvature=inquisitor.insight.curvature,
        price=price,
        seconds=clock.laps,
    )
    generator = replace(state.generator, theta=theta)
    return State(state.cycle + 1, generator, inquisitor, weights, price, state.anchor), cycle


def shortlist(plan: Plan, state: State) -> tuple[list[int], Points]:
    """Return the seeds whose untrained networks are probed, and their points.

    Thompson sampling: for each place of the list one draw of the inquisitor's models is
    believed, and the best of `candidates` fresh seeds under it that is not on the list yet
    is put there. In the first cycle seeds are taken as they come.
    """
    random = stream(plan.seed, "choose", state.cycle)
    seeds = [int(s) for s in random.integers(0, 2**31, plan.candidates)]
    if state.cycle == 0:
        seeds = seeds[: 4 * plan.shortlist]
        return seeds, state.generator.points(seeds)
    points = state.generator.points(seeds)
    costs = state.generator.space.costs(points)
    scatter = np.full(len(seeds), state.inquisitor.posterior.scatter)
    chosen: list[int] = []
    for _ in range(min(plan.shortlist, len(seeds))):
        normal = random.standard_normal(state.inquisitor.width)
        logits = state.inquisitor.draw(points, plan.aim.fidelity, normal)
        value = plan.aim.utilities(sigmoid(logits), costs)
        value = value - state.price * plan.aim.violation(logits, scatter)
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
    return [seeds[i] for i in chosen], points.take(chosen)


def worth(plan: Plan, state: State, inquisitor: Inquisitor, points: Points) -> np.ndarray:
    """Return each network's predicted utility, less mu a unit of probability of violation."""
    mean, sd = inquisitor.predict(points, plan.aim.fidelity)
    costs = state.generator.space.costs(points)
    return plan.aim.utilities(sigmoid(mean), costs) - state.price * plan.aim.violation(mean, sd)


def absorb(
    weights: dict[str, Tensor], network: Network, workshop: Workshop, share: float
) -> dict[str, Tensor]:
    """Return shared weights moved toward a network's fine-tuned ones, where it has any.

        W[slice] += share * (W_network - W[slice])

    (Reptile: Nichol, Achiam and Schulman, arXiv:1803.02999).
    """
    slices = workshop.prototype.coupling.slices(network.graph.selection)
    tuned = dict(network.named_parameters())
    moved = dict(weights)
    for key, parameter in tuned.items():
        whole = weights[key].clone()
        axes = [
            torch.arange(size) if index is None else torch.from_numpy(index)
            for size, index in zip(whole.shape, slices[key], strict=True)
        ]
        grid = torch.meshgrid(*axes, indexing="ij")
        whole[grid] += share * (parameter.detach().cpu() - whole[grid])
        moved[key] = whole
    return moved


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
