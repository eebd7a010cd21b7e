"""Graphs with other substitutes: their costs by formula, by counting and by running them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensynth.errors import ConfigError
from gensynth.graph.cost import cost, vertex_costs
from gensynth.graph.graph import Graph
from gensynth.network.module import build
from gensynth.prototypes.resnet import resnet8
from gensynth.space.coupling import couple
from gensynth.space.operator_choices import Sites
from gensynth.space.placement import check_substitutes, refusal, sites, substitute
from gensynth.space.space import Space
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.trace import trace
from tests.networks.compositions import compose, random_selection, random_weights
from tests.networks.families import FAMILIES, make
from tests.space.counting import (
    CHOICES,
    check_moves,
    check_operator_savings,
    coupling_of,
    exact,
    first_channels,
    random_points,
    random_substitution,
    run,
    with_substitutes,
)


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "with_attention"])
def test_substituted_networks_of_every_family_run_and_cost_what_torch_counts(name: str) -> None:
    module, images = make(name)
    coupling = couple(trace(module, images, name=name))
    for seed in range(3):
        graph = coupling.apply(random_substitution(coupling, seed))
        found, macs = run(graph, images)
        shapes = [tuple(value.shape[1:]) for value in found]
        assert shapes == [graph[output].shape for output in graph.outputs]
        assert cost(graph).macs == macs
        network = build(graph, random_weights(graph, 0))
        assert cost(graph).params == sum(p.numel() for p in network.parameters())


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_so_do_networks_composed_at_random(seed: int) -> None:
    coupling = couple(compose(seed))
    graph = coupling.apply(random_substitution(coupling, seed))
    found, macs = run(graph, (torch.ones(1, 3, 6, 6),))
    assert cost(graph).macs == macs
    shapes = [tuple(value.shape[1:]) for value in found]
    assert shapes == [graph[output].shape for output in graph.outputs]


def conv(read: int, written: int, bias: bool = True, **options: Any) -> Graph:
    options = {"kernel_size": 3, "padding": 1, **options}
    module = torch.nn.Sequential(torch.nn.Conv2d(read, written, bias=bias, **options))
    return trace(module, torch.zeros(1, read, 8, 8), name="one")


@pytest.mark.parametrize(
    ("word", "weights", "ops"),
    [
        ("separable", 9 * 8 + 8 * 12, ["conv", "conv"]),
        ("grouped_2", 9 * 4 * 6 * 2, ["conv"]),
        ("grouped_4", 9 * 2 * 3 * 4, ["conv"]),
        ("low_rank_2", 3 * 8 * 4 + 3 * 4 * 12, ["conv", "conv"]),
        ("low_rank_4", 3 * 8 * 2 + 3 * 2 * 12, ["conv", "conv"]),
        ("bottleneck_2", 9 * 8 * 4 + 4 * 12, ["conv", "conv"]),
        ("bottleneck_4", 9 * 8 * 2 + 2 * 12, ["conv", "conv"]),
        ("smaller_kernel", 8 * 12, ["conv"]),
    ],
)
def test_each_operator_costs_what_its_definition_says(
    word: str, weights: int, ops: list[str]
) -> None:
    # 8 channels to 12, 3 x 3, by hand; the bias of 12 stays.
    graph = substitute(conv(8, 12), {"0": word})
    assert [vertex.op for vertex in graph.vertices] == ["input", *ops]
    assert cost(graph).params == weights + 12
    assert cost(graph).macs == 64 * weights


def test_groups_that_do_not_divide_are_filled_with_zero_channels() -> None:
    graph = substitute(conv(7, 9), {"0": "grouped_4"})
    assert [vertex.op for vertex in graph.vertices] == [
        "input", "pad_channels", "conv", "slice", "shift",
    ]  # fmt: skip
    assert graph.vertices[2].tensors == {"weight": (12, 2, 3, 3)}
    assert cost(graph).params == 9 * 4 * 2 * 3 + 9
    assert graph["0"].shape == (9, 8, 8)


def test_a_smaller_kernel_keeps_the_image_s_size() -> None:
    graph = substitute(
        conv(4, 4, kernel_size=5, padding=4, dilation=2, stride=2), {"0": "smaller_kernel"}
    )
    assert graph["0"].attributes["kernel"] == [3, 3]
    assert graph["0"].attributes["padding"] == [2, 2]
    found, _ = run(graph, (torch.ones(1, 4, 8, 8),))
    assert tuple(found[0].shape[1:]) == graph["0"].shape


@pytest.mark.parametrize(
    ("graph", "word", "why"),
    [
        (conv(3, 12), "grouped_4", "fewer than 4 channels"),
        (conv(8, 8, kernel_size=(3, 1), padding=(1, 0)), "low_rank_2", "a row or a column"),
        (conv(8, 8, stride=2), "low_rank_2", "changes the width"),
        (conv(8, 8, padding=0), "smaller_kernel", "less than the ring"),
        (conv(8, 8, kernel_size=2, padding=0), "smaller_kernel", "no middle"),
        (conv(2, 1), "separable", "not be cheaper"),
    ],
)
def test_an_operator_that_cannot_stand_for_a_convolution_says_why(
    graph: Graph, word: str, why: str
) -> None:
    (vertex,) = sites(graph)
    assert why in str(refusal(graph, vertex, word))


def test_only_dense_convolutions_with_weights_of_their_own_can_be_substituted() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = torch.nn.Conv2d(4, 4, 3, padding=1)
            self.point = torch.nn.Conv2d(4, 4, 1)
            self.depthwise = torch.nn.Conv2d(4, 4, 3, padding=1, groups=4)
            self.free = torch.nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.free(self.depthwise(self.point(self.shared(self.shared(x)))))

    graph = trace(Twice(), torch.zeros(1, 4, 8, 8), name="twice")
    assert [vertex.name for vertex in sites(graph)] == ["free"]
    with pytest.raises(ValueError, match="no convolution named 'point' can be substituted"):
        substitute(graph, {"point": "separable"})
    with pytest.raises(ValueError, match="no substitute is named 'magic'"):
        substitute(graph, {"free": "magic"})


def test_a_graph_without_substitutes_is_written_as_before() -> None:
    coupling = coupling_of("resnet")
    selection = random_selection(coupling, 1)
    assert '"operators"' not in coupling.apply(selection).to_json()
    assert substitute(coupling.graph, {}) is coupling.graph


@pytest.mark.parametrize("name", ["resnet", "inception", "unet"])
def test_a_substituted_graph_reads_back(name: str) -> None:
    coupling = coupling_of(name)
    graph = coupling.apply(random_substitution(coupling, 5))
    assert graph.selection.substitutes
    assert Graph.from_json(graph.to_json()) == graph


def test_names_that_no_substitute_has_are_refused() -> None:
    check_substitutes(("separable", "grouped_2"))
    with pytest.raises(
        ConfigError, match="unknown substitute 'seperable' in .search.; did you mean"
    ):
        check_substitutes(("seperable",))


@pytest.mark.parametrize("name", FAMILIES)
def test_costs_and_savings_with_substitutes_are_exact_in_every_family(name: str) -> None:
    space = Space(coupling_of(name), substitutes=CHOICES)
    points = with_substitutes(space, random_points(space, 2, seed=0), seed=0)
    check_moves(space, points, np.random.default_rng(1).integers(0, points.widths))
    check_operator_savings(space, points)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_costs_and_savings_with_substitutes_are_exact_in_networks_composed_at_random(
    seed: int,
) -> None:
    space = Space(couple(compose(seed, operators=10)), substitutes=CHOICES)
    points = with_substitutes(space, random_points(space, 1, seed), seed)
    check_moves(space, points, points.widths - space.sizes)
    check_operator_savings(space, points)


@pytest.mark.parametrize("name", ["resnet", "dense", "unet", "squeeze_excite", "bottleneck"])
def test_the_smallest_network_with_substitutes_bounds_all_others(name: str) -> None:
    space = Space(coupling_of(name), substitutes=CHOICES)
    points = with_substitutes(space, random_points(space, 100, seed=2), seed=3)
    assert (space.costs(points) >= space.costs(space.smallest())[0]).all()
    assert space.costs(space.smallest())[0].tolist() == exact(space, space.smallest())
    without = Space(space.coupling)
    assert (space.costs(space.smallest()) <= without.costs(without.smallest())).all()


@given(
    st.sampled_from(CHOICES),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_no_operator_gets_cheaper_by_reading_or_writing_more(
    word: str, height: int, width: int, read: int, written: int
) -> None:
    weights = SUBSTITUTES[word].weights
    here = weights((height, width), read, written)
    assert weights((height, width), read + 1, written) >= here
    assert weights((height, width), read, written + 1) >= here


def test_macs_are_positions_times_weights_for_every_operator() -> None:
    graph = trace(resnet8(), torch.zeros(1, 3, 32, 32), name="resnet8")
    found = Sites(graph, CHOICES)
    for number, name in enumerate(found.names):
        for option in np.flatnonzero(found.allowed[number])[1:]:
            other = substitute(graph, {name: CHOICES[option - 1]})
            parts = [v for v in other.vertices if v.name == name or v.name.startswith(f"{name}.")]
            costs = [vertex_costs(other)[part.name] for part in parts]
            assert sum(c.macs for c in costs) == found.positions[number] * sum(
                c.params for c in costs
            )


def test_a_selection_with_substitutes_and_its_point_are_inverse() -> None:
    space = Space(coupling_of("resnet"), substitutes=CHOICES)
    points = with_substitutes(space, random_points(space, 6, seed=4), seed=4)
    assert points.substitutes is not None
    for index in range(len(points)):
        selection = space.selection(points, index, first_channels(space))
        again = space.point(selection)
        gone = (~points.kept_blocks[index] & space.site_owners).any(axis=1)
        assert list(again.substitutes) == np.where(gone, 0, points.substitutes[index]).tolist()
        assert space.costs(space.points([again]))[0].tolist() == exact(space, points, index)
