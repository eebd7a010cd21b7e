"""Further families, whose channels are coupled in ways that are easy to get wrong.

Beside the ones in `tests.networks.families`: what couples channels here is a module applied
three times, a product over positions, an addition that is the output, one parameter of several
layers.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.space.coupling import Coupling, couple
from gensynth.trace import trace
from tests.networks.cropped import CROPPED
from tests.networks.dense_answers import (
    SSD,
    Decoupled,
    DeepLab,
    detectnet,
    refinenet,
    small_detector,
)
from tests.networks.families import Head, conv_bn, make, ready


class ShuffleV1(nn.Module):
    """ShuffleNet v1: grouped pointwise, shuffle, depthwise, grouped pointwise, added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 12)
        self.reduce, self.expand = conv_bn(12, 6, 1, groups=3), nn.Conv2d(6, 12, 1, groups=3)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.reduce(x)
        b, c, h, w = y.shape
        y = y.view(b, 3, c // 3, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.head(F.relu(x + self.expand(self.depthwise(y))))


class Separable(nn.Module):
    """MobileNet v1, with a depth multiplier of two."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_bn(3, 6), conv_bn(6, 12, groups=6), conv_bn(12, 8, 1), conv_bn(8, 8, groups=8)
        )
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Parallel(nn.Module):
    """Branches that are added to one another, one of them residual in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.a, self.b = conv_bn(8, 8), conv_bn(8, 8, 1)
        self.inner, self.outer = conv_bn(8, 8), conv_bn(8, 8, 1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.outer(x)
        y = y + self.inner(y)
        return self.head(self.a(x) + self.b(x) + x + y)


class SpatialAttention(nn.Module):
    """One map, made by a convolution to one channel, times all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attend, self.last = conv_bn(3, 8), nn.Conv2d(8, 1, 3, 1, 1), conv_bn(8, 6)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.last(x * torch.sigmoid(self.attend(x))))


class OneActivation(nn.Module):
    """One PReLU for every width, per-channel constants and scales on channels that can go."""

    fixed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 10, 3)
        self.relu = nn.PReLU()
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, 6).view(1, 6, 1, 1))
        self.beta = nn.Parameter(torch.linspace(-1, 1, 10).view(10, 1, 1))
        self.register_buffer("fixed", torch.linspace(1, 2, 6).view(1, 6, 1, 1))
        self.head = Head(10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a(x)) * self.gamma + self.fixed
        return self.head(self.relu(self.b(x)) + self.beta)


class Upsampler(nn.Module):
    """Transposed convolutions: dense, grouped, depthwise with a multiplier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, stride=2)
        self.dense = nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1)
        self.grouped = nn.ConvTranspose2d(6, 9, 2, groups=3)
        self.depthwise = nn.ConvTranspose2d(9, 18, 2, groups=9)
        self.out = nn.Conv2d(18, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.depthwise(F.relu(self.grouped(F.relu(self.dense(self.stem(x)))))))


class Recurrent(nn.Module):
    """A residual block that is called three times, its norms too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.branch = nn.Sequential(conv_bn(8, 6), nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = F.relu(x + self.branch(x))
        return self.head(x)


class Denoiser(nn.Module):
    """A residual image: the addition is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(3, 8), conv_bn(8, 8), nn.Conv2d(8, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Tied(nn.Module):
    """One kernel of two convolutions and a transposed one, one mean of two norms.

    The last layer stands in the module that the first one stands in, so that what is read first
    is not what is found first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends = nn.ModuleList([conv_bn(3, 8), nn.ConvTranspose2d(6, 8, 3, padding=1)])
        self.inner, self.again = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.again.weight = self.ends[1].weight = self.inner.weight
        self.bn2.running_mean = self.bn1.running_mean
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.ends[0](x)
        y = F.relu(self.bn1(self.inner(x)) + self.bn2(self.again(x)))
        return self.head(F.relu(self.ends[1](y)))


FURTHER: dict[str, Callable[[], nn.Module]] = {
    "shuffle_v1": ShuffleV1,
    "separable": Separable,
    "parallel": Parallel,
    "spatial_attention": SpatialAttention,
    "one_activation": OneActivation,
    "upsampler": Upsampler,
    "recurrent": Recurrent,
    "denoiser": Denoiser,
    "tied": Tied,
    "deeplab": DeepLab,
    "ssd": SSD,
    "decoupled": Decoupled,
    "refinenet": refinenet,
    "detectnet": detectnet,
    "small_detector": small_detector,
}


def make_any(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a network of any family and images, as `tests.networks.families.ready` makes them."""
    known = FURTHER | CROPPED
    return ready(known[name]) if name in known else make(name)


def family(name: str) -> tuple[nn.Module, tuple[Tensor, ...], Coupling]:
    """Return a network of a family in float64, two images and its coupling."""
    module, images = make_any(name)
    doubled = tuple(x[:2].double() for x in images)
    module = module.double()
    return module, doubled, couple(trace(module, doubled, name=name))
