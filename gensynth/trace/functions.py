"""What torch's functions, tensor methods and Python's operators mean in the vocabulary."""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from gensynth.trace.meaning import Meaning, Traced, Unsaid
from gensynth.trace.modules import pair


def _relu(x: Traced, inplace: bool = False) -> Meaning:
    return Meaning("relu", (x,))


def _add(x: Any, y: Any) -> Meaning:
    return Meaning("add", (x, y))


def _flatten(x: Traced, start_dim: int = 0, end_dim: int = -1) -> Meaning:
    if start_dim != 1 or end_dim not in (-1, x.value.ndim - 1):
        raise Unsaid(f"flatten from dimension {start_dim} to {end_dim}")
    return Meaning("flatten", (x,))


def _adaptive_avg_pool(x: Traced, output_size: Any) -> Meaning:
    return Meaning("adaptive_avg_pool", (x,), {"size": pair(output_size)})


FUNCTIONS: dict[Any, Callable[..., Meaning]] = {
    F.relu: _relu,
    torch.relu: _relu,
    operator.add: _add,
    torch.add: _add,
    torch.flatten: _flatten,
    F.adaptive_avg_pool2d: _adaptive_avg_pool,
}

METHODS: dict[str, Callable[..., Meaning]] = {"relu": _relu, "add": _add, "flatten": _flatten}
