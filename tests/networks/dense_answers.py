"""Networks that answer at many places of an image: dilated, pyramids, several scales."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.prototypes.detectnet import DetectNet
from gensynth.prototypes.refinenet import RefineNet
from gensynth.prototypes.small_detector import SmallDetector
from tests.networks.families import conv_bn


class DeepLab(nn.Module):
    """Dilated convolutions side by side and the whole image's mean, enlarged to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, stride=2)
        self.body = conv_bn(8, 12, stride=2)
        self.rates = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(12, 6, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(6),
                nn.ReLU(),
            )
            for rate in (1, 2, 3)
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 6, 1), nn.ReLU())
        self.project = conv_bn(24, 8)
        self.fine = conv_bn(8, 4)
        self.head = nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Give three logits a pixel."""
        fine = self.stem(x)
        coarse = self.body(fine)
        mean = F.interpolate(self.pooled(coarse), size=coarse.shape[-2:], mode="nearest")
        context = self.project(torch.cat([*(rate(coarse) for rate in self.rates), mean], 1))
        context = F.interpolate(context, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        logits = self.head(torch.cat([context, self.fine(fine)], 1))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Joined(nn.Module):
    """Maps of several scales as rows of one answer: (batch, places, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, *maps: Tensor) -> Tensor:
        """Order by scale, then by row and column."""
        rows = [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.width) for x in maps]
        return torch.cat(rows, 1)


class SSD(nn.Module):
    """Classes and boxes at three scales, put one after the other."""

    def __init__(self, classes: int = 3, boxes: int = 2) -> None:
        super().__init__()
        widths = (8, 12, 10)
        self.stem = conv_bn(3, widths[0], stride=2)
        self.down = nn.ModuleList(conv_bn(a, b, stride=2) for a, b in itertools.pairwise(widths))
        self.scores = nn.ModuleList(nn.Conv2d(w, boxes * classes, 3, padding=1) for w in widths)
        self.offsets = nn.ModuleList(nn.Conv2d(w, boxes * 4, 3, padding=1) for w in widths)
        self.all_scores, self.all_offsets = Joined(classes), Joined(4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give (batch, places, classes) scores and (batch, places, 4) offsets."""
        scales = [self.stem(x)]
        for layer in self.down:
            scales.append(layer(scales[-1]))
        scores = [score(scale) for score, scale in zip(self.scores, scales, strict=True)]
        offsets = [offset(scale) for offset, scale in zip(self.offsets, scales, strict=True)]
        return self.all_scores(*scores), self.all_offsets(*offsets)


class Decoupled(nn.Module):
    """Three scales from a pyramid, class and box heads apart, maps as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, stride=2)
        self.down1, self.down2 = conv_bn(8, 12, stride=2), conv_bn(12, 10, stride=2)
        self.lateral = nn.ModuleList(nn.Conv2d(w, 8, 1) for w in (8, 12, 10))
        self.classes = nn.ModuleList(
            nn.Sequential(conv_bn(8, 6), nn.Conv2d(6, 3, 1)) for _ in "abc"
        )
        self.boxes = nn.ModuleList(nn.Sequential(conv_bn(8, 6), nn.Conv2d(6, 4, 1)) for _ in "abc")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give class and box maps of each scale, the finest first."""
        fine = self.stem(x)
        middle = self.down1(fine)
        coarse = self.down2(middle)
        tops = [self.lateral[2](coarse)]
        for lateral, scale in ((self.lateral[1], middle), (self.lateral[0], fine)):
            tops.insert(0, lateral(scale) + F.interpolate(tops[0], size=scale.shape[-2:]))
        pairs = zip(tops, self.classes, self.boxes, strict=True)
        return tuple(answer for top, a, b in pairs for answer in (a(top), b(top)))


def detectnet() -> DetectNet:
    """DetectNet, a tenth as wide."""
    return DetectNet(width=0.1, inceptions=("3a", "4a"), classes=2)


def small_detector() -> SmallDetector:
    """The small detector, smaller."""
    return SmallDetector(widths=(6, 8, 10), neck=6, bins=4, scales=2, classes=2)


def refinenet() -> RefineNet:
    """RefineNet, as narrow as its form allows."""
    return RefineNet(blocks=(1, 1, 1, 1), widths=(6, 8, 8, 10), width=6, classes=3)
