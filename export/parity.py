"""Whether a file computes what its network computes, shown by running both.

    difference = max |output - reference|
    holds if     difference <= tolerance * max |reference|

over all images and outputs, with every value finite. The file runs in ONNX Runtime on
this processor; the reference is the torch network in evaluation mode.

A network may be so conditioned that its own float32 is further than that from what it computes in
float64; then no other order of the same sums can be expected to be nearer to it, and the tolerance
is `OWN_ERRORS` times that distance, at most `WIDEST`.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gensynth.data.passes import images_a_pass
from gensynth.errors import ExportError
from gensynth.export.runtime import Rounding, Session, open_session

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
A_PASS = 256
"""Images of usual size that a file whose batch is free is run on at a time."""
SINGLE = 4
"""Images that a file whose batch is free is run on one by one."""
OWN_ERRORS = 4.0
WIDEST = 2e-2
"""What a network may be off that rounds every value to FP16."""

Exact = Callable[[], "list[Array] | None"]
"""Gives the network's outputs in float64; None where it cannot be computed so."""

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
        own_error: how far the network's own float32 is from its float64, in units of the largest
            output; None where nobody had to ask.
    """

    images: int
    difference: float
    largest: float
    cosine: float
    agreement: float
    tolerance: float = TOLERANCE
    own_error: float | None = None

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
    exact: Exact | None = None,
) -> Parity:
    """Run a file on images and compare its outputs with the network's.

    The first images are run one by one, so a file that mixes the images of a batch differs.

    Args:
        model: an ONNX file or its bytes.
        reference: (images, ...), the network's outputs; a sequence when it has several.
        images: (images, channels, height, width), normalised as the network wants them; a
            sequence when it has several inputs.
        tolerance: allowed difference, relative to the largest |reference|.
        rounding: how the file's target computes an INT8 file.
        exact: asked where the difference is above the tolerance; None keeps to the tolerance.

    Raises:
        ExportError: if the file cannot be run on these images, computes values that are not
            finite, or differs by more than the tolerance; or the network's are not finite.
        ValueError: if there are no images.
    """
    wanted = [reference] if isinstance(reference, np.ndarray) else list(reference)
    given = [images] if isinstance(images, np.ndarray) else list(images)
    count = len(given[0]) if given else 0
    if count == 0:
        raise ValueError("parity needs at least one image, got none")
    if not all(np.isfinite(array).all() for array in wanted):
        raise ExportError("the network's own outputs are not finite")
    found = run_all(model, given, single=SINGLE, rounding=rounding)
    return compare_outputs(found, wanted, tolerance=tolerance, exact=exact)


def compare_outputs(
    found: Sequence[Array],
    wanted: Sequence[Array],
    *,
    tolerance: float = TOLERANCE,
    exact: Exact | None = None,
) -> Parity:
    """Compare outputs that are there with the network's.

    Args:
        found: (images, ...), one array an output.
        wanted: the network's.
        tolerance: as `check`.
        exact: as `check`.

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
    if not parity.holds and exact is not None:
        parity = _allowed(parity, wanted, exact())
    if not parity.holds:
        own = "" if parity.own_error is None else (
            f" for a network whose own float32 is {parity.own_error:.2g} from its float64"
        )  # fmt: skip
        raise ExportError(
            f"the file differs from the network by {parity.difference:.3g} on {parity.images} "
            f"images, {parity.relative:.3g} of the largest output; at most {parity.tolerance:g} is "
            f"allowed{own}"
        )
    return parity


def exact_outputs(network: "torch.nn.Module", images: Sequence[Array]) -> list[Array] | None:
    """Return a network's outputs in float64; None where a part of it computes in float32 alone.

    Args:
        network: left as it is.
        images: (images, channels, height, width), normalised, one array an input.
    """
    import torch

    from gensynth.network.outputs import as_list, joined

    double = copy.deepcopy(network).cpu().double().eval()
    try:
        with torch.no_grad():
            parts = [
                double(*[torch.from_numpy(array).double() for array in part])
                for part in passes(images)
            ]
    except Exception:  # whatever a part of the user's raises  # noqa: BLE001
        return None
    return [x.double().numpy() for x in as_list(joined(parts))]


def passes(images: Sequence[Array]) -> Iterator[list[Array]]:
    """Yield the images by as many as go through a network at a time."""
    count = len(images[0])
    size = images_a_pass(images[0].shape[1:], A_PASS)
    for start in range(0, count, size):
        yield [array[start : start + size] for array in images]


def _allowed(parity: Parity, wanted: Sequence[Array], exact: list[Array] | None) -> Parity:
    """Return a parity with the tolerance that the network's own rounding asks for."""
    if exact is None:
        return parity
    pairs = list(zip(wanted, exact, strict=True))
    off = max(float(np.abs(w - e).max(initial=0.0)) for w, e in pairs)
    size = max(float(np.abs(e).max(initial=0.0)) for _, e in pairs)
    own = off / size if size > 0 else 0.0
    asked = min(OWN_ERRORS * own, WIDEST)
    if asked <= TOLERANCE:  # what every network keeps to
        return parity
    return replace(parity, own_error=own, tolerance=max(parity.tolerance, asked))


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

    from gensynth.network.outputs import as_list, joined

    given = [images] if isinstance(images, torch.Tensor) else list(images)
    arrays = [x.float().cpu().numpy() for x in given]
    first = next(network.parameters(), torch.zeros(()))
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            parts = [
                network(*[torch.from_numpy(x).to(first.device, first.dtype) for x in part])
                for part in passes(arrays)
            ]
    finally:
        for module in training:
            module.training = True
    return check(
        model,
        [x.float().cpu().numpy() for x in as_list(joined(parts))],
        arrays,
        tolerance=tolerance,
        exact=lambda: exact_outputs(network, arrays),
    )


def run_all(
    model: bytes | Path,
    images: list[Array],
    *,
    single: int = 0,
    rounding: Rounding = "as_written",
) -> list[Array]:
    """Run a file on all images, as many at a time as it takes, and return its outputs.

    A file of fixed batch runs its last images together with repeated ones, whose outputs are
    left out.

    Args:
        model: an ONNX file or its bytes.
        images: (images, channels, height, width), normalised, one array an input.
        single: images that are run one by one before, where the batch is free.
        rounding: how the file's target computes an INT8 file.

    Raises:
        ExportError: if the file cannot be run on these images.
    """
    return run_session(open_session(model, rounding=rounding), images, single=single)


def run_session(session: Session, images: list[Array], *, single: int = 0) -> list[Array]:
    """Run an open file on all images; see `run_all`."""
    parts = [
        [output[:count] for output in session.run(feed)]
        for feed, count in feeds(session, images, single=single)
    ]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def feeds(
    session: Session, images: Sequence[Array], *, single: int = 0
) -> Iterator[tuple[dict[str, Array], int]]:
    """Yield what a file takes in each of its runs on images, and how many of these are new.

    Args:
        session: the file.
        images: as `run_all`.
        single: as `run_all`.

    Raises:
        ExportError: if the file has another number of inputs.
    """
    names = [entry.name for entry in session.inputs]
    if len(names) != len(images):
        raise ExportError(f"the file has the inputs {names}, got {len(images)} arrays of images")
    fixed, count = session.inputs[0].shape[0], len(images[0])
    if fixed == 0:
        raise ExportError("the file takes batches of no image")
    if isinstance(fixed, int):
        starts = [*range(0, count, fixed), count]
    else:
        chunk, first = images_a_pass(images[0].shape[1:], A_PASS), min(single, count)
        starts = [*range(first), *range(first, count, chunk), count]
    for start, stop in itertools.pairwise(starts):
        rows = np.arange(start, stop)
        count = stop - start
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
