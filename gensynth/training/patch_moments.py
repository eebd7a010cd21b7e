"""What the convolutions of a network read: mean and covariance of their patches.

A patch is what one answer is made of: the kernel's window on the input, zeros of the padding
included. Places are taken evenly over images and positions, so the moments follow from the
images alone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gensynth.graph.graph import Vertex
from gensynth.network.module import Network

ROWS = 2**13
"""Patches of one convolution whose moments are taken, at most, spread over images and places."""

CHUNK = 32
"""Images unfolded at a time."""


@dataclass(frozen=True)
class Patches:
    """What one convolution reads, float64 on the processor; d entries: channel, row, column.

    Attributes:
        mean: (d,).
        covariance: (d, d).
    """

    mean: Tensor
    covariance: Tensor


@torch.no_grad()
def patches(network: Network, images: Tensor, names: Iterable[str]) -> dict[str, Patches]:
    """Return what some convolutions of a network read from images.

    Args:
        network: in evaluation mode.
        images: (n, channels, height, width), normalised, on the network's device.
        names: of the convolutions.
    """
    edges = {(network.graph[name].inputs[0], name): network.graph[name] for name in names}
    counts: Counter[str] = Counter()
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    for part in torch.split(images, CHUNK):
        for edge, value in network.observe(part, edges).items():
            rows = _rows(edges[edge], value, share=len(part) / len(images))
            first, second = rows.sum(0).double().cpu(), (rows.T @ rows).double().cpu()
            name = edge[1]
            sums[name] = sums[name] + first if name in sums else first
            squares[name] = squares[name].add_(second) if name in squares else second
            counts[name] += len(rows)
    found = {}
    for name, count in counts.items():
        mean = sums[name] / count
        found[name] = Patches(mean, squares.pop(name) / count - torch.outer(mean, mean))
    return found


def _rows(conv: Vertex, value: Tensor, share: float) -> Tensor:
    """Return (rows, d) patches at places spread evenly over the images."""
    a = conv.attributes
    top, left = a["padding"]
    windows = F.pad(value, (left, left, top, top))
    for axis in (2, 3):  # a view: of large images, all patches together are many times the value
        size, apart, step = (a[name][axis - 2] for name in ("kernel", "dilation", "stride"))
        windows = windows.unfold(axis, apart * (size - 1) + 1, step)[..., ::apart]
    count, _, high, wide = windows.shape[:4]
    places = count * high * wide
    every = max(1, round(places / max(1.0, share * ROWS)))
    at = torch.arange(every // 2, places, every, device=value.device)
    image, row, column = at // (high * wide), at // wide % high, at % wide
    return windows[image, :, row, column].flatten(1)
