"""A graph's shapes are those that it computes, by torch's own word."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.graph.graph import Graph
from gensynth.network.shapes import check_shapes
from tests.networks.compositions import compose


@given(st.integers(0, 10**6))
def test_the_shapes_of_a_network_are_those_that_it_computes(seed: int) -> None:
    check_shapes(compose(seed, operators=8))


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_one_shape_that_is_another_is_found(seed: int, place: int) -> None:
    graph = compose(seed, operators=8)
    which = 1 + place % (len(graph.vertices) - 1)
    wrong = replace(graph.vertices[which], shape=(7, *graph.vertices[which].shape))
    vertices = (*graph.vertices[:which], wrong, *graph.vertices[which + 1 :])
    with pytest.raises(ValueError, match="must have the shape|cannot read its inputs"):
        check_shapes(Graph("wrong", vertices, graph.outputs))
