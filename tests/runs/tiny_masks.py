"""Segmentation so small that a whole run takes seconds.

Images of 16 x 16 grey pixels: a bright square and a dark one on grey, under noise; every pixel
is of the ground or of one of them, a border of one pixel is void. A run file names them as
`tests.runs.tiny_masks:squares` and `tests.runs.tiny_masks:net`.
"""

import numpy as np
import torch
from torch import nn

from gensynth.data.dataset import Augmentation, Dataset, Split

SIDE = 16
CLASSES = ("ground", "bright", "dark")
VOID = 255


def squares(noise: float = 40.0) -> Dataset:
    """The data set; the noise decides how hard it is."""
    random = np.random.default_rng(0)

    def split(name: str, count: int) -> Split:
        images = random.normal(120, noise, (count, 1, SIDE, SIDE))
        masks = np.zeros((count, SIDE, SIDE), np.uint8)
        for image, mask in zip(images, masks, strict=True):
            for number, light in ((1, 70), (2, -70)):
                top, left = random.integers(0, SIDE - 6, 2)
                image[0, top : top + 6, left : left + 6] += light
                mask[top : top + 6, left : left + 6] = number
            mask[0] = mask[-1] = VOID
        return Split(name, images.clip(0, 255).astype(np.uint8), masks)

    return Dataset(
        "squares", CLASSES, split("train", 256), split("search", 48), split("test", 60),
        mean=(0.47,), std=(0.2,), augmentation=Augmentation(pad=1, flip=True), void=VOID,
    )  # fmt: skip


class Net(nn.Module):
    """A U: down by two, a residual block that can go, up again, beside the first features."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(12)
        self.inner = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(12)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.merge = nn.Conv2d(20, 8, 3, padding=1, bias=False)
        self.merge_norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, 16, 16) -> (batch, classes, 16, 16)."""
        fine = torch.relu(self.stem_norm(self.stem(x)))
        coarse = torch.relu(self.down_norm(self.down(fine)))
        coarse = torch.relu(coarse + self.inner_norm(self.inner(coarse)))
        both = torch.cat([fine, self.up(coarse)], dim=1)
        logits: torch.Tensor = self.head(torch.relu(self.merge_norm(self.merge(both))))
        return logits


def net(classes: int, channels: int) -> Net:
    """Return the prototype, untrained."""
    return Net(classes, channels)
