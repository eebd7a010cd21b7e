"""Five networks as people write them, for square images of 32 pixels; three have no norms.

    stack        the tutorial's: four convolutions with norms
    residual     blocks written in forward, with functions in place of modules
    lenet        two convolutions and three layers; no norms
    vgg          six convolutions between poolings, dropout before the head; no norms
    separable    depthwise and pointwise convolutions with PReLU; no norms

Nothing in here knows gensynth, and weights are torch's own first ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def stack(classes: int, channels: int) -> nn.Module:
    """Four convolutions with norms."""

    def layer(read: int, written: int, stride: int = 1) -> nn.Module:
        conv = nn.Conv2d(read, written, 3, stride, 1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(written), nn.ReLU())

    body = [layer(channels, 16), layer(16, 32, 2), layer(32, 64, 2), layer(64, 64)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


class Block(nn.Module):
    """Two convolutions beside a way past them."""

    def __init__(self, read: int, written: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(read, written, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(written)
        self.conv2 = nn.Conv2d(written, written, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(written)
        self.shortcut = nn.Conv2d(read, written, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, read, height, width) -> (batch, written, height / stride, width / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu(out)


class Residual(nn.Module):
    """Five blocks."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.ModuleList(
            Block(*shape) for shape in ((16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2))
        )
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, classes)."""
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        x = F.adaptive_avg_pool2d(x, 1)
        return self.fc(x.view(x.size(0), -1))


def residual(**kwargs: int) -> nn.Module:
    """Blocks written in forward."""
    return Residual(**kwargs)


class LeNet(nn.Module):
    """Two convolutions and three layers."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, 32, 32) -> (batch, classes)."""
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


lenet = LeNet


def vgg(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Six convolutions between poolings."""
    layers: list[nn.Module] = []
    for width in (16, 32, 64):
        layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        in_channels = width
    head = [
        nn.Linear(64 * 16, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(128, num_classes),
    ]
    return nn.Sequential(*layers, nn.Flatten(), *head)


def separable(n_classes: int, in_chans: int = 3) -> nn.Module:
    """Depthwise and pointwise convolutions with PReLU."""
    layers: list[nn.Module] = [nn.Conv2d(in_chans, 16, 3, padding=1), nn.PReLU(16)]
    for read, written, stride in ((16, 32, 2), (32, 64, 1), (64, 64, 2)):
        layers += [nn.Conv2d(read, read, 3, stride, 1, groups=read), nn.Conv2d(read, written, 1)]
        layers += [nn.PReLU(written)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, n_classes))
