"""What the operators compute that are no layers: sums, slices, changes of shape, with torch.

One function an operator: (tensors, settings, values...) -> value. `tensors` is the module that
holds the vertex's own tensors, where it has any; `settings` are the vertex's attributes, prepared
once by `prepare`.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.graph.graph import Vertex

Compute = Callable[..., Tensor]
Settings = tuple[Any, ...]


def prepare(vertex: Vertex) -> Settings:
    """Return a vertex's attributes as the positional settings its function takes."""
    if vertex.op in ("scale", "shift"):
        return (*vertex.tensors, (-1, *[1] * (len(vertex.shape) - 1)))
    if vertex.op == "pad_channels":
        rest = (0, 0) * (len(vertex.shape) - 1)
        return (*rest, vertex.attributes["before"], vertex.attributes["after"])
    if vertex.op == "take":
        return (2 + _SIDES.index(vertex.attributes["side"]),)
    if constant(vertex) is not None:
        return (None,)
    return tuple(
        tuple(value) if isinstance(value, list) else value
        for value in (vertex.attributes.get(name) for name in _SETTINGS.get(vertex.op, ()))
    )


def constant(vertex: Vertex) -> Tensor | None:
    """Return the array that a vertex carries in its attributes, if it carries one.

    It belongs to the vertex's tensors as the buffer `value`, so that it moves with them.
    """
    value = vertex.attributes.get("order" if vertex.op in ("shuffle", "take") else "value")
    return torch.tensor(value) if isinstance(value, list) else None


_SIDES = ("height", "width")
_SETTINGS = {
    "add_constant": ("value",),
    "mul_constant": ("value",),
    "slice": ("start", "stop"),
    "shuffle": ("groups",),
    "subsample": ("stride", "start", "stop"),
    "mean": ("keep",),
}


def _add(tensors: Any, settings: Settings, x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _mul(tensors: Any, settings: Settings, x: Tensor, y: Tensor) -> Tensor:
    return x * y


def _add_constant(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (value,) = settings
    return x + (tensors.value if value is None else value)


def _mul_constant(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (value,) = settings
    return x * (tensors.value if value is None else value)


def _shift(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x + _by_channel(tensors, settings, x)


def _scale(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x * _by_channel(tensors, settings, x)


def _by_channel(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    name, shape = settings
    tensor: Tensor = getattr(tensors, name)
    return tensor.reshape(shape)


def _concat(tensors: Any, settings: Settings, *values: Tensor) -> Tensor:
    return torch.cat(values, 1)


def _flatten(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return torch.flatten(x, 1)


def _unflatten(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x[:, :, None, None]


def _slice(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    start, stop = settings
    return x[:, start:stop]


def _shuffle(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (groups,) = settings
    if groups is None:
        return x.index_select(1, tensors.value)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]


def _pad_channels(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.pad(x, settings)


def _subsample(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (down, right), start, stop = settings
    (top, left), (bottom, end) = start or (0, 0), stop or x.shape[2:]
    return x[:, :, top:bottom:down, left:end:right]


def _take(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (axis,) = settings
    return x.index_select(axis, tensors.value)


def _mean(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=settings[0])


def call_layer(layer: nn.Module, settings: Settings, *values: Tensor) -> Tensor:
    """Return what a layer, or a part that only the prototype's code computes, answers."""
    result: Tensor = layer(*values)
    return result


COMPUTE: dict[str, Compute] = {
    "add": _add,
    "mul": _mul,
    "add_constant": _add_constant,
    "mul_constant": _mul_constant,
    "scale": _scale,
    "shift": _shift,
    "concat": _concat,
    "slice": _slice,
    "shuffle": _shuffle,
    "pad_channels": _pad_channels,
    "subsample": _subsample,
    "take": _take,
    "mean": _mean,
    "flatten": _flatten,
    "unflatten": _unflatten,
}
"""The function of every operator that is no layer, no opaque part and no input."""
