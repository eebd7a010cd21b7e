"""Coupling, by mask equivalence: what is cut out computes what is masked to zero."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gensynth.graph.graph import Graph, Selection, Vertex
from gensynth.network.module import build, opaque_modules
from gensynth.prototypes import create
from gensynth.space.coupling import Coupling, couple
from gensynth.trace import trace
from tests.networks.compositions import (
    compose,
    masking_gates,
    outputs,
    random_selection,
    random_weights,
)
from tests.networks.cropped import CROPPED
from tests.networks.families import FAMILIES
from tests.networks.further import FURTHER, family

POINTWISE = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}


def check_equivalence(
    coupling: Coupling,
    weights: Mapping[str, Tensor],
    images: tuple[Tensor, ...],
    selection: Selection,
    opaque: Mapping[str, nn.Module] | None = None,
) -> None:
    """Rebuild by a selection, and mask the prototype by it: the outputs must agree."""
    prototype = build(coupling.graph, weights, opaque=opaque)
    gates = masking_gates(coupling, selection, len(images[0]))
    wanted = outputs(prototype, images, gates=gates)
    graph = coupling.apply(selection)
    rebuilt = build(graph, weights, coupling.slices(selection), opaque=opaque)
    for got, expected in zip(outputs(rebuilt, images), wanted, strict=True):
        bound = 1e-9 * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(got, expected, rtol=0, atol=bound)
    assert unread(graph) == []


def unread(graph: Graph) -> list[str]:
    """Return the vertices that no output needs."""
    needed = {*graph.outputs, *(vertex.name for vertex in graph.inputs)}
    for vertex in reversed(graph.vertices):
        if vertex.name in needed:
            needed.update(vertex.inputs)
    return [vertex.name for vertex in graph.vertices if vertex.name not in needed]


@pytest.mark.parametrize("name", [*FAMILIES, *FURTHER, *CROPPED])
def test_cutting_equals_masking_in_every_family(name: str) -> None:
    module, images, coupling = family(name)
    opaque = opaque_modules(coupling.graph, module)
    for seed in range(4):
        selection = random_selection(coupling, seed)
        check_equivalence(coupling, module.state_dict(), images, selection, opaque)


@pytest.mark.parametrize("name", ["mobilenet", "shufflenet"])
def test_cutting_equals_masking_in_efficient_networks(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = create(name, classes=5, channels=3).double().eval()
    image = torch.randn(
        1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    coupling = couple(trace(module, image, name=name))
    selection, weights = random_selection(coupling, 3), module.state_dict()
    check_equivalence(coupling, weights, (image,), selection)
    # Else the masks would prove nothing: a deep network may forget its image.
    prototype = build(coupling.graph, weights)
    rebuilt = build(coupling.apply(selection), weights, coupling.slices(selection))
    (whole,), (part,) = outputs(prototype, (image,)), outputs(rebuilt, (image,))
    assert float((whole - part).abs().max() / whole.abs().max()) > 0.1


@pytest.mark.parametrize("name", [*FAMILIES, *FURTHER, *CROPPED])
def test_cutting_everything_equals_masking_in_every_family(name: str) -> None:
    module, images, coupling = family(name)
    least = Selection(
        {group.name: (group.size - 1,) for group in coupling.groups},
        tuple(block.name for block in coupling.blocks),
    )
    opaque = opaque_modules(coupling.graph, module)
    check_equivalence(coupling, module.state_dict(), images, least, opaque)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_cutting_equals_masking_in_networks_composed_at_random(seed: int, choice: int) -> None:
    graph = compose(seed)
    coupling = couple(graph)
    images = torch.randn(
        2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(choice)
    )
    selection = random_selection(coupling, choice)
    check_equivalence(coupling, random_weights(graph, seed), (images,), selection)


def test_masking_at_one_reader_less_is_another_network() -> None:
    # Else the equivalence above would also hold for a coupling that tied nothing.
    module, images, coupling = family("resnet")
    gates = masking_gates(coupling, Selection({"conv1": (0, 3)}), 2)
    prototype = build(coupling.graph, module.state_dict())
    (whole,) = outputs(prototype, images, gates=gates)
    masked = [edge for edge, gate in gates.items() if not gate.all()]
    assert len(masked) == 3  # two convolutions of the next stage and one of this
    for edge in masked:
        (less,) = outputs(prototype, images, gates={e: g for e, g in gates.items() if e != edge})
        assert float((whole - less).abs().max()) > 1e-6


def conv(name: str, source: str, width: int, channels: int, **attributes: Any) -> Vertex:
    return Vertex(
        name,
        "conv",
        (source,),
        {**POINTWISE, "groups": 1, **attributes},
        (width, 4, 4),
        {"weight": (width, channels // attributes.get("groups", 1), 1, 1)},
        attributes.get("module", name),
    )


def graph_of(*vertices: Vertex, returned: str = "out") -> Graph:
    image = Vertex("image", "input", shape=(3, 4, 4))
    return Graph("by hand", (image, *vertices), (returned,))


def groups_of(graph: Graph) -> dict[str, int]:
    return {group.name: group.size for group in couple(graph).groups}


def test_the_channels_of_a_resnet_stage_form_one_group() -> None:
    # By hand: ResNet-8 has a trunk per stage (the stem's 16, 32, 64) and one width
    # inside each of its three blocks (16, 32, 64).
    _, _, coupling = family("resnet")
    sizes = sorted(group.size for group in coupling.groups)
    assert sizes == [16, 16, 32, 32, 64, 64]
    assert [block.name for block in coupling.blocks] == [
        "stage1.0.add",
        "stage2.0.add",
        "stage3.0.add",
    ]


def test_inputs_and_outputs_keep_their_channels() -> None:
    graph = graph_of(conv("out", "image", 8, 3))
    assert groups_of(graph) == {}


def test_a_group_of_a_grouped_convolution_goes_as_one_column() -> None:
    # By hand: 8 channels in 2 groups leave 4 columns of 2, and so does its output of 6: 3.
    graph = graph_of(
        conv("a", "image", 8, 3), conv("g", "a", 6, 8, groups=2), conv("out", "g", 4, 6)
    )
    assert groups_of(graph) == {"a": 4, "g": 3}


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        # By hand: 6 channels in 2 groups come out as 0 3 1 4 2 5.
        ((1, 2, 3, 4), {"order": [2, 0, 3, 1]}),  # 3 1 4 2
        ((0, 1, 3, 4), {"groups": 2}),  # 0 3 1 4
        ((0, 1, 2), {"groups": 1}),  # as they stood
    ],
)
def test_a_shuffle_ties_nothing_and_what_is_left_keeps_its_order(
    kept: tuple[int, ...], left: dict[str, Any]
) -> None:
    shuffled = Vertex("shuffled", "shuffle", ("a",), {"groups": 2}, (6, 4, 4))
    coupling = couple(graph_of(conv("a", "image", 6, 3), shuffled, conv("out", "shuffled", 4, 6)))
    assert [(group.name, group.size) for group in coupling.groups] == [("a", 6)]
    smaller = coupling.apply(Selection({"a": kept}))
    assert smaller["shuffled"].attributes == left


def test_what_is_left_of_a_choice_of_channels_is_no_shuffle_of_all() -> None:
    chosen = Vertex("chosen", "shuffle", ("a",), {"order": [0, 2, 4]}, (3, 4, 4))
    graph = graph_of(conv("a", "image", 6, 3), chosen, conv("out", "chosen", 2, 3))
    coupling = couple(graph)
    free = {channel for group in coupling.groups for channel in group.channels}
    assert len(free) == 6
    for seed in range(6):
        selection = random_selection(coupling, seed)
        images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
        check_equivalence(coupling, random_weights(graph, seed), (images,), selection)


def test_the_channels_of_a_square_of_pixels_go_together() -> None:
    squares = Vertex("squares", "pixel_shuffle", ("a",), {"factor": 2}, (2, 8, 8))
    back = Vertex("back", "pixel_unshuffle", ("squares",), {"factor": 2}, (8, 4, 4))
    graph = graph_of(conv("a", "image", 8, 3), squares, back, conv("out", "back", 2, 8))
    (group,) = couple(graph).groups
    assert (group.name, group.size) == ("a", 2)
    smaller = couple(graph).apply(Selection({"a": (1,)}))
    assert [smaller[name].shape[0] for name in ("a", "squares", "back")] == [4, 1, 4]
    assert smaller["out"].tensors["weight"] == (2, 4, 1, 1)


def test_a_channel_that_multiplies_all_others_stays() -> None:
    graph = graph_of(
        conv("a", "image", 8, 3),
        Vertex("one", "slice", ("a",), {"start": 0, "stop": 1}, (1, 4, 4)),
        Vertex("rest", "slice", ("a",), {"start": 1, "stop": 8}, (7, 4, 4)),
        Vertex("product", "mul", ("one", "rest"), {}, (7, 4, 4)),
        conv("out", "product", 4, 7),
    )
    assert groups_of(graph) == {"a": 7}
    (group,) = couple(graph).groups
    assert couple(graph).channel_ids["one"][0] not in group.channels


def test_a_convolution_to_one_channel_narrows_with_what_it_reads() -> None:
    graph = graph_of(conv("a", "image", 8, 3), conv("out", "a", 1, 8))
    coupling = couple(graph)
    smaller = coupling.apply(Selection({"a": (1, 2)}))
    assert smaller["out"].tensors["weight"] == (1, 2, 1, 1)
    weight = coupling.slices(Selection({"a": (1, 2)}))["out.weight"]
    assert [None if axis is None else axis.tolist() for axis in weight] == [
        None,
        [1, 2],
        None,
        None,
    ]


def test_groups_that_begin_in_one_vertex_have_numbered_names() -> None:
    # The first half of `a` is also read by itself: two groups of 4 that begin in `a`.
    graph = graph_of(
        conv("a", "image", 8, 3),
        conv("a#1", "image", 6, 3),
        Vertex("half", "slice", ("a",), {"start": 0, "stop": 4}, (4, 4, 4)),
        Vertex("all", "concat", ("a", "half", "a#1"), {}, (18, 4, 4)),
        conv("out", "all", 4, 18),
    )
    assert groups_of(graph) == {"a": 4, "a#2": 4, "a#1": 6}


def test_one_parameter_for_all_channels_ties_nothing() -> None:
    graph = graph_of(
        conv("a", "image", 8, 3),
        Vertex("p", "prelu", ("a",), {}, (8, 4, 4), {"weight": (1,)}, "prelu"),
        conv("b", "p", 6, 8),
        Vertex("q", "prelu", ("b",), {}, (6, 4, 4), {"weight": (1,)}, "prelu"),
        conv("out", "q", 4, 6),
    )
    assert groups_of(graph) == {"a": 8, "b": 6}


def test_an_addition_that_the_network_returns_is_no_block() -> None:
    _, _, coupling = family("denoiser")
    assert coupling.blocks == ()


def test_of_two_branches_that_share_a_part_only_the_costlier_is_a_block() -> None:
    # `shared` would be left unread if both branches were cut, and by neither alone.
    graph = graph_of(
        conv("a", "image", 8, 3),
        conv("shared", "a", 8, 8),
        conv("b1", "shared", 8, 8),
        conv("c1", "shared", 16, 8),
        conv("c2", "c1", 8, 16),
        Vertex("x", "add", ("a", "b1"), {}, (8, 4, 4)),
        Vertex("y", "add", ("x", "c2"), {}, (8, 4, 4)),
        conv("out", "y", 4, 8),
    )
    blocks = couple(graph).blocks
    assert [(b.name, b.bypass, sorted(b.vertices)) for b in blocks] == [("y", "x", ["c1", "c2"])]


def test_nested_branches_can_go_alone_or_together() -> None:
    graph = graph_of(
        conv("a", "image", 8, 3),
        conv("b", "a", 8, 8),
        conv("c", "b", 8, 8),
        Vertex("inner", "add", ("b", "c"), {}, (8, 4, 4)),
        Vertex("outer", "add", ("inner", "a"), {}, (8, 4, 4)),
        conv("out", "outer", 4, 8),
    )
    coupling = couple(graph)
    for removed, left in {
        ("inner",): ["image", "a", "b", "outer", "out"],
        ("outer",): ["image", "a", "out"],
        ("inner", "outer"): ["image", "a", "out"],
    }.items():
        smaller = coupling.apply(Selection(removed=removed))
        assert [vertex.name for vertex in smaller.vertices] == left


def test_the_first_call_of_a_shared_branch_stays() -> None:
    # Its parameters are counted there; the other two calls are free to go.
    _, _, coupling = family("recurrent")
    additions = [vertex.name for vertex in coupling.graph.vertices if vertex.op == "add"]
    assert len(additions) == 3
    assert [block.name for block in coupling.blocks] == additions[1:]


def test_every_channel_of_a_group_is_labelled_once() -> None:
    for seed in range(20):
        coupling = couple(compose(seed))
        channels = [label for group in coupling.groups for label in group.channels]
        assert len(channels) == len(set(channels))
        present = np.unique(np.concatenate(list(coupling.channel_ids.values())))
        assert set(channels) <= set(present.tolist())


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"nowhere": (0,)}, "no coupling group is named 'nowhere'"),
        ({"a": ()}, "needs ascending channel numbers in 0..7, got \\(\\)"),
        ({"a": (2, 1)}, "got \\(2, 1\\)"),
        ({"a": (1, 1)}, "got \\(1, 1\\)"),
        ({"a": (0, 8)}, "got \\(0, 8\\)"),
    ],
)
def test_an_impossible_selection_is_refused(kept: dict[str, tuple[int, ...]], message: str) -> None:
    coupling = couple(graph_of(conv("a", "image", 8, 3), conv("out", "a", 4, 8)))
    with pytest.raises(ValueError, match=message):
        coupling.apply(Selection(kept))


def test_a_block_that_does_not_exist_is_refused() -> None:
    coupling = couple(graph_of(conv("a", "image", 8, 3), conv("out", "a", 4, 8)))
    with pytest.raises(ValueError, match="no removable block is named 'a'"):
        coupling.apply(Selection(removed=("a",)))
