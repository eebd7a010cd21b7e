"""What torch's functions, tensor methods and Python's operators mean in the vocabulary.

Functions with weights are read in `weighted`, operators in `arithmetic`.

Each reading takes the arguments of the call it reads, in torch's order and under torch's
names, with `Traced` and `Weight` in the place of tensors.
"""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gensynth.trace import arithmetic, weighted
from gensynth.trace.layout import positions
from gensynth.trace.meaning import Meaning, Stacked, Traced, pair, require

Reading = Callable[..., Meaning | Traced | Stacked]


def move(name: str, x: Traced, *args: Any, **kwargs: Any) -> Any:
    """Apply a tensor method that only moves elements; a Traced for every result."""
    source = tuple(x.value.shape) if x.places is None else x.source
    places = positions(source) if x.places is None else x.places

    def apply(tensor: Tensor) -> Any:
        return getattr(tensor, name)(*args, **kwargs)

    def traced(value: Tensor, moved: Tensor) -> Traced:
        return Traced(value, x.vertex, moved, source, moves=() if x.places is None else x.moves)

    values, moved = apply(x.value), apply(places)
    if isinstance(values, Tensor):
        return traced(values, moved)
    return tuple(map(traced, values, moved))


def relu(input: Traced, inplace: bool = False) -> Meaning:
    return Meaning("relu", (input,))


def relu6(input: Traced, inplace: bool = False) -> Meaning:
    return Meaning("relu6", (input,))


def clamp(input: Traced, min: Any = None, max: Any = None, inplace: bool = False) -> Meaning:
    if (min, max) == (0, None):
        return relu(input)
    require((min, max) == (0, 6), f"clamp to {min}..{max}")
    return relu6(input)


def leaky_relu(input: Traced, negative_slope: float = 0.01, inplace: bool = False) -> Meaning:
    return Meaning("leaky_relu", (input,), {"slope": negative_slope})


def elu(input: Traced, alpha: float = 1.0, inplace: bool = False) -> Meaning:
    return Meaning("elu", (input,), {"alpha": alpha})


def sigmoid(input: Traced) -> Meaning:
    return Meaning("sigmoid", (input,))


def hard_sigmoid(input: Traced, inplace: bool = False) -> Meaning:
    return Meaning("hard_sigmoid", (input,))


def hard_swish(input: Traced, inplace: bool = False) -> Meaning:
    return Meaning("hard_swish", (input,))


def silu(input: Traced, inplace: bool = False) -> Meaning:
    return Meaning("silu", (input,))


def gelu(input: Traced, approximate: str = "none") -> Meaning:
    return Meaning("gelu", (input,), {} if approximate == "none" else {"approximate": approximate})


def tanh(input: Traced) -> Meaning:
    return Meaning("tanh", (input,))


def softmax(
    input: Traced, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Meaning:
    require(dim is not None and dim % input.value.ndim == 1, f"softmax over axis {dim}")
    require(dtype is None, "softmax into another dtype")
    return Meaning("softmax", (input,))


def dropout(input: Traced, p: float = 0.5, training: bool = True, inplace: bool = False) -> Meaning:
    return Meaning("dropout", (input,), {"p": p})


def dropout2d(
    input: Traced, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Meaning:
    return Meaning("dropout", (input,), {"p": p, "whole_channels": True})


def cat(tensors: Any, dim: int = 0) -> Meaning:
    first = next((t for t in tensors if isinstance(t, Traced)), None)
    assert first is not None
    require(dim % first.value.ndim == 1, f"concatenation along axis {dim}")
    if all(isinstance(t, Traced) for t in tensors):
        return Meaning("concat", tuple(tensors))
    # x beside zeros is a padded shortcut.
    widths = [int(t.value.shape[1]) for t in tensors]
    zeros = all(isinstance(t, Traced) or not (t.trained or bool(t.value.any())) for t in tensors)
    traced = [number for number, t in enumerate(tensors) if isinstance(t, Traced)]
    require(zeros and len(traced) == 1, "concatenation with a constant that is not zero")
    before, after = sum(widths[: traced[0]]), sum(widths[traced[0] + 1 :])
    return Meaning("pad_channels", (first,), {"before": before, "after": after})


def pad(input: Traced, pad: Any, mode: str = "constant", value: Any = None) -> Meaning | Traced:
    amounts = [*pad, *[0] * (2 * input.value.ndim - len(pad))]
    pairs = [tuple(amounts[i : i + 2]) for i in range(0, len(amounts), 2)][::-1]  # axis by axis
    require(not any(pairs[0]), "padding of the batch")
    if any(amount < 0 for amount in amounts):
        require(mode == "constant", f"padding by less than nothing with mode {mode!r}")
        sides = zip(input.value.shape, pairs, strict=True)
        kept = tuple(slice(max(0, -first), n + min(0, last)) for n, (first, last) in sides)
        input = move("__getitem__", input, kept)
        pad = [max(0, amount) for amount in amounts]
        if not any(pad):
            return input
        pairs = [(max(0, first), max(0, last)) for first, last in pairs]
    if any(pairs[1]):
        require(mode == "constant" and not value, f"channels padded with mode {mode!r} or a value")
        require(not any(map(any, pairs[2:])), "padding of channels and of rows or columns at once")
        return Meaning("pad_channels", (input,), {"before": pairs[1][0], "after": pairs[1][1]})
    require(mode in PADDED, f"padding with mode {mode!r}")
    require(input.value.ndim == 4, f"padding of {input.value.ndim - 1}-dimensional values")
    (top, bottom), (left, right) = pairs[2:]
    attributes: dict[str, Any] = {"before": [top, left], "after": [bottom, right], "mode": mode}
    if value:
        attributes["value"] = float(value)
    return Meaning("pad", (input,), attributes, value=F.pad(input.value, pad, mode, value))


PADDED = ("constant", "reflect", "replicate")


def pixel_shuffle(input: Traced, upscale_factor: int) -> Meaning:
    return Meaning("pixel_shuffle", (input,), {"factor": upscale_factor})


def pixel_unshuffle(input: Traced, downscale_factor: int) -> Meaning:
    return Meaning("pixel_unshuffle", (input,), {"factor": downscale_factor})


def stack(tensors: Any, dim: int = 0) -> Stacked:
    require(all(isinstance(t, Traced) for t in tensors), "a stack with a constant in it")
    parts = tuple(replace(t) for t in tensors)  # as they are now: a copy
    return Stacked(parts, dim % (tensors[0].value.ndim + 1))


def total(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Meaning:
    require(isinstance(input, Stacked), "a sum that is not over values that were stacked")
    (*_, axis) = dim if isinstance(dim, (tuple, list)) else (dim,)
    same = axis is not None and axis % (input.parts[0].value.ndim + 1) == input.axis
    require(same and not keepdim and dtype is None, f"a sum of stacked values over axis {dim}")
    found: Meaning | Traced = input.parts[0]
    for part in input.parts[1:]:
        found = arithmetic.add(found, part)
    require(isinstance(found, Meaning), "a sum of one value")
    assert isinstance(found, Meaning)
    return found


def max_pool(
    input: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Meaning:
    require(not return_indices, "max pooling that returns indices")
    attributes = {
        "kernel": pair(kernel_size),
        "stride": pair(kernel_size if stride is None or stride == [] else stride),
        "padding": pair(padding),
        "dilation": pair(dilation),
        "ceil": ceil_mode,
    }
    return Meaning("max_pool", (input,), attributes)


def avg_pool(
    input: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Meaning:
    require(divisor_override is None, "average pooling with its own divisor")
    attributes = {
        "kernel": pair(kernel_size),
        "stride": pair(kernel_size if stride is None or stride == [] else stride),
        "padding": pair(padding),
        "ceil": ceil_mode,
        "count_padding": count_include_pad,
    }
    return Meaning("avg_pool", (input,), attributes)


def adaptive_avg_pool(input: Traced, output_size: Any) -> Meaning:
    return Meaning("adaptive_avg_pool", (input,), {"size": _pooled_size(input, output_size)})


def adaptive_max_pool(input: Traced, output_size: Any, return_indices: bool = False) -> Meaning:
    require(
        _pooled_size(input, output_size) == [1, 1], "adaptive max pooling to more than one value"
    )
    return max_pool(input, input.value.shape[2:], return_indices=return_indices)


def _pooled_size(x: Traced, size: Any) -> list[int]:
    sizes = size if isinstance(size, (tuple, list)) else (size, size)
    return [
        int(full if asked is None else asked)
        for full, asked in zip(x.value.shape[2:], sizes, strict=True)
    ]


def mean(
    input: Traced | Stacked, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Meaning:
    if isinstance(input, Stacked):
        return arithmetic.mul(total(input, dim, keepdim, dtype=dtype), 1 / len(input.parts))
    asked = [dim] if isinstance(dim, int) else dim or []
    axes = sorted(axis % input.value.ndim for axis in asked)
    require(dtype is None and bool(axes), "a mean over the whole batch")
    if axes == [2] and not keepdim and _is_image_in_one_row(input):
        image = Traced(input.value.reshape(input.source), input.vertex)
        return Meaning("mean", (image,), {"keep": False})
    require(input.value.ndim == 4 and axes == [2, 3], f"a mean over the axes {axes}")
    return Meaning("mean", (input,), {"keep": keepdim})


def _is_image_in_one_row(x: Traced) -> bool:
    """Return whether a value is x.view(batch, channels, -1) of an image."""
    if x.places is None or x.value.ndim != 3 or len(x.source) != 4:
        return False
    same_channels = tuple(x.value.shape[:2]) == x.source[:2]
    return same_channels and torch.equal(x.places.flatten(), positions(x.source).flatten())


def resize(
    input: Traced,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Meaning:
    require(mode in ("nearest", "bilinear") and not antialias, f"interpolation with mode {mode!r}")
    # Random numbers, so that a scale whose rounding shifts a pixel is seen.
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, *input.value.shape[2:], generator=generator)
    wanted = F.interpolate(image, size, scale_factor, mode, align_corners, recompute_scale_factor)
    attributes: dict[str, Any] = {"size": list(wanted.shape[2:]), "mode": mode}
    got = F.interpolate(image, attributes["size"], mode=mode, align_corners=align_corners)
    require(torch.equal(wanted, got), f"interpolation by a factor of {scale_factor}")
    if align_corners:
        attributes["align_corners"] = True
    return Meaning("resize", (input,), attributes)


FUNCTIONS: dict[Any, Reading] = {
    F.conv2d: weighted.conv2d,
    F.conv_transpose2d: weighted.conv_transpose2d,
    F.linear: weighted.linear,
    F.batch_norm: weighted.batch_norm,
    F.group_norm: weighted.group_norm,
    F.instance_norm: weighted.instance_norm,
    F.layer_norm: weighted.layer_norm,
    F.prelu: weighted.prelu,
    torch.prelu: weighted.prelu,
    F.relu: relu,
    F.relu_: relu,
    torch.relu: relu,
    torch.relu_: relu,
    F.relu6: relu6,
    F.hardtanh: lambda input, min_val=-1.0, max_val=1.0, inplace=False: clamp(
        input, min_val, max_val
    ),
    torch.clamp: clamp,
    torch.clamp_min: lambda input, min: clamp(input, min),
    F.leaky_relu: leaky_relu,
    F.elu: elu,
    F.sigmoid: sigmoid,
    torch.sigmoid: sigmoid,
    F.hardsigmoid: hard_sigmoid,
    F.hardswish: hard_swish,
    F.silu: silu,
    F.gelu: gelu,
    F.tanh: tanh,
    torch.tanh: tanh,
    F.softmax: softmax,
    torch.softmax: softmax,
    F.dropout: dropout,
    F.dropout2d: dropout2d,
    torch.cat: cat,
    torch.concat: cat,
    torch.concatenate: cat,
    F.pad: pad,
    torch.pixel_shuffle: pixel_shuffle,
    torch.pixel_unshuffle: pixel_unshuffle,
    F.max_pool2d: max_pool,
    torch.max_pool2d: max_pool,
    F.avg_pool2d: avg_pool,
    F.adaptive_avg_pool2d: adaptive_avg_pool,
    F.adaptive_max_pool2d: adaptive_max_pool,
    torch.mean: mean,
    torch.stack: stack,
    torch.sum: total,
    F.interpolate: resize,
    F.upsample: resize,
    operator.add: arithmetic.add,
    operator.iadd: arithmetic.add,
    torch.add: arithmetic.add,
    operator.sub: arithmetic.sub,
    operator.isub: arithmetic.sub,
    torch.sub: arithmetic.sub,
    torch.subtract: arithmetic.sub,
    torch.rsub: arithmetic.rsub,
    operator.mul: arithmetic.mul,
    operator.imul: arithmetic.mul,
    torch.mul: arithmetic.mul,
    torch.multiply: arithmetic.mul,
    operator.truediv: arithmetic.div,
    operator.itruediv: arithmetic.div,
    torch.div: arithmetic.div,
    torch.true_divide: arithmetic.div,
    operator.neg: arithmetic.neg,
    torch.neg: arithmetic.neg,
}

METHODS: dict[str, Reading] = {
    "relu": relu,
    "clamp": clamp,
    "clamp_min": lambda input, min: clamp(input, min),
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "mean": mean,
    "sum": total,
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "multiply": arithmetic.mul,
    "div": arithmetic.div,
    "neg": arithmetic.neg,
}
"""By name; the in-place form of each has an underscore behind it."""
