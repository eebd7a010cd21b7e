"""Whether a module that was read answers the images of a batch one by one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gensynth.errors import TraceError
from gensynth.graph.graph import Graph
from gensynth.network import apart
from gensynth.network.outputs import by_name


def check_apart(module: nn.Module, graph: Graph, outputs: tuple[str, ...]) -> None:
    """Refuse a network that answers an image alone otherwise than among others."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # a gate that is shut before training hides what is behind it
                parameter.normal_(std=0.1)
    parts = [vertex.attributes["path"] for vertex in graph.vertices if vertex.op == "opaque"]
    shapes = [vertex.shape for vertex in graph.inputs]
    if outputs:
        mixing = apart.find_mixing(_UpTo(module, outputs), shapes, [f"whole.{p}" for p in parts])
    else:
        mixing = apart.find_mixing(module, shapes, parts)
    if mixing is None:
        return
    where = "the network's own forward"
    if mixing.part:
        path = mixing.part.removeprefix("whole.") if outputs else mixing.part
        where = f"{path!r} ({type(module.get_submodule(path)).__name__})"
    raise TraceError(
        f"{where} does not keep the images of a batch apart: {mixing.why}; networks are certified "
        "for one image at a time, so use a norm with running statistics (track_running_stats=True) "
        "or over each image (GroupNorm), and nothing in evaluation that reads other images of the "
        "batch or draws random numbers"
    )


class _UpTo(nn.Module):
    """A module that answers with what is named of it, and goes no further than it must."""

    def __init__(self, whole: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.whole, self._outputs = whole, outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what is named, in the order that was asked for: a part's first answer."""
        found: dict[str, Tensor] = {}
        parts = {path for path, _ in self.whole.named_modules()} & set(self._outputs)
        returned: Any = None

        def keep(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(_: nn.Module, given: Any, answer: Tensor) -> None:
                found.setdefault(path, answer)
                if len(found) == len(set(self._outputs)):
                    raise _Found

            return hook

        handles = [
            self.whole.get_submodule(path).register_forward_hook(keep(path)) for path in parts
        ]
        try:
            returned = self.whole(*inputs)
        except _Found:
            pass
        finally:
            for handle in handles:
                handle.remove()
        found = by_name(returned) | found
        return tuple(found[path] for path in self._outputs)


class _Found(Exception):
    """All that is asked for has been answered."""
