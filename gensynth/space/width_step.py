"""How many channels a width changes by at a time, and why so many.

A runtime computes convolutions in blocks of channels: a width between two blocks costs what the
next block costs, and often a conversion of the layout on top. oneDNN, which trains on a
processor, has the same blocks, so the search is faster too. docs/algorithm.md has the figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gensynth.graph.cost import vertex_costs
from gensynth.space.coupling import Coupling
from gensynth.space.space import Space

FINE_STEP = 4
"""Where estimates know what a width between two blocks costs: the least that formats have."""

USUAL_BLOCK = 8
"""Of a machine whose runtime has no blocks: what most vector units and formats are made of."""

LEAST_BLOCKS = 2
"""That groups with most of the MACs have at least: a step as wide as its group leaves no choice."""


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
    sizes: Sequence[int],
    macs: Sequence[int],
    *,
    block: int | None,
    asked: int | None = None,
    why: str | None = None,
) -> WidthStep:
    """Return the step that suits a machine and a network.

    The machine's block, halved until the groups that have at least `LEAST_BLOCKS` of it hold
    more than half of the MACs.

    Args:
        sizes: channels of every group.
        macs: multiply-accumulates of the vertices that write them.
        block: channels that the machine's runtime computes at once; None if it has no blocks.
        asked: what the run file says; None leaves the choice to this function.
        why: this block; None for that of the machine at hand.

    Example:
        >>> width_step([16, 32, 64], [1, 1, 1], block=16).channels
        16
        >>> width_step([6, 16, 120], [4, 2, 1], block=16).channels
        2
    """
    if asked is not None:
        return WidthStep(asked, "the run file says so")
    if why is None:
        why = f"ONNX Runtime computes convolutions in blocks of {block} on this processor"
    if block is None:
        block, why = USUAL_BLOCK, "the usual block, since ONNX Runtime has none on this processor"
    channels = block
    while channels > 1 and 2 * _held(sizes, macs, LEAST_BLOCKS * channels) <= sum(macs):
        channels //= 2
    if channels < block:
        narrow = (size for size in sorted(sizes) if 2 * _held(sizes, macs, size + 1) <= sum(macs))
        why += f", but half of the MACs write at most {next(narrow, 1)} channels"
    return WidthStep(channels, why)


def of_coupling(coupling: Coupling) -> tuple[list[int], list[int]]:
    """Return sizes and MACs of a prototype's groups, as `width_step` takes them."""
    costs, groups = vertex_costs(coupling.graph), coupling.groups
    group_of = {channel: g for g, group in enumerate(groups) for channel in group.channels}
    macs = [0] * len(groups)
    for name, ids in coupling.channel_ids.items():
        for g in {group_of[n] for n in ids.tolist() if n in group_of}:
            macs[g] += costs[name].macs
    if not any(macs):
        macs = [1] * len(groups)
    return [group.size for group in groups], macs


def reaching(
    step: WidthStep, coupling: Coupling, limits: Mapping[str, int], substitutes: tuple[str, ...]
) -> tuple[WidthStep, Space]:
    """Return a step halved until some network keeps all limits on exact costs, and its space.

    Where none does in steps of one channel either, that is what is returned, for the refusal.
    """
    space = Space(coupling, step.channels, substitutes)
    while step.channels > 1 and (beyond := space.beyond_reach(limits)):
        coarse = f"no network in steps of {step.channels} has {beyond} <= {limits[beyond]:,}"
        why = step.why if "no network in steps" in step.why else f"{step.why}; {coarse}"
        step = replace(step, channels=step.channels // 2, why=why)
        space = Space(coupling, step.channels, substitutes)
    return step, space


def _held(sizes: Sequence[int], macs: Sequence[int], least: int) -> int:
    """Return the MACs of groups of at least so many channels."""
    return sum(m for size, m in zip(sizes, macs, strict=True) if size >= least)
