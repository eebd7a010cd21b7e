"""A task that a small residual network can learn, and what trains and judges its descendants."""

import numpy as np
import torch
from torch import Tensor, nn

from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.views import Views
from gensynth.network.compute import Compute
from gensynth.prototypes.resnet import ResNet
from gensynth.space.prototype import Prototype, read_prototype
from gensynth.tasks.classification import Classification
from gensynth.training.evaluator import Evaluator
from gensynth.training.fit import Teacher


def small_resnet() -> ResNet:
    torch.manual_seed(1)
    return ResNet(blocks=1, widths=(8, 10, 12), classes=4, channels=1)


def quarters() -> Dataset:
    """Four classes told apart by the quarter of the image that is light."""
    draws = np.random.default_rng(0)
    labels = np.arange(128, dtype=np.int64) % 4
    images = draws.integers(0, 120, (128, 1, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        down, right = 4 * (label // 2), 4 * (label % 2)
        image[0, down : down + 4, right : right + 4] += 100
    train, search = Split("train", images, labels), Split("search", images[:64], labels[:64])
    names = ("a", "b", "c", "d")
    seen = Augmentation(pad=1, flip=False)  # left and right are different classes
    return Dataset("quarters", names, train, search, search, (0.3,), (0.3,), seen)


def prototype_of(module: nn.Module) -> Prototype:
    return read_prototype(module.eval(), (1, 8, 8), name="small")


def evaluator_of(module: nn.Module) -> Evaluator:
    data, compute, prototype = quarters(), Compute(), prototype_of(module)
    views = Views(data, data.train, seed=3)
    teacher = Teacher(prototype.network(), views, compute)
    return Evaluator(prototype, data, views, teacher, compute, Classification())


def bits(network: nn.Module) -> dict[str, bytes]:
    return {k: v.detach().contiguous().numpy().tobytes() for k, v in network.state_dict().items()}


def batches_of(count: int, seed: int = 0, channels: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(32, channels, 8, 8, generator=generator) for _ in range(count)]
