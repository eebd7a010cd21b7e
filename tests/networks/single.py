"""Graphs of one vertex or of five, and networks whose statistics are no identity."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from gensynth.graph.graph import Graph, Vertex


def small() -> tuple[Graph, dict[str, np.ndarray]]:
    """A convolution, hard swish, a mean and a linear layer."""
    graph = Graph(
        vertices=(
            Vertex("x", "input", (), {}, (3, 8, 8)),
            Vertex(
                "conv", "conv", ("x",),
                {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1),
                 "groups": 1},
                (4, 8, 8), {"weight": (4, 3, 3, 3)}, "conv",
            ),
            Vertex("act", "hard_swish", ("conv",), {}, (4, 8, 8)),
            Vertex("mean", "mean", ("act",), {"keep": False}, (4,)),
            Vertex("fc", "linear", ("mean",), {}, (5,), {"weight": (5, 4)}, "fc"),
        ),
        outputs=("fc",),
        name="small",
    )  # fmt: skip
    random = np.random.default_rng(0)
    weights = {
        key: random.normal(size=shape).astype(np.float32)
        for key, shape in graph.tensor_shapes.items()
    }
    return graph, weights


def one_word(
    op: str,
    attributes: Mapping[str, Any],
    tensors: Mapping[str, tuple[int, ...]],
    shape: tuple[int, ...],
    out: tuple[int, ...],
) -> Graph:
    """A graph of one vertex, called 'word', on one input."""
    vertex = Vertex("word", op, ("x",), attributes, out, tensors, "layer")
    return Graph("one", (Vertex("x", "input", shape=shape), vertex), ("word",))


def lively(network: nn.Module) -> nn.Module:
    """Give every batch norm statistics, scales and shifts that are no identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    assert tensor is not None
                    tensor.copy_(torch.randn(tensor.shape, generator=generator))
                assert module.running_var is not None
                shape = module.running_var.shape
                module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
    return network.eval()
