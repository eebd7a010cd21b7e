"""Restrictions of TensorRT's operators that a file can break, one function an operator.

The tables state them as prose; a function here looks for the words that make it apply, so
that one code serves every version: what 8.2 wants of a convolution's weights, 8.5 does not.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from onnx import NodeProto, helper

Broken = tuple[str, str]
"""What is wrong, and what to do."""

RESIZE = {
    "mode": ("nearest", "linear"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "coordinate_transformation_mode": (
        "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
    ),
}  # fmt: skip


class Known(Protocol):
    """What is known of a file's values."""

    def constant(self, name: str) -> np.ndarray | None:
        """Return a value that the file holds; None if it is computed."""

    def stored(self, name: str) -> bool:
        """Return whether a value is held by the file, be it in 8 bits."""

    def rank(self, name: str) -> int:
        """Return how many dimensions a value has."""


def broken_restriction(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    """Return the first restriction of its operator that a node breaks, None if it breaks none."""
    check = CHECKS.get(node.op_type)
    return None if check is None else check(node, values, restrictions)


def _conv(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if values.rank(node.input[0]) not in (4, 5):
        return "only 2D and 3D convolutions are supported", "give the image height and width"
    # "initailizer" in the table of 8.2
    if "must be an init" in restrictions and not values.stored(node.input[1]):
        return f"its weights {node.input[1]!r} are computed", "store them as an initializer"
    return None


def _pool(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if values.rank(node.input[0]) not in (4, 5):
        return "only 2D and 3D pooling is supported", "give the image height and width"
    if any(step != 1 for step in _attribute(node, "dilations", [])):
        return "TensorRT's pooling has no dilation", "pool without dilation"
    if len([name for name in node.output if name]) > 1:
        return "the indices of the largest values are not supported", "do not use them"
    return None


def _instance_norm(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if "must be initializers" not in restrictions:
        return None
    if any(values.constant(name) is None for name in node.input[1:]):
        return "its scale or bias is computed", "store both as initializers"
    if not 3 <= values.rank(node.input[0]) <= 5:
        return "its input must have 3 to 5 dimensions", "reshape it"
    return None


def _resize(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    for name, known in RESIZE.items():
        value = _attribute(node, name, known[0].encode()).decode()
        if value not in known:
            return f"{name} '{value}' is not supported", f"use one of {', '.join(known)}"
    return None


def _stored(position: int, what: str) -> Callable[[NodeProto, Known, str], Broken | None]:
    """Demand that an input is a constant of the file."""

    def check(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
        name = node.input[position] if len(node.input) > position else ""
        if name and restrictions and values.constant(name) is None:
            return f"its {what} {name!r} is computed", "store it as an initializer"
        return None

    return check


def _zero_point(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    name = node.input[2] if len(node.input) > 2 else ""
    numbers = values.constant(name) if name else np.zeros(1)
    if numbers is None or np.any(numbers):
        return "its zero point is not zero", "quantise symmetrically"
    if name and numbers.dtype == np.uint8:
        return "its values are UINT8", "quantise symmetrically, to INT8"
    return None


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = [a for a in node.attribute if a.name == name]
    return helper.get_attribute_value(found[0]) if found else default


CHECKS: dict[str, Callable[[NodeProto, Known, str], Broken | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "InstanceNormalization": _instance_norm,
    "Resize": _resize,
    "Slice": _stored(3, "axes"),
    "Squeeze": _stored(1, "axes"),
    "Unsqueeze": _stored(1, "axes"),
    "CumSum": _stored(1, "axis"),
    "TopK": _stored(1, "K"),
    "QuantizeLinear": _zero_point,
    "DequantizeLinear": _zero_point,
}
