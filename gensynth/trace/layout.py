"""Views, slices and permutations, understood by where they put each element.

A channel shuffle is written in many ways, as are flattening and splitting. So code that
only moves elements is not matched call by call: it is run on the numbers 0, 1, 2, ... and
the result says what it does.
"""

import operator
from math import prod
from typing import Any

import torch
from torch import Tensor

from gensynth.graph.graph import Vertex
from gensynth.network.torch_operators import COMPUTE, prepare

Word = tuple[str, dict[str, Any]]
"""An operator and its attributes."""

MOVERS = frozenset(
    """view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis squeeze
    unsqueeze getitem narrow select chunk split tensor_split unbind expand expand_as view_as
    reshape_as contiguous clone""".split()
)
"""Functions and methods that only move elements."""

MOVING_FUNCTIONS = frozenset(
    [operator.getitem]
    + [getattr(torch, name) for name in MOVERS if callable(getattr(torch, name, None))]
)


def positions(shape: tuple[int, ...]) -> Tensor:
    """Return the elements' numbers in a tensor of this shape, batch included."""
    return torch.arange(prod(shape)).reshape(shape)


def words(shape: tuple[int, ...], places: Tensor) -> list[Word] | None:
    """Return the operators that move elements so, or None if no few words say it.

    Args:
        shape: of what they are taken from, batch included.
        places: of each element in it.
    """
    source = positions(shape)
    if places.shape == source.shape and torch.equal(places, source):
        return []
    if places.numel() == source.numel() and torch.equal(places.flatten(), source.flatten()):
        return _reshape(shape, tuple(places.shape))
    if len(shape) in (2, 4) and places.ndim == len(shape) and len(places) == shape[0]:
        return _selection(source, places)
    if places.ndim == 2 and len(shape) == 4:
        # x[:, :, 0, 0] and the like: a selection, then its last axes dropped.
        selected = words(shape, places[:, :, None, None])
        return None if selected is None else [*selected, ("flatten", {})]
    return None


def apply(value: Tensor, word: Word) -> Tensor:
    """Return what one of these operators makes of a value."""
    op, attributes = word
    return COMPUTE[op](None, prepare(Vertex(op, op, attributes=attributes)), value)


def _reshape(shape: tuple[int, ...], new: tuple[int, ...]) -> list[Word] | None:
    if new == (shape[0], prod(shape[1:])):
        return [("flatten", {})]
    if len(new) == 4 and new[2:] == (1, 1) and new[:2] == (shape[0], prod(shape[1:])):
        flat: list[Word] = [] if len(shape) == 2 else [("flatten", {})]
        return [*flat, ("unflatten", {})]
    return None


def _selection(source: Tensor, places: Tensor) -> list[Word] | None:
    """Say a choice of channels, in any order, and every so many rows and columns."""
    size = prod(source.shape[2:])
    channels = (places[0].flatten(1)[:, 0] if places.ndim == 4 else places[0]) // size
    found: list[Word] = []
    chosen = source[:, channels]
    if places.ndim == 4 and places.shape[2:] != source.shape[2:]:
        strides = [_stride(places, source, axis) for axis in (2, 3)]
        chosen = chosen[:, :, :: strides[0], :: strides[1]]
        found.append(("subsample", {"stride": strides}))
    if not torch.equal(chosen, places):
        return None
    count, order = source.shape[1], channels.tolist()
    if order == list(range(count)):
        return found
    if order == list(range(order[0], order[0] + len(order))):
        return [("slice", {"start": order[0], "stop": order[0] + len(order)}), *found]
    for groups in range(2, count):
        if count % groups == 0:
            shuffled = torch.arange(count).reshape(groups, -1).T.flatten().tolist()
            if shuffled == order:
                return [("shuffle", {"groups": groups}), *found]
            start = shuffled.index(order[0])
            if shuffled[start : start + len(order)] == order:
                part = {"start": start, "stop": start + len(order)}
                return [("shuffle", {"groups": groups}), ("slice", part), *found]
    return None


def _stride(places: Tensor, source: Tensor, axis: int) -> int:
    full, kept = source.shape[axis], places.shape[axis]
    if kept == 1:
        return full
    step = int(places.select(axis, 1).flatten()[0] - places.flatten()[0])
    return max(1, step // (1 if axis == 3 else source.shape[3]))
