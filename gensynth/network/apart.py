"""Whether images are answered apart: one alone gets the answer that it gets among others.

    find_mixing     a module on random images -> what in it mixes them, or None
    check_images    a network on real images, alone and in a batch

Batch norms mix images while they train, and by design. What is certified is the answer to one
image, so in evaluation nothing may. Differences are in units of a channel's largest value; those
that float32 may have rounded are looked at again in float64.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gensynth.errors import PrototypeError

Function = Callable[..., Any]

CLEAR = 1e-5
"""What float32 may differ by without a second look."""

EXACT, LOOSE = 1e-6, 1e-3
"""Allowed in float64, and where a module computes in one precision only."""

LEAST_SCALE = 1e-3
"""Of the largest value: smaller channels are measured by this, for their rounding comes from it."""

BATCHES = ([1, 0, 2], [3, 4, 0, 5])
"""Image 0 among others, in neither at the end, and not in the middle of both."""


class _Fails(Exception):
    """A module that cannot compute what it is given."""


@dataclass(frozen=True)
class Mixing:
    """What keeps a network from answering images one by one.

    Attributes:
        part: path of the module; empty for the network's own forward.
        why: in words.
    """

    part: str
    why: str


def find_mixing(
    module: nn.Module, shapes: Sequence[tuple[int, ...]], parts: Sequence[str] = ()
) -> Mixing | None:
    """Return what in a module in evaluation mode mixes images, or answers one in two ways.

    Args:
        module: computed on, so what it remembers changes.
        shapes: of one image for each of its inputs.
        parts: paths of modules that may do so, looked at one by one on what they are given.
    """
    like = next(module.parameters(), torch.zeros(()))
    draws = torch.Generator().manual_seed(0)
    size = torch.arange(1.0, 7.0)  # each image has a scale and a mean of its own
    images = [
        torch.randn(6, *shape, generator=draws) * _column(size, shape) + _column(size - 4, shape)
        for shape in shapes
    ]
    images = [x.to(like.device, like.dtype) / 3 for x in images]
    try:
        calls = _given(module, images, parts)
    except _Fails as error:
        return Mixing("", f"it cannot answer {len(images[0])} images: {error}")
    for part, given in calls:
        function = module.get_submodule(part)
        why = _wavers(function, given) or _mixes(function, given)
        if why is not None:
            return Mixing(part, why)
    why = _mixes(module, images)
    if why is None or _wavers(module, images) is not None:  # a dropout that is read as one
        return None
    return Mixing("", why)


def check_images(network: nn.Module, images: Tensor, rows: Sequence[int], *, name: str) -> None:
    """Refuse a network that answers an image of a batch otherwise when it is alone.

    Args:
        network: in evaluation mode.
        images: a batch, normalised.
        rows: which of them are looked at alone.
        name: of the network, for the message.

    Raises:
        PrototypeError: if an answer differs.
    """

    def gap(function: Function, images: Tensor) -> float:
        together = _outputs(function, [images])
        pairs = []
        for row in rows:
            alone = _outputs(function, [images[row : row + 1]])
            pairs += [(one, all_[row : row + 1]) for one, all_ in zip(alone, together, strict=True)]
        return max(_difference(*pair) for pair in pairs)

    try:
        found = _settled(network, [images], gap)
    except _Fails as error:
        raise PrototypeError(f"{name} cannot answer one image alone: {error}") from error
    if found is not None:
        raise PrototypeError(
            f"{name} answers an image otherwise alone than among {len(images)}: by {found:.2g} of "
            "its largest output; a network must answer images one by one to be certified"
        )


def _column(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    return values.reshape(-1, *[1] * len(shape))


def _given(
    module: nn.Module, images: list[Tensor], parts: Sequence[str]
) -> list[tuple[str, list[Tensor]]]:
    """Return what each call of each part is given, in the order of the calls."""
    calls: list[tuple[str, list[Tensor]]] = []
    paths = dict.fromkeys(parts)

    def keep(path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _, args: calls.append((path, [x.detach().clone() for x in args]))

    handles = [module.get_submodule(p).register_forward_pre_hook(keep(p)) for p in paths]
    try:
        if paths:
            _outputs(module, images)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _mixes(function: nn.Module, given: list[Tensor]) -> str | None:
    """Return how far image 0 alone is from image 0 among others, in words; None if it is not."""

    def gap(function: Function, *given: Tensor) -> float:
        alone = _outputs(function, [x[:1] for x in given])
        among = [(_outputs(function, [x[rows] for x in given]), rows.index(0)) for rows in BATCHES]
        return max(
            _difference(one, all_[row : row + 1])
            for found, row in among
            for one, all_ in zip(alone, found, strict=True)
        )

    try:
        found = _settled(function, given, gap)
    except _Fails as error:
        return f"it cannot answer one image alone: {error}"
    if found is None:
        return None
    return f"an image gets another answer alone than among others, by {found:.2g} of the largest"


def _wavers(function: nn.Module, given: list[Tensor]) -> str | None:
    """Return that the same images get two answers, in words; None if they do not."""
    try:
        first, second = _outputs(function, given), _outputs(function, given)
    except _Fails:  # `_mixes` says so
        return None
    if all(_difference(a, b) <= LOOSE for a, b in zip(first, second, strict=True)):
        return None
    return "the same images get another answer each time, though it is in evaluation mode"


def _settled(module: nn.Module, given: list[Tensor], gap: Callable[..., float]) -> float | None:
    """Return a difference that is no rounding, measured again in float64 where it may be."""
    found = gap(module, *given)
    if found <= CLEAR:
        return None
    try:
        found = gap(copy.deepcopy(module).double(), *[x.double() for x in given])
    except _Fails:  # it computes in its own precision alone
        return found if found > LOOSE else None
    return found if found > EXACT else None


def _outputs(function: Function, given: Sequence[Tensor]) -> list[Tensor]:
    try:
        with torch.no_grad():
            found = function(*[x.clone() for x in given])
    except Exception as error:  # a user's code may raise anything
        raise _Fails(f"{type(error).__name__}: {error}") from error
    return [x for x in tree_leaves(found) if isinstance(x, Tensor)]


def _difference(first: Tensor, second: Tensor) -> float:
    """Return the largest difference of two tensors (images, channels, ...), channel by channel."""
    if first.shape != second.shape:
        return float("inf")
    pair = [
        x.double().reshape(x.shape[0], x.shape[1] if x.ndim > 1 else 1, -1) for x in (first, second)
    ]
    same = (pair[0] == pair[1]) | (pair[0].isnan() & pair[1].isnan())
    apart = torch.where(same, 0.0, (pair[0] - pair[1]).abs()).nan_to_num(nan=float("inf"))
    scale = torch.maximum(*[x.nan_to_num().abs().amax((0, 2)) for x in pair])
    allowed = scale.clamp_min(LEAST_SCALE * float(scale.max()))
    ratio = apart.amax((0, 2)) / allowed.clamp_min(torch.finfo(torch.double).tiny)
    return float(ratio.max())
