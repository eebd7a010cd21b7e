"""What torch's functions with weights mean: convolutions, linear layers and norms.

Each reading takes the arguments of the call it reads, in torch's order and under torch's
names, with `Traced` and `Weight` in the place of tensors.
"""

from typing import Any

import torch.nn.functional as F

from gensynth.trace.meaning import Meaning, Operand, Traced, Weight, pair, require


def convolution(
    kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> dict[str, Any]:
    """Return the attributes of a convolution from torch's settings, the same padding all round."""
    kernel, dilation = pair(kernel), pair(dilation)
    return {
        "kernel": kernel,
        "stride": pair(stride),
        "padding": pair(padding),
        "dilation": dilation,
        "groups": groups,
    }


def padded(
    x: Traced, kernel: Any, padding: Any, dilation: Any, mode: str
) -> tuple[Operand, list[int]]:
    """Return what a convolution reads, padded where it does not do that by itself, and its padding.

    Zeros round the image, as many on either side, are the convolution's own.
    """
    if padding == "valid":
        return x, [0, 0]
    before = after = pair(padding) if padding != "same" else [0, 0]
    if padding == "same":  # torch puts the odd one behind
        totals = [d * (k - 1) for d, k in zip(pair(dilation), pair(kernel), strict=True)]
        before = [total // 2 for total in totals]
        after = [total - first for total, first in zip(totals, before, strict=True)]
    if mode == "zeros" and before == after:
        return x, before
    mode = "constant" if mode == "zeros" else mode
    require(
        mode in ("constant", "reflect", "replicate"), f"a convolution with padding_mode {mode!r}"
    )
    attributes = {"before": before, "after": after, "mode": mode}
    (top, left), (bottom, right) = before, after
    value = F.pad(x.value, (left, right, top, bottom), mode)
    return Meaning("pad", (x,), attributes, value=value), [0, 0]


def require_flat(x: Traced) -> None:
    """Refuse a linear layer on anything but channels, of a vector or at each position."""
    require(x.value.ndim in (2, 4), f"a linear layer on {x.value.ndim - 1}-dimensional values")


def require_whole_image(x: Traced, shape: Any) -> None:
    """Refuse a layer norm whose mean leaves some of the axes out."""
    require(
        tuple(shape) == tuple(x.value.shape[1:]), f"a layer norm over the last {len(shape)} axes"
    )


def require_channels(x: Traced, shape: Any) -> None:
    """Refuse a layer norm at each position over more than the channels."""
    require(tuple(shape) == (x.value.shape[1],), f"a layer norm over the last {len(shape)} axes")


def _tensors(**given: Any) -> dict[str, Any]:
    """Return `module` and `tensors` of a Meaning for the weights a function was given."""
    modules, shapes = set(), {}
    for name, weight in given.items():
        if weight is None:
            continue
        require(isinstance(weight, Weight), f"the {name} depends on the input")
        module, _, last = weight.path.rpartition(".")
        require(last == name, f"the {name} is computed, or has another name in its module")
        modules.add(module)
        shapes[name] = weight.shape
    require(len(modules) == 1, "the weights of one call stand in several modules")
    return {"module": modules.pop(), "tensors": shapes}


def conv2d(
    input: Traced,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Meaning:
    tensors = _tensors(weight=weight, bias=bias)
    read, padding = padded(input, weight.shape[2:], padding, dilation, "zeros")
    attributes = convolution(weight.shape[2:], stride, padding, dilation, groups)
    return Meaning("conv", (read,), attributes, **tensors)


def conv_transpose2d(
    input: Traced,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Meaning:
    tensors = _tensors(weight=weight, bias=bias)
    attributes = convolution(weight.shape[2:], stride, padding, dilation, groups)
    attributes["output_padding"] = pair(output_padding)
    return Meaning("conv_transpose", (input,), attributes, **tensors)


def linear(input: Traced, weight: Any, bias: Any = None) -> Meaning:
    require_flat(input)
    return Meaning("linear", (input,), **_tensors(weight=weight, bias=bias))


def batch_norm(
    input: Traced,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Meaning:
    require(not training, "a batch norm that uses the batch's statistics in evaluation")
    tensors = _tensors(weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    return Meaning("batch_norm", (input,), {"eps": eps, "momentum": momentum}, **tensors)


def group_norm(
    input: Traced, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Meaning:
    tensors = {} if weight is None and bias is None else _tensors(weight=weight, bias=bias)
    return Meaning("group_norm", (input,), {"groups": num_groups, "eps": eps}, **tensors)


def instance_norm(
    input: Traced,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Meaning:
    require(running_mean is None and use_input_stats, "an instance norm with running statistics")
    require(input.value.ndim == 4, "an instance norm of what is no image")
    tensors = {} if weight is None and bias is None else _tensors(weight=weight, bias=bias)
    return Meaning("instance_norm", (input,), {"eps": eps}, **tensors)


def layer_norm(
    input: Traced, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Meaning:
    require_whole_image(input, normalized_shape)
    tensors = {} if weight is None and bias is None else _tensors(weight=weight, bias=bias)
    return Meaning("layer_norm", (input,), {"axes": len(normalized_shape), "eps": eps}, **tensors)


def channel_norm(
    input: Traced, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Meaning:
    require_channels(input, normalized_shape)
    tensors = {} if weight is None and bias is None else _tensors(weight=weight, bias=bias)
    return Meaning("channel_norm", (input,), {"eps": eps}, **tensors)


def prelu(input: Traced, weight: Any) -> Meaning:
    return Meaning("prelu", (input,), **_tensors(weight=weight))
