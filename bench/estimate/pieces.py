"""What stands for a convolution as convolutions again, for many pairs of channels at a time.

The chains are those of `gensynth.space.substitutes`, of which tests compare them with the graphs.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gensynth.bench.estimate.convolutions import DENSE, DEPTHWISE, GROUPED, POINTWISE, Image
from gensynth.space.substitutes import (
    SUBSTITUTES,
    Bottleneck,
    Grouped,
    LowRank,
    Separable,
    SmallerKernel,
    inner_channels,
)


@dataclass(frozen=True)
class Piece:
    """A convolution of a chain.

    Attributes:
        image: apart from channels.
        read, written, groups: (pairs,) or one number for all.
        is_depthwise: whether it has a group a channel.
        padded, cut: (pairs,) bool, where zero channels are put before it, surplus ones dropped
            behind it.
    """

    image: Image
    read: np.ndarray
    written: np.ndarray
    groups: Any = 1
    is_depthwise: bool = False
    padded: Any = False
    cut: Any = False

    @property
    def form(self) -> str:
        """Which of the four forms it has."""
        if self.is_depthwise:
            return DEPTHWISE
        if np.ndim(self.groups) == 0 and self.groups == 1:
            return POINTWISE if self.image.kernel == (1, 1) else DENSE
        return GROUPED


def pieces(
    image: Image, groups: int, substitute: str, read: np.ndarray, written: np.ndarray
) -> list[Piece]:
    """Return the chain of a convolution, from its input to its output.

    Args:
        image: of the convolution.
        groups: its groups; 0 for one a channel.
        substitute: that stands for it; "" for itself.
        read, written: (pairs,) channels.
    """
    if not substitute:
        return [Piece(image, read, written, groups or read, is_depthwise=groups == 0)]
    after = replace(image, source=image.height * image.width, kernel=(1, 1), stride=1)
    match SUBSTITUTES[substitute]:
        case Separable():
            return [Piece(image, read, read, read, is_depthwise=True), Piece(after, read, written)]
        case Grouped(count):
            full_read, full = (-(-channels // count) * count for channels in (read, written))
            return [
                Piece(image, full_read, full, count, padded=full_read > read, cut=full > written)
            ]
        case LowRank(divisor):
            rank = inner_channels(read, written, divisor)
            height, width = image.kernel
            down = replace(image, kernel=(height, 1))
            along = replace(after, kernel=(1, width))
            return [Piece(down, read, rank), Piece(along, rank, written)]
        case Bottleneck(divisor):
            rank = inner_channels(read, written, divisor)
            return [Piece(image, read, rank), Piece(after, rank, written)]
        case SmallerKernel():
            height, width = (max(size - 2, 1) for size in image.kernel)
            return [Piece(replace(image, kernel=(height, width)), read, written)]
    raise ValueError(f"no chain is known of {substitute!r}")
