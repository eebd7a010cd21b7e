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
from onnx import ModelProto, ValueInfoProto
from PIL import Image
from safetensors.torch import save

from gensynth.atomic_files import json_bytes, put_back, reason, write_bytes, write_folder
from gensynth.data.passes import images_a_pass
from gensynth.environment import environment
from gensynth.errors import ConfigError, ExportError
from gensynth.export.acceptance import Report, inspect
from gensynth.export.examples import COLOURED, examples
from gensynth.export.from_torch import from_network
from gensynth.export.manifest import MANIFEST, packed
from gensynth.export.manifest import SAMPLES as SAMPLES_FILE
from gensynth.export.metadata import Reading, described
from gensynth.export.parity import Parity, exact_outputs
from gensynth.export.precisions import (
    builder_flags,
    compare,
    in_precision,
    in_words,
    to_document,
)
from gensynth.export.rewrites import rewrites
from gensynth.export.sensitivity import Mixed
from gensynth.export.source import Accuracy, Source, compute, score_in_torch, score_of_file
from gensynth.export.targets import Target
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, ONNX_FILE, WEIGHTS_FILE
from gensynth.randomness import stream
from gensynth.tasks.pictures import colours
from gensynth.tasks.task import Tells

FORMAT = 1
PARITY_IMAGES = 64
SAMPLES = 8
SAMPLED_BYTES = 2**24
"""That the outputs for the samples may fill, if one image's do not fill more."""


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
        mixed: which layers stay in FP32 where others do not, and why; None for FP32.
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
    mixed: Mixed | None
    files: Mapping[str, bytes]


def make(source: Source, target: Target, *, precision: str, batch: int | None) -> Artefact:
    """Make an artefact in memory.

    Args:
        source: the network.
        target: to write for.
        precision: "fp32", "fp16" or "int8". Where FP16 is a flag of TensorRT's builder, the
            file stays FP32 and the manifest asks for the flag, and for the layers that must not
            be in FP16; else the file is FP16. INT8 is always the file's.
        batch: images a run; None is 1 where the target's batch is fixed, else free.

    Raises:
        ConfigError: if the target cannot have this precision, or the network has several inputs.
        ExportError: if the target does not take the file, the file computes something else, or
            INT8 is asked for and there are no images, or a requirement would fall.
    """
    target.check_precision(precision)
    graph = source.network.graph
    if len(graph.inputs) != 1:
        raise ConfigError(
            f"{source.name} has {len(graph.inputs)} inputs; an artefact is for one image in"
        )
    size = 1 if batch is None and target.batch == "fixed" else batch
    state = source.network.state_dict()
    model = from_network(source.network, opset=target.opset, batch=size, operators=target.operators)
    before = None if source.search is None else score_in_torch(source)
    images = _parity_images(source)
    read = source.reading(images)
    outputs = compute(source.network, read)
    program = getattr(source.task, "program", None)
    samples = max(1, min(SAMPLES, SAMPLED_BYTES // sum(each[0].nbytes for each in outputs)))
    made = in_precision(
        source, target, model, precision, images=images, outputs=outputs, before=before
    )
    model, mixed, kept = made.content, made.mixed, made.builder_fp32
    facts = _facts(source) | {"builder_fp32_layers": list(kept) or None}
    model = described(model, name=source.name, facts=facts)
    report = inspect(model, target)
    report.require()
    parity = compare(
        model, outputs, read, target, precision, builder_fp32=kept,
        exact=lambda: exact_outputs(source.network, [read]),
    )  # fmt: skip
    files = {
        ONNX_FILE: model,
        GRAPH_FILE: graph.to_json().encode(),
        WEIGHTS_FILE: save({k: t.detach().cpu().contiguous() for k, t in state.items()}),
        SAMPLES_FILE: packed(images[:samples], [each[:samples] for each in outputs]),
        "sample.png": _png(images[0], source.reading),
        **source.files,
        **examples(source.name, target, program),
    }
    accuracy = None
    if before is not None:
        known = None if mixed is None else mixed.score
        accuracy = Accuracy(before, known or score_of_file(source, model, target.rounding))
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
        "precision_is": in_words(precision, target),
        "builder_flags": builder_flags(precision, target),
        "builder_fp32_layers": list(kept),
        **to_document(made, source),
        **_interface(model),
        "reads": source.reading.to_document(),
        "classes": list(source.reading.classes),
        **({"colours": colours(len(source.reading.classes))} if program in COLOURED else {}),
        **(source.task.tells(graph) if isinstance(source.task, Tells) else {}),
        "parity": {
            **asdict(parity),
            "relative": parity.relative,
            "on": "the search split" if source.search is not None else "random pixels",
        },
        "accuracy": None if accuracy is None else accuracy.to_document(),
        "no_accuracy_because": source.why_not,
        "operators": report.to_document(),
        "opaque": [vertex.name for vertex in graph.vertices if vertex.op == "opaque"],
        "rewritten": [asdict(rewrite) for rewrite in spelled],
        "engine": "none; TensorRT builds it on the board" if target.tensorrt else None,
        "versions": environment(),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[MANIFEST] = json_bytes(document)
    return Artefact(
        name=source.name,
        target=target,
        precision=precision,
        batch=size,
        rewritten=len(spelled),
        report=report,
        parity=parity,
        accuracy=accuracy,
        mixed=mixed,
        files=files,
    )


def _facts(source: Source) -> dict[str, Any]:
    card = source.files.get(CARD_FILE)
    weights = source.files.get(WEIGHTS_FILE)
    return {
        "classes": list(source.reading.classes),
        "reads": source.reading.to_document(),
        "task": getattr(source.task, "program", None),
        "requirements": [requirement.text for requirement in source.requirements],
        "card_sha256": card and hashlib.sha256(card).hexdigest(),
        "weights_sha256": weights and hashlib.sha256(weights).hexdigest(),
    }


def write(artefact: Artefact, folder: Path) -> None:
    """Write an artefact's folder, in place of an older artefact there.

    What the older one's manifest does not list is the user's own and stays, but for engines that
    were built there: they are of the older network.

    Raises:
        ExportError: if something else stands there, the folder has a file of the user's own under
            a name of the artefact's, or it cannot be written.
    """
    place = folder.resolve()
    try:
        put_back(place)
        if place.exists() and not (place / MANIFEST).is_file():
            raise ExportError(f"{folder} exists and is no artefact; choose another folder by --out")
        own = _own_files(place) if place.exists() else set()
        if taken := sorted(own & artefact.files.keys()):
            raise ExportError(
                f"{folder / taken[0]} is a file of your own where the artefact has one; move it "
                "away, or choose another folder by --out"
            )
        write_folder(place, artefact.files, keep=own)
    except OSError as error:
        raise ExportError(f"cannot write {folder}: {reason(error)}") from error


def _own_files(folder: Path) -> set[str]:
    """Return what stands in an artefact's folder and is not of the artefact."""
    try:
        listed = {MANIFEST, *json.loads((folder / MANIFEST).read_bytes())["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{folder / MANIFEST} is damaged, so what is the artefact's there is not known: "
            f"{error!r}; choose another folder by --out, or remove this one"
        ) from error
    names = {entry.name for entry in folder.iterdir()}
    return {name for name in names - listed if not name.endswith((".plan", ".plan.partial"))}


def write_onnx(artefact: Artefact, path: Path) -> None:
    """Write an artefact's ONNX file alone.

    Raises:
        ExportError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, artefact.files[ONNX_FILE])
    except OSError as error:
        raise ExportError(f"cannot write {path}: {reason(error)}") from error


def _parity_images(source: Source) -> np.ndarray:
    count = images_a_pass(source.reading.shape, PARITY_IMAGES)
    if source.search is not None:
        return source.search.images[:count]
    shape = (count, *source.reading.shape)
    return stream(0, "export").integers(0, 256, shape, dtype=np.uint8)


def _interface(model: bytes) -> dict[str, Any]:
    graph = ModelProto.FromString(model).graph

    def of(value: ValueInfoProto) -> dict[str, Any]:
        sizes = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
        return {"name": value.name, "shape": sizes, "type": "float32"}

    outputs = [of(value) for value in graph.output]
    several = {"output": outputs[0]} if len(outputs) == 1 else {"outputs": outputs}
    return {"input": of(graph.input[0]), **several}


def _png(image: np.ndarray, reading: Reading) -> bytes:
    pixels = image[::-1] if reading.colour == "bgr" else image
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shown)).save(content, "PNG")
    return content.getvalue()
