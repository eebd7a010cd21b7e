"""The generator's parameters theta_G, and the randomness of one seed.

Both are kept in fixed point, so that every machine compares and rounds alike. What they
mean for a network stands in `generator`.
"""

import functools
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gensynth.randomness import stream
from gensynth.space.space import Space

GRID = 2.0**-20
"""Fixed point in which parameters and gains are kept, so that every machine compares equal."""

NEAR_TIE = 0.1
"""Spread of a seed's noise on log-saliency: channels closer than this change places."""


@dataclass(frozen=True)
class Theta:
    """The generator's parameters theta_G, the shared weights left out.

    Attributes:
        u: for each group, the log-saliency of its channels in nats.
        offset: (groups,) log-gain of each group relative to its channels' saliency.
        block: (blocks,) log-gain of each removable block.
        directions: (groups + blocks + sites + substitutes, d) how a seed's d normal draws tilt the
            log-gains.
        direction_scale: (d,) log-scale of each direction: how far the seeds of a family lie apart.
        sharpness: how much a channel's saliency counts: 0 not at all, 1 in full.
        curvature: exponent of diminishing returns in relative width.
        budget: (mean, spread) of the seed's log cost: the geometric mean of parameters and
            MACs relative to the prototype, in nats; the mean is at most 0. Spread 0 and
            mean 0 leave the limits alone to decide.
        at_site: (sites, substitutes) log of what each substitute is estimated to lose where
            it would stand, in the order of `Space.sites`; empty where a run allows none.
        everywhere: (substitutes,) what is added to it wherever the substitute stands.

    Log-saliency is rounded to the grid whoever makes the parameters: in memory are the very
    numbers that a generator's file holds.
    """

    u: tuple[np.ndarray, ...]
    offset: np.ndarray
    block: np.ndarray
    directions: np.ndarray
    direction_scale: np.ndarray
    sharpness: float = 1.0
    curvature: float = 1.0
    budget: tuple[float, float] = (0.0, 0.0)
    at_site: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    everywhere: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "u", tuple(grid(values) for values in self.u))

    def vector(self) -> np.ndarray:
        """Return all that a search may change but saliency and directions, as one vector."""
        scalars = np.array([self.sharpness, self.curvature, self.budget[0]])
        parts = [self.offset, self.block, self.everywhere, self.direction_scale, scalars]
        return np.concatenate(parts)

    def with_vector(self, vector: np.ndarray) -> "Theta":
        """Return these parameters with `vector` in place of what `vector()` gives."""
        ends = np.cumsum([len(self.offset), len(self.block), len(self.everywhere)])
        offset, block, everywhere, tilt = np.split(vector[:-3], ends)
        return replace(
            self,
            offset=grid(offset),
            block=grid(block),
            everywhere=grid(everywhere),
            direction_scale=grid(np.clip(tilt, -4.0, 1.0)),
            sharpness=float(grid(np.clip(vector[-3], 0.0, 3.0))),
            curvature=float(grid(np.clip(vector[-2], 0.0, 4.0))),
            budget=(float(grid(np.minimum(vector[-1], 0.0))), self.budget[1]),
        )


def initial_theta(
    space: Space,
    u: tuple[np.ndarray, ...],
    block_gain: np.ndarray,
    *,
    seed: int,
    directions: int,
    spread: float,
    budget: tuple[float, float],
    substitute_loss: np.ndarray | None = None,
) -> Theta:
    """Return theta_G,0 from the probe's responses of the prototype.

    Args:
        space: the networks to express.
        u: log-saliency of every channel, in nats.
        block_gain: (blocks,) information that each block carries, in nats.
        seed: of the run; the directions are drawn from it.
        directions: how many independent draws tilt a network.
        spread: standard deviation of the tilt of one log-gain.
        budget: mean and spread of the log cost.
        substitute_loss: (sites, substitutes) information that each substitute loses, in nats;
            None where the space has no sites.
    """
    sites, substitutes = len(space.sites), len(space.sites.substitutes)
    if substitute_loss is None:
        substitute_loss = np.ones((sites, substitutes))
    rows = len(space.sizes) + len(space.coupling.blocks) + sites + substitutes
    normal = stream(seed, "directions").standard_normal((rows, directions))
    return Theta(
        u=u,
        offset=np.zeros(len(space.sizes)),
        block=grid(np.log(np.maximum(block_gain, 1e-6))),
        directions=grid(normal * spread / np.sqrt(directions)),
        direction_scale=np.zeros(directions),
        budget=budget,
        at_site=grid(np.log(np.maximum(substitute_loss, 1e-6))),
        everywhere=np.zeros(substitutes),
    )


@dataclass(frozen=True)
class Draw:
    """A seed's randomness.

    Attributes:
        xi: (d,) normal; how far the network leans along each direction.
        noise: (channels of all groups,) on log-saliency; it settles near-ties.
        budget: normal, cut off at 2; how much the network may cost within the spread.
    """

    xi: np.ndarray
    noise: np.ndarray
    budget: float


def draw(theta: Theta, seed: int) -> Draw:
    """Return all randomness of one network; no two networks share a draw."""
    return _drawn(seed, theta.directions.shape[1], sum(len(u) for u in theta.u))


@functools.lru_cache(maxsize=4096)
def _drawn(seed: int, directions: int, channels: int) -> Draw:
    random = stream(seed, "network")
    xi = random.standard_normal(directions)
    budget = float(np.clip(random.standard_normal(), -2.0, 2.0))
    noise = NEAR_TIE * random.standard_normal(channels)
    return Draw(xi, noise, budget)


def grid(values: npt.ArrayLike) -> np.ndarray:
    """Round to fixed point."""
    return np.round(np.asarray(values) / GRID) * GRID
