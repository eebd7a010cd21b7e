"""What a network sees of a split: epochs of augmented batches, normalised.

An epoch's order, crops and flips depend on (seed, epoch) alone. Every network of a run
therefore sees the same images in the same order: differences between networks are not
differences of luck, a resumed training continues exactly, and the teacher's answers to
an epoch are computed once for all students.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.randomness import stream


@dataclass(frozen=True)
class Batch:
    """One training step's images.

    Attributes:
        images: (batch, channels, height, width), float32, normalised, channels last.
        labels: (batch,), int64.
        places: positions of these images in the epoch, a slice.
    """

    images: torch.Tensor
    labels: torch.Tensor
    places: slice


class Views:
    """The epochs of one split under one seed, on one device."""

    def __init__(self, dataset: Dataset, split: Split, seed: int, device: str = "cpu") -> None:
        self.seed = seed
        self._augmentation: Augmentation = dataset.augmentation
        self._height, self._width = dataset.shape[1:]
        pad = self._augmentation.pad
        images = torch.from_numpy(np.ascontiguousarray(split.images)).to(device)
        padded = F.pad(images, (pad, pad, pad, pad))
        # (n, channels, 2 pad + 1, 2 pad + 1, height, width), a view without copies
        self._crops = padded.unfold(2, self._height, 1).unfold(3, self._width, 1)
        self._labels = torch.from_numpy(split.labels).to(device)
        self._normalise = normaliser(dataset, device)

    def __len__(self) -> int:
        return len(self._labels)

    def epoch(self, number: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield an epoch's full batches; a last incomplete one is left out.

        Args:
            number: which epoch; the same number gives the same images again.
            batch: images a batch.
            limit: stop after this many batches.
        """
        draws = stream(self.seed, "views", number)
        count, pad = len(self), self._augmentation.pad
        order = torch.from_numpy(draws.permutation(count))
        offsets = torch.from_numpy(draws.integers(0, 2 * pad + 1, (2, count)))
        flips = torch.from_numpy(draws.random(count) < 0.5)
        batches = count // batch if limit is None else min(limit, count // batch)
        for index in range(batches):
            places = slice(index * batch, (index + 1) * batch)
            rows = order[places]
            images = self._crops[rows, :, offsets[0, places], offsets[1, places]]
            if self._augmentation.flip:
                mirrored = flips[places].to(images.device)[:, None, None, None]
                images = torch.where(mirrored, images.flip(3), images)
            yield Batch(self._normalise(images), self._labels[rows], places)


class normaliser:  # noqa: N801 - used as a function
    """Turn uint8 images into what a network of this data set reads.

    (image / 255 - mean) / std, float32, channels last.
    """

    def __init__(self, dataset: Dataset, device: str = "cpu") -> None:
        self._scale = (1 / (255 * torch.tensor(dataset.std)))[:, None, None].to(device)
        self._shift = (torch.tensor(dataset.mean) / torch.tensor(dataset.std))[:, None, None].to(
            device
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width), uint8 -> the same shape, float32."""
        images = images.float() * self._scale - self._shift
        return images.contiguous(memory_format=torch.channels_last)
