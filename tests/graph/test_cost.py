"""Exact cost, against hand counts, torch's FLOP counter and other people's tables."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gensynth.graph.cost import Cost, cost, vertex_costs
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import Network, build, opaque_modules
from gensynth.prototypes.resnet import resnet20, resnet56
from gensynth.space.coupling import couple
from gensynth.trace import trace
from tests.networks.compositions import compose, random_selection, random_weights
from tests.networks.families import FAMILIES, make

LAYERS = ("convolution", "_convolution", "addmm", "mm")


def counted_macs(network: nn.Module, *images: torch.Tensor) -> int:
    """Return what torch counts for convolutions and linear layers of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(*(x[:1] for x in images))
    counts = counter.get_flop_counts()["Global"]
    flops = sum(n for operator, n in counts.items() if operator.__name__ in LAYERS)
    assert flops % 2 == 0
    return int(flops) // 2


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_a_convolution_by_hand() -> None:
    # 8 x (6 / 2) x 3 x 5 = 360 weights and 8 biases; each weight is used at 4 x 2 places.
    vertex = Vertex(
        "conv", "conv", ("image",), {"groups": 2}, (8, 4, 2), {"weight": (8, 3, 3, 5), "bias": (8,)}
    )
    graph = Graph("conv", (Vertex("image", "input", shape=(6, 4, 2)), vertex), ("conv",))
    assert vertex_costs(graph) == {"image": Cost(0, 0), "conv": Cost(368, 2880)}


def test_a_transposed_convolution_by_hand() -> None:
    # 6 x 4 x 2 x 2 = 96 weights, each used once for each of the 3 x 3 places it reads.
    vertex = Vertex(
        "up", "conv_transpose", ("image",), {"groups": 1}, (4, 6, 6), {"weight": (6, 4, 2, 2)}
    )
    graph = Graph("up", (Vertex("image", "input", shape=(6, 3, 3)), vertex), ("up",))
    assert cost(graph) == Cost(96, 864)


def test_running_statistics_are_no_parameters() -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    norm = Vertex("bn", "batch_norm", ("image",), {}, (5, 2, 2), dict.fromkeys(names, (5,)), "bn")
    graph = Graph("bn", (Vertex("image", "input", shape=(5, 2, 2)), norm), ("bn",))
    assert cost(graph) == Cost(10, 0)


@pytest.mark.parametrize(
    ("factory", "params", "macs"),
    [
        # He et al. give 0.27 M and 0.85 M parameters. By hand, for 6n + 2 layers with 1x1
        # projections: the prototype's docstring for 20; for 56 the same sums with n = 9.
        (resnet20, 272_474, 40_813_184),
        (resnet56, 855_770, 125_747_840),
    ],
)
def test_residual_networks_at_cifar_size(factory: type[nn.Module], params: int, macs: int) -> None:
    module = factory()
    graph = trace(module, torch.zeros(1, 3, 32, 32), name="resnet")
    assert cost(graph) == Cost(params, macs)
    assert parameters(module) == params


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "with_attention"])
def test_cost_of_every_family_and_its_parts_is_what_torch_counts(name: str) -> None:
    module, images = make(name)
    graph = trace(module, images, name=name)
    assert cost(graph) == Cost(parameters(module), counted_macs(module, *images))
    coupling = couple(graph)
    for seed in range(2):
        selection = random_selection(coupling, seed)
        part = coupling.apply(selection)
        network = build(part, module.state_dict(), coupling.slices(selection))
        assert cost(part) == Cost(parameters(network), counted_macs(network, *images))


def test_parameters_of_what_cannot_be_looked_into_count() -> None:
    module, images = make("with_attention")
    graph = trace(module, images, name="attention")
    network = Network(graph, opaque=opaque_modules(graph, module))
    assert cost(graph).params == parameters(module) == parameters(network)


@pytest.mark.parametrize("seed", range(12))
def test_cost_of_networks_composed_at_random_is_what_torch_counts(seed: int) -> None:
    coupling = couple(compose(seed))
    selection = random_selection(coupling, seed)
    part = coupling.apply(selection)
    network = build(part, random_weights(coupling.graph, seed), coupling.slices(selection))
    image = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    assert cost(part) == Cost(parameters(network), counted_macs(network, image))
