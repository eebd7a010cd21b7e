"""A network to export, how it reads images, and how many of the search split it gets right."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from gensynth.export.half import is_half, rounded
from gensynth.export.parity import run_all
from gensynth.export.runtime import Rounding
from gensynth.goals.requirements import Requirement
from gensynth.network.module import Network


@dataclass(frozen=True)
class Reading:
    """How an image becomes what the network reads: (image / 255 - mean) / std.

    Attributes:
        shape: (channels, height, width).
        mean, std: one number a channel.
        colour: "rgb", "bgr" or "grey".
        classes: names, in the order of the logits.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colour: str
    classes: tuple[str, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, channels, height, width), uint8 -> the same shape, float32."""
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        values: np.ndarray = (images.astype(np.float32) / np.float32(255) - mean) / std
        return values

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Reading":
        """Return the reading that a manifest tells."""
        reads = manifest["reads"]
        mean, std = tuple(reads["mean"]), tuple(reads["std"])
        shape = (len(mean), reads["height"], reads["width"])
        return cls(shape, mean, std, reads["colour"], tuple(manifest["classes"]))

    def to_document(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        channels, height, width = self.shape
        return {
            "formula": "(image / 255 - mean) / std, channels first",
            "mode": "L" if channels == 1 else "RGB",
            "colour": self.colour,
            "height": height,
            "width": width,
            "mean": list(self.mean),
            "std": list(self.std),
        }


@dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        name: of the artefact's folder.
        network: in evaluation mode, on the processor.
        reading: how it reads images.
        images, labels: of the search split; None where the data set cannot be opened.
        why_not: why it cannot.
        card: card.json's bytes, None without one.
        calibration: of the training split, for INT8; None where there is no data set.
        requirements: that the network is certified for.
    """

    name: str
    network: Network
    reading: Reading
    images: np.ndarray | None
    labels: np.ndarray | None
    why_not: str | None
    card: bytes | None
    calibration: np.ndarray | None = None
    requirements: tuple[Requirement, ...] = ()


@dataclass(frozen=True)
class Accuracy:
    """Top-1 of the network and of its file on the same images.

    Attributes:
        before, after: classified correctly by the torch network, by the ONNX file.
        n: images of the search split.
    """

    before: int
    after: int
    n: int

    def to_document(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        return {
            "metric": "top1",
            "split": "search",
            **asdict(self),
            "before_pct": 100 * self.before / self.n,
            "after_pct": 100 * self.after / self.n,
        }


def compute(network: Network, read: np.ndarray) -> np.ndarray:
    """Return the torch network's outputs for normalised images."""
    network.eval()
    with torch.no_grad():
        parts = [network(torch.from_numpy(part)) for part in np.array_split(read, _parts(read))]
    return np.concatenate([part.float().numpy() for part in parts])


def _batches(source: Source) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised images and labels of the search split, some at a time."""
    assert source.images is not None
    assert source.labels is not None
    parts = _parts(source.images)
    for images, labels in zip(
        np.array_split(source.images, parts), np.array_split(source.labels, parts), strict=True
    ):
        yield source.reading(images), labels


def correct_in_torch(source: Source) -> int:
    """Return how many images of the search split the network classifies correctly."""
    return sum(
        int((compute(source.network, read).argmax(1) == labels).sum())
        for read, labels in _batches(source)
    )


def correct_of_file(source: Source, model: bytes, rounding: Rounding) -> int:
    """Return how many an ONNX file does; an FP16 file's with every value rounded."""
    shown, correct = rounded(model) if is_half(model) else model, 0
    for read, labels in _batches(source):
        (found,) = run_all(shown, [read], rounding=rounding)
        correct += int((found.argmax(1) == labels).sum())
    return correct


def _parts(read: np.ndarray) -> int:
    return -(-len(read) // 256)
