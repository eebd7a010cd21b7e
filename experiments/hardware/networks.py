"""The networks whose public measurements on a Jetson TX2 are compared with estimates.

    cell_network   NAS-Bench-201's: 15 cells of 4 nodes, C = 16 (Dong and Yang, ICLR 2020)
    fbnet_parts    FBNet's as HW-NAS-Bench tabulates it: a stem, 22 blocks, a head, each by itself
    cnv, perceptron, resnet50   QuTiBench's

Layers, strides and widths follow the code of github.com/GATECH-EIC/HW-NAS-Bench (MIT) and, for
QuTiBench, the parameters and operations in its table of topologies.
"""

from collections.abc import Sequence

import torch
from torch import nn

_POOL, _ONE, _THREE, _SKIP = "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3", "skip_connect"
Edges = tuple[tuple[tuple[str, int], ...], ...]
CELLS: tuple[Edges, ...] = (
    (((_POOL, 0),), ((_ONE, 0), (_SKIP, 1)), ((_ONE, 0), (_SKIP, 1), (_SKIP, 2))),
    (((_THREE, 0),), ((_THREE, 0), (_POOL, 1)), ((_SKIP, 0), (_THREE, 1), (_SKIP, 2))),
    (((_POOL, 0),), ((_THREE, 0), (_THREE, 1)), ((_POOL, 0), (_POOL, 1), (_POOL, 2))),
)
"""Architectures 0, 1 and 2 of NAS-Bench-201: (operator, source) for each edge of each node."""


def _relu_conv(read: int, written: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(read, written, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(written),
    )


class Cell(nn.Module):
    """A directed graph of four nodes; each is the sum of operators of earlier ones."""

    def __init__(self, edges: Edges, width: int) -> None:
        super().__init__()
        self.edges = edges
        self.operators = nn.ModuleList(
            _operator(name, width) for node in self.edges for name, _ in node
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, h, w) -> the same, with as many channels as it writes."""
        nodes, operators = [x], iter(self.operators)
        for node in self.edges:
            terms = [next(operators)(nodes[source]) for _, source in node]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            nodes.append(total)
        return nodes[-1]


def _operator(name: str, width: int) -> nn.Module:
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    if name == "skip_connect":
        return nn.Identity()
    return _relu_conv(width, width, int(name[-1]))


class Reduction(nn.Module):
    """The residual block between stages."""

    def __init__(self, read: int, written: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_relu_conv(read, written, 3, 2), _relu_conv(written, written, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(read, written, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, h, w) -> the same, with as many channels as it writes."""
        return self.shortcut(x) + self.body(x)


def cell_network(edges: Edges, classes: int, width: int = 16, cells: int = 5) -> nn.Module:
    """Return a network of NAS-Bench-201."""
    parts: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)]
    for stage in range(3):
        if stage:
            parts.append(Reduction(width, 2 * width))
            width *= 2
        parts += [Cell(edges, width) for _ in range(cells)]
    return nn.Sequential(
        *parts, nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, classes),
    )  # fmt: skip


class Shuffle(nn.Module):
    """Channels of two groups in turn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, h, w) -> the same, with as many channels as it writes."""
        n, c, h, w = x.shape
        parts = x.reshape(n, self.groups, c // self.groups, h, w)
        return parts.permute(0, 2, 1, 3, 4).reshape(n, c, h, w)


class Block(nn.Module):
    """FBNet's inverted bottleneck k3_e1: 1x1, depthwise 3x3, 1x1."""

    def __init__(self, read: int, written: int, stride: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(read, read, 1, groups=groups, bias=False)
        self.norm1 = nn.BatchNorm2d(read)
        self.shuffle = Shuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise = nn.Conv2d(read, read, 3, stride, 1, groups=read, bias=False)
        self.norm2 = nn.BatchNorm2d(read)
        self.last = nn.Conv2d(read, written, 1, groups=groups, bias=False)
        self.norm3 = nn.BatchNorm2d(written)
        self.residual = read == written and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, h, w) -> the same, with as many channels as it writes."""
        y = torch.relu(self.norm1(self.first(x)))
        y = torch.relu(self.norm2(self.depthwise(self.shuffle(y))))
        y = self.norm3(self.last(y))
        return x + y if self.residual else y


Part = tuple[nn.Module, tuple[int, int, int]]


def fbnet_parts(groups: Sequence[int], size: int, classes: int) -> list[Part]:
    """Return FBNet's parts with what each reads: (channels, height, width).

    Args:
        groups: of the 22 blocks' 1x1 convolutions: 1 is k3_e1, 2 is k3_e1_g2.
        size: of the image: 32, or 224 with the strides for that.
        classes: of the classifier.
    """
    small = size == 32
    strides = [1, 1 if small else 2, 2, 2, 1, 2, 1]
    head = 1504 if small else 1984
    stem = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1 if small else 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    )
    parts: list[Part] = [(stem, (3, size, size))]
    size, width, left = size if small else size // 2, 16, iter(groups)
    for stage, (count, written) in enumerate(
        zip((1, 4, 4, 4, 4, 4, 1), (16, 24, 32, 64, 112, 184, 352), strict=True)
    ):
        for place in range(count):
            stride = strides[stage] if place == 0 else 1
            parts.append((Block(width, written, stride, next(left)), (width, size, size)))
            size, width = size // stride, written
    last = nn.Sequential(nn.Conv2d(width, head, 1, bias=False), nn.BatchNorm2d(head), nn.ReLU())
    parts.append((last, (width, size, size)))
    parts.append((nn.AdaptiveAvgPool2d(1), (head, size, size)))
    parts.append((nn.Sequential(nn.Flatten(), nn.Linear(head, classes)), (head, 1, 1)))
    return parts


def _conv(read: int, written: int, kernel: int, stride: int = 1, pad: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(read, written, kernel, stride, pad, bias=False),
        nn.BatchNorm2d(written),
        nn.ReLU(),
    )


def cnv(width: int) -> nn.Module:
    """Return QuTiBench's CNV for 32x32: 3x3 convolutions without padding, three linear layers.

    Width 128 has 6,157,696 weights and 469,449,728 operations, as its table says.
    """
    a, b, c = width, 2 * width, 4 * width
    return nn.Sequential(
        _conv(3, a, 3), _conv(a, a, 3), nn.MaxPool2d(2), _conv(a, b, 3), _conv(b, b, 3),
        nn.MaxPool2d(2), _conv(b, c, 3), _conv(c, c, 3), nn.Flatten(),
        nn.Linear(c, 8 * width), nn.ReLU(), nn.Linear(8 * width, 8 * width), nn.ReLU(),
        nn.Linear(8 * width, 10),
    )  # fmt: skip


def perceptron(width: int) -> nn.Module:
    """Return QuTiBench's MLP for 28x28; width 2048 has 10,014,720 weights, as its table says."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10),
    )  # fmt: skip


class Bottleneck(nn.Module):
    """ResNet-50's block, with the stride in its first convolution (version 1)."""

    def __init__(self, read: int, width: int, stride: int) -> None:
        super().__init__()
        written = 4 * width
        self.body = nn.Sequential(
            _conv(read, width, 1, stride), _conv(width, width, 3, 1, 1),
            nn.Conv2d(width, written, 1, bias=False), nn.BatchNorm2d(written),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if read != written:
            self.shortcut = nn.Sequential(
                nn.Conv2d(read, written, 1, stride, bias=False), nn.BatchNorm2d(written)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, h, w) -> the same, with as many channels as it writes."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """Return ResNet-50 for 224x224 (He et al., 2015)."""
    parts: list[nn.Module] = [_conv(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    read = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        for place in range(count):
            width = 64 * 2**stage
            parts.append(Bottleneck(read, width, 2 if stage and not place else 1))
            read = 4 * width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(read, 1000))
