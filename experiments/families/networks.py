"""The networks of the table: small ones of every family, and full-size ones at CIFAR size."""

import torch
from torch import Tensor, nn

from gensynth.graph.graph import Graph
from gensynth.prototypes import create
from tests.networks.families import FAMILIES
from tests.networks.further import FURTHER, make_any

FULL_SIZE = ("resnet20", "resnet56", "mobilenet", "shufflenet")
NAMES = (*FAMILIES, *FURTHER, *FULL_SIZE)

LAYERS = ("conv", "conv_transpose", "linear")


def network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a network in evaluation mode and one image for each of its inputs."""
    if name in FULL_SIZE:
        torch.manual_seed(0)
        return create(name, classes=10, channels=3).eval(), (torch.randn(1, 3, 32, 32),)
    module, images = make_any(name)
    return module, tuple(x[:1] for x in images)


def output_layers(graph: Graph) -> list[str]:
    """Return the paths of the layers whose channels are the network's outputs."""
    found: dict[str, None] = {}
    pending = list(graph.outputs)
    while pending:
        vertex = graph[pending.pop()]
        if vertex.op in LAYERS:
            found[vertex.module] = None
        else:
            pending.extend(vertex.inputs)
    return list(found)
