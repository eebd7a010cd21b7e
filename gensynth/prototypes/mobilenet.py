"""MobileNet at CIFAR size (Howard et al., arXiv:1704.04861, table 1).

A 3x3 stem and thirteen depthwise separable convolutions, each a 3x3 depthwise and a 1x1
convolution with batch norm and ReLU after both, then global average pooling and one linear
layer. The widths are the paper's. At 32x32 the stem and the first separable convolution keep
the resolution, so four of the paper's five halvings are left and the last stage is 2x2, as is
usual for these images. MobileNet then has 3,217,226 parameters and 46,354,432 MACs for 10
classes.
"""

import torch
import torch.nn.functional as F
from torch import nn

STEM = 32
SEPARABLE = (
    (64, 1),
    (128, 2), (128, 1),
    (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
"""Width and stride of each depthwise separable convolution."""


class Separable(nn.Module):
    """A 3x3 convolution within each channel, then a 1x1 convolution across them."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width_in, width_in, 3, stride, 1, groups=width_in, bias=False)
        self.bn1 = nn.BatchNorm2d(width_in)
        self.pointwise = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) -> (batch, width, h / stride, w / stride)."""
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class MobileNet(nn.Module):
    """MobileNet v1 of the paper's widths."""

    def __init__(self, *, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STEM, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        layers = []
        width_in = STEM
        for width, stride in SEPARABLE:
            layers.append(Separable(width_in, width, stride))
            width_in = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(width_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # By what it reads: torch's fan_out takes a depthwise kernel for a dense one.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> (batch, classes), logits."""
        x = self.features(F.relu(self.bn1(self.conv1(x))))
        x = F.adaptive_avg_pool2d(x, 1)
        return self.fc(torch.flatten(x, 1))


def mobilenet(classes: int = 10, channels: int = 3) -> MobileNet:
    """MobileNet v1, width multiplier 1."""
    return MobileNet(classes=classes, channels=channels)
