"""Whether a file computes what its network computes, shown by running both.

    difference = max |output - reference|
    holds if     difference <= tolerance * max |reference|

over all images and outputs, with every value finite. The file runs in ONNX Runtime on
this processor; the reference is the torch network in evaluation mode.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gensynth.errors import ExportError
from gensynth.export.runtime import Rounding, Session, open_session

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Parity:
    """How far a file's outputs are from its network's.

    Attributes:
        images: how many were compared.
        difference: the largest absolute one.
        largest: the largest |reference|, which the tolerance is relative to.
        cosine: between the outputs for one image, the smallest over the images; 1 where both
            are zero, 0 where one is.
        agreement: share of images for which the largest entry along the channels is the
            same (for maps: share of positions).
        tolerance: that the difference was held against.
    """

    images: int
    difference: float
    largest: float
    cosine: float
    agreement: float
    tolerance: float = TOLERANCE

    @property
    def relative(self) -> float:
        """The difference in units of the largest |reference|; 0 when both are 0."""
        if self.difference == 0.0:
            return 0.0
        return self.difference / self.largest if self.largest > 0 else float("inf")

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.relative <= self.tolerance


def check(
    model: bytes | Path,
    reference: Array | Sequence[Array],
    images: Array | Sequence[Array],
    *,
    tolerance: float = TOLERANCE,
    rounding: Rounding = "as_written",
) -> Parity:
    """Run a file on images and compare its outputs with the network's.

    Args:
        model: an ONNX file or its bytes.
        reference: (images, ...), the network's outputs; a sequence when it has several.
        images: (images, channels, height, width), normalised as the network wants them; a
            sequence when it has several inputs.
        tolerance: allowed difference, relative to the largest |reference|.
        rounding: how the file's target computes an INT8 file.

    Raises:
        ExportError: if the file cannot be run on these images, computes values that are not
            finite, or differs by more than the tolerance.
        ValueError: if there are no images, or the reference is not finite.
    """
    wanted = [reference] if isinstance(reference, np.ndarray) else list(reference)
    given = [images] if isinstance(images, np.ndarray) else list(images)
    count = len(given[0]) if given else 0
    if count == 0:
        raise ValueError("parity needs at least one image, got none")
    if not all(np.isfinite(array).all() for array in wanted):
        raise ValueError("the network's own outputs are not finite")
    found = run_all(model, given, rounding=rounding)
    return compare_outputs(found, wanted, tolerance=tolerance)


def compare_outputs(
    found: Sequence[Array], wanted: Sequence[Array], *, tolerance: float = TOLERANCE
) -> Parity:
    """Compare outputs that are there with the network's.

    Args:
        found: (images, ...), one array an output.
        wanted: the network's.
        tolerance: as `check`.

    Raises:
        ExportError: as `check`.
    """
    if [array.shape for array in found] != [array.shape for array in wanted]:
        raise ExportError(
            f"the file's outputs have shapes {[array.shape for array in found]}, the network's "
            f"{[array.shape for array in wanted]}"
        )
    broken = sum(int(np.count_nonzero(~np.isfinite(array))) for array in found)
    if broken:
        raise ExportError(f"the file computes {broken} values that are not finite")
    pairs = [
        (f.astype(np.float64), w.astype(np.float64)) for f, w in zip(found, wanted, strict=True)
    ]
    parity = Parity(
        images=len(wanted[0]),
        difference=max(float(np.abs(f - w).max(initial=0.0)) for f, w in pairs),
        largest=max(float(np.abs(w).max(initial=0.0)) for _, w in pairs),
        cosine=min(float(_cosines(f, w).min()) for f, w in pairs),
        agreement=min(float(np.mean(f.argmax(1) == w.argmax(1))) for f, w in pairs),
        tolerance=tolerance,
    )
    if not parity.holds:
        raise ExportError(
            f"the file differs from the network by {parity.difference:.3g} on {parity.images} "
            f"images, {parity.relative:.3g} of the largest output; at most {tolerance:g} is allowed"
        )
    return parity


def check_network(
    model: bytes | Path,
    network: "torch.nn.Module",
    images: "torch.Tensor | Sequence[torch.Tensor]",
    *,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Run a file and a torch network on the same images and compare.

    The network computes in evaluation mode, without gradients, where its weights are; each
    of its modules is left in the mode it was in.

    Raises:
        ExportError, ValueError: as `check`.
    """
    import torch

    given = [images] if isinstance(images, torch.Tensor) else list(images)
    first = next(network.parameters(), torch.zeros(()))
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            outputs = network(*[x.to(first.device, first.dtype) for x in given])
    finally:
        for module in training:
            module.training = True
    several = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    return check(
        model,
        [output.float().cpu().numpy() for output in several],
        [x.float().cpu().numpy() for x in given],
        tolerance=tolerance,
    )


def run_all(
    model: bytes | Path,
    images: list[Array],
    *,
    chunk: int = 256,
    rounding: Rounding = "as_written",
) -> list[Array]:
    """Run a file on all images, as many at a time as it takes, and return its outputs.

    A file of fixed batch runs its last images together with repeated ones, whose outputs are
    left out.

    Args:
        model: an ONNX file or its bytes.
        images: (images, channels, height, width), normalised, one array an input.
        chunk: images at a time where the batch is free.
        rounding: how the file's target computes an INT8 file.

    Raises:
        ExportError: if the file cannot be run on these images.
    """
    session = open_session(model, rounding=rounding)
    parts = [
        [output[:count] for output in session.run(feed)]
        for feed, count in feeds(session, images, chunk=chunk)
    ]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def feeds(
    session: Session, images: Sequence[Array], *, chunk: int = 256
) -> Iterator[tuple[dict[str, Array], int]]:
    """Yield what a file takes in each of its runs on images, and how many of these are new.

    Args:
        session: the file.
        images: as `run_all`.
        chunk: as `run_all`.

    Raises:
        ExportError: if the file has another number of inputs.
    """
    names = [entry.name for entry in session.inputs]
    if len(names) != len(images):
        raise ExportError(f"the file has the inputs {names}, got {len(images)} arrays of images")
    fixed, total = session.inputs[0].shape[0], len(images[0])
    step = fixed if isinstance(fixed, int) else chunk
    for start in range(0, total, step):
        rows = np.arange(start, min(start + step, total))
        count = len(rows)
        if isinstance(fixed, int):
            rows = np.resize(rows, fixed)
        arrays = [np.ascontiguousarray(array[rows], np.float32) for array in images]
        yield dict(zip(names, arrays, strict=True)), count


def _cosines(found: Array, wanted: Array) -> Array:
    """(images,): cosine between the two outputs for each image."""
    a, b = found.reshape(len(found), -1), wanted.reshape(len(wanted), -1)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    both_zero = (lengths[0] == 0) & (lengths[1] == 0)
    product = lengths[0] * lengths[1]
    cosines = (a * b).sum(axis=1) / np.where(product == 0, 1.0, product)
    result: Array = np.where(both_zero, 1.0, cosines)
    return result
