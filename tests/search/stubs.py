"""An evaluator and a probe of the planted space: they answer by its truth, and keep a diary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensynth.config import SearchConfig
from gensynth.goals.score import Proportion, Score
from gensynth.goals.utility import Utility
from gensynth.graph.graph import Graph
from gensynth.probing.probe import Responses
from gensynth.search.cycle import Settings, State
from gensynth.search.evolution import Objective
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import SHORT, Inquisitor
from gensynth.search.theta import initial_theta
from gensynth.space.points import Points
from gensynth.training.fit import Recipe
from tests.search.planted import importance, planted_logit, space

IMAGES = 4_000
WEIGHTS = {"w": torch.zeros(1)}


@dataclass
class Built:
    """A network that computes nothing.

    Attributes:
        graph: what it would compute.
        weights: that it inherited.
        epochs: at which its trainings began.
    """

    graph: Graph
    weights: Mapping[str, Tensor]
    epochs: list[int] = field(default_factory=list)

    @property
    def points(self) -> Points:
        return space().points([space().point(self.graph.selection)])


class StubEvaluator:
    """Scores networks by the planted truth."""

    def __init__(self) -> None:
        self.prototype = SimpleNamespace(network=object, weights=WEIGHTS)
        self.compute = SimpleNamespace(place=lambda network: network)
        self.dataset = SimpleNamespace(train="train", search="search", test="test")
        self.guess = 1.0
        self.scored: list[tuple[Built, Any]] = []
        self.trained: list[Built] = []
        self.recalibrated: list[Built] = []
        self.absorbed: list[tuple[Mapping[str, Tensor], Built, float]] = []

    def inherit(self, graph: Graph, weights: Mapping[str, Tensor]) -> Built:
        return Built(graph, weights)

    def distil(self, network: Built, recipe: Recipe, *, first_epoch: int = 0) -> float:
        network.epochs.append(first_epoch)
        self.trained.append(network)
        return 0.5

    def recalibrate(self, network: Built) -> None:
        assert network.epochs, "running statistics go stale in a training"
        assert network not in [scored for scored, _ in self.scored]
        self.recalibrated.append(network)

    def score(self, network: Built, split: Any) -> Score:
        self.scored.append((network, split))
        share = 1 / (1 + np.exp(-planted_logit(network.points)[0]))
        return Proportion("top1", round(IMAGES * float(share)), IMAGES)

    def absorb(
        self, weights: Mapping[str, Tensor], network: Built, share: float
    ) -> dict[str, Tensor]:
        self.absorbed.append((weights, network, share))
        return {"w": weights["w"] + share}


class StubProbe:
    """Answers as the planted importance has it; what is worse diverges more."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def divergence(self, network: Built) -> float:
        return float(np.exp(0.5 - 2 * planted_logit(network.points)[0]))

    def __call__(self, network: Any, seed: int) -> Responses:
        self.seeds.append(seed)
        told = importance()
        return Responses(told.channel_nats, {}, told.effective_rank, told.block_nats, {}, 100)


def settings_of(least_score: float | None = None, **search: Any) -> Settings:
    """Return settings of a search at half of the prototype's costs."""
    macs, params = space().prototype
    return Settings(
        objective=Objective(Utility("top1"), "top1", space().names, least_score, SHORT),
        limits={"macs": macs / 2, "params": params / 2},
        recipe=Recipe(epochs=1),
        search=SearchConfig(**{"cycles": 4, "candidates": 64, "shortlist": 5, **search}),
        warmup=2,
        seed=7,
    )


def state_of(settings: Settings, inquisitor: Inquisitor, cycle: int = 3) -> State:
    """Return a state in the middle of a search."""
    told = inquisitor.importance
    theta = initial_theta(
        space(), told.log_saliency(), told.block_nats, seed=1, directions=3, spread=0.5,
        budget=(float(np.log(0.45)), 0.1),
    )  # fmt: skip
    generator = Generator(space(), theta, settings.limits)
    return State(cycle, generator, inquisitor, dict(WEIGHTS), 20.0, theta)
