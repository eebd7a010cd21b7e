"""Views, slices and permutations, understood by where they put each element.

A channel shuffle is written in many ways, as are flattening and splitting. So code that
only moves elements is not matched call by call: it is run on the numbers 0, 1, 2, ... and
the result says what it does.
"""

import operator
from math import prod
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gensynth.graph.graph import Vertex
from gensynth.network.layers import LAYERS
from gensynth.network.torch_operators import COMPUTE, constant, prepare

Word = tuple[str, dict[str, Any]]
"""An operator and its attributes."""

MOVERS = frozenset(
    """view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis squeeze
    unsqueeze getitem narrow select chunk split tensor_split unbind expand expand_as view_as
    reshape_as contiguous clone flip fliplr flipud roll index_select""".split()
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
    if not places.numel():
        return None
    if len(shape) in (2, 4) and places.ndim == len(shape) and len(places) == shape[0]:
        found = _selection(source, places)
        return _squares(source, places) if found is None else found
    if places.ndim == 2 and len(shape) == 4:
        # x[:, :, 0, 0] and the like: a selection, then its last axes dropped.
        selected = words(shape, places[:, :, None, None])
        return None if selected is None else [*selected, ("flatten", {})]
    return None


def apply(value: Tensor, word: Word) -> Tensor:
    """Return what one of these operators makes of a value."""
    op, attributes = word
    vertex = Vertex(op, op, attributes=attributes)
    if op in LAYERS:
        layer: Tensor = LAYERS[op](vertex)(value)
        return layer
    held = constant(vertex)
    tensors = None if held is None else SimpleNamespace(value=held.to(value.device))
    return COMPUTE[op](tensors, prepare(vertex), value)


def _reshape(shape: tuple[int, ...], new: tuple[int, ...]) -> list[Word] | None:
    if new == (shape[0], prod(shape[1:])):
        return [("flatten", {})]
    if len(new) == 4 and new[2:] == (1, 1) and new[:2] == (shape[0], prod(shape[1:])):
        flat: list[Word] = [] if len(shape) == 2 else [("flatten", {})]
        return [*flat, ("unflatten", {})]
    return None


def _selection(source: Tensor, places: Tensor) -> list[Word] | None:
    """Say a choice of channels, of rows and of columns, each in any order."""
    size = prod(source.shape[2:])
    channels = (places[0].flatten(1)[:, 0] if places.ndim == 4 else places[0]) // size
    if int(channels.max()) >= source.shape[1]:
        return None  # of another image of the batch
    chosen, found = source[:, channels], list[Word]()
    if places.ndim == 4:
        rows, columns = (
            places[0, 0, :, 0] % size // source.shape[3],
            places[0, 0, 0] % source.shape[3],
        )
        chosen = chosen[:, :, rows][..., columns]
        found = _rows_and_columns((rows, columns), tuple(source.shape[2:]))
    if not torch.equal(chosen, places):
        return None
    of_channels = _channels(channels.tolist(), source.shape[1])
    return None if of_channels is None else [*of_channels, *found]


def _rows_and_columns(chosen: tuple[Tensor, Tensor], size: tuple[int, ...]) -> list[Word]:
    """Say rows and columns by number: a range with a step where both are one, else one by one."""
    ranges = [_range(index, full) for index, full in zip(chosen, size, strict=True)]
    starts, stops, steps = zip(
        *(found or (0, full, 1) for found, full in zip(ranges, size, strict=True)), strict=True
    )
    said: list[Word] = []
    if (starts, stops, steps) != ((0, 0), size, (1, 1)):
        attributes = {"stride": list(steps)}
        if any(starts):
            attributes["start"] = list(starts)
        if stops != size:
            attributes["stop"] = list(stops)
        said.append(("subsample", attributes))
    for side, index, found in zip(("height", "width"), chosen, ranges, strict=True):
        if found is None:
            said.append(("take", {"side": side, "order": index.tolist()}))
    return said


def _range(index: Tensor, full: int) -> tuple[int, int, int] | None:
    """Return start, stop and step of rows or columns; None if they do not ascend by one step."""
    start, count = int(index[0]), len(index)
    alone = 1 if start else full  # the first row, or column: of all that there are
    step = int(index[1]) - start if count > 1 else alone
    if step < 1 or not torch.equal(index, start + step * torch.arange(count)):
        return None
    return start, min(full, start + count * step), step


def _channels(order: list[int], count: int) -> list[Word] | None:
    """Say which channels there are, and in which order."""
    first, chosen = order[0], len(order)
    if order == list(range(count)):
        return []
    if order == list(range(first, first + chosen)):
        return [("slice", {"start": first, "stop": first + chosen})]
    for groups in range(2, count):
        if count % groups == 0:
            shuffled = torch.arange(count).reshape(groups, -1).T.flatten().tolist()
            if shuffled == order:
                return [("shuffle", {"groups": groups})]
            start = shuffled.index(first)
            if shuffled[start : start + chosen] == order:
                part = {"start": start, "stop": start + chosen}
                return [("shuffle", {"groups": groups}), ("slice", part)]
    return [("shuffle", {"order": order})] if len(set(order)) == chosen else None


def _squares(source: Tensor, places: Tensor) -> list[Word] | None:
    """Say squares of positions that become channels, or channels that become such squares.

    Before or behind that the channels may change their order: there is more than one in use.
    """
    if places.ndim != 4 or places.numel() != source.numel():
        return None
    (height, width), (tall, wide) = source.shape[2:], places.shape[2:]
    for factor in {height // tall, tall // height} - {0, 1}:
        if (height, width) == (tall * factor, wide * factor):
            moved = F.pixel_unshuffle(source, factor)
            back = torch.empty_like(source).flatten()
            back[moved.flatten()] = source.flatten()
            rest = _selection(positions(tuple(moved.shape)), back[places])
            return None if rest is None else [("pixel_unshuffle", {"factor": factor}), *rest]
        if (tall, wide) == (height * factor, width * factor):
            rest = _selection(source, F.pixel_unshuffle(places, factor))
            return None if rest is None else [*rest, ("pixel_shuffle", {"factor": factor})]
    return None
