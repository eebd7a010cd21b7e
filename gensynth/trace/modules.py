"""What torch's layers mean in the vocabulary."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from gensynth.trace import functions, weighted
from gensynth.trace.meaning import Meaning, Traced, Unsaid, pair, require


def read_layer(layer: nn.Module, x: Traced) -> Meaning | Traced:
    """Return what one of torch's layers computes from a value.

    Raises:
        Unsaid: if the vocabulary has no word for it.
    """
    read = _LAYERS.get(type(layer))
    if read is None:
        raise Unsaid(f"{type(layer).__name__} is not in the vocabulary")
    require(
        not layer._forward_hooks and not layer._forward_pre_hooks,
        f"{type(layer).__name__} has hooks that change what it computes",
    )
    return read(layer, x)


def _shapes(layer: nn.Module, *names: str) -> dict[str, tuple[int, ...]]:
    found: Mapping[str, Tensor | None] = {name: getattr(layer, name) for name in names}
    return {name: tuple(tensor.shape) for name, tensor in found.items() if tensor is not None}


def _conv(layer: Any, x: Traced) -> Meaning:
    read, padding = weighted.padded(
        x, layer.kernel_size, layer.padding, layer.dilation, layer.padding_mode
    )
    attributes = weighted.convolution(
        layer.kernel_size, layer.stride, padding, layer.dilation, layer.groups
    )
    return Meaning("conv", (read,), attributes, _shapes(layer, "weight", "bias"))


def _conv_transpose(layer: Any, x: Traced) -> Meaning:
    attributes = weighted.convolution(
        layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    attributes["output_padding"] = pair(layer.output_padding)
    return Meaning("conv_transpose", (x,), attributes, _shapes(layer, "weight", "bias"))


def _linear(layer: Any, x: Traced) -> Meaning:
    weighted.require_flat(x)
    return Meaning("linear", (x,), {}, _shapes(layer, "weight", "bias"))


def _batch_norm(layer: Any, x: Traced) -> Meaning:
    require(layer.running_mean is not None, "a batch norm without running statistics")
    attributes = {"eps": layer.eps, "momentum": layer.momentum}
    tensors = _shapes(layer, "weight", "bias", "running_mean", "running_var")
    return Meaning("batch_norm", (x,), attributes, tensors)


def _prelu(layer: Any, x: Traced) -> Meaning:
    return Meaning("prelu", (x,), {}, _shapes(layer, "weight"))


def _group_norm(layer: Any, x: Traced) -> Meaning:
    attributes = {"groups": layer.num_groups, "eps": layer.eps}
    return Meaning("group_norm", (x,), attributes, _shapes(layer, "weight", "bias"))


def _instance_norm(layer: Any, x: Traced) -> Meaning:
    require(layer.running_mean is None, "an instance norm with running statistics")
    require(x.value.ndim == 4, "an instance norm of what is no image")
    return Meaning("instance_norm", (x,), {"eps": layer.eps}, _shapes(layer, "weight", "bias"))


def _pad(mode: str) -> Callable[[Any, Traced], Meaning | Traced]:
    return lambda layer, x: functions.pad(x, layer.padding, mode, getattr(layer, "value", None))


def _layer_norm(layer: Any, x: Traced) -> Meaning:
    weighted.require_whole_image(x, layer.normalized_shape)
    attributes = {"axes": len(layer.normalized_shape), "eps": layer.eps}
    return Meaning("layer_norm", (x,), attributes, _shapes(layer, "weight", "bias"))


def read_channel_norm(layer: Any, x: Traced) -> Meaning:
    """Return what a layer norm over the channels of each position computes."""
    weighted.require_channels(x, layer.normalized_shape)
    return Meaning("channel_norm", (x,), {"eps": layer.eps}, _shapes(layer, "weight", "bias"))


def _softmax(layer: Any, x: Traced) -> Meaning:
    return functions.softmax(x, layer.dim)


def _flatten(layer: Any, x: Traced) -> Traced:
    return functions.move("flatten", x, layer.start_dim, layer.end_dim)


def _calls(function: Callable[..., Meaning], *names: str) -> Callable[[Any, Traced], Meaning]:
    """Read a layer as the function it calls with these of its attributes."""

    def read(layer: Any, x: Traced) -> Meaning:
        return function(x, *(getattr(layer, name) for name in names))

    return read


_LAYERS: dict[type[nn.Module], Callable[[Any, Traced], Meaning | Traced]] = {
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv_transpose,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.SyncBatchNorm: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.InstanceNorm2d: _instance_norm,
    nn.LayerNorm: _layer_norm,
    nn.ZeroPad2d: _pad("constant"),
    nn.ConstantPad2d: _pad("constant"),
    nn.ReflectionPad2d: _pad("reflect"),
    nn.ReplicationPad2d: _pad("replicate"),
    nn.PReLU: _prelu,
    nn.ReLU: _calls(functions.relu),
    nn.ReLU6: _calls(functions.relu6),
    nn.Hardtanh: _calls(functions.clamp, "min_val", "max_val"),
    nn.LeakyReLU: _calls(functions.leaky_relu, "negative_slope"),
    nn.ELU: _calls(functions.elu, "alpha"),
    nn.Sigmoid: _calls(functions.sigmoid),
    nn.Hardsigmoid: _calls(functions.hard_sigmoid),
    nn.Hardswish: _calls(functions.hard_swish),
    nn.SiLU: _calls(functions.silu),
    nn.GELU: _calls(functions.gelu, "approximate"),
    nn.Tanh: _calls(functions.tanh),
    nn.Softmax: _softmax,
    nn.Dropout: _calls(functions.dropout, "p"),
    nn.Dropout2d: _calls(functions.dropout2d, "p"),
    nn.MaxPool2d: _calls(
        functions.max_pool,
        "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices",
    ),
    nn.AvgPool2d: _calls(
        functions.avg_pool,
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
    ),
    nn.AdaptiveAvgPool2d: _calls(functions.adaptive_avg_pool, "output_size"),
    nn.AdaptiveMaxPool2d: _calls(
        functions.adaptive_max_pool, "output_size", "return_indices"
    ),
    nn.Upsample: _calls(functions.resize, "size", "scale_factor", "mode", "align_corners"),
    nn.UpsamplingNearest2d: _calls(functions.resize, "size", "scale_factor", "mode"),
    nn.UpsamplingBilinear2d: _calls(
        functions.resize, "size", "scale_factor", "mode", "align_corners"
    ),
    nn.PixelShuffle: _calls(functions.pixel_shuffle, "upscale_factor"),
    nn.PixelUnshuffle: _calls(functions.pixel_unshuffle, "downscale_factor"),
    nn.ChannelShuffle: lambda layer, x: Meaning("shuffle", (x,), {"groups": layer.groups}),
    nn.Flatten: _flatten,
    nn.Identity: lambda layer, x: x,
    nn.Sequential: lambda layer, x: x,
}  # fmt: skip
