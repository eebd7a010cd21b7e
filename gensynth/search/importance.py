"""What responses teach: the information of every channel and block, and how it grows.

The prototype's responses come first. Every generated network then tells what its channels
are worth where fewer are left. Nothing here sees an accuracy.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from gensynth.probing.probe import Responses
from gensynth.space.points import Points
from gensynth.space.space import Space

FLOOR_NATS = 1e-5
"""Least information of a channel: below it, the draw of the stimuli decides."""

LEARNING_RATE = 0.1
"""Share of a network's new responses in the consolidated information."""

CURVE_WEIGHT = 4.0
"""How many networks' worth of evidence the first curvature stands for."""


@dataclass(frozen=True)
class Importance:
    """What responses taught: theta_I without the regression, which follows from it.

    Attributes:
        channel_nats: for each group (size,) the information of its channels.
        block_nats: (blocks,) the information of the residual branches.
        effective_rank: (groups,) of what each group carries in the prototype.
        curvature: exponent by which a channel's information grows as its group shrinks.
        networks: how many networks have taught it, the prototype included.
        substitute_nats: (sites, substitutes) the information that each substitute loses at each
            convolution of `Space.sites`; empty where a run allows none.
    """

    channel_nats: tuple[np.ndarray, ...]
    block_nats: np.ndarray
    effective_rank: np.ndarray
    curvature: float
    networks: int = 1
    substitute_nats: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def log_saliency(self) -> tuple[np.ndarray, ...]:
        """Return u: the log information of every channel, in nats, with a floor."""
        return tuple(np.log(np.maximum(nats, FLOOR_NATS)) for nats in self.channel_nats)


def first_importance(responses: Responses) -> Importance:
    """Return the importance of the prototype's own responses."""
    return Importance(
        channel_nats=tuple(np.nan_to_num(nats) for nats in responses.channel_nats),
        block_nats=np.nan_to_num(responses.block_nats),
        effective_rank=np.nan_to_num(responses.effective_rank, nan=1.0),
        curvature=1.0,
    )


def consolidate(
    importance: Importance, space: Space, points: Points, responses: Responses
) -> Importance:
    """Return the importance after one generated network's responses.

    In a narrower network every channel carries more. With r = n_g / k_g,

        log I_network[c] = log I[c] + curvature * log r_g + level + rest

    is solved for curvature and level by least squares over the groups; the rest, what
    this network says of a channel beyond being narrow, moves the channel's information by
    the share `LEARNING_RATE`. Channels that the network does not have stay as they are.

    Args:
        importance: so far.
        space: of the prototype.
        points: one point, the network that answered.
        responses: its.
    """
    known = importance.log_saliency()
    seen = [np.log(np.maximum(nats, FLOOR_NATS)) for nats in responses.channel_nats]
    present = [np.isfinite(values) for values in seen]
    groups = [g for g, mask in enumerate(present) if mask.any()]
    if not groups:
        return importance
    shrink = np.array([np.log(space.sizes[g] / points.widths[0, g]) for g in groups])
    shift = np.array([(seen[g] - known[g])[present[g]].mean() for g in groups])
    centred = shrink - shrink.mean()
    evidence = float(centred @ centred)
    # A ridge toward the curvature so far: a network that is narrow everywhere tells little.
    weight = CURVE_WEIGHT * importance.networks / 10
    curvature = float(
        np.clip((centred @ shift + weight * importance.curvature) / (evidence + weight), 0.0, 3.0)
    )
    level = float((shift - curvature * shrink).mean())
    updated = []
    for g, nats in enumerate(importance.channel_nats):
        values = nats.copy()
        if present[g].any():
            at = present[g]
            expected = seen[g][at] - curvature * np.log(space.sizes[g] / points.widths[0, g])
            moved = (1 - LEARNING_RATE) * known[g][at] + LEARNING_RATE * (expected - level)
            values[at] = np.exp(moved)
        updated.append(values)
    alive = np.isfinite(responses.block_nats)
    scale = np.exp(-level)
    blocks = importance.block_nats.copy()
    blocks[alive] += LEARNING_RATE * (scale * responses.block_nats[alive] - blocks[alive])
    return replace(
        importance,
        channel_nats=tuple(updated),
        block_nats=blocks,
        curvature=curvature,
        networks=importance.networks + 1,
    )
