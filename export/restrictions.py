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

    def type(self, name: str) -> str:
        """Return a value's type in the tables' words."""

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Return a value's sizes; None where one does not follow from the file."""

    def rank(self, name: str) -> int:
        """Return how many dimensions a value has."""


def broken_restriction(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    """Return the first restriction of its operator that a node breaks, None if it breaks none."""
    check = CHECKS.get(node.op_type)
    if check is None or not (restrictions or check in ALWAYS):
        return None
    return check(node, values, restrictions)


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
    if _attribute(node, "antialias", 0):
        return "antialiasing is not supported", "resize without it"
    if _attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return "only the aspect ratio policy 'stretch' is supported", "give the sizes themselves"
    return None


def _einsum(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    terms = _attribute(node, "equation", b"").decode().replace(" ", "").split("->")[0].split(",")
    if any("." in term for term in terms):
        return "an ellipsis is not supported", "write out its dimensions"
    for term in terms:
        if len(set(term)) < len(term):
            return f"'{term}' repeats an index, and diagonals are not supported", "take them apart"
    sizes: dict[str, set[int | None]] = {}
    for term, name in zip(terms, node.input, strict=False):
        for index, size in zip(term, values.shape(name), strict=False):
            sizes.setdefault(index, set()).add(size)
    for index, known in sizes.items():
        if len(known) > 1:
            return f"'{index}' has several sizes, and nothing is broadcast", "expand the smaller"
    return None


def _recurrent(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    functions = _attribute(node, "activations", [])
    if _attribute(node, "direction", b"forward") != b"bidirectional":
        return None
    half = len(functions) // 2
    names = [name.lower() for name in functions]  # ONNX takes them in either case
    if names[:half] != names[half:]:
        return "its two directions have different activations", "use the same ones for both"
    return None


def _random(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if any(attribute.name == "seed" for attribute in node.attribute):
        return "TensorRT ignores its seed", "store the numbers as an initializer"
    return None


def _range(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    computed = [name for name in node.input if values.constant(name) is None]
    if computed and values.type(node.input[0]) not in ("INT32", "INT64"):
        return f"its floating-point {computed[0]!r} is computed", "store it as an initializer"
    return None


def _static(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if None in values.shape(node.input[0]):
        return "a size of its input does not follow from the file", "fix all sizes"
    return None


def _non_max(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if "padded" in restrictions:
        return "TensorRT pads what it finds to a fixed number", "do this after the network"
    return None


def _top_k(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    count = values.constant(node.input[1])
    if count is None:
        return f"its K {node.input[1]!r} is computed", "store it as an initializer"
    if "less than 3840" in restrictions and int(count.reshape(-1)[0]) >= 3840:
        return "its K is not below 3840", "take fewer"
    if "`sorted` must be 1" in restrictions and not _attribute(node, "sorted", 1):
        return "what it gives must be sorted", "sort it"
    return None


def _dropout(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    name = node.input[2] if len(node.input) > 2 else ""
    training = values.constant(name) if name else np.zeros(1)
    if training is None or np.any(training):
        return "it drops values as in training", "write the network in evaluation mode"
    return None


def _first_output(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if len([name for name in node.output if name]) > 1:
        return "only its first output is supported", "do not use the others"
    return None


def _grid_sample(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if values.rank(node.input[0]) != 4:
        return "its input must have 4 dimensions", "reshape it"
    return None


def _scatter(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if _attribute(node, "reduction", b"none") != b"none":
        return "only a plain replacement of values is supported", "add or multiply apart"
    return None


def _tensor_scatter(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if any(values.rank(name) != 4 for name in node.input[:2]):
        return "cache and update must have 4 dimensions", "reshape them"
    if _attribute(node, "axis", -2) != -2:
        return "its axis must be -2", "transpose the cache"
    return None


def _constant(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    kind = node.attribute[0].name
    if kind in ("sparse_value", "value_string", "value_strings"):
        return f"{kind} is not supported", "store it as a dense tensor of numbers"
    return None


def _undilated(node: NodeProto, values: Known, restrictions: str) -> Broken | None:
    if any(step != 1 for step in _attribute(node, "dilations", [])):
        return "TensorRT's pooling has no dilation", "pool without dilation"
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
    # ONNX's own default is a zero of UINT8; TensorRT rounds to INT8 all the same.
    numbers = values.constant(name) if name else np.zeros(1, np.uint8)
    if numbers is None or np.any(numbers):
        return "its zero point is not zero", "quantise symmetrically"
    if (name or node.op_type == "QuantizeLinear") and numbers.dtype == np.uint8:
        return "its values are UINT8", "quantise symmetrically, to INT8"
    return None


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    # One that stands for an attribute of a function has no value here.
    found = [a for a in node.attribute if a.name == name and not a.ref_attr_name]
    return helper.get_attribute_value(found[0]) if found else default


Check = Callable[[NodeProto, Known, str], Broken | None]

CHECKS: dict[str, Check] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "LpPool": _undilated,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _first_output,
    "Resize": _resize,
    "Einsum": _einsum,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    **dict.fromkeys(
        ("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike"), _random
    ),
    "Range": _range,
    **dict.fromkeys(("ReverseSequence", "EyeLike", "Hardmax"), _static),
    "NonMaxSuppression": _non_max,
    "TopK": _top_k,
    "Dropout": _dropout,
    "GridSample": _grid_sample,
    "ScatterND": _scatter,
    "TensorScatter": _tensor_scatter,
    "Constant": _constant,
    "Slice": _stored(3, "axes"),
    "Squeeze": _stored(1, "axes"),
    "Unsqueeze": _stored(1, "axes"),
    "CumSum": _stored(1, "axis"),
    "OneHot": _stored(1, "depth"),
    **dict.fromkeys(
        (
            "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
            "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        ),
        _stored(1, "axes"),
    ),
    "QuantizeLinear": _zero_point,
    "DequantizeLinear": _zero_point,
}  # fmt: skip
"""By operator. `If` alone has a restriction and none here: no file that branches is taken."""

ALWAYS = (_conv, _pool, _resize, _zero_point, _instance_norm)
"""Checks of what no version of TensorRT does, whether its table says so or not."""
