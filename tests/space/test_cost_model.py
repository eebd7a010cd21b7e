"""A cost that was only written down steers as one with a formula does, and limits hold by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gensynth.prototypes.resnet import ResNet
from gensynth.search.generator import Generator
from gensynth.search.theta import Theta, initial_theta
from gensynth.space.cost_model import ClosedForm, CostModel, Tabulated
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.trace import trace
from tests.space.counting import random_points, with_substitutes

CHOICES = ("separable", "low_rank_2")


def small(substitutes: tuple[str, ...] = ()) -> Space:
    module = ResNet(blocks=1, widths=(6, 8, 10), classes=4, channels=1)
    graph = trace(module.eval(), torch.zeros(1, 1, 8, 8), name="small")
    return Space(couple(graph), substitutes=substitutes)


def written_down(space: Space, *names: str) -> Tabulated:
    """The exact costs of every vertex at every pair of widths, as a table."""
    exact: CostModel = space.models[0]
    whole = space.coupling.graph
    tables, sites = [], []
    for v, name in enumerate(space.vertices):
        reads, writes = (whole[u].shape[0] for u in (whole[name].inputs[0], name))
        grid = np.meshgrid(np.arange(reads + 1), np.arange(writes + 1), indexing="ij")
        read, written = (g.reshape(-1, 1).astype(float) for g in grid)
        site = space.sites.names.index(name) if name in space.sites.names else -1
        choices = range(1 + len(space.sites.substitutes)) if site >= 0 else range(1)
        layers = []
        for choice in choices:
            points = Points(np.zeros((len(read), 1), int), np.zeros((len(read), 1), bool))
            if len(space.sites):
                substitutes = np.zeros((len(read), len(space.sites)), np.int8)
                substitutes[:, site] = choice if site >= 0 else 0
                points = replace(points, substitutes=substitutes)
            costs = exact.vertex_costs(read, written, np.ones_like(read), points, np.array([v]))
            layers.append(costs.reshape(reads + 1, writes + 1, 2))
        tables.append(np.stack(layers))
        sites.append(site)
    return Tabulated(names or ("macs_again", "params_again"), tables, np.array(sites))


@pytest.mark.parametrize("substitutes", [(), CHOICES])
def test_a_table_of_exact_costs_gives_their_sums_and_their_savings(
    substitutes: tuple[str, ...],
) -> None:
    space = small(substitutes)
    both = space.with_models(written_down(space))
    assert both.names == ("macs", "params", "macs_again", "params_again")
    assert both.exact.tolist() == [True, True, False, False]
    points = random_points(both, 12, seed=1)
    if substitutes:
        points = with_substitutes(both, points, seed=2)
    steps = np.random.default_rng(3).integers(0, points.widths)
    costs, by_width, by_block = both.moves(points, steps)
    for found in (costs, by_width, by_block):
        np.testing.assert_allclose(found[..., 2:], found[..., :2], atol=1e-6)
    if substitutes:
        saved = both.substitute_savings(points)
        allowed = both.sites.allowed
        gone = (~points.kept_blocks)[:, None, :] & both.site_owners[None]
        alive = np.asarray(~gone.any(axis=2))
        for n in range(len(points)):
            at = allowed & alive[n][:, None]
            np.testing.assert_allclose(saved[n, at][:, 2:], saved[n, at][:, :2], atol=1e-6)
            assert (saved[n][~allowed] == -np.inf).all()


def test_only_the_models_with_a_formula_are_asked_for_one() -> None:
    space = small()
    assert isinstance(space.models[0], ClosedForm)
    assert not isinstance(written_down(space), ClosedForm)


def timed_space() -> Space:
    """Time as a device might have it: a launch of 10 us a vertex and 1 us a thousand MACs.

    In steps of four channels written.
    """
    space = small()
    tables = []
    for table in written_down(space).tables:
        widths = -(-np.arange(table.shape[2]) // 4) * 4
        stairs = table[:, :, np.minimum(widths, table.shape[2] - 1), :1]
        tables.append(10.0 * (table[..., :1] > 0) + stairs / 1e3)
    return space.with_models(Tabulated(("latency_us",), tables, np.full(len(tables), -1)))


def parameters(timed: Space, budget: tuple[float, float]) -> Theta:
    return initial_theta(
        timed, tuple(np.zeros(size) for size in timed.sizes), np.ones(3), seed=0, directions=3,
        spread=0.9, budget=budget,
    )  # fmt: skip


def test_a_limit_on_an_estimated_cost_holds_for_every_seed() -> None:
    timed = timed_space()
    whole = timed.named_costs(timed.whole(1))["latency_us"]
    smallest = timed.named_costs(timed.smallest())["latency_us"]
    limit = smallest + 0.4 * (whole - smallest)
    theta = parameters(timed, budget=(0.0, 0.0))
    points = Generator(timed, theta, {"latency_us": limit}).points(range(40))
    costs = timed.costs(points)[:, timed.names.index("latency_us")]
    assert (costs <= limit).all()
    assert costs.mean() > 0.8 * limit  # what still fits is taken back


def test_the_cost_drawn_by_a_seed_is_of_the_costs_that_a_generator_names() -> None:
    # Three quarters of the prototype's time, and of nothing else; kept with the generator.
    timed = timed_space()
    theta = parameters(timed, budget=(float(np.log(0.75)), 0.0))
    made = Generator(timed, theta, budgeted=("latency_us",))
    for generator in (made, Generator.from_json(made.to_json(), timed)):
        shares = timed.costs(generator.points(range(20))) / timed.prototype
        assert (shares[:, 2] <= 0.75).all()
        assert shares[:, 2].mean() > 0.6  # in stairs
    with pytest.raises(ValueError, match="unknown cost 'latency_us'"):
        Generator.from_json(made.to_json(), small())


@pytest.mark.parametrize("substitutes", [(), CHOICES])
def test_a_prototype_that_was_kept_is_the_prototype(substitutes: tuple[str, ...]) -> None:
    space = small(substitutes)
    whole = space.whole(1)[0]
    assert space.points([whole])[0] == whole
    assert (
        space.point(space.selection(space.points([whole]), 0, [*map(np.arange, space.sizes)]))
        == whole
    )


def test_costs_have_their_names_and_exact_ones_are_whole() -> None:
    space = small()
    both = space.with_models(written_down(space, "joules", "ms"))
    named = both.named_costs(both.whole(1))
    assert [type(named[name]) for name in ("macs", "params", "joules", "ms")] == [
        int, int, float, float,
    ]  # fmt: skip
    assert named["joules"] == named["macs"]
    limits = both.limits_of({"ms": 3.0})
    assert limits.tolist() == [np.inf, np.inf, np.inf, 3.0]
