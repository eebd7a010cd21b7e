"""The descent on costs of hardware, which are staircases."""

import math

import numpy as np
import pytest

from gensynth.search import descent
from gensynth.search.generator import Generator
from gensynth.search.theta import draw
from gensynth.space.cost_model import Tabulated
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


def gained(space: Space, share: float) -> float:
    """The mean gain that 30 seeds keep within a limit, so far between the least and all."""
    whole, least = (space.named_costs(p)["us"] for p in (space.whole(1), space.smallest()))
    limit, theta, seeds = least + share * (whole - least), theta_of(space), range(30)
    points = Generator(space, theta, {"us": limit}).points(seeds)
    assert (space.costs(points)[:, space.names.index("us")] <= limit).all()
    gains = descent.Gains(space, [theta] * len(seeds), [draw(theta, seed) for seed in seeds])
    of_widths = (gains.at(points.widths) * space.living(points)).sum(axis=1)
    return float((of_widths + (gains.blocks * points.kept_blocks).sum(axis=1)).mean())


@pytest.mark.parametrize("share", [0.2, 0.6])
@pytest.mark.parametrize("block", [8, 16])
def test_steps_down_to_whole_blocks_keep_more_within_a_limit(
    block: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = timed(block)
    found = gained(space, share)
    monkeypatch.setattr(descent, "BLOCKS", ())
    assert found > 1.05 * gained(space, share)


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
