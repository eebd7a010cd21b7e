"""What a network sees of a split: epochs of augmented batches, normalised.

An epoch's order, crops and flips depend on (seed, epoch) alone. Every network of a run
therefore sees the same images in the same order: differences between networks are not
differences of luck, a resumed training continues exactly, and the teacher's answers to
an epoch are computed once for all students.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from gensynth.data.augment import changed_images, opened_change
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.randomness import stream


@dataclass(frozen=True)
class Batch:
    """One training step's images.

    Attributes:
        images: (batch, channels, height, width), float32, normalised, channels last.
        targets: what belongs to them, as the task collates it: (batch,), int64, for classes.
        places: positions of these images in the epoch, a slice.
    """

    images: torch.Tensor
    targets: Any
    places: slice


@dataclass(frozen=True)
class Moves:
    """How the images of a batch were augmented, for what belongs to them.

    Attributes:
        pad: zero pixels that were added on each side.
        tops, lefts: (batch,) where each crop begins in the padded image.
        mirrored: (batch,) bool.
    """

    pad: int
    tops: torch.Tensor
    lefts: torch.Tensor
    mirrored: torch.Tensor


class Targets(Protocol):
    """What belongs to the images of a split."""

    def __call__(self, rows: torch.Tensor, moves: Moves | None = None) -> Any:
        """Return the targets of some images, collated, moved as the images were."""


class Labels:
    """One class an image, which no augmentation changes."""

    def __init__(self, split: Split, device: str = "cpu") -> None:
        self._labels = torch.from_numpy(split.labels).to(device)

    def __call__(self, rows: torch.Tensor, moves: Moves | None = None) -> torch.Tensor:
        """(batch,), int64."""
        return self._labels[rows]


class Masks:
    """A class a pixel, or the void, which also fills what a crop shows beyond the image.

    Args:
        split: whose masks.
        void: what stands for pixels that are not taught.
        device: where they are kept.
    """

    def __init__(self, split: Split, void: int, device: str = "cpu") -> None:
        self._masks = torch.from_numpy(split.labels).to(device)
        self._void = void

    def __call__(self, rows: torch.Tensor, moves: Moves | None = None) -> torch.Tensor:
        """(batch, height, width), int64."""
        masks = self._masks[rows]
        if moves is not None:
            pad, (height, width) = moves.pad, masks.shape[1:]
            padded = F.pad(masks, (pad, pad, pad, pad), value=self._void)
            places = zip(padded, moves.tops.tolist(), moves.lefts.tolist(), strict=True)
            masks = torch.stack(
                [mask[top : top + height, left : left + width] for mask, top, left in places]
            )
            mirrored = moves.mirrored.to(masks.device)[:, None, None]
            masks = torch.where(mirrored, masks.flip(2), masks)
        return masks.long()


class Views:
    """The epochs of one split under one seed, on one device.

    Args:
        dataset: for its augmentation and normalisation.
        split: whose images.
        seed: of every draw.
        device: where images that are in memory are kept.
        targets: what belongs to them; None for their classes.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        seed: int,
        device: str = "cpu",
        targets: Targets | None = None,
    ) -> None:
        self.seed = seed
        self._augmentation: Augmentation = dataset.augmentation
        self._height, self._width = dataset.shape[1:]
        self._device = device
        self._images: Any = split.images
        if isinstance(split.images, np.ndarray):
            self._images = torch.from_numpy(np.ascontiguousarray(split.images)).to(device)
        self._targets: Targets = Labels(split, device) if targets is None else targets
        self._count = len(split)
        self._normalise = normaliser(dataset, device)
        self._change = opened_change(dataset.augmentation.policies)

    def __len__(self) -> int:
        return self._count

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
        seeds = None if self._change is None else draws.integers(0, 2**62, count)
        batches = count // batch if limit is None else min(limit, count // batch)
        slices = [slice(index * batch, (index + 1) * batch) for index in range(batches)]
        for places, whole in zip(slices, self._taken([order[s] for s in slices]), strict=True):
            rows = order[places]
            tops, lefts = offsets[0, places], offsets[1, places]
            images = self._cropped(whole, tops, lefts)
            mirrored = flips[places] & self._augmentation.flip
            if self._augmentation.flip:
                where = mirrored.to(images.device)[:, None, None, None]
                images = torch.where(where, images.flip(3), images)
            if self._change is not None and seeds is not None:
                images = changed_images(images, self._change, seeds[places].tolist())
            targets = self._targets(rows, Moves(pad, tops, lefts, mirrored))
            yield Batch(self._normalise(images), targets, places)

    def _taken(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the images of batches of rows; the next are decoded while these are used."""
        if isinstance(self._images, torch.Tensor):
            yield from (self._images[rows] for rows in batches)
            return
        with ThreadPoolExecutor(1) as ahead:
            waiting: deque[Future[np.ndarray]] = deque()
            for number in range(len(batches) + 1):
                if number < len(batches):
                    rows = batches[number].numpy()
                    waiting.append(ahead.submit(self._images.__getitem__, rows))
                if number > 0:
                    yield torch.from_numpy(waiting.popleft().result()).to(self._device)

    def _cropped(
        self, images: torch.Tensor, tops: torch.Tensor, lefts: torch.Tensor
    ) -> torch.Tensor:
        pad = self._augmentation.pad
        if pad == 0:
            return images
        padded = F.pad(images, (pad, pad, pad, pad))
        # (batch, channels, 2 pad + 1, 2 pad + 1, height, width), a view without copies
        crops = padded.unfold(2, self._height, 1).unfold(3, self._width, 1)
        each = torch.arange(len(images))
        return crops[each, :, tops, lefts]


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
