"""What passes between the reader and the tables of layers and functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn


class Unsaid(Exception):
    """The vocabulary cannot say a call; the message is the reason.

    Attributes:
        move: what is to blame, where that is not the call itself.
    """

    def __init__(self, reason: str, move: "Move | None" = None) -> None:
        super().__init__(reason)
        self.move = move


class Unreadable(Exception):
    """Code that cannot be read as a graph.

    Attributes:
        path: of the innermost module it stands in; empty for the network itself.
        reason: with the user's file and line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Move:
    """A call that only moved elements.

    Attributes:
        line: "file:line" of the user's code.
        scope: path of the module in whose code it stands.
        places: of each element after it, in the vertex's value.
    """

    line: str
    scope: str
    places: Tensor


@dataclass
class Traced:
    """A value that depends on the network's input.

    Attributes:
        value: for the example.
        vertex: that it comes from. An in-place operation changes it, as it changes the
            value for everyone who holds it.
        places: where in the vertex's value (counted row by row) each element stands,
            while views and permutations are under way; None when it is that value itself.
        source: shape of the vertex's value, batch included, for `places`.
        scope: path of the module in whose code it was viewed.
        moves: the calls that led to `places`, as far as they stand in the user's code.
    """

    value: Tensor
    vertex: str
    places: Tensor | None = None
    source: tuple[int, ...] = ()
    scope: str = ""
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True)
class Weight:
    """A parameter, buffer or constant that code reads by itself.

    Attributes:
        value: the tensor, perhaps reshaped.
        path: its key in the state dict; empty for what was computed from others.
        shape: that it has in the state dict.
        trained: whether it is, or was computed from, a parameter.
    """

    value: Tensor
    path: str
    shape: tuple[int, ...]
    trained: bool

    @staticmethod
    def at(path: str, value: Tensor) -> "Weight":
        """Return the tensor that stands at a path."""
        return Weight(value, path, tuple(value.shape), isinstance(value, nn.Parameter))


Operand: TypeAlias = "Traced | Meaning"


@dataclass(frozen=True)
class Meaning:
    """One call in the words of the vocabulary.

    Attributes:
        op: the operator.
        inputs: what it reads. A meaning among them is a vertex of its own that works
            element by element; a layer leaves them to the reader.
        attributes: of the vertex.
        tensors: shape of each tensor by its name in the module.
        module: where the tensors stand; a layer leaves it to the reader.
        value: what it gives for the example, where another meaning reads it and its shape is not
            that of what it reads.
    """

    op: str
    inputs: tuple[Operand, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    module: str = ""
    value: Tensor | None = None


@dataclass(frozen=True)
class Stacked:
    """Values beside each other along a new axis, until they are added along it.

    Attributes:
        parts: the values.
        axis: the new one, counted in what was stacked.
    """

    parts: tuple[Traced, ...]
    axis: int


def require(condition: bool, reason: str) -> None:
    """Raise `Unsaid` with a reason unless the condition holds."""
    if not condition:
        raise Unsaid(reason)


def pair(value: Any) -> list[int]:
    """Return [height, width] of a setting that may be one number for both."""
    if isinstance(value, (tuple, list, torch.Size)):
        return [int(value[0]), int(value[-1])]
    return [int(value), int(value)]
