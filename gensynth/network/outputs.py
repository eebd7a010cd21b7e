"""What a network answers: one tensor, or a tuple of several maps, treated alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Outputs = Any
"""A tensor, or a tuple of tensors; the first dimension of each is the batch."""


def each(function: Callable[[Tensor], Any], outputs: Outputs) -> Any:
    """Return what a function makes of every map: one result, or a tuple where there are several."""
    if isinstance(outputs, Tensor):
        return function(outputs)
    return tuple(function(x) for x in outputs)


def as_float(outputs: Outputs) -> Outputs:
    """Return the same in float32."""
    return each(Tensor.float, outputs)


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of one."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return tuple(torch.cat(maps) for maps in zip(*parts, strict=True))


def by_name(returned: Any) -> dict[str, Any]:
    """Return what a module returned by name: a mapping's values by key, a sequence's by place.

    Example:
        >>> by_name({"out": 1, "aux": 2}), by_name([7])
        ({'out': 1, 'aux': 2}, {'0': 7})
    """
    if isinstance(returned, Mapping):
        return {str(key): value for key, value in returned.items()}
    if isinstance(returned, (tuple, list)):
        return {str(place): value for place, value in enumerate(returned)}
    return {}


def as_list(outputs: Outputs) -> list[Tensor]:
    """Return the maps, one or several, as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
