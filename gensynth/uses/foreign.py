"""An ONNX file that gensynth did not write, made one that a target reads.

    checked     against what the target's runtime knows, operator by operator
    brought     to the target's opset, and to a fixed batch where the target wants one
    rounded     to FP16, but for what FP16 cannot hold and what rounding would move too far,
                whether the file says so or a flag of TensorRT's builder: then its metadata names
                what stays in FP32, and `gensynth bench` tells the builder
    quantised   to INT8, its ranges measured on images of one's own
    compared    with the file that came, on the same images

A run's own networks are compared with what they were learned from, and keep the layers in FP32 that
their requirements need (`gensynth.export.artefact`); of a stranger's file nobody knows either.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, checker, shape_inference, version_converter

from gensynth.atomic_files import reason, write_bytes
from gensynth.data.picture import picture
from gensynth.errors import ConfigError, DataError, ExportError
from gensynth.export import half
from gensynth.export.acceptance import Report, inspect
from gensynth.export.int8 import Quantizer
from gensynth.export.metadata import keeping_in_fp32
from gensynth.export.overflow import check_fits, overflow
from gensynth.export.parity import check, run_all
from gensynth.export.reading import read_model
from gensynth.export.sensitivity import DAMAGE_IMAGES, Judgement, mix
from gensynth.export.targets import Target, find_target
from gensynth.outside import ELEMENTS, ONNX_BYTES, read_bytes, within
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
        kept: nodes that stay in FP32, since FP16 cannot hold their numbers or rounds them too far.
        by_flag: whether TensorRT's builder computes in FP16, and the file is FP32.
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
    by_flag: bool = False


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
    if any(v.type.tensor_type.elem_type != TensorProto.FLOAT for v in _inputs(read_model(content))):
        raise ExportError(f"{path} must read FP32 images; export it so where it was made")
    exact = _brought(content, wanted, batch)
    inspect(exact, wanted).require()
    made, shown, kept = _in_precision(exact, read, wanted, precision)
    report = inspect(made, wanted)
    report.require()
    relative, same = _apart(content, shown, read)
    if not np.isfinite(relative):
        raise ExportError(
            f"{path} computes values in {precision} that are not finite on {len(read)} "
            f"{'inputs of noise' if images is None else 'pictures'}; export it as fp32"
        )
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
        place, wanted.name, precision, report, relative, same, len(read), images is None, kept,
        by_flag=precision == "fp16" and wanted.fp16 == "flag",
    )  # fmt: skip


def _read(path: Path, content: bytes, images: str | Path | None, given: Given | None) -> np.ndarray:
    """Return what the file reads: pictures, or noise where there are none."""
    if images is not None:
        reading = open_classifier(path, given).reading
        files = _pictures(Path(images))
        side, colour = reading.shape[1], reading.colour
        return reading(np.stack([picture(file, side, colour) for file in files]))
    shape = _shape(read_model(content), path)
    try:
        within(math.prod(shape), ELEMENTS, f"the values of an image that {path} reads")
    except ValueError as error:
        raise ConfigError(str(error)) from error
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
    sizes = [d.dim_value for value in inputs[:1] for d in value.type.tensor_type.shape.dim][1:]
    if len(inputs) != 1 or not sizes or min(sizes) < 1:
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

    A newer one is ONNX's own conversion. Most operators have only learned more types since an
    older opset, for which ONNX has no converter: so the file is held against the older one as it
    is, and its outputs are compared.
    """
    model = _raised(read_model(content), target)
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = min(entry.version, target.opset)
    model.ir_version = min(model.ir_version, target.ir)
    size = 1 if batch is None and target.batch == "fixed" else batch
    if size is not None:
        for value in (*_inputs(model), *model.graph.output):
            if value.type.tensor_type.shape.dim:  # an output need not say its sizes
                value.type.tensor_type.shape.dim[0].dim_value = size
    for number, node in enumerate(model.graph.node):  # by which precisions are told apart
        node.name = node.name or f"{node.op_type}_{number}"
    del model.graph.value_info[:]
    try:
        inferred = shape_inference.infer_shapes(model)
        checker.check_model(inferred, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(
            f"{target.name} reads opset {target.opset}, and the file is none of that: "
            f"{str(error).strip().splitlines()[0]}; export it at that opset where it was made"
        ) from error
    written: bytes = inferred.SerializeToString(deterministic=True)
    return written


def _raised(model: ModelProto, target: Target) -> ModelProto:
    """Return the file at the target's opset where its own is older."""
    if max((e.version for e in model.opset_import if not e.domain), default=0) >= target.opset:
        return model
    try:
        return version_converter.convert_version(model, target.opset)
    except (version_converter.ConvertError, shape_inference.InferenceError, RuntimeError) as error:
        raise ExportError(
            f"{target.name} reads opset {target.opset}, to which the file cannot be brought: "
            f"{str(error).strip().splitlines()[0]}; export it at that opset where it was made"
        ) from error


def _in_precision(
    content: bytes, read: np.ndarray, target: Target, precision: str
) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Return the file in a precision, the file that shows it, and the nodes that stay in FP32."""
    match precision:
        case "fp16":
            halved, kept = _in_half(content, read)
            made = keeping_in_fp32(content, kept) if target.fp16 == "flag" else halved
            return made, half.rounded(halved), kept
        case "int8":
            scheme = "tensorrt" if target.tensorrt else "processor"
            quantised = Quantizer(content, read, scheme).write()
            return quantised, quantised, ()
    return content, content, ()


def _in_half(content: bytes, read: np.ndarray) -> tuple[bytes, tuple[str, ...]]:
    """Return an FP16 file that is as near as FP16 has to be, and the nodes that stay in FP32."""
    beyond, halves = overflow(content, read), half.Halves(content)
    cannot = [name for name in halves.layers if name in beyond.nodes]
    if len(cannot) == len(halves.layers):
        raise ExportError(f"nothing of it can be computed in FP16: {beyond}; export it as fp32")
    exact = run_all(content, [read])

    def judge(made: bytes) -> Judgement:
        shown = half.rounded(made)
        try:
            check_fits(shown, read)
            check(shown, exact, read, tolerance=half.TOLERANCE)
        except ExportError:
            return None, [f"a difference of at most {half.TOLERANCE:g}"]
        return None, []

    mixed = mix(
        halves, precision="fp16", judge=judge, exact=content, read=read[:DAMAGE_IMAGES],
        shown=half.rounded, cannot=cannot,
    )  # fmt: skip
    return mixed.content, mixed.kept


def _apart(before: bytes, after: bytes, read: np.ndarray) -> tuple[float, float | None]:
    """Return how far two files' outputs are apart, and how often the largest is the same one."""
    one, other = (run_all(content, [read]) for content in (before, after))
    largest = max(float(np.abs(values).max()) for values in one)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
    same = None
    if one[0].ndim == 2:
        same = float((one[0].argmax(1) == other[0].argmax(1)).mean())
    return apart / max(largest, float(np.finfo(np.float32).tiny)), same
