"""What the convolutions of a network read: mean and covariance of their patches.

A patch is what one answer is made of: the kernel's window on the input, zeros of the padding
included. Places are taken evenly over images and positions, so the moments follow from the
images alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gensynth.graph import Vertex
from gensynth.network import Network

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
    parts: dict[str, list[tuple[Tensor, Tensor, int]]] = defaultdict(list)
    for part in torch.split(images, CHUNK):
        for edge, value in network.observe(part, edges).items():
            rows = _rows(edges[edge], value, share=len(part) / len(images))
            sums = rows.sum(0).double().cpu(), (rows.T @ rows).double().cpu(), len(rows)
            parts[edge[1]].append(sums)
    found = {}
    for name, sums_of_parts in parts.items():
        first, second, counts = zip(*sums_of_parts, strict=True)
        mean = torch.stack(first).sum(0) / sum(counts)
        square = torch.stack(second).sum(0) / sum(counts)
        found[name] = Patches(mean, square - torch.outer(mean, mean))
    return found


def _rows(conv: Vertex, value: Tensor, share: float) -> Tensor:
    """Return (rows, d) patches at places spread evenly over the images."""
    names = ("kernel", "dilation", "padding", "stride")
    unfolded = F.unfold(value, *(tuple(conv.attributes[name]) for name in names))
    rows = unfolded.transpose(1, 2).flatten(0, 1)  # (images * places, d)
    every = max(1, round(len(rows) / max(1.0, share * ROWS)))
    return rows[every // 2 :: every]
