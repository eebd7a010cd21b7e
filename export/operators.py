"""What each word of the graph's vocabulary is in ONNX.

One function a word: it writes the vertex's nodes and returns the name of the value. Where
ONNX has no such operator at the file's opset, or the target does not know it, the word is
spelled with operators of opset 13 that TensorRT 8.2 knows and that compute exactly the same:

    hard_swish    x * HardSigmoid(x)
    silu          x * Sigmoid(x)
    gelu          x * (1 + Erf(x / sqrt 2)) / 2
    group_norm    InstanceNormalization, every group as one channel
    layer_norm    mean, variance and division spelled out; likewise over channels
    linear        of an image: a convolution of 1 x 1
    shuffle       Reshape, Transpose, Reshape; Gather for what is left of one
    pixel_shuffle, pixel_unshuffle    Reshape, Transpose, Reshape
    dropout       nothing

Pooling and resizing are in `gensynth.export.spatial`.
"""

import math
from collections.abc import Callable

import numpy as np

from gensynth.errors import ExportError
from gensynth.export.spatial import (
    adaptive_avg_pool,
    avg_pool,
    cut,
    max_pool,
    mean,
    pad,
    pair,
    pixel_shuffle,
    pixel_unshuffle,
    resize,
    subsample,
    take,
)
from gensynth.export.writer import Array, Writer
from gensynth.graph.graph import Vertex

SINCE = {
    "hard_swish": ("HardSwish", 14),
    "layer_norm": ("LayerNormalization", 17),
    "group_norm": ("GroupNormalization", 18),
    "gelu": ("Gelu", 20),
}
"""The operator that ONNX has for a word, and the opset it came with."""

Reads = tuple[str, ...]
Emit = Callable[[Writer, Vertex, Reads], str]


def _scalar(writer: Writer, vertex: Vertex, label: str, value: float) -> str:
    return writer.constant(vertex, label, np.array(value, np.float32))


def _integers(*values: int) -> Array:
    return np.array(values, np.int64)


def _channelwise(vertex: Vertex) -> list[int]:
    """The shape in which one number a channel meets the vertex's value."""
    return [-1] + [1] * (len(vertex.shape) - 1)


def _operator(op: str, **attributes: int) -> Emit:
    """A word that ONNX has too."""
    return lambda writer, vertex, reads: writer.node(vertex, op, reads, **attributes)


def _conv(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    attributes = vertex.attributes
    settings: dict[str, int | list[int]] = {
        "kernel_shape": pair(attributes["kernel"]),
        "strides": pair(attributes["stride"]),
        "pads": pair(attributes["padding"])
        + pair(attributes.get("padding_after", attributes["padding"])),
        "dilations": pair(attributes["dilation"]),
        "group": int(attributes["groups"]),
    }
    if vertex.op == "conv_transpose":
        settings["output_padding"] = pair(attributes["output_padding"])
    tensors = [writer.tensor(vertex, t) for t in ("weight", "bias") if t in vertex.tensors]
    op = "Conv" if vertex.op == "conv" else "ConvTranspose"
    return writer.node(vertex, op, [*reads, *tensors], **settings)


def _linear(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    bias = [writer.tensor(vertex, "bias")] if "bias" in vertex.tensors else []
    if len(vertex.shape) == 3:
        kernel = writer.tensor(vertex, "weight", [*vertex.tensors["weight"], 1, 1])
        return writer.node(vertex, "Conv", [*reads, kernel, *bias], kernel_shape=[1, 1])
    weight = writer.tensor(vertex, "weight")
    if len(vertex.shape) == 1:
        return writer.node(vertex, "Gemm", [*reads, weight, *bias], transB=1)
    turned = writer.node(vertex, "Transpose", [weight], perm=[1, 0])
    product = writer.node(vertex, "MatMul", [*reads, turned])
    return writer.node(vertex, "Add", [product, *bias]) if bias else product


def _batch_norm(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    if "running_mean" not in vertex.tensors or "running_var" not in vertex.tensors:
        raise ExportError(
            f"vertex {vertex.name!r} is a batch norm without running statistics, so its output "
            "depends on the rest of the batch; build it with track_running_stats=True"
        )
    channels = vertex.tensors["running_mean"][0]
    tensors = [
        writer.tensor(vertex, tensor)
        if tensor in vertex.tensors
        else writer.constant(vertex, tensor, np.full(channels, absent, np.float32))
        for tensor, absent in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1))
    ]
    epsilon = float(vertex.attributes["eps"])
    return writer.node(vertex, "BatchNormalization", [*reads, *tensors], epsilon=epsilon)


def _prelu(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    slope = writer.tensor(vertex, "weight", _channelwise(vertex))
    return writer.node(vertex, "PRelu", [*reads, slope])


def _relu6(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    limits = [_scalar(writer, vertex, "low", 0), _scalar(writer, vertex, "high", 6)]
    return writer.node(vertex, "Clip", [*reads, *limits])


def _leaky_relu(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    return writer.node(vertex, "LeakyRelu", reads, alpha=float(vertex.attributes["slope"]))


def _elu(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    return writer.node(vertex, "Elu", reads, alpha=float(vertex.attributes["alpha"]))


def _hard_sigmoid(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    return writer.node(vertex, "HardSigmoid", reads, alpha=1 / 6, beta=0.5)  # ONNX's own: 1/5


def _hard_swish(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    if "HardSwish" in writer.native:
        return writer.node(vertex, "HardSwish", reads)
    return writer.node(vertex, "Mul", [*reads, _hard_sigmoid(writer, vertex, reads)])


def _silu(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    return writer.node(vertex, "Mul", [*reads, writer.node(vertex, "Sigmoid", reads)])


def _gelu(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """By the error function, or by its approximation with tanh where the network has that.

    In this order of nodes ONNX Runtime recognises the first form and runs it as one.
    """
    (x,) = reads
    approximate = vertex.attributes.get("approximate") or "none"
    if approximate == "none":
        scaled = writer.node(vertex, "Div", [x, _scalar(writer, vertex, "root", math.sqrt(2))])
        gate = writer.node(vertex, "Erf", [scaled])
    elif approximate == "tanh":
        # tanh(sqrt(2 / pi) (x + 0.044715 x^3))
        cube = writer.node(vertex, "Pow", [x, _scalar(writer, vertex, "three", 3)])
        small = writer.node(vertex, "Mul", [cube, _scalar(writer, vertex, "share", 0.044715)])
        total = writer.node(vertex, "Add", [x, small])
        factor = _scalar(writer, vertex, "factor", math.sqrt(2 / math.pi))
        gate = writer.node(vertex, "Tanh", [writer.node(vertex, "Mul", [total, factor])])
    else:
        raise ExportError(
            f"vertex {vertex.name!r} approximates gelu by {approximate!r}; only 'none' and 'tanh' "
            "can be written"
        )
    raised = writer.node(vertex, "Add", [gate, _scalar(writer, vertex, "one", 1)])
    doubled = writer.node(vertex, "Mul", [x, raised])
    return writer.node(vertex, "Mul", [doubled, _scalar(writer, vertex, "half", 0.5)])


def _dropout(_writer: Writer, _vertex: Vertex, reads: Reads) -> str:
    return reads[0]


def _with_constant(op: str) -> Emit:
    def emit(writer: Writer, vertex: Vertex, reads: Reads) -> str:
        value = np.asarray(vertex.attributes["value"], np.float32)
        return writer.node(vertex, op, [*reads, writer.constant(vertex, "value", value)])

    return emit


def _with_tensor(op: str) -> Emit:
    def emit(writer: Writer, vertex: Vertex, reads: Reads) -> str:
        (tensor,) = vertex.tensors
        value = writer.tensor(vertex, tensor, _channelwise(vertex))
        return writer.node(vertex, op, [*reads, value])

    return emit


def _unflatten(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    size = writer.constant(vertex, "size", _integers(0, *vertex.shape))
    return writer.node(vertex, "Reshape", [*reads, size])


def _slice(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    start, stop = int(vertex.attributes["start"]), int(vertex.attributes["stop"])
    return cut(writer, vertex, reads[0], axis=1, ranges=[(start, stop, 1)])


def _shuffle(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    if "order" in vertex.attributes:
        order = writer.constant(vertex, "order", _integers(*vertex.attributes["order"]))
        return writer.node(vertex, "Gather", [*reads, order], axis=1)
    channels, *rest = vertex.shape
    groups = int(vertex.attributes["groups"])
    # A 0 keeps the size of the batch, whatever it is.
    apart = writer.constant(vertex, "apart", _integers(0, groups, channels // groups, *rest))
    together = writer.constant(vertex, "together", _integers(0, channels, *rest))
    split = writer.node(vertex, "Reshape", [*reads, apart])
    turn = [0, 2, 1, *range(3, 3 + len(rest))]
    turned = writer.node(vertex, "Transpose", [split], perm=turn)
    return writer.node(vertex, "Reshape", [turned, together])


def _pad_channels(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    before, after = int(vertex.attributes["before"]), int(vertex.attributes["after"])
    rest = [0] * (len(vertex.shape) - 1)
    pads = writer.constant(vertex, "pads", _integers(0, before, *rest, 0, after, *rest))
    return writer.node(vertex, "Pad", [*reads, pads], mode="constant")


def _affine(writer: Writer, vertex: Vertex, value: str, shape: list[int]) -> str:
    """Multiply by the weight and add the bias, as far as the vertex has them."""
    for tensor, op in (("weight", "Mul"), ("bias", "Add")):
        if tensor in vertex.tensors:
            value = writer.node(vertex, op, [value, writer.tensor(vertex, tensor, shape)])
    return value


def _group_norm(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    groups = int(vertex.attributes["groups"])
    epsilon = float(vertex.attributes["eps"])
    plain = [
        writer.constant(vertex, "ones", np.ones(groups, np.float32)),
        writer.constant(vertex, "zeros", np.zeros(groups, np.float32)),
    ]
    apart = writer.constant(vertex, "apart", _integers(0, groups, -1))
    together = writer.constant(vertex, "together", _integers(0, *vertex.shape))
    grouped = writer.node(vertex, "Reshape", [*reads, apart])
    normed = writer.node(vertex, "InstanceNormalization", [grouped, *plain], epsilon=epsilon)
    value = writer.node(vertex, "Reshape", [normed, together])
    return _affine(writer, vertex, value, _channelwise(vertex))


def _instance_norm(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    channels, epsilon = vertex.shape[0], float(vertex.attributes["eps"])
    tensors = [
        writer.tensor(vertex, tensor)
        if tensor in vertex.tensors
        else writer.constant(vertex, tensor, np.full(channels, absent, np.float32))
        for tensor, absent in (("weight", 1), ("bias", 0))
    ]
    return writer.node(vertex, "InstanceNormalization", [*reads, *tensors], epsilon=epsilon)


def _channel_norm(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    return _affine(writer, vertex, _normed(writer, vertex, reads, [1]), _channelwise(vertex))


def _layer_norm(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Over the last `axes` dimensions."""
    count = int(vertex.attributes["axes"])
    if "LayerNormalization" in writer.native:
        ones = np.ones(vertex.shape[-count:], np.float32)
        tensors = [
            writer.tensor(vertex, "weight")
            if "weight" in vertex.tensors
            else writer.constant(vertex, "weight", ones),
            *([writer.tensor(vertex, "bias")] if "bias" in vertex.tensors else []),
        ]
        eps = float(vertex.attributes["eps"])
        return writer.node(
            vertex, "LayerNormalization", [*reads, *tensors], axis=-count, epsilon=eps
        )
    value = _normed(writer, vertex, reads, list(range(-count, 0)))
    return _affine(writer, vertex, value, list(vertex.shape[-count:]))


def _normed(writer: Writer, vertex: Vertex, reads: Reads, axes: list[int]) -> str:
    """Subtract the mean over some axes and divide by the standard deviation."""
    epsilon = _scalar(writer, vertex, "eps", float(vertex.attributes["eps"]))
    centre = writer.node(vertex, "ReduceMean", reads, axes=axes, keepdims=1)
    centred = writer.node(vertex, "Sub", [*reads, centre])
    squares = writer.node(vertex, "Pow", [centred, _scalar(writer, vertex, "two", 2)])
    variance = writer.node(vertex, "ReduceMean", [squares], axes=axes, keepdims=1)
    spread = writer.node(vertex, "Sqrt", [writer.node(vertex, "Add", [variance, epsilon])])
    return writer.node(vertex, "Div", [centred, spread])


def _opaque(_writer: Writer, vertex: Vertex, _reads: Reads) -> str:
    reason = vertex.attributes.get("reason", "it could not be looked into")
    raise ExportError(
        f"vertex {vertex.name!r} is opaque ({reason}), so it cannot be written as ONNX; "
        "export the module with torch.onnx.export instead"
    )


EMIT: dict[str, Emit] = {
    "conv": _conv,
    "conv_transpose": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "relu": _operator("Relu"),
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _operator("Sigmoid"),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "silu": _silu,
    "gelu": _gelu,
    "tanh": _operator("Tanh"),
    "dropout": _dropout,
    "add": _operator("Add"),
    "mul": _operator("Mul"),
    "add_constant": _with_constant("Add"),
    "mul_constant": _with_constant("Mul"),
    "scale": _with_tensor("Mul"),
    "shift": _with_tensor("Add"),
    "concat": _operator("Concat", axis=1),
    "slice": _slice,
    "shuffle": _shuffle,
    "pad_channels": _pad_channels,
    "pad": pad,
    "subsample": subsample,
    "take": take,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "mean": mean,
    "resize": resize,
    "flatten": _operator("Flatten", axis=1),
    "unflatten": _unflatten,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "channel_norm": _channel_norm,
    "layer_norm": _layer_norm,
    "softmax": _operator("Softmax", axis=1),
    "opaque": _opaque,
}
"""How each word of `gensynth.graph.graph.OPERATORS` is written; an input is no node."""
