"""Convolutions as ONNX Runtime computes them on a processor: in which layout, with how much work.

    blocked   NCHWc: channels in blocks of 8 (AVX2) or 16 (AVX-512); rows of blocks are written
    direct    the same, but what is read has fewer channels than a block and stays NCHW
    plain     NCHW, by way of a matrix product

What follows from the widths, for groups = 1:

    read < block                  direct
    read a multiple of 4          blocked
    else                          plain

A grouped convolution is blocked if each group reads and writes whole blocks, a depthwise one if
its channels are a multiple of 4. Everything here takes whole numbers as well as arrays of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gensynth.bench.estimate.columns import Columns

FLOAT = 4
PLAIN, DIRECT, BLOCKED = 0, 1, 2
LAYOUTS = ("plain", "direct", "blocked")
ALIGNED = 4
"""What is read in blocks is a multiple of so many channels; the last block is filled up."""

DENSE, POINTWISE, DEPTHWISE, GROUPED = "conv", "conv 1x1", "depthwise", "grouped"


@dataclass(frozen=True)
class Image:
    """What a convolution reads and writes, apart from channels.

    Attributes:
        batch: images of one run.
        source: positions of an image that is read.
        height, width: of the image that is written.
        kernel: height and width.
        stride: positions that one of the output stands for.
    """

    batch: int
    source: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: int


def form_of(read: int, written: int, groups: int, kernel: tuple[int, int]) -> str:
    """Return which of the four forms a convolution has.

    Args:
        read: channels of the whole input.
        written: channels of the output.
    """
    if groups > 1:
        return DEPTHWISE if groups == read == written else GROUPED
    return POINTWISE if kernel == (1, 1) else DENSE


def layout_of(read: Any, written: Any, groups: Any, block: int | None) -> Any:
    """Return the layout of a convolution: `PLAIN`, `DIRECT` or `BLOCKED`, for each.

    Args:
        read: channels of the whole input.
        written: channels of the output.
        groups: 1 for all where it is a number.
        block: channels of a block; None where the runtime has none.
    """
    if block is None:
        return np.zeros(np.broadcast(read, written).shape, np.int64)[()]
    read, written, groups = np.broadcast_arrays(read, written, groups)
    each_read, each_written = read // groups, written // groups
    dense = np.where(read < block, DIRECT, np.where(read % ALIGNED == 0, BLOCKED, PLAIN))
    whole = (each_read % block == 0) & (each_written % block == 0)
    depthwise = (each_read == 1) & (groups == written) & (written % ALIGNED == 0)
    return np.where(groups == 1, dense, np.where(whole | depthwise, BLOCKED, PLAIN))[()]


def blocks(channels: Any, block: int | None) -> Any:
    """Return channels filled up to whole blocks."""
    return channels if block is None else -(-channels // block) * block


def columns(
    kind: str,
    read: np.ndarray,
    written: np.ndarray,
    groups: np.ndarray,
    image: Image,
    add: bool,
) -> Columns:
    """Return many convolutions of one kind, which differ in their channels.

    Args:
        kind: of all.
        read, written: (kernels,) channels of the whole input and of the output.
        groups: (kernels,).
        image: what they have in common.
        add: whether a sum is fused into them.
    """
    area = image.batch * image.height * image.width * written
    weights = image.kernel[0] * image.kernel[1] * read // groups * written
    source = image.batch * image.source * read
    every = np.ones(len(read))
    return Columns(
        kind,
        (weights * image.batch * image.height * image.width).astype(float),
        (FLOAT * (source + weights + area * (1 + add))).astype(float),
        {
            "batch": every * image.batch,
            "read": read,
            "written": written,
            "height": every * image.height,
            "width": every * image.width,
            "kernel_height": every * image.kernel[0],
            "kernel_width": every * image.kernel[1],
            "stride": every * image.stride,
            "groups": groups,
        },
    )
