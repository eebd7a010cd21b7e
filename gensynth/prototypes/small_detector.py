"""A small anchor-free detector of three scales, for tests, documents and boards.

    body     five stages of stride 2, each a 3x3 convolution and residual blocks
    neck     from coarse to fine: enlarged, joined with the finer features, 3x3 convolution
    heads    decoupled, of every scale its own: 3x3 convolution and 1x1, once for the classes and
             once for the four sides, each a distribution over `bins` distances in cells

Its maps, of strides 8, 16 and 32 by default, are what `gensynth.tasks.anchor_free` reads:
logits and sides of the finest scale first. Boxes are decoded outside of it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from gensynth.prototypes.detectnet import convolution

BELIEF = 0.01
"""That a cell shows an object, before anything is learned."""


class Residual(nn.Module):
    """Two 3x3 convolutions beside nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = convolution(width, width, 3), convolution(width, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, h, w) -> the same shape."""
        return x + self.second(self.first(x))


class SmallDetector(nn.Module):
    """An anchor-free detector of any widths."""

    def __init__(
        self,
        *,
        widths: tuple[int, ...] = (16, 32, 64, 96, 128),
        blocks: int = 1,
        neck: int = 48,
        bins: int = 8,
        scales: int = 3,
        classes: int = 1,
        channels: int = 3,
    ) -> None:
        """Make it untrained.

        Args:
            widths: of the body's stages, each of half the resolution of the one before.
            blocks: residual blocks of each stage but the first.
            neck: width of neck and heads.
            bins: distances that a side is a distribution over, 0 to bins - 1 cells.
            scales: how many of the last stages have heads.
            classes: of objects.
            channels: of an image.
        """
        super().__init__()
        stages = []
        width_in = channels
        for place, width in enumerate(widths):
            rest = [Residual(width) for _ in range(blocks if place else 0)]
            stages.append(nn.Sequential(convolution(width_in, width, 3, stride=2), *rest))
            width_in = width
        self.stages = nn.ModuleList(stages)
        kept = widths[-scales:]
        self.lateral = nn.ModuleList(convolution(width, neck, 1) for width in kept)
        self.merge = nn.ModuleList(convolution(2 * neck, neck, 3) for _ in kept[1:])
        self.classes = nn.ModuleList(head(neck, classes) for _ in kept)
        self.sides = nn.ModuleList(head(neck, 4 * bins) for _ in kept)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for heads, bias in ((self.classes, -math.log((1 - BELIEF) / BELIEF)), (self.sides, 0.0)):
            for last in (heads.get_submodule(f"{scale}.1") for scale in range(scales)):
                nn.init.normal_(last.get_parameter("weight"), std=0.01)
                nn.init.constant_(last.get_parameter("bias"), bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(batch, channels, h, w) -> logits (batch, classes, rows, columns) and sides, by scale."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        scales = [
            lateral(f)
            for lateral, f in zip(self.lateral, features[-len(self.lateral) :], strict=True)
        ]
        top = scales[-1]
        merged = [top]
        for merge, finer in zip(self.merge, scales[-2::-1], strict=True):
            enlarged = F.interpolate(top, size=finer.shape[2:], mode="nearest")
            top = merge(torch.cat([finer, enlarged], dim=1))
            merged.insert(0, top)
        maps: list[torch.Tensor] = []
        for scale, classes, sides in zip(merged, self.classes, self.sides, strict=True):
            maps += [classes(scale), sides(scale)]
        return tuple(maps)


def head(width: int, answers: int) -> nn.Sequential:
    """Make a 3x3 convolution and the 1x1 that answers."""
    return nn.Sequential(convolution(width, width, 3), nn.Conv2d(width, answers, 1))


def small_detector(classes: int = 1, channels: int = 3) -> SmallDetector:
    """Widths 16 to 128, strides 8, 16 and 32."""
    return SmallDetector(classes=classes, channels=channels)
