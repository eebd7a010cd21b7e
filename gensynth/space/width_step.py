"""How many channels a width changes by at a time, and why so many.

A runtime computes convolutions in blocks of channels: a width between two blocks costs what the
next block costs, and often a conversion of the layout on top. oneDNN, which trains on a
processor, has the same blocks, so the search is faster too. docs/algorithm.md has the figures.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FINE_STEP = 4
"""Where estimates know what a width between two blocks costs: the least that formats have."""

USUAL_BLOCK = 8
"""Of a machine whose runtime has no blocks: what most vector units and formats are made of."""

LEAST_BLOCKS = 2
"""That half of the groups have at least: a step as wide as its group leaves no choice."""


@dataclass(frozen=True)
class WidthStep:
    """A step of widths.

    Attributes:
        channels: that are kept or removed together.
        why: in words.
    """

    channels: int
    why: str


def width_step(
    sizes: Sequence[int], *, block: int | None, asked: int | None = None, why: str | None = None
) -> WidthStep:
    """Return the step that suits a machine and a network.

    The machine's block, halved until half of the groups have at least `LEAST_BLOCKS` of it.

    Args:
        sizes: channels of every group.
        block: channels that the machine's runtime computes at once; None if it has no blocks.
        asked: what the run file says; None leaves the choice to this function.
        why: this block; None for that of the machine at hand.

    Example:
        >>> width_step([16, 32, 64], block=16).channels, width_step([8, 8, 16], block=16).channels
        (16, 4)
    """
    if asked is not None:
        return WidthStep(asked, "the run file says so")
    if why is None:
        why = f"ONNX Runtime computes convolutions in blocks of {block} on this processor"
    if block is None:
        block, why = USUAL_BLOCK, "the usual block, since ONNX Runtime has none on this processor"
    channels, middle = block, statistics.median(sizes) if sizes else 1
    while channels > 1 and middle < LEAST_BLOCKS * channels:
        channels //= 2
    if channels < block:
        why += f", but half of the groups have at most {middle:g} channels"
    return WidthStep(channels, why)
