"""A network's file in the precision that is asked for, and how it is held against the network.

    fp32   the file as it is written
    fp16   what is computed of it has every value and constant rounded to FP16, whether the file
           says so or a flag of TensorRT's builder; numbers beyond FP16 stay in FP32
    int8   as `gensynth.export.int8` writes it; only the file says what is rounded, and so no flag
           lets the builder compute the rest in less

In both of the lower ones layers stay in FP32 as far as the requirements need it
(`gensynth.export.sensitivity`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gensynth.data.passes import images_looked_at
from gensynth.errors import ExportError
from gensynth.export import half, int8, parity
from gensynth.export.overflow import Overflow, check_fits, overflow
from gensynth.export.parity import Exact, Parity, check
from gensynth.export.sensitivity import DAMAGE_IMAGES, Judgement, Mixed, fallen_requirements, mix
from gensynth.export.source import Source, score_of_file
from gensynth.export.targets import Target
from gensynth.goals.score import Score
from gensynth.graph.cost import cost

CALIBRATION_IMAGES = 512
OVERFLOW_IMAGES = 512
CLOSE = f"a difference of at most {half.TOLERANCE:g}"


@dataclass(frozen=True)
class Precise:
    """A file in its precision.

    Attributes:
        content: the file.
        mixed: which layers stay in FP32, and why; None in FP32.
        builder_fp32: of these, what TensorRT's builder must be told because the file does not
            say it.
        overflow: what FP16 cannot hold; None in other precisions.
    """

    content: bytes
    mixed: Mixed | None = None
    builder_fp32: tuple[str, ...] = ()
    overflow: Overflow | None = None


def in_precision(
    source: Source,
    target: Target,
    model: bytes,
    precision: str,
    *,
    images: np.ndarray,
    outputs: np.ndarray,
    before: Score | None,
) -> Precise:
    """Write an FP32 file in a precision, with the layers in FP32 that its requirements need.

    Args:
        source: the network.
        target: that the file is for.
        model: the FP32 file.
        precision: one that the target has.
        images: (images, channels, height, width), uint8: what it is compared on.
        outputs: of the network for these.
        before: the network's score on the search split; None where there is none.

    Raises:
        ExportError: if INT8 is asked for and there are no images, or a requirement would fall
            or nothing be left to compute in less.
    """
    match precision:
        case "fp16":
            return _in_half(source, target, model, images, outputs, before)
        case "int8":
            mixed = _in_int8(source, target, model, before)
            return Precise(mixed.content, mixed)
    return Precise(model)


def compare(
    content: bytes,
    outputs: np.ndarray,
    read: np.ndarray,
    target: Target,
    precision: str,
    *,
    builder_fp32: Collection[str] = (),
    exact: Exact | None = None,
) -> Parity:
    """Hold what a target computes of a file against its network's outputs.

    Args:
        content: the file.
        outputs: of the network.
        read: normalised images.
        target: that computes.
        precision: that it computes in.
        builder_fp32: layers that its builder keeps in FP32.
        exact: as `gensynth.export.parity.check`.

    Raises:
        ExportError: if they differ by more than the precision allows, or a number overflows.
    """
    if precision == "int8":
        rounding = target.rounding
        return check(content, outputs, read, tolerance=int8.TOLERANCE, rounding=rounding)
    if precision == "fp32":
        return check(content, outputs, read, exact=exact)
    if target.fp16 == "flag":
        check(content, outputs, read, exact=exact)
        content = half.to_half(content, keep=builder_fp32)
    else:
        check(content, outputs, read, tolerance=half.TOLERANCE)
    return _compare_half(content, outputs, read)


def in_words(precision: str, target: Target) -> str:
    """Return what the precision is of, and how its figures came about."""
    if precision == "fp32":
        return "the file's"
    if precision == "fp16":
        whose = "the file's"
        if target.fp16 == "flag":
            whose = "a flag of TensorRT's builder; the file is FP32"
        return f"{whose}; figures with every value and constant rounded to FP16, summed in FP32"
    how = {"as_written": "rounded where the file says, summed in FP32",
           "in_kernels": "by ONNX Runtime's INT8 kernels on this machine"}  # fmt: skip
    return (
        "the file's, where it rounds values to 8 bits; the rest is FP32; figures "
        f"{how[target.rounding]}"
    )


def builder_flags(precision: str, target: Target) -> list[str]:
    """Return what the file cannot say to TensorRT."""
    by_flag = target.fp16 == "flag" and precision != "fp32"
    return [precision.upper()] if by_flag else []


def to_document(made: Precise, source: Source) -> dict[str, Any]:
    """Return what the manifest says of a file in a lower precision, by the precision's name."""
    if made.mixed is None:
        return {"fp16": None, "int8": None}
    mixed = made.mixed
    kept = {
        "kept_in_fp32": list(mixed.kept),
        "kept_for": list(mixed.fallen),
        "damage": {name: d if np.isfinite(d) else None for name, d in mixed.damage.items()},
        "damage_is": "mean |change of the logits|^2 / |logits|^2 with this layer alone in "
        f"{'INT8' if made.overflow is None else 'FP16; null where it is not finite'}",
        "tried": [
            {"kept": count, **({} if score is None else score.to_document())}
            for count, score in mixed.tried
        ],
    }
    if made.overflow is not None:
        return {"fp16": {"beyond_fp16": dict(made.overflow.values), **kept}, "int8": None}
    assert source.calibration is not None
    method = {
        "method": "static, QuantizeLinear and DequantizeLinear; smallest and largest value",
        "ranges_from": {
            "split": "train",
            "images": len(_some(source.calibration, CALIBRATION_IMAGES)),
        },
    }
    return {"fp16": None, "int8": method | kept}


def _in_int8(source: Source, target: Target, model: bytes, before: Score | None) -> Mixed:
    if source.calibration is None or before is None:
        raise ExportError(f"INT8 is measured on images, and there are none: {source.why_not}")
    read = source.reading(_some(source.calibration, CALIBRATION_IMAGES))

    def judge(content: bytes) -> Judgement:
        after = score_of_file(source, content, target.rounding)
        return after, _fallen(source, before, after)

    return mix(
        int8.Quantizer(model, read, "tensorrt" if target.tensorrt else "processor"),
        precision="int8",
        judge=judge,
        exact=model,
        read=_some(read, DAMAGE_IMAGES),
        rounding=target.rounding,
    )


def _in_half(
    source: Source,
    target: Target,
    model: bytes,
    images: np.ndarray,
    outputs: np.ndarray,
    before: Score | None,
) -> Precise:
    read = source.reading(images)
    many = images if source.search is None else _some(source.search.images, OVERFLOW_IMAGES)
    beyond = overflow(model, source.reading(many))
    halves = half.Halves(model)
    cannot = [name for name in halves.layers if name in beyond.nodes]
    if len(cannot) == len(halves.layers):
        raise ExportError(f"nothing of it can be computed in FP16: {beyond}; export it as fp32")

    def judge(content: bytes) -> Judgement:
        fallen = []
        try:
            _compare_half(content, outputs, read)
        except ExportError:
            fallen.append(CLOSE)
        if before is None:
            return None, fallen
        after = score_of_file(source, content, target.rounding)
        return after, [*fallen, *_fallen(source, before, after)]

    mixed = mix(
        halves,
        precision="fp16",
        judge=judge,
        exact=model,
        read=_some(read, DAMAGE_IMAGES),
        shown=half.rounded,
        cannot=cannot,
        because=[str(beyond)] if cannot else [],
    )
    if target.fp16 == "flag":
        return Precise(model, mixed, mixed.kept, beyond)
    return Precise(mixed.content, mixed, (), beyond)


def _some(images: np.ndarray, most: int) -> np.ndarray:
    return images[: images_looked_at(images.shape[1:], most)]


def _compare_half(content: bytes, outputs: np.ndarray, read: np.ndarray) -> Parity:
    shown = half.rounded(content)
    check_fits(shown, read)
    return parity.check(shown, outputs, read, tolerance=half.TOLERANCE)


def _fallen(source: Source, before: Score, after: Score) -> tuple[str, ...]:
    counted = cost(source.network.graph)
    costs = {"params": counted.params, "macs": counted.macs}
    return fallen_requirements(source.requirements, costs, before=before, after=after)
