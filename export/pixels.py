"""How an image becomes what a network reads; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gensynth.export.manifest import Manifest


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
    def of(cls, manifest: "Manifest | Mapping[str, Any]") -> "Reading":
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
