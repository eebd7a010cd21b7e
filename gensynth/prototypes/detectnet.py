"""DetectNet for detection: GoogLeNet without its classes, and two heads on a grid of stride 16.

(Tao et al., "DetectNet: Deep neural network for object detection in DIGITS", 2016.)

    stem         7x7 convolution of stride 2, max pooling; 1x1 and 3x3 convolutions, max pooling
    inception    3a 3b, max pooling, 4a to 4e, 5a 5b: stride 16, for the pooling before 5a is left
                 out (Szegedy et al., arXiv:1409.4842, table 1, gives the widths)
    heads        two 1x1 convolutions: coverage (classes), corners (4), see
                 `gensynth.tasks.detectnet`

Three things differ from DIGITS, because here the network is trained from nothing: every
convolution but the heads has a batch norm, in place of the local response norm; all widths are
multiplied by `width`; and the coverage is given as logits, whose sigmoid the task takes.
"""

import torch
import torch.nn.functional as F
from torch import nn

# 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pooled and projected.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED_AFTER = "3b"


class Inception(nn.Module):
    """Four branches side by side, one of each size of window."""

    def __init__(self, width_in: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = widths
        self.one = convolution(width_in, one, 1)
        self.three = nn.Sequential(
            convolution(width_in, reduce3, 1), convolution(reduce3, three, 3)
        )
        self.five = nn.Sequential(convolution(width_in, reduce5, 1), convolution(reduce5, five, 5))
        self.pooled = convolution(width_in, pooled, 1)
        self.width = one + three + five + pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) -> (batch, width, h, w)."""
        pooled = self.pooled(F.max_pool2d(x, 3, 1, 1))
        return torch.cat([self.one(x), self.three(x), self.five(x), pooled], dim=1)


class DetectNet(nn.Module):
    """DetectNet of any width and depth."""

    def __init__(
        self,
        *,
        width: float = 0.5,
        inceptions: tuple[str, ...] = tuple(INCEPTIONS),
        classes: int = 1,
        channels: int = 3,
    ) -> None:
        """Make it untrained.

        Args:
            width: by which all of GoogLeNet's widths are multiplied; 1 is DIGITS' own.
            inceptions: of `INCEPTIONS`, in order; the grid is pooled after the last of stage 3.
            classes: of objects.
            channels: of an image.
        """
        super().__init__()

        def scaled(count: int) -> int:
            return max(4, round(width * count))

        self.conv1 = convolution(channels, scaled(64), 7, stride=2)
        self.reduce2 = convolution(scaled(64), scaled(64), 1)
        self.conv2 = convolution(scaled(64), scaled(192), 3)
        self.blocks = nn.ModuleDict()
        width_in = scaled(192)
        for name in inceptions:
            one, reduce3, three, reduce5, five, pooled = map(scaled, INCEPTIONS[name])
            block = Inception(width_in, (one, reduce3, three, reduce5, five, pooled))
            self.blocks[name] = block
            width_in = block.width
        fine = [name for name in inceptions if name <= POOLED_AFTER]
        self.last_fine = fine[-1] if fine else ""
        self.coverage = nn.Conv2d(width_in, classes, 1)
        self.corners = nn.Conv2d(width_in, 4, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.coverage.weight, std=0.01)
        nn.init.normal_(self.corners.weight, std=0.01)
        if self.coverage.bias is not None:
            # Most cells show nothing, and the slope of the squares must not vanish.
            nn.init.constant_(self.coverage.bias, -2.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, channels, h, w) -> coverage logits and corners on a grid of h / 16 by w / 16."""
        x = F.max_pool2d(self.conv1(x), 3, 2, 1)
        x = F.max_pool2d(self.conv2(self.reduce2(x)), 3, 2, 1)
        for name, block in self.blocks.items():
            x = block(x)
            if name == self.last_fine:
                x = F.max_pool2d(x, 3, 2, 1)
        return self.coverage(x), self.corners(x)


def convolution(width_in: int, width: int, side: int, stride: int = 1) -> nn.Sequential:
    """Make a convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def detectnet(classes: int = 1, channels: int = 3) -> DetectNet:
    """DetectNet of half of GoogLeNet's widths."""
    return DetectNet(classes=classes, channels=channels)
