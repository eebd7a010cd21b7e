"""A data set and a prototype so small that a whole run takes seconds.

Three classes of 12 x 12 grey images: a bright bar in the upper, middle or lower third, at a
random column, under noise. A run file names them as `tests.runs.tiny:bars` and
`tests.runs.tiny:net`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from gensynth.config import (
    DataConfig,
    FinalistsConfig,
    LatencyConfig,
    PrototypeConfig,
    RunConfig,
    SearchConfig,
)
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.views import Views
from gensynth.network.compute import Compute
from gensynth.tasks.classification import Classification
from gensynth.training.fit import Recipe, fit

SIDE = 12
CLASSES = ("upper", "middle", "lower")


def bars(noise: float = 60.0, test_noise: float | None = None) -> Dataset:
    """The data set; the noise decides how hard it is."""
    random = np.random.default_rng(0)

    def split(name: str, count: int, noise: float = noise) -> Split:
        labels = np.arange(count) % len(CLASSES)
        images = random.normal(90, noise, (count, 1, SIDE, SIDE))
        for image, label in zip(images, labels, strict=True):
            row, column = 4 * label + random.integers(0, 4), random.integers(0, SIDE - 5)
            image[0, row, column : column + 5] += 70
        return Split(name, images.clip(0, 255).astype(np.uint8), labels.astype(np.int64))

    return Dataset(
        "bars", CLASSES, split("train", 288), split("search", 150),
        split("test", 180, noise if test_noise is None else test_noise),
        mean=(0.35,), std=(0.25,), augmentation=Augmentation(pad=1, flip=True),
    )  # fmt: skip


def harder() -> Dataset:
    """The same, with a test split that is much harder than the search split."""
    return bars(test_noise=150.0)


class Net(nn.Module):
    """A stem, one residual block that can go, a narrowing convolution and a head."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(8)
        self.narrow = nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False)
        self.narrow_norm = nn.BatchNorm2d(12)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(12 * 9, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, 12, 12) -> (batch, classes)."""
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.inner_norm(self.inner(x)))
        x = torch.relu(self.narrow_norm(self.narrow(x)))
        logits: torch.Tensor = self.head(torch.flatten(self.pool(x), 1))
        return logits


def net(classes: int, channels: int) -> Net:
    """Return the prototype, untrained."""
    return Net(classes, channels)


class Odd(Net):
    """With a part that cannot be looked into, and one that nothing uses."""

    def __init__(self, classes: int, channels: int, part: nn.Module | None = None) -> None:
        super().__init__(classes, channels)
        self.odd = part or Sorted()
        self.spare = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, 12, 12) -> (batch, classes)."""
        return super().forward(self.odd(x))


class Sorted(nn.Module):
    """Sorts the rows of each image, which is no operator of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width), the same shape back."""
        return self.gain * torch.sort(x, dim=3).values


def odd(classes: int, channels: int) -> Odd:
    """Return a prototype with an opaque part, untrained."""
    return Odd(classes, channels)


class Applied(nn.Module):
    """A function of every pixel, which is no operator of ours."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape, the same shape back."""
        return self.function(x)


def wordless(classes: int, channels: int) -> Odd:
    """Return a prototype with a part that ONNX has no operator for, untrained."""
    return Odd(classes, channels, Applied(torch.special.i0e))


def logarithmic(classes: int, channels: int) -> Odd:
    """Return one whose part takes images, and makes NaN of normal noise, untrained."""
    return Odd(classes, channels, Applied(lambda x: torch.log(x + 1.5)))


def trained(folder: Path, make: Callable[[int, int], Net] = net) -> Path:
    """Train a prototype for a second and return its weights file."""
    data = bars()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make(3, 1)
    fit(
        network, Views(data, data.train, 0), Recipe(epochs=20, batch=32, peak_lr=0.2),
        Compute(), Classification(),
    )  # fmt: skip
    path = folder / "tiny.safetensors"
    save_file({key: t.contiguous() for key, t in network.state_dict().items()}, path)
    return path


def config(weights: Path, out: Path | None, **changes: object) -> RunConfig:
    """Return a run of two cycles and two finalists, a few seconds long."""
    base: dict[str, object] = {
        "requirements": ("top1 >= 40%", "macs <= 60k"),
        "seed": 3,
        "out": out,
        "prototype": PrototypeConfig(network="tests.runs.tiny:net", weights=weights),
        "data": DataConfig(source="tests.runs.tiny:bars"),
        "search": SearchConfig(
            cycles=2, warmup_images=256, images=256, probe_images=60, candidates=48, round_to=1
        ),
        "finalists": FinalistsConfig(count=2, aim="point", epochs=3, batch=32),
        "latency": LatencyConfig(repeats=20),
    }
    return RunConfig(**{**base, **changes})  # type: ignore[arg-type]
