"""Code that works on images with their channels last, read as the same on channels first.

    last      (batch, height, width, channels), as LayerNorm and Linear want it
    tokens    (batch, height * width, channels), as transformers have it

A linear layer there is one at each position, a layer norm one over the channels of each position,
and what works entry by entry is what it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from gensynth.trace.arguments import collect
from gensynth.trace.layout import positions
from gensynth.trace.meaning import Traced, Unsaid, Weight

_LAYOUTS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda image: image.permute(0, 2, 3, 1),
    lambda image: image.flatten(2).transpose(1, 2),
)

ENTRY_BY_ENTRY = frozenset(
    """relu relu6 clamp clamp_min hardtanh leaky_relu elu sigmoid hardsigmoid hardswish silu gelu
    tanh dropout add iadd sub isub subtract mul imul multiply div idiv truediv itruediv true_divide
    neg linear layer_norm""".split()
)
"""Functions by name that may be called with the channels last; the last two have weights."""
LAYERS = (
    nn.Linear, nn.LayerNorm, nn.Identity, nn.Dropout, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU,
    nn.ELU, nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.GELU, nn.Tanh,
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where a value's channels stand.

    Attributes:
        source: shape of the image, channels first, batch included.
        forth: from there to the layout.
    """

    source: tuple[int, ...]
    forth: Callable[[Tensor], Tensor]

    def first(self, value: Tensor) -> Tensor:
        """Return a value of this layout with its channels first, of any number of channels."""
        batch, _, height, width = self.source
        return value.reshape(batch, height, width, -1).permute(0, 3, 1, 2)

    def arguments(self, given: Any, *, aligned: bool) -> Any:
        """Return the arguments of a call with channels first; constants likewise if aligned."""

        def turned(argument: Any) -> Any:
            if isinstance(argument, Traced):
                return Traced(self.first(argument.value), argument.vertex)
            if aligned and isinstance(argument, Weight) and argument.value.numel() > 1:
                if argument.value.ndim != 1:
                    raise Unsaid("arithmetic of channels that stand last with more than one axis")
                value = argument.value[:, None, None]
                return Weight(value, argument.path, argument.shape, argument.trained)
            return argument

        return fx.node.map_aggregate(given, turned)

    def back(self, said: Traced, value: Tensor, scope: str) -> Traced:
        """Return what a vertex gives as the code sees it."""
        source = tuple(said.value.shape)
        return Traced(value, said.vertex, self.forth(positions(source)), source, scope)


def layout_of(given: Any) -> Layout | None:
    """Return the layout that all values of a call have; None if they are as they come."""
    values = collect(given, Traced)
    if not values or any(x.places is None or len(x.source) != 4 for x in values):
        return None
    source = values[0].source
    for forth in _LAYOUTS:
        wanted = forth(positions(source))
        if all(x.places is not None and _same(x.places, wanted) for x in values):
            return Layout(source, forth)
    return None


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)
