"""A network's folder for a target: files that it runs, and all that is known of them.

    network.onnx                    for the target's opset, IR and operators, compared with
    graph.json, weights.safetensors     the network itself
    samples.npz, sample.png         a few images and the network's outputs for them
    card.json                       what the network is certified for, where that is known
    example_onnx.py, example_trt.py programs that run it on an image
    manifest.json                   SHA-256 of each, shapes, normalisation, classes, parity

The folder appears whole or not at all, and only once the ONNX file has been shown to compute
what the network computes. There is no engine in it: TensorRT builds one on the board.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from PIL import Image
from safetensors.torch import save

from gensynth.durable import write_folder
from gensynth.environment import environment
from gensynth.errors import ConfigError, ExportError
from gensynth.export.acceptance import Report, inspect
from gensynth.export.examples import examples
from gensynth.export.half import TOLERANCE as HALF_TOLERANCE
from gensynth.export.half import is_half, rounded, to_half
from gensynth.export.onnx import to_onnx
from gensynth.export.parity import Parity, check, run_all
from gensynth.export.rewrites import rewrites
from gensynth.export.targets import Target
from gensynth.network import Network
from gensynth.randomness import stream

FORMAT = 1
MANIFEST = "manifest.json"
PARITY_IMAGES = 64
SAMPLES = 8


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
    """

    name: str
    network: Network
    reading: Reading
    images: np.ndarray | None
    labels: np.ndarray | None
    why_not: str | None
    card: bytes | None


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


@dataclass(frozen=True)
class Artefact:
    """An artefact, written or about to be.

    Attributes:
        name: of the network.
        target: that it is for.
        precision: that was asked for.
        batch: images a run; None if it is free.
        rewritten: how many vertices are spelled out because the target lacks an operator.
        report: what the target makes of the file.
        parity: of the ONNX file with the network.
        accuracy: None where the data set cannot be opened.
        files: content by name.
    """

    name: str
    target: Target
    precision: str
    batch: int | None
    rewritten: int
    report: Report
    parity: Parity
    accuracy: Accuracy | None
    files: Mapping[str, bytes]


def make(source: Source, target: Target, *, precision: str, batch: int | None) -> Artefact:
    """Make an artefact in memory.

    Args:
        source: the network.
        target: to write for.
        precision: "fp32", "fp16" or "int8". Where FP16 is a flag of TensorRT's builder, the
            file stays FP32 and the manifest asks for the flag; else the file is FP16.
        batch: images a run; None is 1 where the target's batch is fixed, else free.

    Raises:
        ConfigError: if the target cannot have this precision, or it is not an image
            classifier with one input.
        ExportError: if the target does not take the file, or the file computes something else.
    """
    target.check_precision(precision)
    graph = source.network.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ConfigError(
            f"{source.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; an "
            "artefact is for one image in, one answer out"
        )
    size = 1 if batch is None and target.batch == "fixed" else batch
    state = source.network.state_dict()
    weights = {key: tensor.detach().float().cpu().numpy() for key, tensor in state.items()}
    model = to_onnx(graph, weights, opset=target.opset, batch=size, operators=target.operators)
    by_flag = precision == "fp16" and target.fp16 == "flag"
    if precision == "fp16" and not by_flag:
        model = to_half(model)
    report = inspect(model, target)
    report.require()
    images = _parity_images(source)
    read = source.reading(images)
    outputs = compute(source.network, read)
    parity = compare(model, outputs, read)
    files = {
        "network.onnx": model,
        "graph.json": graph.to_json().encode(),
        "weights.safetensors": save({k: t.detach().cpu().contiguous() for k, t in state.items()}),
        "samples.npz": _npz(images=images[:SAMPLES], outputs=outputs[:SAMPLES]),
        "sample.png": _png(images[0], source.reading),
        **({} if source.card is None else {"card.json": source.card}),
        **examples(source.name, target),
    }
    accuracy = _accuracy(source, model)
    spelled = rewrites(graph, model, target)
    document = {
        "format": FORMAT,
        "name": source.name,
        "target": target.name,
        "runtime": {"name": target.runtime, "versions": dict(target.versions)},
        "opset": report.opset,
        "ir": report.ir,
        "batch": size,
        "precision": precision,
        "precision_is": "a flag of TensorRT's builder; the file is FP32, and so are its figures"
        if by_flag
        else "the file's; figures with every value rounded to FP16, summed in FP32"
        if precision == "fp16"
        else "the file's",
        "builder_flags": ["FP16"] if by_flag else [],
        **_interface(model),
        "reads": source.reading.to_document(),
        "classes": list(source.reading.classes),
        "parity": {
            **asdict(parity),
            "relative": parity.relative,
            "on": "the search split" if source.images is not None else "random pixels",
        },
        "accuracy": None if accuracy is None else accuracy.to_document(),
        "no_accuracy_because": source.why_not,
        "operators": report.to_document(),
        "rewritten": [asdict(rewrite) for rewrite in spelled],
        "engine": "none; TensorRT builds it on the board" if target.tensorrt else None,
        "versions": environment(),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    files[MANIFEST] = text.encode()
    return Artefact(
        name=source.name,
        target=target,
        precision=precision,
        batch=size,
        rewritten=len(spelled),
        report=report,
        parity=parity,
        accuracy=accuracy,
        files=files,
    )


def write(artefact: Artefact, folder: Path) -> None:
    """Write an artefact's folder, in place of an older artefact there.

    Raises:
        ExportError: if something else stands there, or it cannot be written.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise ExportError(f"{folder} exists and is no artefact; choose another folder by --out")
    try:
        write_folder(folder, artefact.files)
    except OSError as error:
        raise ExportError(f"cannot write {folder}: {error.strerror}") from error


def compute(network: Network, read: np.ndarray) -> np.ndarray:
    """Return the torch network's outputs for normalised images."""
    network.eval()
    with torch.no_grad():
        parts = [network(torch.from_numpy(part)) for part in np.array_split(read, _parts(read))]
    return np.concatenate([part.float().numpy() for part in parts])


def compare(model: bytes, outputs: np.ndarray, read: np.ndarray) -> Parity:
    """Hold a file's outputs against its network's; an FP16 file's with every value rounded.

    Raises:
        ExportError: if they differ by more than the precision allows.
    """
    if not is_half(model):
        return check(model, outputs, read)
    check(model, outputs, read, tolerance=HALF_TOLERANCE)
    return check(rounded(model), outputs, read, tolerance=HALF_TOLERANCE)


def _parts(read: np.ndarray) -> int:
    return -(-len(read) // 256)


def _parity_images(source: Source) -> np.ndarray:
    if source.images is not None:
        return source.images[:PARITY_IMAGES]
    shape = (PARITY_IMAGES, *source.reading.shape)
    return stream(0, "export").integers(0, 256, shape, dtype=np.uint8)


def _accuracy(source: Source, model: bytes) -> Accuracy | None:
    if source.images is None or source.labels is None:
        return None
    before = after = 0
    shown = rounded(model) if is_half(model) else model
    for images, labels in zip(
        np.array_split(source.images, _parts(source.images)),
        np.array_split(source.labels, _parts(source.images)),
        strict=True,
    ):
        read = source.reading(images)
        before += int((compute(source.network, read).argmax(1) == labels).sum())
        (found,) = run_all(shown, [read])
        after += int((found.argmax(1) == labels).sum())
    return Accuracy(before, after, len(source.labels))


def _interface(model: bytes) -> dict[str, Any]:
    graph = ModelProto.FromString(model).graph
    found = {}
    for word, value in (("input", graph.input[0]), ("output", graph.output[0])):
        sizes = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
        found[word] = {"name": value.name, "shape": sizes, "type": "float32"}
    return found


def _npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def _png(image: np.ndarray, reading: Reading) -> bytes:
    pixels = image[::-1] if reading.colour == "bgr" else image
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shown)).save(content, "PNG")
    return content.getvalue()
