"""The networks that are measured before the first cycle: as unlike each other as a few can be.

The first are spread over the whole space: small and large, with and without each block and
substitute, at widths on and off the hardware's blocks. They need no training, since what a
network takes does not hang on what it has learned.
"""

import numpy as np

from gensynth.randomness import stream
from gensynth.space.points import Point, Points
from gensynth.space.space import Space

COUNT = 12
_FEWER_BLOCKS, _SUBSTITUTED = 0.3, 0.4
_STEPS = (1, 4, 8, 16)
_ROUNDS = 4


def diverse(space: Space, seed: int, count: int = COUNT) -> Points:
    """Return different networks of a space, at most so many, the same for the same seed.

    Each has a common share of the widths, evenly spaced over the networks, and every group its own
    departure from it; widths are brought to multiples of 1, 4, 8 or 16 in turn, as far as a group
    has four of them and the space's own step allows.
    """
    random = stream(seed, "first measured")
    found: dict[Point, None] = {}
    for _ in range(_ROUNDS):  # a small space may draw the same network twice, or have no more
        drawn = space.canonical(_drawn(space, random, count))
        found |= dict.fromkeys(drawn[index] for index in range(count))
    return space.points(list(found)[:count])


def _drawn(space: Space, random: np.random.Generator, count: int) -> Points:
    shares = (random.permutation(count) + random.random(count)) / count  # one in each part
    widths = np.empty((count, len(space.sizes)), np.int64)
    for number, share in enumerate(shares):
        own = np.clip(share + 0.2 * random.standard_normal(len(space.sizes)), 0.05, 1.0)
        most = np.maximum(space.sizes // 4, 1)
        step = np.maximum(np.minimum(_STEPS[number % len(_STEPS)], most), space.round_to)
        aligned = np.maximum(1, np.rint(own * space.sizes / step)).astype(np.int64) * step
        widths[number] = np.clip(aligned, space.floors, space.sizes)
    kept = random.random((count, len(space.coupling.blocks))) >= _FEWER_BLOCKS
    if not len(space.sites):
        return Points(widths, kept)
    scores = random.random((count, *space.sites.allowed.shape))
    scores[:, :, 0] += (1 - _SUBSTITUTED) * random.random(count)[:, None] * 2
    chosen = np.where(space.sites.allowed, scores, -1.0).argmax(axis=2)
    gone = (~kept[:, None, :] & space.site_owners).any(axis=2)
    return Points(widths, kept, np.where(gone, 0, chosen).astype(np.int8))
