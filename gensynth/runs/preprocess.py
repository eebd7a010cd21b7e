"""Images as people have them, made what a loaded network reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gensynth.data.picture import decoded, picture
from gensynth.errors import DataError
from gensynth.export.metadata import Reading

Picture = Any
"""A file's path, a PIL image, (height, width, 3) or (height, width), uint8, as an array, or
(channels, height, width), uint8, as a tensor; colours are red, green, blue. A tensor may hold
several: (n, channels, height, width)."""


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes what a network reads, exactly as `gensynth predict` and a board read it.

    An image of another size is resized by its shorter side and cut about its centre.

    Attributes:
        reading: size, colour order, mean and standard deviation.
    """

    reading: Reading

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the answers."""
        return self.reading.classes

    def __call__(self, images: Picture | Sequence[Picture]) -> Tensor:
        """Return (n, channels, height, width), float32, normalised, on the processor.

        Args:
            images: one, or a list of them.

        Raises:
            DataError: if one cannot be read as an image; it is named.
        """
        several = list(images) if isinstance(images, list | tuple) else [images]
        read = [one for given in several for one in self._read(given)]
        if not read:
            raise DataError("preprocess needs at least one image, got none")
        return torch.from_numpy(self.reading(np.stack(read)))

    def _read(self, given: Picture) -> list[np.ndarray]:
        channels, height, width = self.reading.shape
        colour = "grey" if channels == 1 else self.reading.colour
        if isinstance(given, str | Path):
            return [picture(Path(given), (height, width), colour)]
        opened = [given] if isinstance(given, Image.Image) else _opened(given)
        return [decoded(image, (height, width), colour) for image in opened]


def _opened(given: Any) -> list[Image.Image]:
    """Return the images of an array or a tensor."""
    kind = f"{type(given).__name__} {tuple(getattr(given, 'shape', ()))}"
    if not isinstance(given, np.ndarray | Tensor) or str(given.dtype).split(".")[-1] != "uint8":
        raise DataError(
            "an image must be a path, a PIL image, or uint8 in an array (height, width, 3) or a "
            f"tensor (3, height, width), got {kind} {getattr(given, 'dtype', '')}".rstrip()
        )
    values = given
    if isinstance(given, Tensor):
        batch = given[None] if given.ndim == 3 else given
        values = batch.cpu().permute(0, 2, 3, 1).numpy() if batch.ndim == 4 else batch.numpy()
    elif given.ndim in (2, 3):
        values = given[None]
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3 and (values.ndim != 4 or values.shape[3] != 3):
        raise DataError(
            "an image must have 1 or 3 channels, last in an array and first in a tensor, got "
            + kind
        )
    return [Image.fromarray(np.ascontiguousarray(one)) for one in values]
