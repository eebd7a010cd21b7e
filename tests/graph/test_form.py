"""A graph that is read says all that its operators ask for, and no more than can be computed."""

import json
import re
from typing import Any

import pytest

from gensynth.graph.graph import Graph, Vertex
from tests.networks.single import small


def altered(name: str, **changes: Any) -> str:
    """A small network's text, some keys of one vertex changed; None leaves one out."""
    document = json.loads(small()[0].to_json())
    (vertex,) = (v for v in document["vertices"] if v["name"] == name)
    for key, value in changes.items():
        where = vertex if key in ("inputs", "shape", "op", "tensors") else vertex["attributes"]
        where[key] = value
        if value is None:
            del where[key]
    return json.dumps(document)


def test_the_small_network_itself_is_read() -> None:
    graph = small()[0]
    assert Graph.from_json(graph.to_json()).to_json() == graph.to_json()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stride": None}, "(conv): stride is missing"),
        ({"stride": [1]}, "(conv): stride must have at least 2 items, not 1"),
        ({"stride": [0, 1]}, "(conv): stride[0] must be greater than or equal to 1, got 0"),
        ({"padding": [3_000_000, 1]}, "(conv): padding[0] must be less than or equal to"),
        ({"padding": [1_000_000, 1_000_000]}, "with its padding must be at most"),
        ({"groups": "3"}, "(conv): groups must be a whole number, got '3'"),
        ({"inputs": []}, "must read 1, got 0"),
        ({"tensors": {}}, "must have the tensors ['weight'], got []"),
        ({"tensors": {"weight": [1, 2, 3, 4]}}, "tensor 'weight' of vertex"),
        ({"shape": [4, 1 << 40, 8]}, "the elements of vertex"),
        ({"shape": []}, "got a shape ()"),
    ],
)
def test_what_a_convolution_lacks_is_named(changes: dict[str, Any], said: str) -> None:
    (name,) = [vertex.name for vertex in small()[0].vertices if vertex.op == "conv"][:1]
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        Graph.from_json(altered(name, **changes))
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize(
    ("op", "attributes", "said"),
    [
        ("subsample", {"stride": [1, 1], "start": [-1, 0]}, "start[0] must be greater than"),
        ("subsample", {"stride": [1, 1], "stop": [0, 4]}, "stop[0] must be greater than"),
        ("subsample", {"start": [1, 1]}, "stride is missing"),
        ("take", {"side": "depth", "order": [0]}, "side must be"),
        ("take", {"side": "width", "order": []}, "order must have at least 1 item"),
        ("take", {"side": "width", "order": [0, 8]}, "must name rows or columns that it reads"),
        ("pixel_shuffle", {}, "factor is missing"),
        ("pixel_unshuffle", {"factor": 0}, "factor must be greater than"),
    ],
)
def test_what_cuts_says_where(op: str, attributes: dict[str, Any], said: str) -> None:
    vertices = (Vertex("x", "input", shape=(4, 8, 8)), Vertex("cut", op, ("x",), attributes, (4,)))
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        Graph.from_json(Graph("cut", vertices, ("cut",)).to_json())
    assert "'cut'" in str(refused.value)


def test_a_file_from_before_offsets_is_read_and_written_as_it_was() -> None:
    vertices = (
        Vertex("x", "input", shape=(4, 8, 8)),
        Vertex("half", "subsample", ("x",), {"stride": [2, 2]}, (4, 4, 4)),
    )
    graph = Graph("old", vertices, ("half",))
    again = Graph.from_json(graph.to_json())
    # As the version without offsets wrote this graph.
    assert (
        again.sha256
        == graph.sha256
        == ("4c00a5c727ace7106e6324f07716ad3ec0ad5f984d8c9f5e105a4b2c53b9894e")
    )
