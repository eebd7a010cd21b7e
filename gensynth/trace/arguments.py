"""Traced values and weights within the nested arguments of a call."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor, fx

from gensynth.trace.meaning import Traced, Weight

Kind = TypeVar("Kind")


def collect(values: Any, kind: type[Kind]) -> list[Kind]:
    """Return what is of one kind in nested containers, in order."""
    if isinstance(values, kind):
        return [values]
    if isinstance(values, Mapping):
        values = tuple(values.values())
    if isinstance(values, (tuple, list)):
        return [found for value in values for found in collect(value, kind)]
    return []


def holds_tensors(value: Any) -> bool:
    """Return whether a value is a tuple or list with tensors in it."""
    return isinstance(value, (tuple, list)) and any(isinstance(v, Tensor) for v in value)


def plain(arguments: Any) -> Any:
    """Return arguments with tensors in the place of what stands for them."""

    def bare(argument: Any) -> Any:
        return argument.value if isinstance(argument, (Traced, Weight)) else argument

    return fx.node.map_aggregate(arguments, bare)


def constant(value: Any, args: Any, *, moves: bool) -> Any:
    """Return what was computed without the input."""
    if isinstance(value, (tuple, list)):
        return tuple(constant(v, args, moves=False) for v in value)
    if not isinstance(value, Tensor):
        return value
    weights = collect(args, Weight)
    source = weights[0] if weights else None
    if moves and source is not None and source.value.numel() == value.numel():
        return replace(source, value=value)
    return Weight(value, "", tuple(value.shape), trained=any(w.trained for w in weights))
