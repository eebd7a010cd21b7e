"""What torch's functions with weights mean: convolutions, linear layers and norms.

Each reading takes the arguments of the call it reads, in torch's order and under torch's
names, with `Traced` and `Weight` in the place of tensors.
"""

from typing import Any

from gensynth.trace.meaning import Meaning, Traced, Weight, pair, require


def convolution(
    kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> dict[str, Any]:
    """Return the attributes of a convolution from torch's settings."""
    kernel, dilation = pair(kernel), pair(dilation)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        require(
            not any(total % 2 for total in totals),
            "padding 'same' with an even kernel, which pads one side more than the other",
        )
        padding = [total // 2 for total in totals]
    return {
        "kernel": kernel,
        "stride": pair(stride),
        "padding": pair(padding),
        "dilation": dilation,
        "groups": groups,
    }


def require_flat(x: Traced) -> None:
    """Refuse a linear layer on anything but (batch, channels)."""
    require(x.value.ndim == 2, f"a linear layer on {x.value.ndim - 1}-dimensional values")


def require_whole_image(x: Traced, shape: Any) -> None:
    """Refuse a layer norm whose mean leaves some of the axes out."""
    require(
        tuple(shape) == tuple(x.value.shape[1:]), f"a layer norm over the last {len(shape)} axes"
    )


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
    attributes = convolution(weight.shape[2:], stride, padding, dilation, groups)
    return Meaning("conv", (input,), attributes, **tensors)


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


def layer_norm(
    input: Traced, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Meaning:
    require_whole_image(input, normalized_shape)
    tensors = {} if weight is None and bias is None else _tensors(weight=weight, bias=bias)
    return Meaning("layer_norm", (input,), {"axes": len(normalized_shape), "eps": eps}, **tensors)


def prelu(input: Traced, weight: Any) -> Meaning:
    return Meaning("prelu", (input,), **_tensors(weight=weight))
