"""CamVid in the SegNet layout: images, masks, what training sees, and how answers are scored.

A folder holds `train.txt`, `val.txt` and `test.txt`, each line an image and its mask, with or
without the `/SegNet/CamVid` of the original lists before them. Masks give 0 to 10 for the
eleven classes and 11 for void, which is neither taught nor scored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from gensynth.randomness import stream

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = len(CLASSES)
# Of the training images, scaled to [0, 1].
MEAN = (0.4117, 0.4250, 0.4324)
STD = (0.3068, 0.3115, 0.3069)


@dataclass(frozen=True)
class Split:
    """Images and their masks.

    Attributes:
        images: (n, 3, height, width), uint8.
        masks: (n, height, width), uint8: a class, or `VOID`.
    """

    images: torch.Tensor
    masks: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)


def load(folder: Path, name: str) -> Split:
    """Read the split "train", "val" or "test"."""
    images, masks = [], []
    for line in (folder / f"{name}.txt").read_text().splitlines():
        image, mask = (folder / Path(*Path(path).parts[-2:]) for path in line.split())
        images.append(np.asarray(Image.open(image).convert("RGB")).transpose(2, 0, 1))
        masks.append(np.asarray(Image.open(mask)))
    return Split(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Return (batch, 3, height, width) in float32, channels last, of images in [0, 255]."""
    mean = 255 * torch.tensor(MEAN)[:, None, None]
    std = 255 * torch.tensor(STD)[:, None, None]
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Augmentation:
    """What a training image may look like besides itself.

    A box of the image's proportions, of `smallest` to 1 of its height and anywhere in it, is
    brought to the size of the crop, is mirrored by half, and its brightness and contrast are
    multiplied by factors within `light` of 1.

    Attributes:
        crop: height and width of what the network trains on.
        smallest: smallest height of a box, as a share of the image's.
        light: largest relative change of brightness, and of contrast.
    """

    crop: tuple[int, int]
    smallest: float
    light: float


def views(
    split: Split, augmentation: Augmentation, seed: int, epoch: int, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield an epoch's full batches; all draws are a function of (seed, epoch).

    Yields:
        (batch, 3, *crop), normalised float32, channels last, and (batch, *crop), int64.
    """
    draws = stream(seed, "camvid", epoch)
    order = draws.permutation(len(split))
    chances = draws.random((len(split), 6))
    for first in range(0, len(split) - batch + 1, batch):
        images, masks = [], []
        for place in range(first, first + batch):
            index = int(order[place])
            image, mask = _view(
                split.images[index], split.masks[index], augmentation, chances[place]
            )
            images.append(image)
            masks.append(mask)
        yield normalised(torch.stack(images)), torch.stack(masks)


def _view(
    image: torch.Tensor, mask: torch.Tensor, augmentation: Augmentation, chances: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    share = augmentation.smallest + (1 - augmentation.smallest) * chances[0]
    height, width = (round(share * size) for size in mask.shape)
    top = int(chances[1] * (mask.shape[0] - height + 1))
    left = int(chances[2] * (mask.shape[1] - width + 1))
    image = image[None, :, top : top + height, left : left + width].float()
    box = mask[None, None, top : top + height, left : left + width].float()
    image = F.interpolate(image, augmentation.crop, mode="bilinear", antialias=True)[0]
    mask = F.interpolate(box, augmentation.crop, mode="nearest-exact")[0, 0].long()
    if chances[3] < 0.5:
        image, mask = image.flip(2), mask.flip(1)
    brightness, contrast = (1 + augmentation.light * (2 * chances[4:6] - 1)).tolist()
    centre = image.mean()
    return ((image - centre) * contrast + centre) * brightness, mask


def confusion(answers: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Count pixels by (true class, class given): (classes, classes), int64; void left out."""
    known = masks != VOID
    pairs = masks[known].long() * len(CLASSES) + answers[known]
    counts = torch.bincount(pairs, minlength=len(CLASSES) ** 2)
    return counts.reshape(len(CLASSES), len(CLASSES))


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says of a network, in percent.

    Attributes:
        pixel_accuracy_pct: share of pixels whose class was given.
        class_accuracy_pct: the same of every class's own pixels, mean over classes.
        miou_pct: pixels that are of a class and were given it, of those of which either is
            true; mean over classes.
        iou_pct: that of every class, in their order.
    """

    pixel_accuracy_pct: float
    class_accuracy_pct: float
    miou_pct: float
    iou_pct: tuple[float, ...]


def scores(counts: torch.Tensor) -> Scores:
    """Score a confusion matrix; every class must occur in the masks."""
    counts = counts.double()
    right, true, given = counts.diagonal(), counts.sum(1), counts.sum(0)
    iou = right / (true + given - right)
    return Scores(
        pixel_accuracy_pct=round(100 * float(right.sum() / true.sum()), 2),
        class_accuracy_pct=round(100 * float((right / true).mean()), 2),
        miou_pct=round(100 * float(iou.mean()), 2),
        iou_pct=tuple(round(100 * float(share), 1) for share in iou),
    )
