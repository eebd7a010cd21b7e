"""RefineNet answers for every pixel, is read whole, and costs what can be counted by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from gensynth.graph.cost import cost, vertex_costs
from gensynth.graph.graph import Graph
from gensynth.network.module import build
from gensynth.prototypes import create
from gensynth.prototypes.refinenet import RefineNet, Unit, refinenet
from gensynth.trace import trace


def small(classes: int = 5, channels: int = 3) -> RefineNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = RefineNet(
            blocks=(1, 2, 1, 1),
            widths=(4, 6, 8, 10),
            width=6,
            classes=classes,
            channels=channels,
        )
    return network.eval()


@pytest.fixture(scope="module")
def camvid() -> Graph:
    """The default network on an image of CamVid's size."""
    return trace(refinenet().eval(), torch.zeros(1, 3, 360, 480), name="refinenet")


# 36 and 50 are no multiples of 32: the stages round up, 50 -> 25 -> 13 -> 7 -> 4 -> 2.
@pytest.mark.parametrize("size", [(64, 96), (36, 50)])
def test_every_pixel_gets_a_score_a_class(size: tuple[int, int]) -> None:
    assert small(classes=5, channels=1)(torch.zeros(2, 1, *size)).shape == (2, 5, *size)


def test_it_is_made_by_name_as_any_factory() -> None:
    network = create("gensynth.prototypes.refinenet:refinenet", classes=3, channels=1)
    assert isinstance(network, RefineNet)
    assert (network.classify.out_channels, network.conv1.in_channels) == (3, 1)


@pytest.mark.slow
def test_no_part_of_it_is_opaque(camvid: Graph) -> None:
    assert [v.name for v in camvid.vertices if v.op == "opaque"] == []
    assert camvid.vertices[-1].shape == (11, 360, 480)


def test_the_last_layer_costs_what_a_hand_counts(camvid: Graph) -> None:
    costs = {v.module: vertex_costs(camvid)[v.name] for v in camvid.vertices if v.op == "conv"}
    # 3 x 3 kernel, 32 channels in, 11 classes out; 11 biases; 360 / 4 by 480 / 4 places.
    assert costs["classify"].params == 9 * 32 * 11 + 11
    assert costs["classify"].macs == 9 * 32 * 11 * 90 * 120


def test_the_whole_costs_what_its_own_convolutions_say_while_it_runs() -> None:
    network = small()
    macs = 0

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal macs
        kernel = layer.kernel_size[0] * layer.kernel_size[1]
        macs += kernel * layer.in_channels * output[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 64, 96))
    found = cost(trace(small(), torch.zeros(1, 3, 64, 96), name="small"))
    assert found.macs == macs
    assert found.params == sum(parameter.numel() for parameter in network.parameters())


def test_the_sizes_in_the_modules_docstring_are_true(camvid: Graph) -> None:
    found = cost(camvid)
    assert (found.params, found.macs) == (1_909_835, 3_239_754_240)


def test_the_graph_rebuilds_to_the_last_bit() -> None:
    network = small()
    images = torch.randn(2, 3, 36, 50, generator=torch.Generator().manual_seed(0))
    graph = trace(network, images[:1], name="small")
    with torch.no_grad():
        assert torch.equal(build(graph, network.state_dict()).eval()(images), network(images))


def test_a_new_residual_unit_passes_on_what_it_reads() -> None:
    # He et al., "Bag of tricks", arXiv:1812.01187, section 3.1: the last norm begins at zero.
    units = [module for module in small().modules() if isinstance(module, Unit)]
    x = torch.randn(1, 6, 8, 8)
    assert len(units) == 3 * 5 + 3 + 2
    assert all(torch.equal(unit(x), x) for unit in units)
