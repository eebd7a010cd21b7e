"""An artefact's manifest and samples as they are read: held against their form, and bounded.

    read_manifest    manifest.json -> what it says
    read_samples     samples.npz -> the images, and the network's outputs for them

`artefact` writes both.
"""

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NotRequired, TypeVar

import numpy as np
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from gensynth.errors import ExportError
from gensynth.outside import SAMPLES_BYTES, Finite, Form, Natural, Positive, read_bytes, within

MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
MOST_SAMPLES = 64
MOST_OUTPUTS, MOST_A_PIXEL = 1 << 18, 64
"""Numbers that a network gives for one image, or for one pixel of a large one."""

_Side = Annotated[int, Field(ge=1, le=1 << 14)]
_PerChannel = Annotated[list[Finite], Field(min_length=1, max_length=4)]
_Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Interface(TypedDict):
    """The input, or the output; a size that is free is None."""

    name: str
    shape: Annotated[list[Positive | None], Field(min_length=1, max_length=8)]


class Scaling(TypedDict):
    """What of it a measurement needs."""

    mode: Literal["L", "RGB"]
    height: _Side
    width: _Side
    mean: _PerChannel
    std: Annotated[list[_Scale], Field(min_length=1, max_length=4)]


class Reads(Scaling):
    """How an image becomes what the network reads."""

    colour: Literal["rgb", "bgr", "grey"]


def of_as_many(reads: Any) -> Any:
    """Return what is said of the reading, if it has a mean and a std for each channel."""
    if len(reads["mean"]) != len(reads["std"]):
        raise ValueError("must have a mean and a std for each channel")
    return reads


class Detections(TypedDict):
    """How a detector's maps are decoded, see `gensynth.tasks.boxes.detect`."""

    kind: Literal["grid", "scales"]
    height: _Side
    width: _Side
    most: Annotated[int, Field(ge=1, le=1 << 14)]
    order: Annotated[list[Natural], Field(min_length=2, max_length=64)]


class Measurable(TypedDict):
    """What a measurement asks of a manifest."""

    name: str
    answer: NotRequired[Detections]
    reads: Annotated[Scaling, AfterValidator(of_as_many)]


class Manifest(TypedDict):
    """What is asked of a manifest; the rest is for people."""

    format: Literal[1]
    name: str
    target: str
    opset: Natural
    ir: Natural
    batch: Positive | None
    precision: Literal["fp32", "fp16", "int8"]
    reads: Annotated[Reads, AfterValidator(of_as_many)]
    classes: list[str]
    input: Interface
    output: NotRequired[Interface]
    outputs: NotRequired[list[Interface]]
    opaque: list[str]
    builder_fp32_layers: NotRequired[list[str]]
    files: dict[str, str]


WHOLE: Form[Manifest] = Form(Manifest)
MEASURABLE: Form[Measurable] = Form(Measurable)

T = TypeVar("T")

_ZIP_ERRORS = (
    ValueError, KeyError, EOFError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
    zlib.error, struct.error,
)  # fmt: skip
"""What zipfile raises for bytes that are no whole archive, or one that it cannot unpack."""

_HEADER = re.compile(
    rb"\{'descr': '([|<][uf][1-8])', 'fortran_order': False, 'shape': \(([0-9, ]+)\), \} *\n"
)


def read_manifest(folder: Path, form: Form[T]) -> T:
    """Return what an artefact's manifest says.

    Args:
        form: `WHOLE`, or `MEASURABLE` for what a measurement needs.

    Raises:
        ExportError: if there is none, or it is damaged or of another format.
    """
    path = folder / MANIFEST
    try:
        manifest = form.read(read_bytes(path))
    except OSError as error:
        within = sorted(place.parent.name for place in folder.glob(f"*/{MANIFEST}"))
        holds = f"; it holds some, name one of them: {', '.join(within)}" if within else ""
        what = f"{folder} is no artefact: {MANIFEST}: {error.strerror}{holds}"
        raise ExportError(what) from error
    except ValueError as error:
        raise ExportError(f"{path} is damaged: {error}") from error
    return manifest


def outputs_of(manifest: Manifest) -> list[Interface]:
    """Return what a network gives: one "output", or "outputs" where it gives several maps.

    Raises:
        ExportError: if the manifest has neither.
    """
    found = manifest.get("outputs") or [manifest[key] for key in ("output",) if key in manifest]
    if not found:
        raise ExportError(f"{MANIFEST} is damaged: output is missing")
    return found


def packed(images: np.ndarray, outputs: Sequence[np.ndarray]) -> bytes:
    """Return samples.npz: "images", "outputs", and "outputs_1", ... where there are several."""
    content = io.BytesIO()
    named = dict(zip(_names(len(outputs)), outputs, strict=True))
    np.savez(content, images=images, **named)  # type: ignore[arg-type]
    return content.getvalue()


def _names(count: int) -> list[str]:
    return ["outputs", *(f"outputs_{number}" for number in range(1, count))]


def read_samples(file: Path, manifest: Manifest) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return an artefact's sample images, (n, channels, height, width), and outputs, (n, ...) each.

    Args:
        manifest: of the artefact.

    Raises:
        ExportError: if they are absent or damaged, or are not those of such images.
    """
    try:
        return samples_of(io.BytesIO(read_bytes(file, SAMPLES_BYTES)), manifest)
    except OSError as error:
        raise ExportError(f"{file} is absent or damaged: {error.strerror or error}") from error


def samples_of(file: IO[bytes], manifest: Manifest) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the same of a file's bytes; see `read_samples`."""
    names = _names(len(outputs_of(manifest)))
    images, *outputs = _unpacked(file, manifest["reads"], ("images", *names))
    if any(len(each) != len(images) or each.dtype != np.float32 for each in outputs):
        raise ExportError(f"{SAMPLES} is damaged: it must hold an output for each image")
    return images, outputs


def read_images(file: Path, reads: Mapping[str, Any]) -> np.ndarray:
    """Return the images alone; see `read_samples`."""
    try:
        (images,) = _unpacked(io.BytesIO(read_bytes(file, SAMPLES_BYTES)), reads, ("images",))
    except OSError as error:
        raise ExportError(f"{file} is absent or damaged: {error.strerror or error}") from error
    return images


def _unpacked(
    file: IO[bytes], reads: Mapping[str, Any], names: tuple[str, ...]
) -> list[np.ndarray]:
    shape = (len(reads["mean"]), reads["height"], reads["width"])
    outputs = max(MOST_OUTPUTS, MOST_A_PIXEL * math.prod(shape[1:]))
    most = min(SAMPLES_BYTES, MOST_SAMPLES * (math.prod(shape) + 4 * outputs) + (1 << 12))
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            within(unpacked, most, "the bytes of samples.npz, unpacked,")
            found = [_array(archive.read(f"{name}.npy")) for name in names]
    except _ZIP_ERRORS as error:
        raise ExportError(f"{SAMPLES} is damaged: {error}") from error
    images = found[0]
    if images.shape[1:] != shape or images.dtype != np.uint8 or not len(images) > 0:
        raise ExportError(f"{SAMPLES} is damaged: it must hold images of {shape}")
    return found


def _array(content: bytes) -> np.ndarray:
    """Return an array that numpy wrote, whose header has numpy's own form."""
    header = content[10 : 10 + int.from_bytes(content[8:10], "little")]
    found = _HEADER.fullmatch(header)
    if content[:8] != b"\x93NUMPY\x01\x00" or found is None:
        raise ValueError("an array in it is none that numpy wrote")
    shape = tuple(int(size) for size in found[2].decode().split(",") if size.strip())
    return np.frombuffer(content[10 + len(header) :], found[1].decode()).reshape(shape)
