"""Compiled costs, against the cost of each graph counted one vertex at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensynth.graph.graph import Graph
from gensynth.prototypes.resnet import resnet8
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.trace import trace
from tests.networks.compositions import compose
from tests.networks.families import FAMILIES, make
from tests.space.counting import check_moves, exact, first_channels, random_points


def space_of(name: str) -> Space:
    module, images = make(name)
    return Space(couple(trace(module, images, name=name)))


@pytest.mark.parametrize("name", FAMILIES)
def test_costs_and_savings_of_every_family_are_exact(name: str) -> None:
    space = space_of(name)
    points = random_points(space, 2, seed=0)
    random = np.random.default_rng(1)
    narrowing = random.integers(0, points.widths)
    check_moves(space, points, narrowing)
    check_moves(space, points, points.widths - space.sizes)  # all the way back


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_costs_and_savings_of_networks_composed_at_random_are_exact(seed: int) -> None:
    space = Space(couple(compose(seed, operators=10)))
    points = random_points(space, 1, seed)
    check_moves(space, points, np.random.default_rng(seed).integers(0, points.widths))


def test_the_prototype_and_the_smallest_network_bound_all_others() -> None:
    space = space_of("resnet")
    costs = space.costs(random_points(space, 50, seed=2))
    assert (costs <= space.prototype).all()
    assert (costs >= space.costs(space.smallest())[0]).all()
    assert space.prototype.tolist() == exact(space, space.whole(1))


def test_savings_sum_over_all_blocks_of_a_residual_network() -> None:
    # Blocks side by side: removing all saves the sum of what removing each saves.
    space = space_of("resnet")
    points = random_points(space, 3, seed=3)
    points.kept_blocks[:] = True
    costs, _, by_block = space.moves(points, np.zeros_like(points.widths))
    without = space.costs(Points(points.widths, np.zeros_like(points.kept_blocks)))
    assert (costs - by_block.sum(axis=1)).tolist() == without.tolist()


def test_a_group_lives_where_some_vertex_has_it() -> None:
    for seed in range(40):
        space = Space(couple(compose(seed)))
        points = random_points(space, 1, seed)
        graph = space.coupling.apply(space.selection(points, 0, first_channels(space)))
        names = {vertex.name for vertex in graph.vertices}
        present = [
            any(group.channels[0] in space.coupling.channel_ids[name] for name in names)
            for group in space.coupling.groups
        ]
        assert space.living(points)[0].tolist() == present


def test_a_group_that_went_with_its_block_has_no_relative_width() -> None:
    space = space_of("resnet")
    points = space.whole(1)
    points.kept_blocks[0, 0] = False  # stage1.0, whose inner width begins in stage1.0.conv1
    inner = [group.name for group in space.coupling.groups].index("stage1.0.conv1")
    relative = space.relative(points)[0]
    assert relative[inner] == 0.0
    assert (np.delete(relative, inner) == 1.0).all()


def test_selection_and_point_are_inverse_where_groups_live() -> None:
    space = space_of("dual_path")
    points = random_points(space, 6, seed=4)
    for index in range(len(points)):
        again = space.point(space.selection(points, index, first_channels(space)))
        alive = space.living(points)[index]
        assert (np.array(again.widths) == points.widths[index])[alive].all()
        assert list(again.kept_blocks) == points.kept_blocks[index].tolist()


def test_a_selection_keeps_the_first_of_the_ranking() -> None:
    space = space_of("plain")
    ranking = [np.arange(size)[::-1] for size in space.sizes]
    points = Points(np.array([[3, 8, 2]]), np.zeros((1, 0), bool))
    sizes = space.sizes.tolist()
    assert sizes == [6, 8, 12]
    assert space.selection(points, 0, ranking).kept == {
        "features.0": (3, 4, 5),
        "classifier.0": (10, 11),
    }


def test_widths_do_not_fall_below_the_alignment() -> None:
    space = Space(space_of("resnet").coupling, round_to=8)
    assert space.floors.tolist() == [8] * 6
    narrow = Space(couple(narrow_graph()), round_to=8)
    assert narrow.floors.tolist() == [min(8, int(size)) for size in narrow.sizes]


def narrow_graph() -> Graph:
    return trace(resnet8().stage1, torch.zeros(1, 16, 8, 8), name="stage")


def test_many_networks_are_costed_as_one_batch() -> None:
    space = space_of("resnet")
    points = random_points(space, 30, seed=5)
    one_by_one = [
        space.costs(Points(points.widths[i : i + 1], points.kept_blocks[i : i + 1]))[0]
        for i in range(len(points))
    ]
    assert np.array_equal(space.costs(points), np.array(one_by_one))
