"""Small networks of the families people bring, each written the way people write them.

Every one takes (batch, 3, 16, 16) unless `INPUTS` says otherwise.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.prototypes.resnet import resnet8


def conv_bn(
    width_in: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean([2, 3]))


class PaddedShortcut(nn.Module):
    """ResNet option A: subsampled and zero-padded identity."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.a, self.b = conv_bn(8, 12, stride=2), nn.Conv2d(12, 12, 3, padding=1)
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = self.b(self.a(x))
        x += shortcut
        return self.head(F.relu(x))


class ZeroConcatenatedShortcut(PaddedShortcut):
    """The same, written with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shortcut = F.avg_pool2d(x, 2)
        zeros = torch.zeros(x.size(0), 4, *shortcut.shape[2:], device=x.device)
        return self.head(F.relu(self.b(self.a(x)) + torch.cat((shortcut, zeros), dim=1)))


class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False)
        self.project = nn.Conv2d(8, 16, 1, 2, bias=False)
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.stem(x)))
        out = self.conv2(self.relu(self.bn2(self.conv1(x))))
        return self.head(out + self.project(x))


class Bottleneck(nn.Module):
    """ResNeXt: grouped bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 16)
        self.branch = nn.Sequential(
            conv_bn(16, 8, 1), conv_bn(8, 8, 3, groups=2), nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)
        )
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.relu(torch.add(self.branch(x), x)))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(8 + 4 * i),
                nn.ReLU(),
                nn.Conv2d(8 + 4 * i, 4, 3, padding=1),
                nn.Dropout(0.1),
            )
            for i in range(3)
        )
        self.transition = nn.Sequential(nn.BatchNorm2d(20), nn.Conv2d(20, 10, 1), nn.AvgPool2d(2))
        self.head = Head(10)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.head(self.transition(torch.cat(features, 1)))


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.one, self.three = conv_bn(8, 4, 1), nn.Sequential(conv_bn(8, 4, 1), conv_bn(4, 6))
        self.tall = nn.Conv2d(8, 4, (3, 1), padding=(1, 0))
        self.pool = conv_bn(8, 2, 1)
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(x), 3, stride=2, padding=1)
        pooled = self.pool(F.max_pool2d(x, kernel_size=3, stride=1, padding=1))
        branches = [self.one(x), self.three(x), F.leaky_relu(self.tall(x), 0.1), pooled]
        return self.head(torch.cat(branches, dim=1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = conv_bn(3, 8), conv_bn(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge = conv_bn(16, 8)
        self.out = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        coarse = self.down2(F.max_pool2d(fine, 2))
        x = self.merge(torch.cat([self.up(coarse), fine], dim=1))
        return F.interpolate(self.out(x), scale_factor=2, mode="bilinear", align_corners=False)


class SqueezeExcite(nn.Module):
    """MobileNet v3: inverted residual with squeeze-excite of linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1), nn.BatchNorm2d(24), nn.ReLU6())
        self.depthwise = nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False)
        self.reduce, self.excite = nn.Linear(24, 6), nn.Linear(6, 24)
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1), nn.BatchNorm2d(8))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depthwise(self.expand(x))
        b, c, _, _ = y.size()
        gate = F.adaptive_avg_pool2d(y, 1).view(b, c)
        gate = F.hardsigmoid(self.excite(F.relu(self.reduce(gate)))).view(b, c, 1, 1)
        y = y * gate.expand_as(y)
        x = x + self.project(y)
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, (1, 1)))


class ConvSqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.SiLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid()
        )
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x.mul(self.gate(x)))


class Shuffle(nn.Module):
    """ShuffleNet v2: split, work on one half, concatenate, shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.branch = nn.Sequential(
            conv_bn(4, 4, 1),
            nn.Conv2d(4, 4, 3, 1, 1, groups=4),
            nn.BatchNorm2d(4),
            conv_bn(4, 4, 1),
        )
        self.last = conv_bn(8, 12, 1)
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            left, right = x.chunk(2, dim=1)
            x = self.shuffle(torch.cat((left, self.branch(right)), dim=1), 2)
        return self.head(self.last(x))

    @staticmethod
    def shuffle(x: Tensor, groups: int) -> Tensor:
        batch, channels, height, width = x.size()
        x = x.view(batch, groups, channels // groups, height, width)
        x = torch.transpose(x, 1, 2).contiguous()
        return x.view(batch, -1, height, width)


class DualPath(nn.Module):
    """A residual part that is added beside a dense part that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 12)
        self.blocks = nn.ModuleList([conv_bn(12, 12), conv_bn(16, 12)])
        self.head = Head(20)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        added, grown = x[:, :8], x[:, 8:]
        for block in self.blocks:
            out = block(torch.cat([added, grown], 1))
            added = added + out[:, :8]
            grown = torch.cat([grown, out[:, 8:]], 1)
        return self.head(F.relu(torch.cat([added, grown], 1)))


class Plain(nn.Module):
    """VGG: flatten with spatial multiplicity, dropout, padding by name."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5, padding="same"),
            nn.ELU(),
            nn.MaxPool2d(4, ceil_mode=True),
            nn.Conv2d(6, 8, 3, padding=2, dilation=2),
            nn.PReLU(8),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(8 * 2 * 2, 12), nn.Tanh(), nn.Dropout(), nn.Linear(12, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Norms(nn.Module):
    """Group norm, layer norm, per-channel scales, constants, GELU."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.group = nn.GroupNorm(4, 8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.layer = nn.LayerNorm([8, 16, 16])
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, 8))
        self.beta = nn.Parameter(torch.linspace(-1, 1, 8).view(1, 8, 1, 1))
        self.strength = nn.Parameter(torch.tensor([0.7]))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) * 2 / 4
        x = F.gelu(self.group(self.conv(x)))
        y = self.layer(self.pointwise(x)) * self.gamma.view(1, -1, 1, 1) + self.beta
        return F.softmax(self.head(1 - y - x * self.strength), dim=1)


class SharedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = conv_bn(3, 8), nn.Conv2d(8, 8, 3, padding=1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.again(F.relu(self.again(self.stem(x))))))


class SeveralInputsAndOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = conv_bn(3, 8), conv_bn(1, 8)
        self.joined = conv_bn(8, 8)
        self.a, self.b = Head(8), nn.Conv2d(8, 2, 1)

    def forward(
        self, image: Tensor, depth: Tensor, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        x = self.left(image) + self.right(depth)
        if mask is not None:
            x = x * mask
        x = self.joined(x)
        return {"label": self.a(x), "map": self.b(x)}


class Pyramid(nn.Module):
    """Pooling pyramid, resized with Python that depends on shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.levels = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(3))
        self.head = nn.Conv2d(20, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        levels = [x]
        for size, conv in zip((1, 2, 4), self.levels, strict=True):
            if size <= x.shape[-1]:
                level = conv(F.adaptive_avg_pool2d(x, size))
                levels.append(F.interpolate(level, size=x.shape[-2:], mode="nearest"))
        return self.head(torch.cat(levels, 1))


class Attention(nn.Module):
    """One head of attention over pixels: no word for it, so it stays as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(width, 3 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).flatten(2).chunk(3, dim=1)
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(c), dim=-1)
        return x + (v @ weights.transpose(1, 2)).view(b, c, h, w)


class WithAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attention, self.head = conv_bn(3, 8), Attention(8), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(self.stem(x)))


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "resnet": resnet8,
    "padded_shortcut": PaddedShortcut,
    "zero_concatenated_shortcut": ZeroConcatenatedShortcut,
    "pre_activation": PreActivation,
    "bottleneck": Bottleneck,
    "dense": Dense,
    "inception": Inception,
    "unet": UNet,
    "squeeze_excite": SqueezeExcite,
    "conv_squeeze_excite": ConvSqueezeExcite,
    "shuffle": Shuffle,
    "dual_path": DualPath,
    "plain": Plain,
    "norms": Norms,
    "shared_module": SharedModule,
    "several_inputs_and_outputs": SeveralInputsAndOutputs,
    "pyramid": Pyramid,
    "with_attention": WithAttention,
}

IMAGE = (3, 16, 16)

INPUTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "several_inputs_and_outputs": (IMAGE, (1, 16, 16)),
}
"""Shapes of one image of each input, where it is not `IMAGE` alone."""


def make(family: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a network of a family and images, as `ready` makes them."""
    return ready(FAMILIES[family], INPUTS.get(family, (IMAGE,)))


def ready(
    create: Callable[[], nn.Module], shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a network in evaluation mode, its statistics off zero, and images."""
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = create()
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.uniform_(-0.5, 0.5, generator=generator)  # type: ignore[union-attr]
            child.running_var.uniform_(0.5, 2.0, generator=generator)  # type: ignore[union-attr]
            nn.init.uniform_(child.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(child.bias, -0.5, 0.5, generator=generator)
    images = tuple(torch.randn(3, *shape, generator=generator) for shape in shapes)
    return module.eval(), images
