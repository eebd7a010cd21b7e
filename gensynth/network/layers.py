"""The layer of `torch.nn` that computes an operator, so that torch's tools find what they know.

    LAYERS      a vertex -> its layer, for each operator that torch.nn has a layer for
    layer_of    the same with tensors, which are uninitialised memory

Three differ from torch's own: they say so, and are of their class.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.graph.graph import BUFFERS, Vertex

COUNT = "num_batches_tracked"
"""How often a batch norm was called in training; no file keeps it."""


class SkippingConv2d(nn.Conv2d):
    """A strided 1x1 convolution of fewer than 8 channels.

    oneDNN's AVX2 backward pass of it, channels last, writes past its buffer (torch 2.13: `free():
    invalid next size`). With the positions it skips left out first, the stride is 1 and the result
    the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (batch, channels, height, width)."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        down, right = self.stride
        x = x[:, :, ::down, ::right]
        return F.conv2d(x, self.weight, self.bias, 1, 0, self.dilation, self.groups)

    def _get_name(self) -> str:
        return "Conv2d"


class LinearOfPositions(nn.Linear):
    """A linear layer on the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, height, width) for as much."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerNormOfPositions(nn.LayerNorm):
    """A layer norm over the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, height, width) for as much."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def layer_of(vertex: Vertex) -> nn.Module:
    """Return the layer of a vertex, with the tensors that the vertex has and no other.

    Nothing is drawn for them: a layer's first weights would be thrown away.

    Raises:
        ValueError: if torch has no such layer.
    """
    try:
        with torch.device("meta"):
            layer = LAYERS[vertex.op](vertex)
    except (ValueError, TypeError) as error:
        raise ValueError(f"vertex {vertex.name!r} ({vertex.op}): {error}") from error
    for name in layer._parameters.keys() - vertex.tensors.keys():
        layer._parameters[name] = None
    for name, shape in vertex.tensors.items():
        hold(layer, name, shape)
    if vertex.op in ("conv", "conv_transpose", "linear"):
        # A bias comes first: by this order checkpoints of trainings number their momenta.
        layer._parameters["weight"] = layer._parameters.pop("weight")
    if vertex.op == "batch_norm":
        averages = vertex.attributes["momentum"] is None  # over all calls alike: they are counted
        count = torch.zeros((), dtype=torch.long) if averages else None
        layer.register_buffer(COUNT, count, persistent=False)
    return layer


def hold(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """Put an uninitialised tensor into a module.

    It goes straight where torch keeps it: a prototype may call a tensor `forward`, which torch's
    own way would refuse.
    """
    tensor = torch.empty(tuple(shape))
    if name in BUFFERS:
        module._buffers[name] = tensor
    else:
        module._parameters[name] = nn.Parameter(tensor)


def _conv(vertex: Vertex) -> nn.Module:
    settings, channels = _window(vertex), vertex.tensors["weight"][1] * vertex.attributes["groups"]
    bare = math.prod(settings["kernel_size"]) == 1 and not any(settings["padding"])
    skips = bare and max(settings["stride"]) > 1 and channels < 8
    kind = SkippingConv2d if skips else nn.Conv2d
    return kind(channels, vertex.tensors["weight"][0], **settings)


def _conv_transpose(vertex: Vertex) -> nn.Module:
    read, written = vertex.tensors["weight"][:2]
    padding = tuple(vertex.attributes["output_padding"])
    written *= vertex.attributes["groups"]
    return nn.ConvTranspose2d(read, written, output_padding=padding, **_window(vertex))


def _window(vertex: Vertex) -> dict[str, Any]:
    a = vertex.attributes
    pairs = {name: tuple(a[name]) for name in ("stride", "padding", "dilation")}
    bias = "bias" in vertex.tensors
    return {"kernel_size": tuple(a["kernel"]), **pairs, "groups": a["groups"], "bias": bias}


def _linear(vertex: Vertex) -> nn.Module:
    written, read = vertex.tensors["weight"]
    kind = LinearOfPositions if len(vertex.shape) == 3 else nn.Linear
    return kind(read, written, bias="bias" in vertex.tensors)


def _batch_norm(vertex: Vertex) -> nn.Module:
    kind = {3: nn.BatchNorm2d, 4: nn.BatchNorm3d}.get(len(vertex.shape), nn.BatchNorm1d)
    a, (channels,) = vertex.attributes, vertex.tensors["running_mean"]
    return kind(channels, a["eps"], a["momentum"], affine=_is_affine(vertex))


def _group_norm(vertex: Vertex) -> nn.Module:
    a = vertex.attributes
    return nn.GroupNorm(a["groups"], vertex.shape[0], a["eps"], affine=_is_affine(vertex))


def _instance_norm(vertex: Vertex) -> nn.Module:
    eps = vertex.attributes["eps"]
    return nn.InstanceNorm2d(vertex.shape[0], eps, affine=_is_affine(vertex))


def _channel_norm(vertex: Vertex) -> nn.Module:
    affine = _is_affine(vertex)
    return LayerNormOfPositions(vertex.shape[:1], vertex.attributes["eps"], affine)


def _layer_norm(vertex: Vertex) -> nn.Module:
    shape = vertex.shape[-vertex.attributes["axes"] :]
    return nn.LayerNorm(shape, vertex.attributes["eps"], _is_affine(vertex))


def _is_affine(vertex: Vertex) -> bool:
    return "weight" in vertex.tensors or "bias" in vertex.tensors


def _dropout(vertex: Vertex) -> nn.Module:
    kind = nn.Dropout2d if vertex.attributes.get("whole_channels") else nn.Dropout
    return kind(vertex.attributes["p"])


def _max_pool(vertex: Vertex) -> nn.Module:
    a = vertex.attributes
    names = ("kernel", "stride", "padding", "dilation")
    kernel, stride, padding, dilation = (tuple(a[name]) for name in names)
    return nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=a["ceil"])


def _avg_pool(vertex: Vertex) -> nn.Module:
    a = vertex.attributes
    kernel, stride, padding = (tuple(a[name]) for name in ("kernel", "stride", "padding"))
    return nn.AvgPool2d(kernel, stride, padding, a["ceil"], a["count_padding"])


def _resize(vertex: Vertex) -> nn.Module:
    a = vertex.attributes
    return nn.Upsample(tuple(a["size"]), mode=a["mode"], align_corners=a.get("align_corners"))


def _pad(vertex: Vertex) -> nn.Module:
    (top, left), (bottom, right) = vertex.attributes["before"], vertex.attributes["after"]
    sides, mode = (left, right, top, bottom), vertex.attributes["mode"]
    if mode == "constant":
        return nn.ConstantPad2d(sides, vertex.attributes.get("value", 0.0))
    return {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}[mode](sides)


LAYERS: Mapping[str, Callable[[Vertex], nn.Module]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "channel_norm": _channel_norm,
    "layer_norm": _layer_norm,
    "prelu": lambda vertex: nn.PReLU(math.prod(vertex.tensors["weight"])),
    "relu": lambda _: nn.ReLU(),
    "relu6": lambda _: nn.ReLU6(),
    "leaky_relu": lambda vertex: nn.LeakyReLU(vertex.attributes["slope"]),
    "elu": lambda vertex: nn.ELU(vertex.attributes["alpha"]),
    "sigmoid": lambda _: nn.Sigmoid(),
    "hard_sigmoid": lambda _: nn.Hardsigmoid(),
    "hard_swish": lambda _: nn.Hardswish(),
    "silu": lambda _: nn.SiLU(),
    "gelu": lambda vertex: nn.GELU(vertex.attributes.get("approximate") or "none"),
    "tanh": lambda _: nn.Tanh(),
    "softmax": lambda _: nn.Softmax(1),
    "dropout": _dropout,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": lambda vertex: nn.AdaptiveAvgPool2d(tuple(vertex.attributes["size"])),
    "resize": _resize,
    "pad": _pad,
    "pixel_shuffle": lambda vertex: nn.PixelShuffle(vertex.attributes["factor"]),
    "pixel_unshuffle": lambda vertex: nn.PixelUnshuffle(vertex.attributes["factor"]),
}
"""Operators of the vocabulary that are layers; the rest are functions of `torch_operators`."""
