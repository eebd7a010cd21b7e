"""What passes between the reader and the tables of layers and functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


class Unsaid(Exception):
    """The vocabulary cannot say a call; the message is the reason."""


@dataclass
class Traced:
    """A value that depends on the network's input.

    Attributes:
        value: of the example.
        vertex: that computes it. An in-place operation changes it, as it changes the
            value for everyone who holds it.
        regrouped: (groups, transposed) while a channel shuffle is under way and the
            value is no vertex's yet.
    """

    value: Tensor
    vertex: str
    regrouped: tuple[int, bool] | None = None


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer that a function reads by itself.

    Attributes:
        value: the tensor.
        path: its key in the state dict.
    """

    value: Tensor
    path: str


@dataclass(frozen=True)
class Meaning:
    """One call in the words of the vocabulary.

    Attributes:
        op: the operator.
        inputs: what it reads; for a layer, what the layer was called with.
        attributes: of the vertex.
        tensors: shape of each tensor by its name in the module.
        module: where the tensors stand; a layer's own path when None.
    """

    op: str
    inputs: tuple[Traced, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    module: str = ""
