"""Sums, products and their inverses: of two values, or of a value and a constant.

x - y is x + (-1) y and x - c is x + (-c), which are exact. x / c becomes x times 1 / c, which
may differ from the quotient in its last bit unless c is a power of two.
"""

from math import prod
from typing import Any

import torch

from gensynth.trace.meaning import Meaning, Operand, Traced, Unsaid, Weight, require

LARGEST_CONSTANT = 4096
"""Entries of a constant that a graph may carry as text."""


def add(input: Any, other: Any, *, alpha: float = 1) -> Meaning:
    """Read input + alpha other."""
    if alpha != 1:
        other = _scaled(other, alpha)
    return _join("add", input, other)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Meaning:
    """Read input - alpha other."""
    return add(input, _scaled(other, -alpha))


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Meaning:
    """Read other - alpha input."""
    return sub(other, input, alpha=alpha)


def mul(input: Any, other: Any) -> Meaning:
    """Read input * other."""
    return _join("mul", input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Meaning:
    """Read input / other."""
    require(rounding_mode is None, "a division that rounds")
    require(not isinstance(other, Traced), "a division by a value")
    if isinstance(other, Weight):
        require(not other.trained, "a division by a parameter")
        inverse = 1 / other.value.double()
        return mul(input, Weight(inverse.to(other.value.dtype), "", other.shape, trained=False))
    return mul(input, 1 / other)


def neg(input: Traced) -> Meaning:
    """Read -input."""
    return mul(input, -1.0)


def _scaled(x: Any, factor: float) -> Any:
    if isinstance(x, Traced):
        return _join("mul", x, float(factor))
    if isinstance(x, Weight):
        require(not x.trained, "the difference from a parameter")
        return Weight(x.value * factor, "", x.shape, trained=False)
    return x * factor


def _join(op: str, first: Any, second: Any) -> Meaning:
    if not isinstance(first, (Traced, Meaning)):
        first, second = second, first
    if isinstance(second, (Traced, Meaning)):
        return _pair(op, first, second)
    if isinstance(second, Weight) and second.trained:
        return _parameter(op, first, second)
    return Meaning(f"{op}_constant", (first,), {"value": _constant(first, second)})


def _pair(op: str, first: Operand, second: Operand) -> Meaning:
    operands = [_unexpanded(first), _unexpanded(second)]
    shapes = [tuple(_value(x).shape[1:]) for x in operands]
    big, small = max(shapes, key=prod), min(shapes, key=prod)
    fits = len(big) == len(small) and all(s in (1, b) for b, s in zip(big, small, strict=True))
    gate = big == small or (len(big) == 3 and fits and (small[0] == big[0] or small[1:] == big[1:]))
    require(gate, f"the {op} of {shapes[0]} and {shapes[1]}")
    return Meaning(op, tuple(operands))


def _value(x: Operand) -> torch.Tensor:
    while isinstance(x, Meaning):
        x = x.inputs[0]
    return x.value


def _unexpanded(x: Operand) -> Operand:
    """Undo `expand`: the sum or product repeats the value by itself."""
    if isinstance(x, Meaning) or x.places is None or x.value.ndim != 4:
        return x
    one = x.places[:, :, :1, :1]
    if x.places.shape != one.shape and torch.equal(one.expand_as(x.places), x.places):
        return Traced(x.value[:, :, :1, :1], x.vertex, one, x.source, x.scope, x.moves)
    return x


def _parameter(op: str, x: Operand, weight: Weight) -> Meaning:
    """Read a sum or product with a parameter: one entry, or one a channel."""
    value = _value(x)
    channels, rest = value.shape[1], value.ndim - 2
    alone = weight.value.numel() == 1
    aligned = tuple(weight.value.shape)[-1 - rest :] == (channels, *[1] * rest)
    require(
        bool(weight.path) and (alone or (aligned and weight.value.numel() == channels)),
        f"the {op} with a computed parameter, or one of shape {weight.shape}",
    )
    module, _, name = weight.path.rpartition(".")
    word = {"add": "shift", "mul": "scale"}[op]
    return Meaning(word, (x,), {}, {name: weight.shape}, module)


def _constant(x: Operand, constant: Any) -> Any:
    """Return a number, or nested lists that broadcast against one image."""
    if not isinstance(constant, Weight):
        if not isinstance(constant, (bool, int, float)):
            raise Unsaid(f"arithmetic with a {type(constant).__name__}")
        return float(constant)
    tensor = constant.value
    if tensor.numel() == 1:
        return float(tensor)
    image = _value(x).shape[1:]
    while tensor.ndim > len(image) and len(tensor) == 1:
        tensor = tensor[0]
    require(tensor.ndim <= len(image), "a constant that differs from image to image")
    require(tensor.numel() <= LARGEST_CONSTANT, f"a constant of {tensor.numel()} entries")
    return tensor.reshape([1] * (len(image) - tensor.ndim) + list(tensor.shape)).tolist()
