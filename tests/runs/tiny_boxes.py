"""Detection so small that a whole run takes seconds.

Images of 32 x 32 grey pixels: up to two bright or dark squares on grey, under noise. A run file
names them as `tests.runs.tiny_boxes:squares`, and the networks as `tests.runs.tiny_boxes:grid` (one
pair of maps) and `tests.runs.tiny_boxes:scales` (two pairs).
"""

import numpy as np
import torch
from torch import nn

from gensynth.data.boxes import stacked
from gensynth.data.dataset import Augmentation, Dataset, Split

SIDE = 32
CLASSES = ("bright", "dark")


def squares(noise: float = 12.0) -> Dataset:
    """The data set; the noise decides how hard it is."""
    random = np.random.default_rng(0)

    def split(name: str, count: int) -> Split:
        images = random.normal(120, noise, (count, 1, SIDE, SIDE))
        boxes = []
        for image in images:
            rows = []
            for left in (1, 17)[: random.integers(0, 3)]:
                side = int(random.integers(7, 13))
                x, y = left + random.integers(0, 14 - side), random.integers(1, SIDE - side)
                kind = int(random.integers(2))
                image[0, y : y + side, x : x + side] += (80, -80)[kind]
                rows.append([x, y, x + side, y + side, kind, 0])
            boxes.append(np.array(rows, np.float32).reshape(-1, 6))
        return Split(name, images.clip(0, 255).astype(np.uint8), stacked(boxes))

    return Dataset(
        "squares", CLASSES, split("train", 256), split("search", 48), split("test", 60),
        mean=(0.47,), std=(0.2,), augmentation=Augmentation(pad=1, flip=True),
    )  # fmt: skip


class Net(nn.Module):
    """A body of stride 4 with a block that can go; one or two pairs of maps."""

    def __init__(self, classes: int, channels: int, bins: int, scales: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 12, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(12)
        self.down = nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(16)
        self.inner = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(16)
        self.coarser = nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False)
        self.coarser_norm = nn.BatchNorm2d(16)
        self.logits = nn.ModuleList(nn.Conv2d(16, classes, 1) for _ in range(scales))
        self.boxes = nn.ModuleList(nn.Conv2d(16, 4 * bins, 1) for _ in range(scales))
        for head in self.logits:
            nn.init.constant_(head.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(batch, channels, 32, 32) -> maps of 8 x 8, and of 4 x 4."""
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(self.down_norm(self.down(x)))
        x = torch.relu(x + self.inner_norm(self.inner(x)))
        scales = [x, torch.relu(self.coarser_norm(self.coarser(x)))]
        maps: list[torch.Tensor] = []
        for scale, logits, boxes in zip(scales, self.logits, self.boxes, strict=False):
            maps += [logits(scale), boxes(scale)]
        return tuple(maps)


def grid(classes: int, channels: int) -> Net:
    """Return a DetectNet, untrained."""
    return Net(classes, channels, 1, 1)


def scales(classes: int, channels: int) -> Net:
    """Return an anchor-free detector, untrained."""
    return Net(classes, channels, 6, 2)
