"""What a synthesis is told, what a cycle changes, and what a cycle did.

Settings    fixed for the run
State       G_k, I_k, W: everything that the next cycle depends on
Cycle       the record of one cycle; a line of the journal
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gensynth.config import SearchConfig
from gensynth.goals.score import Score, in_percent, value_for_utility
from gensynth.graph.graph import Graph
from gensynth.probing.probe import Responses
from gensynth.search.evolution import Objective, Outlook
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import FULL, Inquisitor
from gensynth.search.theta import Theta
from gensynth.space.points import Points
from gensynth.training.fit import Recipe

PENALTY_STEP = 20.0
"""How far mu moves for a unit of probability above or below the risk, in units of U."""

Interval = tuple[float, float, float]
"""(low, middle, high) of a predicted score in [0, 1], at 95 %."""


@dataclass(frozen=True)
class Settings:
    """What a synthesis is told.

    Attributes:
        objective: utility, requirement on the score, diversity.
        limits: largest allowed cost by name, inclusive.
        recipe: of a cycle's short distillation.
        search: how many cycles, candidates and so on; as in the run file.
        warmup: networks of G_0 whose fine-tuning the shared weights absorb before the
            first cycle.
        seed: of the run.
        free_budget: whether the family's cost may be learned, below the limits.
        budgeted: names of the costs that this is the mean of, see `Generator`.
        finds_rate: whether a learning rate is to be found that suits the networks.
    """

    objective: Objective
    limits: dict[str, float]
    recipe: Recipe
    search: SearchConfig
    warmup: int = 0
    seed: int = 0
    free_budget: bool = True
    budgeted: tuple[str, ...] = ()
    finds_rate: bool = False

    @property
    def reptile_rate(self) -> float:
        """Share of a cycle's fine-tuning that the shared weights take over; 0 freezes them."""
        return self.search.reptile_rate if self.search.learn_weights else 0.0

    def first_epoch(self, cycle: int) -> int:
        """Return the epoch of the views that a cycle trains on, counted from 0.

        With shared weights that do not learn, every cycle trains on the same views.
        """
        return self.warmup + cycle if self.reptile_rate else 0

    def next_penalty(self, penalty: float, violation: float) -> float:
        """Return mu after a cycle whose family is predicted to violate with this probability.

        mu <- max(0, mu + PENALTY_STEP * (violation - risk))
        """
        return max(0.0, penalty + PENALTY_STEP * (violation - self.objective.risk))


@dataclass(frozen=True)
class State:
    """Everything that a cycle changes.

    Attributes:
        cycle: how many cycles are done.
        generator: G_k with theta_G.
        inquisitor: I_k with theta_I.
        weights: W, the shared weights, on the processor.
        penalty: mu of the requirement on the score.
        anchor: theta_G,0, from which drift is penalised.
    """

    cycle: int
    generator: Generator
    inquisitor: Inquisitor
    weights: dict[str, Tensor]
    penalty: float
    anchor: Theta


@dataclass(frozen=True)
class Candidate:
    """A seed and its network.

    Attributes:
        seed: s.
        graph: G(s).
        points: the same as one point of the space.
    """

    seed: int
    graph: Graph
    points: Points


@dataclass(frozen=True)
class Cycle:
    """What one cycle did and saw; a line of the journal.

    Attributes:
        chosen: s_k and N.
        predicted: score of N after the short distillation, said before it was trained.
        score: observed on the search split.
        responses: of the trained N.
        outlook: what the changed generator promises.
        utility: U of N at the observed score.
        promised: score of N after full distillation, said after the cycle.
        after: the state that the cycle left.
        seconds: wall time by phase.
    """

    chosen: Candidate
    predicted: Interval
    score: Score
    responses: Responses
    outlook: Outlook
    utility: float
    promised: Interval
    after: State
    seconds: dict[str, float]

    @property
    def number(self) -> int:
        """k, from 1."""
        return self.after.cycle

    @property
    def costs(self) -> dict[str, float]:
        """Of N, by name."""
        return self.after.generator.space.named_costs(self.chosen.points)

    def to_document(self) -> dict[str, Any]:
        """Return the journal's line as JSON values."""
        metric, learned = self.score.metric, self.after.inquisitor
        return {
            "cycle": self.number,
            "seed": self.chosen.seed,
            "graph": self.chosen.graph.sha256,
            **self.costs,
            "metric": metric,
            "utility": self.utility,
            f"predicted_{metric}_pct": [100 * p for p in self.predicted],
            **in_percent(self.score),
            "split": "search",
            f"promised_{metric}_pct": [100 * p for p in self.promised],
            **self.responses.to_document(),
            "family_utility": self.outlook.utility,
            "family_violation": self.outlook.violation,
            "family_distance": self.outlook.distance,
            "scatter": learned.posterior.residual_sd,
            "reach": learned.posterior.effect_sd,
            "curvature": learned.importance.curvature,
            "price": self.after.penalty,
            "seconds": {phase: round(s, 3) for phase, s in self.seconds.items()},
        }


class Laps:
    """Wall time by phase, from one `lap` to the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Give the time since the last lap to a phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


def record(
    settings: Settings,
    chosen: Candidate,
    predicted: Interval,
    score: Score,
    responses: Responses,
    outlook: Outlook,
    after: State,
    seconds: dict[str, float],
) -> Cycle:
    """Return the record of a cycle: what was seen, and what follows from it."""
    value = np.array([value_for_utility(score)])
    costs = after.generator.space.costs(chosen.points)
    return Cycle(
        chosen=chosen,
        predicted=predicted,
        score=score,
        responses=responses,
        outlook=outlook,
        utility=float(settings.objective.utilities(value, costs)[0]),
        promised=after.inquisitor.interval(chosen.points, FULL),
        after=after,
        seconds=seconds,
    )
