"""Randomness without state: every draw is a function of what it is for.

A run never carries a random generator from one step to the next. Each use asks for
the stream of (seed, purpose, indices), so that resuming, replaying or spreading the
work over processes gives the same draws as running straight through.
"""

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return the random generator of one purpose.

        key = first 128 bits of SHA-256("seed/purpose/index/index...")

    and the generator is Philox with that key, a counter-based generator whose output
    is the same on every platform (Salmon et al., "Parallel random numbers: as easy
    as 1, 2, 3", SC 2011).

    Args:
        seed: the seed of the run, or of one network.
        purpose: a word that names the use, such as "views"; two purposes never share draws.
        indices: cycle, epoch, or whatever else tells two uses apart.
    """
    path = "/".join([str(int(seed)), purpose, *(str(int(i)) for i in indices)])
    digest = hashlib.sha256(path.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
