"""What multiplies and shifts every channel: a x + b, and where it can be hidden.

Batch norms in evaluation mode, scales, shifts and constants are all of this form; one after
another they are one of them, and after a convolution they are a convolution. All in float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gensynth.export.writer import Array
from gensynth.graph.graph import Vertex

AFFINE = frozenset({"batch_norm", "scale", "shift", "add_constant", "mul_constant"})
Combined = tuple[Vertex, dict[str, Array]]
"""A vertex and its weights by their names within it."""


@dataclass(frozen=True)
class Affine:
    """x -> factor * x + offset.

    Attributes:
        factor, offset: (channels,), float64.
    """

    factor: Array
    offset: Array

    def then(self, second: "Affine") -> "Affine":
        """Return what one does after the other."""
        return Affine(second.factor * self.factor, second.factor * self.offset + second.offset)


def affine(vertex: Vertex, weights: Mapping[str, Array]) -> Affine | None:
    """Return what a vertex does to each channel; None if it does more, or a weight is no number."""
    channels = vertex.shape[0]
    ones, zeros = np.ones(channels), np.zeros(channels)
    if vertex.op == "batch_norm":
        held = {name: _tensor(vertex, name, weights) for name in vertex.tensors}
        mean, variance = held.get("running_mean"), held.get("running_var")
        if mean is None or variance is None or any(value is None for value in held.values()):
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = held.get("weight", ones) / np.sqrt(variance + vertex.attributes["eps"])
        found = Affine(factor, held.get("bias", zeros) - mean * factor)
    else:
        if vertex.op in ("scale", "shift"):
            (name,) = vertex.tensors
            value = _tensor(vertex, name, weights)
            if value is not None and value.size not in (1, channels):
                return None  # the writer says what is wrong
            value = None if value is None else np.broadcast_to(value.reshape(-1), (channels,))
        else:
            single = np.asarray(vertex.attributes["value"], np.float32)  # as the network has it
            value = _by_channel(single.astype(np.float64), vertex.shape)
        if value is None:
            return None
        multiplies = vertex.op in ("scale", "mul_constant")
        found = Affine(value, zeros) if multiplies else Affine(ones, value)
    finite = np.isfinite(found.factor).all() and np.isfinite(found.offset).all()
    return found if finite else None


def absorb(vertex: Vertex, after: Affine, weights: Mapping[str, Array]) -> Combined | None:
    """Return a convolution or linear layer that does also what follows it.

    Args:
        vertex: of the words conv, conv_transpose and linear.
        after: what follows.
        weights: by state-dict key.

    Returns:
        None if a weight is missing or no number, or the layer's channels are not the first
        dimension.
    """
    held = {tensor: _tensor(vertex, tensor, weights) for tensor in vertex.tensors}
    weight = held["weight"]
    if weight is None or any(v is None for v in held.values()):
        return None
    if vertex.op == "linear" and len(vertex.shape) == 2:
        return None
    if vertex.op == "conv_transpose":  # (in, out / groups, height, width)
        groups = int(vertex.attributes["groups"])
        apart = weight.reshape(groups, -1, *weight.shape[1:])
        factor = after.factor.reshape(groups, 1, -1, 1, 1)
        weight = (apart * factor).reshape(weight.shape)
    else:
        weight = weight * after.factor.reshape(-1, *[1] * (weight.ndim - 1))
    bias = held.get("bias")
    bias = after.offset if bias is None else bias * after.factor + after.offset
    return _with(vertex, {"weight": weight, "bias": bias})


def as_vertex(vertex: Vertex, value: Affine) -> Combined | None:
    """Return a vertex in the place of another: a scale, a shift, or both as a batch norm.

    None where both are needed and there is no image: runtimes' batch norms want one.
    """
    if not value.offset.any():
        return _with(replace(vertex, op="scale", attributes={}), {"factor": value.factor})
    if (value.factor == 1).all():
        return _with(replace(vertex, op="shift", attributes={}), {"offset": value.offset})
    if len(vertex.shape) != 3:
        return None
    tensors = {
        "weight": value.factor,
        "bias": value.offset,
        "running_mean": np.zeros_like(value.factor),
        "running_var": np.ones_like(value.factor),
    }
    still = {"eps": 0.0, "momentum": None}
    return _with(replace(vertex, op="batch_norm", attributes=still), tensors)


def _with(vertex: Vertex, tensors: dict[str, Array]) -> Combined:
    shapes = {tensor: value.shape for tensor, value in tensors.items()}
    return replace(vertex, tensors=shapes, tied={}), tensors


def _tensor(vertex: Vertex, name: str, weights: Mapping[str, Array]) -> Array | None:
    """One of a vertex's weights; None where it is not what the graph says."""
    value = weights.get(vertex.tensor_key(name))
    if value is None or np.shape(value) != tuple(vertex.tensors[name]):
        return None
    wide = np.asarray(value, np.float64)
    return wide if np.isfinite(wide).all() else None


def _by_channel(value: Array, shape: tuple[int, ...]) -> Array | None:
    """(channels,): a constant's value, if it is one for all of a channel."""
    try:
        full = np.broadcast_to(value, (1, *shape)).reshape(shape[0], -1)
    except ValueError:
        return None
    return full[:, 0] if (full == full[:, :1]).all() else None
