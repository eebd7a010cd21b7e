"""Points of a space, and what they cost counted one graph at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph, Selection
from gensynth.network.module import build
from gensynth.space.bilinear_cost import NAMES
from gensynth.space.coupling import Coupling, couple
from gensynth.space.placement import refusal, sites
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.trace import trace
from tests.networks.compositions import outputs, random_selection, random_weights
from tests.networks.families import make


def random_points(space: Space, count: int, seed: int) -> Points:
    random = np.random.default_rng(seed)
    widths = random.integers(1, space.sizes + 1, (count, len(space.sizes)))
    bits = random.random((count, len(space.coupling.blocks))) < 0.6
    return Points(widths, bits)


def first_channels(space: Space) -> list[np.ndarray]:
    return [np.arange(size) for size in space.sizes]


def exact(space: Space, points: Points, index: int = 0) -> list[int]:
    """Count a point's graph vertex by vertex."""
    graph = space.coupling.apply(space.selection(points, index, first_channels(space)))
    counted = cost(graph)
    return [getattr(counted, name) for name in NAMES]


def check_moves(space: Space, points: Points, steps: np.ndarray) -> None:
    """Compare savings with differences of counted costs."""
    costs, by_width, by_block = space.moves(points, steps)
    assert costs.tolist() == [exact(space, points, i) for i in range(len(points))]
    assert np.array_equal(by_width, space.width_savings(points, steps))
    for i in range(len(points)):
        for g in range(len(space.sizes)):
            widths = points.widths.copy()
            widths[i, g] -= steps[i, g]
            after = exact(space, replace(points, widths=widths), i)
            assert by_width[i, g] == pytest.approx(costs[i] - after, abs=1e-6)
        for b in range(len(space.coupling.blocks)):
            bits = points.kept_blocks.copy()
            bits[i, b] = False
            after = exact(space, replace(points, kept_blocks=bits), i)
            assert by_block[i, b].tolist() == (costs[i] - after).tolist()


CHOICES = tuple(SUBSTITUTES)


def coupling_of(name: str) -> Coupling:
    module, images = make(name)
    return couple(trace(module, images, name=name))


def random_substitutes(coupling: Coupling, seed: int, share: float = 0.8) -> dict[str, str]:
    """Return an operator that may stand there for most of the convolutions."""
    random = np.random.default_rng(seed)
    chosen = {}
    for vertex in sites(coupling.graph):
        words = [word for word in CHOICES if refusal(coupling.graph, vertex, word) is None]
        if words and random.random() < share:
            chosen[vertex.name] = str(random.choice(words))
    return chosen


def random_substitution(coupling: Coupling, seed: int) -> Selection:
    """Return channels, blocks and substitutes of every kind that are changed, or left."""
    selection = random_selection(coupling, seed)
    gone = {
        name
        for block in coupling.blocks
        if block.name in selection.removed
        for name in block.vertices
    }
    chosen = {
        name: word for name, word in random_substitutes(coupling, seed).items() if name not in gone
    }
    return Selection(selection.kept, selection.removed, chosen)


def run(graph: Graph, images: tuple[torch.Tensor, ...]) -> tuple[tuple[torch.Tensor, ...], int]:
    """Return a graph's outputs on one image, with random weights, and torch's count of MACs."""
    network = build(graph, random_weights(graph, 0))
    first = tuple(x[:1].double() for x in images)
    with FlopCounterMode(display=False) as counter:
        found = outputs(network, first)
    flops = counter.get_flop_counts()["Global"]
    return found, sum(
        count for op, count in flops.items() if "conv" in str(op) or "mm" in str(op)
    ) // 2


def with_substitutes(space: Space, points: Points, seed: int) -> Points:
    """Return points with substitutes at random, allowed ones."""
    random = np.random.default_rng(seed)
    scores = random.random((len(points), *space.sites.allowed.shape))
    chosen = np.where(space.sites.allowed, scores, -1).argmax(axis=2).astype(np.int8)
    return Points(points.widths, points.kept_blocks, chosen)


def check_operator_savings(space: Space, points: Points) -> None:
    """Compare what switching saves with differences of counted costs."""
    saved = space.substitute_savings(points)
    assert points.substitutes is not None
    for i in range(len(points)):
        now = exact(space, points, i)
        for site, option in zip(*np.nonzero(space.sites.allowed), strict=True):
            substitutes = points.substitutes.copy()
            substitutes[i, site] = option
            after = exact(space, Points(points.widths, points.kept_blocks, substitutes), i)
            assert saved[i, site, option].tolist() == np.subtract(now, after).tolist()
    assert (saved[:, ~space.sites.allowed] == -np.inf).all()
