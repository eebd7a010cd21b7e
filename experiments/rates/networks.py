"""Eleven networks for 28 x 28 grey images as people write them, with norms and without.

    lenet            two convolutions and three layers, 1998's, with ReLU
    tanh             the same with tanh and average pooling
    vgg              seven convolutions without norms
    vgg_norm         the same with norms
    residual         blocks without norms
    residual_norm    gensynth's resnet8
    depthwise        a stack of separable convolutions without norms
    depthwise_norm   the same with norms
    prelu            a plain stack with PReLU, no norms
    wide             a large residual network with norms
    narrow           four to eight channels, no norms

Weights are torch's own first ones, as a person's factory leaves them.
"""

from collections.abc import Callable

from torch import Tensor, nn

from gensynth.prototypes.resnet import resnet8

Factory = Callable[..., nn.Module]


def _conv(
    read: int, written: int, stride: int = 1, *, norm: bool, groups: int = 1
) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(read, written, 3, stride, 1, groups=groups, bias=not norm)]
    return [*layers, *([nn.BatchNorm2d(written)] if norm else []), nn.ReLU()]


def lenet(classes: int = 10, channels: int = 1) -> nn.Module:
    """Two convolutions and three layers, with ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes),
    )  # fmt: skip


def tanh(classes: int = 10, channels: int = 1) -> nn.Module:
    """The same with tanh and average pooling."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, classes),
    )  # fmt: skip


def _vgg(norm: bool, classes: int, channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    read = channels
    for written, many in ((16, 2), (32, 2), (64, 3)):
        for _ in range(many):
            layers += _conv(read, written, norm=norm)
            read = written
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(64 * 9, 128), nn.ReLU(), nn.Linear(128, classes)
    )


def vgg(classes: int = 10, channels: int = 1) -> nn.Module:
    """Seven convolutions and two layers without norms."""
    return _vgg(False, classes, channels)


def vgg_norm(classes: int = 10, channels: int = 1) -> nn.Module:
    """The same with norms."""
    return _vgg(True, classes, channels)


class _Block(nn.Module):
    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_conv(width, width, norm=norm), *_conv(width, width, norm=norm)[:-1]
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(x + self.branch(x))
        return out


def _residual(norm: bool, widths: tuple[int, ...], classes: int, channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    read = channels
    for place, width in enumerate(widths):
        layers += [*_conv(read, width, 1 + (place > 0), norm=norm), _Block(width, norm)]
        read = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(read, classes))


def residual(classes: int = 10, channels: int = 1) -> nn.Module:
    """Three residual blocks without norms."""
    return _residual(False, (16, 32, 64), classes, channels)


def residual_norm(classes: int = 10, channels: int = 1) -> nn.Module:
    """Gensynth's resnet8."""
    return resnet8(classes=classes, channels=channels)


def wide(classes: int = 10, channels: int = 1) -> nn.Module:
    """Three wide residual blocks with norms."""
    return _residual(True, (48, 96, 192), classes, channels)


def _depthwise(norm: bool, classes: int, channels: int) -> nn.Module:
    layers = _conv(channels, 16, 2, norm=norm)
    read = 16
    for written, stride in ((32, 1), (64, 2), (64, 1), (128, 2)):
        layers += _conv(read, read, stride, norm=norm, groups=read)
        point = nn.Conv2d(read, written, 1, bias=not norm)
        layers += [point, *([nn.BatchNorm2d(written)] if norm else []), nn.ReLU()]
        read = written
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(read, classes))


def depthwise(classes: int = 10, channels: int = 1) -> nn.Module:
    """Four separable convolutions without norms."""
    return _depthwise(False, classes, channels)


def depthwise_norm(classes: int = 10, channels: int = 1) -> nn.Module:
    """The same with norms."""
    return _depthwise(True, classes, channels)


def prelu(classes: int = 10, channels: int = 1) -> nn.Module:
    """Four convolutions with PReLU, without norms."""
    layers: list[nn.Module] = []
    read = channels
    for written, stride in ((16, 1), (32, 2), (32, 1), (64, 2)):
        layers += [nn.Conv2d(read, written, 3, stride, 1), nn.PReLU(written)]
        read = written
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(read, classes))


def narrow(classes: int = 10, channels: int = 1) -> nn.Module:
    """Three convolutions of four to eight channels, without norms."""
    return nn.Sequential(
        *_conv(channels, 4, norm=False), nn.MaxPool2d(2), *_conv(4, 8, norm=False),
        nn.MaxPool2d(2), *_conv(8, 8, norm=False), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, classes),
    )  # fmt: skip
