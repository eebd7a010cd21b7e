"""An ONNX file that gensynth did not write, made one that a target reads.

    checked     against what the target's runtime knows, operator by operator
    brought     to the target's opset, and to a fixed batch where the target wants one
    rounded     to FP16, but for what FP16 cannot hold
    quantised   to INT8, its ranges measured on images of one's own
    compared    with the file that came, on the same images

A run's own networks are compared with what they were learned from, and keep the layers in FP32 that
their requirements need (`gensynth.export.artefact`); of a stranger's file nobody knows either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, checker, shape_inference

from gensynth.atomic_files import reason, write_bytes
from gensynth.data.picture import picture
from gensynth.errors import ConfigError, DataError, ExportError
from gensynth.export import half
from gensynth.export.acceptance import Report, inspect
from gensynth.export.int8 import Quantizer
from gensynth.export.overflow import overflow
from gensynth.export.reading import read_model
from gensynth.export.runtime import open_session
from gensynth.export.targets import Target, find_target
from gensynth.outside import ONNX_BYTES, read_bytes
from gensynth.randomness import stream
from gensynth.uses.classifier import Given, open_classifier

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MOST_IMAGES = 256
NOISE_IMAGES = 16
SAME = 1e-3
"""Largest relative difference of a file that is only brought to another opset."""


@dataclass(frozen=True)
class Exported:
    """A file for a target.

    Attributes:
        file: where it stands.
        target, precision: what it is for.
        report: what the target makes of it.
        relative: largest difference from the file that came, over the largest output.
        same_class: share of images with the same largest output; None of outputs that are no
            vector.
        images: that were compared.
        noise: whether these were noise, since no images were given.
        kept: nodes that stay in FP32, since FP16 cannot hold their numbers.
    """

    file: Path
    target: str
    precision: str
    report: Report
    relative: float
    same_class: float | None
    images: int
    noise: bool
    kept: tuple[str, ...] = ()


def export_file(
    file: str | Path,
    target: str,
    *,
    precision: str = "fp32",
    batch: int | None = None,
    images: str | Path | None = None,
    given: Given | None = None,
    out: str | Path | None = None,
) -> Exported:
    """Write an ONNX file of others for a target.

    Args:
        file: an FP32 file with one input of images.
        target: name of `gensynth.export.targets`.
        precision: "fp32", "fp16" or "int8".
        batch: images a run; None is 1 where the target's batch is fixed, else the file's own.
        images: a folder of pictures, on which ranges are measured and files compared; INT8 needs
            them.
        given: how pictures are read, as `gensynth.uses.classifier.open_classifier`.
        out: the file to write; None is NAME-TARGET-PRECISION.onnx in the working directory.

    Raises:
        ConfigError: if there is no such target or precision, or nothing says how pictures are read.
        ExportError: if there is no such file, the target does not take it, or what was written
            computes something else.
        DataError: if INT8 is asked for and there are no pictures.
    """
    path, wanted = Path(file), find_target(target)
    wanted.check_precision(precision)
    try:
        content = read_bytes(path, ONNX_BYTES)
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror}") from error
    read = _read(path, content, images, given)
    if precision == "int8" and images is None:
        raise DataError("INT8 needs pictures to measure ranges on; name a folder by --images")
    exact = _brought(content, wanted, batch)
    inspect(exact, wanted).require()
    made, kept = _in_precision(exact, read, wanted, precision)
    report = inspect(made, wanted)
    report.require()
    shown = half.rounded(made) if half.is_half(made) else made
    relative, same = _apart(content, shown, read)
    if precision == "fp32" and relative > SAME:
        raise ExportError(
            f"{path} computes something else at opset {wanted.opset}: outputs differ by "
            f"{relative:.2g} of the largest; export it at that opset where it was made"
        )
    place = Path(out) if out is not None else Path(f"{path.stem}-{wanted.name}-{precision}.onnx")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, made)
    except OSError as error:
        raise ExportError(f"cannot write {place}: {reason(error)}") from error
    return Exported(
        place, wanted.name, precision, report, relative, same, len(read), images is None, kept
    )


def _read(path: Path, content: bytes, images: str | Path | None, given: Given | None) -> np.ndarray:
    """Return what the file reads: pictures, or noise where there are none."""
    if images is not None:
        reading = open_classifier(path, given).reading
        files = _pictures(Path(images))
        side, colour = reading.shape[1], reading.colour
        return reading(np.stack([picture(file, side, colour) for file in files]))
    shape = _shape(read_model(content), path)
    noise = stream(0, "foreign").standard_normal((NOISE_IMAGES, *shape))
    return noise.astype(np.float32)


def _pictures(folder: Path) -> Sequence[Path]:
    found = [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in PICTURES]
    if not found:
        raise DataError(f"{folder} holds no pictures ({', '.join(PICTURES)})")
    step = max(1, len(found) // MOST_IMAGES)
    return found[::step][:MOST_IMAGES]


def _shape(model: ModelProto, path: Path) -> tuple[int, ...]:
    inputs = _inputs(model)
    sizes = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim][1:]
    if len(inputs) != 1 or not all(sizes):
        raise ConfigError(
            f"{path} must have one input, whose sizes besides the batch are fixed, got "
            f"{len(inputs)} inputs and sizes {sizes}"
        )
    return tuple(sizes)


def _inputs(model: ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _brought(content: bytes, target: Target, batch: int | None) -> bytes:
    """Return the file at the target's opset and with its batch.

    Most operators have only learned more types since an older opset, for which ONNX has no
    converter: so the file is held against the older one as it is, and its outputs are compared.
    """
    model = read_model(content)
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = min(entry.version, target.opset)
    model.ir_version = min(model.ir_version, target.ir)
    size = 1 if batch is None and target.batch == "fixed" else batch
    if size is not None:
        for value in (*_inputs(model), *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = size
    for number, node in enumerate(model.graph.node):  # by which precisions are told apart
        node.name = node.name or f"{node.op_type}_{number}"
    del model.graph.value_info[:]
    try:
        checker.check_model(model, full_check=True)
        inferred = shape_inference.infer_shapes(model)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(
            f"{target.name} reads opset {target.opset}, and the file is none of that: "
            f"{str(error).strip().splitlines()[0]}; export it at that opset where it was made"
        ) from error
    written: bytes = inferred.SerializeToString(deterministic=True)
    return written


def _in_precision(
    content: bytes, read: np.ndarray, target: Target, precision: str
) -> tuple[bytes, tuple[str, ...]]:
    """Return the file in a precision, and the nodes that stay in FP32."""
    match precision:
        case "fp16" if target.fp16 != "flag":
            kept = tuple(sorted(_beyond_half(content, read)))
            return half.to_half(content, keep=kept), kept
        case "int8":
            scheme = "tensorrt" if target.tensorrt else "processor"
            return Quantizer(content, read, scheme).write(), ()
    return content, ()


def _beyond_half(content: bytes, read: np.ndarray) -> set[str]:
    """Return the nodes whose numbers FP16 cannot hold, on any of the images."""
    size = _inputs(read_model(content))[0].type.tensor_type.shape.dim[0].dim_value or len(read)
    rows = np.arange(-(-len(read) // size) * size) % len(read)
    return {
        name
        for batch in np.split(rows, len(rows) // size)
        for name in overflow(content, read[batch]).nodes
    }


def _apart(before: bytes, after: bytes, read: np.ndarray) -> tuple[float, float | None]:
    """Return how far two files' outputs are apart, and how often the largest is the same one."""
    one, other = (_outputs(content, read) for content in (before, after))
    largest = max(float(np.abs(values).max()) for values in one)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
    same = None
    if one[0].ndim == 2:
        same = float((one[0].argmax(1) == other[0].argmax(1)).mean())
    return apart / max(largest, float(np.finfo(np.float32).tiny)), same


def _outputs(content: bytes, read: np.ndarray) -> list[np.ndarray]:
    """Return a file's outputs for all images, as many at a time as it takes."""
    session = open_session(content, rounding="as_written")
    (spec,) = session.inputs
    size = spec.shape[0] if isinstance(spec.shape[0], int) else len(read)
    parts = []
    for start in range(0, len(read), size):
        some = read[start : start + size]
        short = size - len(some)
        padded = np.pad(some, [(0, short), *[(0, 0)] * (some.ndim - 1)])
        parts.append([values[: len(some)] for values in session.run({spec.name: padded})])
    return [np.concatenate(values).astype(np.float32) for values in zip(*parts, strict=True)]
