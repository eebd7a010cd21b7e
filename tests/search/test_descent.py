"""The descent on costs of hardware, which are staircases."""

import itertools
import math

import numpy as np
import pytest

from gensynth.search.gains import Gains
from gensynth.search.generator import Generator
from gensynth.search.theta import draw
from gensynth.space.cost_model import Tabulated
from gensynth.space.ladder import stairs
from gensynth.space.points import Points
from gensynth.space.space import Space
from tests.search.spaces import space_of, theta_of


def timed(block: int) -> Space:
    """ResNet-8's space with a device that computes whole blocks of channels, others at half speed.

    A vertex takes a microsecond, and as many more as blocks read times blocks written; half as
    much again where either is no whole number of blocks.
    """
    space = space_of("resnet8")
    tables = []
    for name in space.vertices:
        vertex = space.coupling.graph[name]
        read = np.arange(space.coupling.graph[vertex.inputs[0]].shape[0] + 1)
        written = np.arange(vertex.shape[0] + 1)
        blocks = np.ceil(read / block)[:, None] * np.ceil(written / block)
        odd = (read % block > 0)[:, None] | (written % block > 0)
        us = 1 + blocks * np.where(odd, 1.5, 1.0) if vertex.op == "conv" else 0 * blocks + 1e-3
        tables.append(us[None, :, :, None])
    return space.with_models(Tabulated(("us",), tables, np.full(len(tables), -1)))


def total(space: Space, gains: Gains, points: Points) -> np.ndarray:
    """Gains of some networks, each as every seed sees it: (seeds, networks)."""
    widths = gains.values[:, np.arange(len(space.sizes)), points.widths]
    found: np.ndarray = (widths * space.living(points)).sum(axis=2)
    return found + gains.blocks @ points.kept_blocks.T


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("block", [12, 32])
def test_the_descent_finds_the_best_network_of_a_staircase(block: int, share: float) -> None:
    # Within a block channels are free and the last few cost half as much again, so the best
    # network is one of whole blocks (or whole groups), and all of those can be tried.
    space, seeds = timed(block), range(10)
    theta, us = theta_of(space), space.names.index("us")
    tops = [sorted({*range(block, size + 1, block), size}) for size in map(int, space.sizes)]
    kept = list(itertools.product([False, True], repeat=len(space.coupling.blocks)))
    all_ = itertools.product(itertools.product(*tops), kept)
    widths, blocks = zip(*all_, strict=True)
    every = Points(np.array(widths), np.array(blocks))
    whole, least = (space.named_costs(p)["us"] for p in (space.whole(1), space.smallest()))
    limit = least + share * (whole - least)
    found = Generator(space, theta, {"us": limit}).points(seeds)
    assert (space.costs(found)[:, us] <= limit).all()
    gains = Gains(space, [theta] * len(seeds), [draw(theta, seed) for seed in seeds])
    best = np.where(space.costs(every)[:, us] <= limit, total(space, gains, every), 0).max(axis=1)
    reached = np.diag(total(space, gains, found)) / best
    assert reached.min() > 0.99
    assert reached.mean() > 0.999


def test_rungs_of_a_staircase_are_the_widths_that_are_cheaper_than_all_wider_ones() -> None:
    # Blocks of 12 in groups of 16, 32 and 64, of which the least width is always one.
    space = timed(12)
    ladder = stairs(space, ~space.exact)
    assert [sorted(set(rungs)) for rungs in ladder.rungs.tolist()] == [
        [1, 12, 16], [1, 12, 16], [1, 12, 24, 32], [1, 12, 24, 32],
        [1, 12, 24, 36, 48, 60, 64], [1, 12, 24, 36, 48, 60, 64],
    ]  # fmt: skip
    widths = np.array([[16, 13, 32, 20, 63, 12]])
    assert ladder.below(widths).tolist() == [[12, 12, 24, 12, 60, 1]]
    assert ladder.above(widths).tolist() == [[16, 16, 32, 24, 64, 24]]


def test_a_family_is_made_cheaper_in_what_its_budget_is_of_and_in_nothing_else() -> None:
    space, theta = timed(8), theta_of(space_of("resnet8"), budget=(math.log(0.4), 0.0))
    share = {}
    for budgeted in (("us",), ("macs",)):
        generator = Generator(space, theta, budgeted=budgeted)
        points = Generator.from_json(generator.to_json(), space).points(range(20))
        costs = space.costs(points) / space.prototype
        share[budgeted[0]] = dict(zip(space.names, costs.T, strict=True))
        assert (share[budgeted[0]][budgeted[0]] <= 0.4 + 1e-6).all()
    assert share["us"]["us"].mean() < share["macs"]["us"].mean()
    assert share["us"]["macs"].mean() > share["macs"]["macs"].mean()
