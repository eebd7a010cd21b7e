"""What torch's layers mean in the vocabulary."""

from collections.abc import Callable
from typing import Any

from torch import nn

from gensynth.trace.meaning import Meaning, Unsaid


def meaning_of(module: nn.Module) -> Meaning | None:
    """Return what one of torch's layers computes; None for nothing at all.

    Raises:
        Unsaid: if the vocabulary has no word for it.
    """
    read = _MODULES.get(type(module))
    if read is None:
        raise Unsaid(f"{type(module).__name__} is not in the vocabulary")
    return read(module)


def pair(value: Any) -> list[int]:
    """Return [height, width] of a setting that may be one number for both."""
    if isinstance(value, (tuple, list)):
        return [int(value[0]), int(value[-1])]
    return [int(value), int(value)]


def _shapes(module: nn.Module, *names: str) -> dict[str, tuple[int, ...]]:
    found = {name: getattr(module, name, None) for name in names}
    return {name: tuple(tensor.shape) for name, tensor in found.items() if tensor is not None}


def _padding(m: Any) -> list[int]:
    if m.padding == "valid":
        return [0, 0]
    if m.padding == "same":
        totals = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        if any(total % 2 for total in totals):
            raise Unsaid("an even kernel with padding 'same' pads one side more than the other")
        return [total // 2 for total in totals]
    return pair(m.padding)


def _conv(m: Any) -> Meaning:
    if m.padding_mode != "zeros":
        raise Unsaid(f"a convolution with padding_mode {m.padding_mode!r}")
    attributes = {
        "kernel": pair(m.kernel_size),
        "stride": pair(m.stride),
        "padding": _padding(m),
        "dilation": pair(m.dilation),
        "groups": m.groups,
    }
    if isinstance(m, nn.ConvTranspose2d):
        attributes["output_padding"] = pair(m.output_padding)
        return Meaning("conv_transpose", (), attributes, _shapes(m, "weight", "bias"))
    return Meaning("conv", (), attributes, _shapes(m, "weight", "bias"))


def _linear(m: Any) -> Meaning:
    return Meaning("linear", tensors=_shapes(m, "weight", "bias"))


def _batch_norm(m: Any) -> Meaning:
    if m.running_mean is None:
        raise Unsaid("a batch norm without running statistics")
    return Meaning(
        "batch_norm",
        attributes={"eps": m.eps, "momentum": m.momentum},
        tensors=_shapes(m, "weight", "bias", "running_mean", "running_var"),
    )


def _word(op: str, **settings: str) -> Callable[[Any], Meaning]:
    """A layer without tensors: vertex attribute = the layer's attribute of that name."""

    def read(m: Any) -> Meaning:
        return Meaning(op, attributes={ours: getattr(m, theirs) for ours, theirs in settings.items()})

    return read


_MODULES: dict[type[nn.Module], Callable[[Any], Meaning | None]] = {
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: _word("relu"),
    nn.Identity: lambda m: None,
    nn.Sequential: lambda m: None,
}
