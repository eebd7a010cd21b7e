"""Networks that cut height and width, turn them round, or make channels of them.

Each is written the way people write it; all take (batch, 3, 16, 16).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks.families import Head, conv_bn


class Focus(nn.Module):
    """YOLOv5's: four images of every second pixel as channels of one of half the size."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv = conv_bn(4 * width_in, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        return self.conv(torch.cat(parts, 1))


class FocusYolo(nn.Module):
    """A stem of Focus, a residual block, Focus again on channels that can go, two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.focus, self.again = Focus(3, 8), Focus(8, 12)
        self.a, self.b = conv_bn(8, 6, 1), conv_bn(6, 8)
        self.near, self.far = nn.Conv2d(8, 6, 1), nn.Conv2d(12, 6, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.focus(x)
        x = x + self.b(self.a(x))
        return self.near(x), self.far(self.again(x))


class FactorizedReduce(nn.Module):
    """As in DARTS: the second convolution reads the pixels that the first one skips."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(width_in, width // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(width_in, width // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))


class Reduced(nn.Module):
    """A cell of NAS: a reduced sum of a convolution and what it read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv_bn(3, 8), conv_bn(8, 8)
        self.reduce, self.last = FactorizedReduce(8, 12), conv_bn(12, 6)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.last(self.reduce(x + self.body(x))))


class ValidUNet(nn.Module):
    """The first U-Net: no padding, and the fine image is cut to the size of the coarse one."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3)
        self.up = nn.ConvTranspose2d(12, 8, 2, stride=2)
        self.merge, self.out = nn.Conv2d(16, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.down1(x))
        x = self.up(F.relu(self.down2(F.max_pool2d(fine, 2))))
        height, width = x.shape[2:]
        top, left = (fine.shape[2] - height) // 2, (fine.shape[3] - width) // 2
        fine = fine[:, :, top : top + height, left : left + width]
        return self.out(F.relu(self.merge(torch.cat([fine, x], dim=1))))


class SubPixel(nn.Module):
    """Super-resolution: squares of pixels become channels, and channels become squares again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv_bn(12, 8), conv_bn(8, 8)
        self.widen, self.narrow = nn.Conv2d(8, 24, 3, padding=1), conv_bn(6, 8)
        self.reorganised, self.out = conv_bn(32, 12), nn.Conv2d(12, 12, 1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(x, 2))
        x = self.narrow(self.shuffle(self.widen(x + self.body(x))))
        b, c, h, w = x.shape  # YOLO v2's reorg, whose order of channels is another
        x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return self.shuffle(self.out(self.reorganised(x.reshape(b, 4 * c, h // 2, w // 2))))


class Turned(nn.Module):
    """An image and its mirror image by one convolution, then a shift that goes round."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.last = conv_bn(3, 8), conv_bn(8, 8), conv_bn(8, 6)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.shared(x) + self.shared(x.flip(3)).flip(3)
        rolled = torch.roll(x, shifts=(-2, 3), dims=(2, 3))
        return self.head(self.last(rolled[:, :, :-1] * x[:, :, 1:]))


CROPPED: dict[str, Callable[[], nn.Module]] = {
    "focus_yolo": FocusYolo,
    "factorized_reduce": Reduced,
    "valid_unet": ValidUNet,
    "sub_pixel": SubPixel,
    "turned": Turned,
}
