"""What a synthesis is told, what a cycle changes, and what a cycle did.

Plan    fixed for the run
State   G_k, I_k, W: everything that the next cycle depends on
Cycle   the record of one cycle; a line of the journal
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gensynth.goals.intervals import wilson
from gensynth.graph.graph import Graph
from gensynth.probing.probe import Responses
from gensynth.search.evolution import Aim, Outlook
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import Inquisitor
from gensynth.search.theta import Theta
from gensynth.training.fit import Recipe


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
        responses: of the trained N.
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
    responses: Responses
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
            **self.responses.to_document(),
            "family_utility": self.outlook.utility,
            "family_violation": self.outlook.violation,
            "family_distance": self.outlook.distance,
            "scatter": self.scatter,
            "reach": self.reach,
            "curvature": self.curvature,
            "price": self.price,
            "seconds": {phase: round(s, 3) for phase, s in self.seconds.items()},
        }
