"""Spaces, parameters and limits for tests of generators."""

import dataclasses
import functools

import numpy as np
import torch

from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph
from gensynth.prototypes.resnet import resnet8, resnet20, resnet56
from gensynth.search.theta import Theta, initial_theta
from gensynth.space.bilinear_cost import NAMES
from gensynth.space.coupling import couple
from gensynth.space.space import Space
from gensynth.trace import trace
from tests.networks.families import make

RESNETS = {"resnet8": resnet8, "resnet20": resnet20, "resnet56": resnet56}


NO_BUDGET = (0.0, 0.0)


@functools.cache
def space_of(name: str, align: int = 1) -> Space:
    if name in RESNETS:
        graph = trace(RESNETS[name](), torch.zeros(1, 3, 32, 32), name=name)
    else:
        module, images = make(name)
        graph = trace(module, images, name=name)
    return Space(couple(graph), align)


def theta_of(
    space: Space, seed: int = 0, budget: tuple[float, float] = NO_BUDGET, loss: float = 0.0
) -> Theta:
    """Return parameters such as a probe would give: some channels matter far more.

    Operators, where the space has a choice of them, lose e^(loss - 2) nats in the middle.
    """
    random = np.random.default_rng(seed)
    choices = (len(space.sites), len(space.sites.substitutes))
    return initial_theta(
        space,
        tuple(random.normal(-4, 1.5, size) for size in space.sizes),
        random.uniform(0.01, 2, len(space.coupling.blocks)),
        seed=seed,
        directions=4,
        spread=0.5,
        budget=budget,
        substitute_loss=np.exp(random.normal(loss - 2, 1, choices)) if choices[0] else None,
    )


def limits_of(space: Space, macs: float | None, params: float | None) -> dict[str, float]:
    """Return limits as shares of the way from the smallest network to the prototype."""
    smallest = space.costs(space.smallest())[0]
    way = space.prototype - smallest
    shares = {"macs": macs, "params": params}
    return {
        name: float(smallest[NAMES.index(name)] + share * way[NAMES.index(name)])
        for name, share in shares.items()
        if share is not None
    }


def counted(graph: Graph) -> dict[str, int]:
    return dataclasses.asdict(cost(graph))
