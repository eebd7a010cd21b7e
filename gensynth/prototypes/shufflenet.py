"""ShuffleNet v2 at CIFAR size (Ma et al., arXiv:1807.11164, figure 3c-d and table 5).

A 3x3 stem, three stages of 4, 8 and 4 units, a 1x1 convolution to 1024 channels, global
average pooling and one linear layer. A stage's first unit halves the resolution: both of its
branches see all channels. The others split the channels, work on one half and leave the
other; every unit ends in a shuffle of the two. At 32x32 the stem keeps the resolution and the
max pooling after it is left out. With the widths of x0.5 the network then has 352,042
parameters and 10,902,016 MACs for 10 classes.
"""

import torch
import torch.nn.functional as F
from torch import nn

UNITS = (4, 8, 4)
STEM = 24


def shuffle(x: torch.Tensor) -> torch.Tensor:
    """Return the channels of two halves in turns: (batch, channels, h, w), the same shape."""
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width)  # (batch, halves, within, h, w)
    return x.transpose(1, 2).reshape(batch, channels, height, width)


class Branch(nn.Module):
    """A 1x1, a depthwise 3x3 and a 1x1 convolution; ReLU after the first and the last."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) -> (batch, width, h / stride, w / stride)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.depthwise(x))
        return F.relu(self.bn3(self.conv3(x)))


class Unit(nn.Module):
    """One half of the channels is worked on, the other passes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = Branch(width // 2, width // 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, h, w) -> the same shape."""
        left, right = x.chunk(2, dim=1)
        return shuffle(torch.cat((left, self.branch(right)), dim=1))


class Downsample(nn.Module):
    """Two branches that halve the resolution, both of all channels."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width_in, width_in, 3, 2, 1, groups=width_in, bias=False)
        self.bn1 = nn.BatchNorm2d(width_in)
        self.pointwise = nn.Conv2d(width_in, width // 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.branch = Branch(width_in, width // 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) -> (batch, width, h / 2, w / 2)."""
        left = F.relu(self.bn2(self.pointwise(self.bn1(self.depthwise(x)))))
        return shuffle(torch.cat((left, self.branch(x)), dim=1))


class ShuffleNet(nn.Module):
    """ShuffleNet v2 of any even stage widths and any last width."""

    def __init__(
        self,
        *,
        widths: tuple[int, int, int],
        last: int = 1024,
        classes: int = 10,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STEM, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        stages = []
        width_in = STEM
        for width, units in zip(widths, UNITS, strict=True):
            rest = [Unit(width) for _ in range(units - 1)]
            stages.append(nn.Sequential(Downsample(width_in, width), *rest))
            width_in = width
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Conv2d(width_in, last, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(last)
        self.fc = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # By what it reads: torch's fan_out takes a depthwise kernel for a dense one.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> (batch, classes), logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.stage4(self.stage3(self.stage2(x)))
        x = F.relu(self.bn5(self.conv5(x)))
        x = F.adaptive_avg_pool2d(x, 1)
        return self.fc(torch.flatten(x, 1))


def shufflenet(classes: int = 10, channels: int = 3) -> ShuffleNet:
    """ShuffleNet v2 x0.5."""
    return ShuffleNet(widths=(48, 96, 192), classes=classes, channels=channels)
