"""The prototype phi: a trained network of the user's, read as a graph.

A `Prototype` holds what the rest needs of it: its graph, its weights as tensors, the
freedom its channels have. The user's module itself is only asked for its structure.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gensynth.errors import PrototypeError
from gensynth.graph.graph import Graph
from gensynth.network.module import Network, build, opaque_modules
from gensynth.space.coupling import Coupling, couple
from gensynth.trace import trace


@dataclass(frozen=True)
class Prototype:
    """A trained network and its freedom.

    Attributes:
        graph: what it computes.
        weights: its state dict, on the processor; a tensor of several names under one of them.
        coupling: which channels and blocks can go.
        opaque: the user's own modules, by the name of the vertex they stand at.
    """

    graph: Graph
    weights: dict[str, Tensor]
    coupling: Coupling
    opaque: dict[str, nn.Module]

    def network(self) -> Network:
        """Return a network that computes what the prototype does, bit for bit."""
        return build(self.graph, self.weights, opaque=self.opaque)


def read_prototype(
    module: nn.Module,
    shape: tuple[int, int, int],
    *,
    name: str,
    outputs: tuple[str, ...] = (),
) -> Prototype:
    """Read a trained module as a prototype.

    Args:
        module: left as it is.
        shape: (channels, height, width) of its images.
        name: what to call it.
        outputs: see `gensynth.trace.trace`.

    Raises:
        PrototypeError: if it cannot be traced, does not take such images, or has no width that
            could be another.
    """
    graph = trace(module, torch.zeros(1, *shape), name=name, outputs=outputs)
    coupling = couple(graph)
    if not coupling.groups:
        raise PrototypeError(
            f"prototype '{name}' has no width that can change: every channel is tied to an "
            "input, an output or a part that cannot be looked into; `gensynth inspect` says why"
        )
    weights = {
        key: tensor.detach().clone()
        for key, tensor in module.state_dict().items()
        if key not in graph.tied_keys
    }
    return Prototype(graph, weights, coupling, opaque_modules(graph, module))
