"""Residual networks at CIFAR size (He et al., arXiv:1512.03385, section 4.2).

Depth 6n + 2: a 3x3 stem, three stages of n basic blocks, global average pooling and one
linear layer. The shortcut where a stage begins is a 1x1 convolution with batch norm
(option B): ResNet-20 then has 272,474 parameters and 40,813,184 MACs at 32x32.
"""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) -> (batch, width, h / stride, w / stride)."""
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.shortcut(x))


class ResNet(nn.Module):
    """A CIFAR residual network of any depth 6n + 2 and any three widths."""

    def __init__(
        self,
        *,
        blocks: int,
        widths: tuple[int, int, int] = (16, 32, 64),
        classes: int = 10,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        stages = []
        width_in = widths[0]
        for number, width in enumerate(widths):
            stage = []
            for index in range(blocks):
                stride = 2 if number > 0 and index == 0 else 1
                stage.append(BasicBlock(width_in, width, stride))
                width_in = width
            stages.append(nn.Sequential(*stage))
        self.stage1, self.stage2, self.stage3 = stages
        self.fc = nn.Linear(width_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> (batch, classes), logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        x = F.adaptive_avg_pool2d(x, 1)
        return self.fc(torch.flatten(x, 1))


def resnet8(classes: int = 10, channels: int = 3) -> ResNet:
    """ResNet-8: one block a stage."""
    return ResNet(blocks=1, classes=classes, channels=channels)


def resnet20(classes: int = 10, channels: int = 3) -> ResNet:
    """ResNet-20: three blocks a stage."""
    return ResNet(blocks=3, classes=classes, channels=channels)


def resnet32(classes: int = 10, channels: int = 3) -> ResNet:
    """ResNet-32: five blocks a stage."""
    return ResNet(blocks=5, classes=classes, channels=channels)


def resnet56(classes: int = 10, channels: int = 3) -> ResNet:
    """ResNet-56: nine blocks a stage."""
    return ResNet(blocks=9, classes=classes, channels=channels)
