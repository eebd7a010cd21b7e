"""Substitutes that can stand in for a dense convolution.

    separable        k x k channel by channel, then 1 x 1
    grouped_2, _4    k x k in so many groups; zero channels fill up the last one
    low_rank_2, _4   k x 1 to a half, a quarter of the narrower side's channels, then 1 x k
    bottleneck_2, _4 k x k to a half, a quarter of them, then 1 x 1
    smaller_kernel   two less each way, never below 1

Every substitute works at the convolution's output resolution and keeps its bias, so that of
one convolution

    MACs = positions * weights,    parameters = weights + bias

whichever substitute it has: at given widths one substitute is the cheapest in both. `weights` is
a formula of the channels read and written that falls with neither, so narrowing never costs.
A chain's last vertex keeps the convolution's name, so what reads it need not change. Where one
may stand says `substitution`; which weights make it answer as the convolution did, `fitting`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gensynth.graph.graph import Vertex


class Substitute(Protocol):
    """One way to do a dense convolution's work with less."""

    def refusal(self, conv: Vertex, source: Vertex) -> str | None:
        """Return why it cannot stand for a convolution, or None if it can."""
        ...

    def weights(self, kernel: Any, read: Any, written: Any) -> Any:
        """Return its number of weights; whole numbers or arrays of them, `kernel` a pair."""
        ...

    def chain(self, conv: Vertex, source: Vertex) -> tuple[Vertex, ...]:
        """Return the vertices that take the convolution's place, the last under its name."""
        ...


@dataclass(frozen=True)
class Separable:
    """Channel by channel over the kernel, then over channels."""

    def refusal(self, conv: Vertex, source: Vertex) -> str | None:
        """Return None: any kernel will do."""
        return None

    def weights(self, kernel: Any, read: Any, written: Any) -> Any:
        """Return area * read + read * written."""
        return read * (kernel[0] * kernel[1] + written)

    def chain(self, conv: Vertex, source: Vertex) -> tuple[Vertex, ...]:
        """Return a depthwise and a pointwise convolution."""
        read, written = source.shape[0], conv.shape[0]
        area = tuple(conv.attributes["kernel"])
        each = _part(conv, "depthwise", conv.inputs, read, (read, 1, *area), groups=read)
        return each, _last(conv, "pointwise", (each.name,), (written, read, 1, 1), **POINTWISE)


@dataclass(frozen=True)
class Grouped:
    """As many groups as asked; zero channels are read, and surplus ones dropped, to fill them."""

    groups: int

    def refusal(self, conv: Vertex, source: Vertex) -> str | None:
        """Return why it cannot stand for a convolution, or None if it can."""
        if min(source.shape[0], conv.shape[0]) < self.groups:
            return f"it has fewer than {self.groups} channels"
        return None

    def weights(self, kernel: Any, read: Any, written: Any) -> Any:
        """Return area * groups * ceil(read / groups) * ceil(written / groups)."""
        each = _ceil(read, self.groups) * _ceil(written, self.groups)
        return kernel[0] * kernel[1] * self.groups * each

    def chain(self, conv: Vertex, source: Vertex) -> tuple[Vertex, ...]:
        """Return a grouped convolution, between a padding and a slice where need be."""
        read, written = source.shape[0], conv.shape[0]
        each_read, each_written = _ceil(read, self.groups), _ceil(written, self.groups)
        full_read, full_written = self.groups * each_read, self.groups * each_written
        shape = (full_written, each_read, *conv.attributes["kernel"])
        chain: list[Vertex] = []
        inputs = conv.inputs
        if full_read > read:
            missing = {"before": 0, "after": full_read - read}
            name = f"{conv.name}.pad"
            chain.append(
                Vertex(name, "pad_channels", inputs, missing, (full_read, *source.shape[1:]))
            )
            inputs = (name,)
        if full_written == written:
            return *chain, _last(conv, "grouped", inputs, shape, groups=self.groups)
        chain.append(_part(conv, "grouped", inputs, full_written, shape, groups=self.groups))
        kept = {"start": 0, "stop": written}
        cut = Vertex(conv.name, "slice", (chain[-1].name,), kept, conv.shape)
        if "bias" not in conv.tensors:
            return *chain, cut
        cut = replace(cut, name=f"{conv.name}.cut")
        module = f"{conv.name}.shift"
        shift = Vertex(
            conv.name, "shift", (cut.name,), {}, conv.shape, {"bias": (written,)}, module
        )
        return *chain, cut, shift


@dataclass(frozen=True)
class LowRank:
    """Down the columns to few channels, then along the rows."""

    divisor: int

    def refusal(self, conv: Vertex, source: Vertex) -> str | None:
        """Return why it cannot stand for a convolution, or None if it can."""
        if min(conv.attributes["kernel"]) == 1:
            return "its kernel is a row or a column already"
        if source.shape[2] != conv.shape[2]:
            return "it changes the width of the image, so a column would be done at the old one"
        return None

    def weights(self, kernel: Any, read: Any, written: Any) -> Any:
        """Return height * read * rank + width * rank * written."""
        return inner_channels(read, written, self.divisor) * (
            kernel[0] * read + kernel[1] * written
        )

    def chain(self, conv: Vertex, source: Vertex) -> tuple[Vertex, ...]:
        """Return a convolution by columns and one by rows."""
        read, written = source.shape[0], conv.shape[0]
        rank = inner_channels(read, written, self.divisor)
        height, width = conv.attributes["kernel"]
        down = {name: [conv.attributes[name][0], rest] for name, rest in _ALONG.items()}
        along = {name: [rest, conv.attributes[name][1]] for name, rest in _ALONG.items()}
        shape = (rank, read, height, 1)
        first = _part(conv, "columns", conv.inputs, rank, shape, kernel=[height, 1], **down)
        shape = (written, rank, 1, width)
        return first, _last(conv, "rows", (first.name,), shape, kernel=[1, width], **along)


@dataclass(frozen=True)
class Bottleneck:
    """The kernel to few channels, then over these."""

    divisor: int

    def refusal(self, conv: Vertex, source: Vertex) -> str | None:
        """Return None: any kernel will do."""
        return None

    def weights(self, kernel: Any, read: Any, written: Any) -> Any:
        """Return area * read * rank + rank * written."""
        return inner_channels(read, written, self.divisor) * (
            kernel[0] * kernel[1] * read + written
        )

    def chain(self, conv: Vertex, source: Vertex) -> tuple[Vertex, ...]:
        """Return a narrower convolution and a pointwise one."""
        read, written = source.shape[0], conv.shape[0]
        rank = inner_channels(read, written, self.divisor)
        shape = (rank, read, *conv.attributes["kernel"])
        first = _part(conv, "reduce", conv.inputs, rank, shape)
        return first, _last(conv, "expand", (first.name,), (written, rank, 1, 1), **POINTWISE)


@dataclass(frozen=True)
class SmallerKernel:
    """The kernel's middle."""

    def refusal(self, conv: Vertex, source: Vertex) -> str | None:
        """Return why it cannot stand for a convolution, or None if it can."""
        ring = zip(*(conv.attributes[a] for a in ("kernel", "padding", "dilation")), strict=True)
        for size, padding, dilation in ring:
            if size == 2:
                return "its kernel has no middle"
            if size > 2 and padding < dilation:
                return "its padding is less than the ring that would go"
        return None

    def weights(self, kernel: Any, read: Any, written: Any) -> Any:
        """Return (height - 2) * (width - 2) * read * written."""
        height, width = (np.maximum(size - 2, 1) for size in kernel)
        return height * width * read * written

    def chain(self, conv: Vertex, source: Vertex) -> tuple[Vertex, ...]:
        """Return the same convolution with less kernel and less padding."""
        old, paddings, dilations = (
            conv.attributes[name] for name in ("kernel", "padding", "dilation")
        )
        kernel = [max(size - 2, 1) for size in old]
        padding = [
            p - d * (size - less) // 2
            for p, d, size, less in zip(paddings, dilations, old, kernel, strict=True)
        ]
        shape = (conv.shape[0], source.shape[0], *kernel)
        return (_last(conv, "middle", conv.inputs, shape, kernel=kernel, padding=padding),)


SUBSTITUTES: Mapping[str, Substitute] = {
    "separable": Separable(),
    "grouped_2": Grouped(2),
    "grouped_4": Grouped(4),
    "low_rank_2": LowRank(2),
    "low_rank_4": LowRank(4),
    "bottleneck_2": Bottleneck(2),
    "bottleneck_4": Bottleneck(4),
    "smaller_kernel": SmallerKernel(),
}


POINTWISE = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}


_ALONG = {"stride": 1, "padding": 0, "dilation": 1}
"""What a convolution by rows has across them, and one by columns along them."""


def inner_channels(read: Any, written: Any, divisor: int) -> Any:
    """Return ceil(min(read, written) / divisor): the width between a chain's two convolutions."""
    least = np.minimum(read, written)
    return _ceil(int(least) if least.ndim == 0 else least, divisor)


def _ceil(channels: Any, parts: int) -> Any:
    return -(-channels // parts)


def _part(
    conv: Vertex,
    part: str,
    inputs: tuple[str, ...],
    channels: int,
    weight: tuple[int, ...],
    **attributes: Any,
) -> Vertex:
    """Return a convolution without a bias; what is not said is as in the dense one."""
    name = f"{conv.name}.{part}"
    shape = (channels, *conv.shape[1:])
    own = {**conv.attributes, **attributes}
    return Vertex(name, "conv", inputs, own, shape, {"weight": weight}, module=name)


def _last(
    conv: Vertex, part: str, inputs: tuple[str, ...], weight: tuple[int, ...], **attributes: Any
) -> Vertex:
    """Return the convolution that ends a chain: it has the dense one's name and bias."""
    own = _part(conv, part, inputs, conv.shape[0], weight, **attributes)
    bias = {"bias": conv.tensors["bias"]} if "bias" in conv.tensors else {}
    return replace(own, name=conv.name, tensors={"weight": weight, **bias})
