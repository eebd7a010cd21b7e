"""How many images are looked at together: as large ones as fill the memory, or all that are asked.

images_a_pass      go through a network at a time
images_in_memory   go through a network at a time, by what it keeps of each
images_looked_at   are enough, where some stand for a split: fewer of large ones, which have
more positions each
"""

import math
from collections.abc import Sequence

PIXELS_A_PASS = 2**21
"""Of all images of one pass through a network, so that what it computes fits in memory."""

BYTES_A_PASS = 2**31
"""That the activations of one pass may fill."""

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


def images_looked_at(shape: Sequence[int], most: int) -> int:
    """Return how many images stand for a split, from 16 to `most`.

    Example:
        >>> images_looked_at((3, 32, 32), 512), images_looked_at((3, 360, 480), 512)
        (512, 48)
    """
    return min(most, max(16, PIXELS_LOOKED_AT // math.prod(shape[1:])))
