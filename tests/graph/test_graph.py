import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.graph.graph import Graph, Selection, Vertex
from gensynth.space.coupling import couple
from tests.networks.compositions import compose, random_selection

IMAGE = Vertex("image", "input", shape=(3, 4, 4))
CONV = Vertex(
    "a.conv",
    "conv",
    ("image",),
    {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1},
    (2, 4, 4),
    {"weight": (2, 3, 3, 3), "bias": (2,)},
    "a.conv",
)
TWICE = Vertex("sum", "add", ("a.conv", "a.conv"), {}, (2, 4, 4))
SMALL = Graph("small", (IMAGE, CONV, TWICE), ("sum",))


def test_edges_stand_in_the_consumers_order() -> None:
    assert SMALL.edges == (("image", "a.conv"), ("a.conv", "sum"), ("a.conv", "sum"))
    assert SMALL.consumers == {"image": ("a.conv",), "a.conv": ("sum", "sum"), "sum": ()}
    assert SMALL.inputs == (IMAGE,)
    assert SMALL["a.conv"] is CONV


def test_tensors_are_named_as_in_a_state_dict() -> None:
    assert SMALL.tensor_shapes == {"a.conv.weight": (2, 3, 3, 3), "a.conv.bias": (2,)}
    assert Vertex("scale", "scale", tensors={"gamma": (2,)}).tensor_key("gamma") == "gamma"


def test_a_shared_module_has_its_tensors_once() -> None:
    again = Vertex("again", "conv", ("image",), {}, (2, 4, 4), CONV.tensors, CONV.module)
    graph = Graph("shared", (IMAGE, CONV, again), ("a.conv", "again"))
    assert len(graph.tensor_shapes) == 2


def test_text_is_the_documented_one() -> None:
    graph = Graph(
        "tiny",
        (IMAGE, Vertex("out", "relu", ("image",), {}, (3, 4, 4))),
        ("out",),
        Selection({"g": (0, 2)}, ("b",)),
    )
    assert json.loads(graph.to_json()) == {
        "format": 1,
        "name": "tiny",
        "outputs": ["out"],
        "selection": {"kept": {"g": [0, 2]}, "removed": ["b"]},
        "vertices": [
            {"name": "image", "op": "input", "inputs": [], "shape": [3, 4, 4]},
            {"name": "out", "op": "relu", "inputs": ["image"], "shape": [3, 4, 4]},
        ],
    }


@given(st.integers(0, 10**6))
def test_text_reads_back_as_the_same_bytes(seed: int) -> None:
    coupling = couple(compose(seed, operators=6))
    graph = coupling.apply(random_selection(coupling, seed))
    again = Graph.from_json(graph.to_json())
    assert again.to_json() == graph.to_json()
    assert again.selection == graph.selection
    assert again.edges == graph.edges
    assert again.sha256 == hashlib.sha256(graph.to_json().encode()).hexdigest()


def test_the_order_in_which_attributes_were_given_does_not_show() -> None:
    one = Vertex("p", "max_pool", ("image",), {"kernel": [2, 2], "ceil": False}, (3, 2, 2))
    other = Vertex("p", "max_pool", ("image",), {"ceil": False, "kernel": [2, 2]}, (3, 2, 2))
    texts = {Graph("pool", (IMAGE, vertex), ("p",)).to_json() for vertex in (one, other)}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("vertices", "outputs", "message"),
    [
        ((IMAGE, IMAGE), ("image",), "two vertices are named 'image'"),
        ((CONV, IMAGE), ("a.conv",), "reads 'image', which does not stand before it"),
        ((Vertex("x", "convolution"),), ("x",), "unknown operator 'convolution'"),
        ((IMAGE,), ("y",), "existing outputs"),
        ((IMAGE,), (), "existing outputs"),
    ],
)
def test_an_impossible_graph_is_refused(
    vertices: tuple[Vertex, ...], outputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Graph("wrong", vertices, outputs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "EOF while parsing"),
        ("[]", "must be an object, got a list of 0"),
        ("null", "must be an object, got None"),
        ("{}", "format is missing"),
        ('{"format": 99}', "it has format 99, this version reads 1"),
        (SMALL.to_json().replace('"vertices"', '"nodes"'), "vertices is missing"),
        (SMALL.to_json()[:-20], "EOF while parsing"),
        (SMALL.to_json().replace('"conv"', '"exec"'), "unknown operator 'exec'"),
    ],
)
def test_text_that_is_no_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph.from_json(text)


def test_a_graph_is_read_without_torch() -> None:
    code = (
        "import sys; from gensynth.graph.graph import Graph; Graph.from_json(sys.stdin.read()); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], input=SMALL.to_json(), text=True, check=True)
