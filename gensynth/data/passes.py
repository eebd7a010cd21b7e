"""How many images are looked at together: as large ones as fill the memory, or all that are asked.

images_a_pass      go through a network at a time
images_in_memory   go through a network at a time, by what it keeps of each
parts_of_a_step    that a training step's images go through a network in, where memory is short
images_looked_at   are enough, where some stand for a split: fewer of large ones, which have
more positions each
"""

import math
from collections.abc import Sequence

PIXELS_A_PASS = 2**21
"""Of all images of one pass through a network, so that what it computes fits in memory."""

BYTES_A_PASS = 2**31
"""That the activations of one pass may fill."""

TRAINED_SHARE = 3
"""What part of the memory a training step may fill with what it keeps: a third."""

PIXELS_LOOKED_AT = 2**23
"""Of some images that stand for a split."""


def images_a_pass(shape: Sequence[int], most: int) -> int:
    """Return how many images go through a network at a time, from 4 to `most`.

    Args:
        shape: of one, (channels, height, width); what is no image has one position.
        most: of images of any size.
    """
    return min(most, max(4, PIXELS_A_PASS // math.prod(shape[1:])))


def images_in_memory(elements: int, most: int) -> int:
    """Return how many images go through a network at a time, from 1 to `most`.

    Args:
        elements: float32 numbers that are alive at once, of one image.
        most: images in any case.
    """
    return min(most, max(1, BYTES_A_PASS // (4 * elements)))


def parts_of_a_step(elements: int, batch: int, memory_bytes: int | None) -> int:
    """Return in how many parts, one after the other, a training step's images go through a network.

    In as few as let what is kept for the gradients of one part fill no more than a third of the
    memory: the rest is for weights, images, and what computing takes for a moment.

    Args:
        elements: float32 numbers that are kept of one image.
        batch: images of the step.
        memory_bytes: that there are; None sets no bound.

    Example:
        >>> parts_of_a_step(2**20, 128, 2**30), parts_of_a_step(2**20, 128, 2**34)
        (2, 1)
    """
    if memory_bytes is None:
        return 1
    fit = memory_bytes // TRAINED_SHARE // (4 * elements)
    return -(-batch // min(batch, max(1, fit)))


def images_looked_at(shape: Sequence[int], most: int) -> int:
    """Return how many images stand for a split, from 16 to `most`.

    Example:
        >>> images_looked_at((3, 32, 32), 512), images_looked_at((3, 360, 480), 512)
        (512, 48)
    """
    return min(most, max(16, PIXELS_LOOKED_AT // math.prod(shape[1:])))
