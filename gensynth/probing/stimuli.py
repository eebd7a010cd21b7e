"""Which training images the probe shows to every network of a run.

As many of every stratum (a class, where the task tells classes) as of any other; half of them
drawn at random, the other half those on which the prototype hesitates most, because there a lost
channel first changes an answer.
"""

import numpy as np

from gensynth.randomness import stream

POOL = 4
"""Images looked at for one that is chosen."""


def pool(count: int, images: int, seed: int) -> np.ndarray:
    """Return which of `images` training images are looked at: at most POOL * count places."""
    order: np.ndarray = stream(seed, "stimuli").permutation(images)
    return order[: POOL * count]


def choose(strata: np.ndarray, margin: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the places of the stimuli within their pool, in random order.

    Args:
        strata: (pool,) kinds of images.
        margin: (pool,) how sure the prototype is of its answer.
        count: stimuli wanted; the whole pool if it holds no more.
        seed: of the run, for the order.

    Returns:
        (count,) distinct places. Every stratum gives its equal share, rounded down, the first
        half of them as they stand in the pool, then its smallest margins; what strata lack
        and rounding leaves is filled up with the smallest margins of all.
    """
    kinds = np.unique(strata)
    quota = count // len(kinds)
    chosen = np.zeros(len(strata), bool)
    for kind in kinds:
        members = np.flatnonzero(strata == kind)
        chosen[members[: quota // 2]] = True
        rest = members[quota // 2 :]
        chosen[rest[margin[rest].argsort(kind="stable")][: quota - quota // 2]] = True
    rest = np.flatnonzero(~chosen)
    chosen[rest[margin[rest].argsort(kind="stable")][: max(0, count - int(chosen.sum()))]] = True
    places: np.ndarray = stream(seed, "stimuli order").permutation(np.flatnonzero(chosen))
    return places
