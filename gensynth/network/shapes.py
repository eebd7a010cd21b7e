"""Whether a graph computes the shapes that it says: run without numbers, on torch's meta device.

Nothing is allocated and nothing is multiplied, so a graph of any origin can be asked. Behind this
door every shape in a graph is true, and everything that computes, costs or couples it may count
on that. A part that only the prototype's own code computes is taken at its word.
"""

import torch
from torch import Tensor, nn

from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import Network

_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What torch raises for settings and sizes that do not fit."""


class _AsSaid(nn.Module):
    """Stands for a part that cannot be looked into; gives the shape that its vertex says."""

    def __init__(self, vertex: Vertex) -> None:
        super().__init__()
        self._shape = vertex.shape
        for name, shape in vertex.tensors.items():
            inner, module = name.split("."), self.get_submodule("")
            for part in inner[:-1]:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(inner[-1], nn.Parameter(torch.empty(shape)))

    def forward(self, *values: Tensor) -> Tensor:
        return torch.empty(len(values[0]), *self._shape, device="meta")


def check_shapes(graph: Graph) -> None:
    """Refuse a graph whose vertices do not compute the shapes that they say.

    Raises:
        ValueError: naming the first vertex that does not.
    """
    with torch.device("meta"), torch.no_grad():
        try:
            opaque = {v.name: _AsSaid(v) for v in graph.vertices if v.op == "opaque"}
            network = Network(graph, opaque=opaque).eval()
        except _REFUSALS as error:
            raise ValueError(f"its tensors cannot be named so: {_line(error)}") from error
        values = {v.name: torch.empty(2, *v.shape) for v in graph.inputs}
        for vertex, compute in network.steps():
            try:
                found = compute(*[values[name] for name in vertex.inputs])
            except _REFUSALS as error:
                raise ValueError(
                    f"vertex {vertex.name!r} ({vertex.op}) cannot read its inputs: {_line(error)}"
                ) from error
            if tuple(found.shape) != (2, *vertex.shape):
                raise ValueError(
                    f"vertex {vertex.name!r} ({vertex.op}) must have the shape "
                    f"{tuple(found.shape[1:])} that it computes, got {vertex.shape}"
                )
            values[vertex.name] = found


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
