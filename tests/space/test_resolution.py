"""Smaller images, against the user's own module that is shown smaller images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph, Selection
from gensynth.network.module import build
from gensynth.space.placement import CHOICES, sites, substitute
from gensynth.space.points import Points
from gensynth.space.resolution import RESOLUTIONS, refusal, resized
from gensynth.space.space import Space
from gensynth.trace import trace
from tests.networks.compositions import compose, outputs, random_weights
from tests.networks.families import FAMILIES, make
from tests.space.counting import (
    check_moves,
    check_operator_savings,
    coupling_of,
    random_points,
    run,
    with_substitutes,
)

REFUSED = {
    "pyramid": "it joins images that would have different sizes",
    "several_inputs_and_outputs": "it does not have one image as its only input",
    "with_attention": "it has a part that cannot be looked into",
    "norms": "it has weights of single positions",
}
FREE = [name for name in FAMILIES if name not in (*REFUSED, "unet")]
"""All that the module itself can be asked; the U-Net ends with a size that stays."""


@pytest.mark.parametrize("word", RESOLUTIONS)
@pytest.mark.parametrize("name", FREE)
def test_a_network_computes_what_its_module_does_with_smaller_images(name: str, word: str) -> None:
    module, (images, *_) = make(name)
    graph = trace(module, images, name=name)
    if refusal(graph, word) is not None:
        assert refusal(graph, word) == "its linear layers read single positions"
        return
    module = module.double().eval()
    network = build(resized(graph, word), module.state_dict()).eval()
    side = int(images.shape[2] * {"resolution_3_4": 0.75, "resolution_1_2": 0.5}[word])
    small = F.interpolate(images.double(), (side, side), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected, found = module(small), network(images.double())
    assert torch.equal(found, expected)


def test_most_families_can_have_smaller_images() -> None:
    free = [name for name in FREE if refusal(coupling_of(name).graph, "resolution_1_2") is None]
    assert len(free) >= 9


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_what_has_one_resolution_says_why(name: str, why: str) -> None:
    assert refusal(coupling_of(name).graph, "resolution_1_2") == why


def cutting(cut: Callable[[Tensor], Tensor], width: int = 4) -> nn.Module:
    """A convolution, a way to cut what it gives, another and a mean."""

    class Cutting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(width, 2, 1, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(cut(self.first(x))).mean((2, 3))

    return Cutting()


@pytest.mark.parametrize("word", RESOLUTIONS)
@pytest.mark.parametrize(
    ("cut", "width"),
    [
        (lambda x: x[:, :, 1:, 2:], 4),
        (lambda x: x[:, :, 1::2, ::3], 4),
        (lambda x: F.pixel_shuffle(x, 2), 1),
        (lambda x: F.pixel_unshuffle(x, 2), 16),
        (lambda x: torch.cat([x[..., ::2, 1::2], x[..., 1::2, ::2]], 1), 8),
    ],
)
def test_cuts_from_an_offset_on_follow_the_resolution(
    cut: Callable[[Tensor], Tensor], width: int, word: str
) -> None:
    module, images = cutting(cut, width).double().eval(), torch.randn(2, 3, 16, 16).double()
    network = build(resized(trace(module, images, name="cut"), word), module.state_dict()).eval()
    side = int(16 * RESOLUTIONS[word])
    small = F.interpolate(images, (side, side), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(network(images), module(small))


@pytest.mark.parametrize(
    ("cut", "width", "why"),
    [
        (lambda x: x[:, :, :-1], 4, "it cuts its images off at one place"),
        (lambda x: x[:, :, 13:], 4, "it would cut off more than it has"),
        (lambda x: x.flip(2), 4, "it takes single rows or columns"),
        (lambda x: F.pixel_unshuffle(x, 16), 1024, "its images would not fall into whole squares"),
    ],
)
def test_cuts_at_one_place_keep_the_resolution(
    cut: Callable[[Tensor], Tensor], width: int, why: str
) -> None:
    graph = trace(cutting(cut, width), torch.zeros(1, 3, 16, 16), name="cut")
    assert refusal(graph, "resolution_1_2") == why


def test_an_image_for_an_output_keeps_its_size() -> None:
    graph = trace(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 16, 16), name="image")
    assert refusal(graph, "resolution_1_2") == "its output is an image"


def test_windows_larger_than_the_image_are_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(14), nn.Flatten(), nn.Linear(4, 2))
    graph = trace(module, torch.zeros(1, 3, 16, 16), name="windows")
    assert refusal(graph, "resolution_3_4") == "its windows would be larger than the image"


@pytest.mark.parametrize("ceil", [True, False])
@pytest.mark.parametrize("side", range(12, 22))
def test_pools_round_as_torch_does(side: int, ceil: bool) -> None:
    module = nn.Sequential(
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=ceil), nn.AvgPool2d(2, 3, ceil_mode=ceil),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip
    graph = resized(trace(module, torch.zeros(1, 3, side, side), name="p"), "resolution_3_4")
    check_shapes(graph, torch.zeros(1, 3, side, side))


def check_shapes(graph: Graph, images: Tensor) -> None:
    """Compare what every vertex is said to give with what its readers read."""
    network = build(graph, random_weights(graph, 0)).eval()
    with torch.no_grad():
        for (producer, _), value in network.observe(images.double(), graph.edges).items():
            assert tuple(value.shape[1:]) == graph[producer].shape


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(list(RESOLUTIONS)))
def test_shapes_and_costs_of_networks_composed_at_random_are_torch_s(seed: int, word: str) -> None:
    graph = compose(seed)
    if refusal(graph, word) is not None:
        return
    small = resized(graph, word)
    images = torch.ones(1, 3, 6, 6)
    check_shapes(small, images)
    _, macs = run(small, (images,))
    assert cost(small).macs == macs
    assert cost(small).params == cost(graph).params


def test_substitutes_go_together_with_a_resolution() -> None:
    coupling = coupling_of("resnet")
    words: dict[str, str] = {vertex.name: "low_rank_2" for vertex in sites(coupling.graph)[1:3]}
    image = coupling.graph.inputs[0].name
    graph = coupling.apply(Selection(substitutes={**words, image: "resolution_1_2"}))
    assert Graph.from_json(graph.to_json()) == graph
    check_shapes(graph, torch.zeros(1, 3, 16, 16))
    network = build(graph, random_weights(graph, 1))
    small = F.interpolate(torch.ones(1, 3, 16, 16).double(), (8, 8), mode="bilinear")
    dense = substitute(coupling.graph, words)
    expected = outputs(build(dense, random_weights(dense, 1)), (small,))
    found = outputs(network, (torch.ones(1, 3, 16, 16).double(),))
    assert torch.equal(found[0], expected[0])


def test_a_resolution_is_no_operator_of_a_convolution() -> None:
    graph = coupling_of("resnet").graph
    with pytest.raises(ValueError, match="no convolution named 'conv1' can be substituted by res"):
        substitute(graph, {"conv1": "resolution_1_2"})
    with pytest.raises(ValueError, match="can be substituted by separable"):
        substitute(graph, {graph.inputs[0].name: "separable"})


@pytest.mark.parametrize("name", FREE)
def test_costs_and_savings_with_resolutions_are_exact_in_every_family(name: str) -> None:
    space = Space(coupling_of(name), substitutes=CHOICES)
    points = with_substitutes(space, random_points(space, 2, seed=1), seed=1)
    check_moves(space, points, np.random.default_rng(2).integers(0, points.widths))
    check_operator_savings(space, points)


@pytest.mark.parametrize("name", ["resnet", "dense", "squeeze_excite", "bottleneck"])
def test_the_smallest_network_with_resolutions_bounds_all_others(name: str) -> None:
    space = Space(coupling_of(name), substitutes=CHOICES)
    points = with_substitutes(space, random_points(space, 100, seed=2), seed=3)
    smallest = space.costs(space.smallest())[0]
    assert (space.costs(points) >= smallest).all()
    plain = Space(space.coupling)
    assert smallest[0] < 0.5 * plain.costs(plain.smallest())[0][0]


def test_only_macs_fall_with_the_resolution() -> None:
    # ResNet-8 at half the side: a quarter of every convolution's positions, the head's one.
    space = Space(coupling_of("resnet"), substitutes=("resolution_1_2",))
    options: dict[str, Any] = {"widths": space.sizes[None], "kept_blocks": np.ones((1, 3), bool)}
    whole, half = (
        space.costs(Points(**options, substitutes=np.array([[n]], np.int8)))[0] for n in (0, 1)
    )
    head = np.prod(space.coupling.graph["fc"].tensors["weight"])
    assert half.tolist() == [(whole[0] - head) / 4 + head, whole[1]]
