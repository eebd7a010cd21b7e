"""What each operator of the vocabulary computes, with torch.

One function an operator: (tensors, settings, values...) -> value. `tensors` is the module
that holds the vertex's weights and buffers and says whether the network is training;
`settings` are the vertex's attributes, prepared once by `prepare`. The calls are the ones
torch's own modules make, so results agree bit for bit.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.graph.graph import Vertex

Compute = Callable[..., Tensor]
Settings = tuple[Any, ...]

OPTIONAL_TENSORS = {
    "conv": ("bias",),
    "conv_transpose": ("bias",),
    "linear": ("bias",),
    "batch_norm": ("weight", "bias"),
    "group_norm": ("weight", "bias"),
    "instance_norm": ("weight", "bias"),
    "channel_norm": ("weight", "bias"),
    "layer_norm": ("weight", "bias"),
}
"""Tensors that an operator may lack; torch's functions then want None."""


def prepare(vertex: Vertex) -> Settings:
    """Return a vertex's attributes as the positional settings its function takes."""
    if vertex.op in ("scale", "shift"):
        return (*vertex.tensors, (-1, *[1] * (len(vertex.shape) - 1)))
    if vertex.op == "linear":
        return (len(vertex.shape) == 3,)
    if vertex.op == "pad_channels":
        rest = (0, 0) * (len(vertex.shape) - 1)
        return (*rest, vertex.attributes["before"], vertex.attributes["after"])
    if vertex.op == "pad":
        (top, left), (bottom, right) = vertex.attributes["before"], vertex.attributes["after"]
        value = vertex.attributes.get("value", 0.0)
        return (left, right, top, bottom), vertex.attributes["mode"], value
    if constant(vertex) is not None:
        return (None,)
    found = tuple(
        tuple(value) if isinstance(value, list) else value
        for value in (vertex.attributes.get(name) for name in _SETTINGS.get(vertex.op, ()))
    )
    if vertex.op == "layer_norm":
        return (*found, vertex.shape[-vertex.attributes["axes"] :])
    return found


def constant(vertex: Vertex) -> Tensor | None:
    """Return the array that a vertex carries in its attributes, if it carries one.

    It belongs to the vertex's tensors as the buffer `value`, so that it moves with them.
    """
    value = vertex.attributes.get("order" if vertex.op == "shuffle" else "value")
    return torch.tensor(value) if isinstance(value, list) else None


_SETTINGS = {
    "conv": ("stride", "padding", "dilation", "groups"),
    "conv_transpose": ("stride", "padding", "output_padding", "groups", "dilation"),
    "batch_norm": ("momentum", "eps"),
    "leaky_relu": ("slope",),
    "elu": ("alpha",),
    "gelu": ("approximate",),
    "dropout": ("p", "whole_channels"),
    "add_constant": ("value",),
    "mul_constant": ("value",),
    "slice": ("start", "stop"),
    "shuffle": ("groups",),
    "subsample": ("stride",),
    "max_pool": ("kernel", "stride", "padding", "dilation", "ceil"),
    "avg_pool": ("kernel", "stride", "padding", "ceil", "count_padding"),
    "adaptive_avg_pool": ("size",),
    "mean": ("keep",),
    "resize": ("size", "mode", "align_corners"),
    "group_norm": ("groups", "eps"),
    "instance_norm": ("eps",),
    "channel_norm": ("eps",),
    "layer_norm": ("eps",),
}


def _conv(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    stride, padding, dilation, groups = settings
    strided_1x1 = tensors.weight.shape[2:] == (1, 1) and max(stride) > 1 and max(padding) == 0
    if strided_1x1 and x.shape[1] < 8 and torch.is_grad_enabled():
        # oneDNN's AVX2 backward pass of a strided 1x1 convolution of fewer than 8 channels,
        # channels last, writes past its buffer (torch 2.13: `free(): invalid next size`).
        # With the positions it skips left out first, the stride is 1 and the result the same.
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    return F.conv2d(x, tensors.weight, tensors.bias, stride, padding, dilation, groups)


def _conv_transpose(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.conv_transpose2d(x, tensors.weight, tensors.bias, *settings)


def _linear(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (at_each_position,) = settings
    if at_each_position:
        last = F.linear(x.permute(0, 2, 3, 1), tensors.weight, tensors.bias)
        return last.permute(0, 3, 1, 2)
    return F.linear(x, tensors.weight, tensors.bias)


def _batch_norm(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    momentum, eps = settings
    if momentum is None and tensors.training:  # torch's cumulative average
        tensors.calls += 1
        momentum = 1.0 / tensors.calls
    return F.batch_norm(
        x,
        tensors.running_mean,
        tensors.running_var,
        tensors.weight,
        tensors.bias,
        tensors.training,
        0.0 if momentum is None else momentum,
        eps,
    )


def _prelu(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.prelu(x, tensors.weight)


def _dropout(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    probability, whole_channels = settings
    if whole_channels:
        return F.dropout2d(x, probability, tensors.training)
    return F.dropout(x, probability, tensors.training)


def _relu(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.relu(x)


def _relu6(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.relu6(x)


def _leaky_relu(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.leaky_relu(x, *settings)


def _elu(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.elu(x, *settings)


def _sigmoid(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def _hard_sigmoid(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.hardsigmoid(x)


def _hard_swish(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.hardswish(x)


def _silu(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.silu(x)


def _gelu(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=settings[0] or "none")


def _tanh(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return torch.tanh(x)


def _softmax(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return torch.softmax(x, 1)


def _add(tensors: Any, settings: Settings, x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _mul(tensors: Any, settings: Settings, x: Tensor, y: Tensor) -> Tensor:
    return x * y


def _add_constant(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (value,) = settings
    return x + (tensors.value if value is None else value)


def _mul_constant(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (value,) = settings
    return x * (tensors.value if value is None else value)


def _shift(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x + _by_channel(tensors, settings, x)


def _scale(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x * _by_channel(tensors, settings, x)


def _by_channel(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    name, shape = settings
    tensor: Tensor = getattr(tensors, name)
    return tensor.reshape(shape)


def _concat(tensors: Any, settings: Settings, *values: Tensor) -> Tensor:
    return torch.cat(values, 1)


def _flatten(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return torch.flatten(x, 1)


def _unflatten(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x[:, :, None, None]


def _adaptive_avg_pool(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, settings[0])


def _slice(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    start, stop = settings
    return x[:, start:stop]


def _shuffle(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (groups,) = settings
    if groups is None:
        return x.index_select(1, tensors.value)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]


def _pad_channels(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.pad(x, settings)


def _pad(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    amounts, mode, value = settings
    return F.pad(x, amounts, mode, value if mode == "constant" else None)


def _subsample(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    ((down, right),) = settings
    return x[:, :, ::down, ::right]


def _max_pool(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.max_pool2d(x, *settings)


def _avg_pool(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, *settings)


def _mean(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=settings[0])


def _resize(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    size, mode, align_corners = settings
    return F.interpolate(x, size, mode=mode, align_corners=align_corners)


def _group_norm(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    groups, eps = settings
    return F.group_norm(x, groups, tensors.weight, tensors.bias, eps)


def _instance_norm(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (eps,) = settings
    return F.instance_norm(x, weight=tensors.weight, bias=tensors.bias, eps=eps)


def _channel_norm(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    (eps,) = settings
    last = x.permute(0, 2, 3, 1)
    normed = F.layer_norm(last, last.shape[-1:], tensors.weight, tensors.bias, eps)
    return normed.permute(0, 3, 1, 2)


def _layer_norm(tensors: Any, settings: Settings, x: Tensor) -> Tensor:
    eps, shape = settings
    return F.layer_norm(x, shape, tensors.weight, tensors.bias, eps)


def _opaque(module: nn.Module, settings: Settings, *values: Tensor) -> Tensor:
    result: Tensor = module(*values)
    return result


COMPUTE: dict[str, Compute] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "silu": _silu,
    "gelu": _gelu,
    "tanh": _tanh,
    "dropout": _dropout,
    "add": _add,
    "mul": _mul,
    "add_constant": _add_constant,
    "mul_constant": _mul_constant,
    "scale": _scale,
    "shift": _shift,
    "concat": _concat,
    "slice": _slice,
    "shuffle": _shuffle,
    "pad_channels": _pad_channels,
    "pad": _pad,
    "subsample": _subsample,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg_pool,
    "mean": _mean,
    "resize": _resize,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "channel_norm": _channel_norm,
    "layer_norm": _layer_norm,
    "softmax": _softmax,
    "opaque": _opaque,
}
"""The function of every operator except `input`."""
