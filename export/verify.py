"""Whether an artefact still is what it was when it was written, found from the artefact alone.

    manifest    every file is there, with the SHA-256 it is said to have
    card        what it claims is claimed of this graph and these weights
    file        the target takes network.onnx; opset, shapes and names are the manifest's
    parity      the ONNX file computes what graph and weights compute, on the sample images,
                and both give the outputs that were recorded

The hashes tell damage; the rest tells a file that is whole and wrong, a manifest written over
it included. Nothing in an artefact is executed, and nothing outside it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from gensynth.atomic_files import file_sha256
from gensynth.errors import ConfigError, ExportError, GensynthError
from gensynth.export.acceptance import inspect
from gensynth.export.half import is_half
from gensynth.export.int8 import is_int8
from gensynth.export.manifest import (
    MANIFEST,
    SAMPLES,
    WHOLE,
    Manifest,
    outputs_of,
    read_manifest,
    read_samples,
)
from gensynth.export.metadata import Reading
from gensynth.export.parity import Parity, exact_outputs
from gensynth.export.precisions import compare
from gensynth.export.source import compute
from gensynth.export.targets import Target, find_target
from gensynth.goals.card import differing
from gensynth.goals.card_form import OWN
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, ONNX_FILE, WEIGHTS_FILE
from gensynth.network.files import load_network
from gensynth.outside import ONNX_BYTES, read_bytes

RECORDED_TOLERANCE = 1e-3
"""Between outputs computed now and those recorded, which another machine may have computed."""


@dataclass(frozen=True)
class Verified:
    """An artefact in which nothing was found wrong.

    Attributes:
        folder: of the artefact.
        name: of the network.
        target: that it is for.
        files: how many have the hash they should.
        opset: of the ONNX file.
        nodes: of the ONNX file, all taken by the target.
        parity: of the ONNX file with graph and weights.
    """

    folder: Path
    name: str
    target: str
    files: int
    opset: int
    nodes: int
    parity: Parity


def verify(folder: Path) -> Verified:
    """Check an artefact.

    Raises:
        ExportError: with everything that was found wrong, one a line.
    """
    manifest = read_manifest(folder, WHOLE)
    faults = [*_hash_faults(folder, manifest["files"]), *_card_faults(folder)]
    missing = [f for f in (ONNX_FILE, SAMPLES) if not (folder / f).is_file()]
    if missing:
        raise ExportError("\n".join(faults))
    parity = None
    try:
        content = read_bytes(folder / ONNX_FILE, ONNX_BYTES)
        target = find_target(manifest["target"])
        report = inspect(content, target)
        faults += [f"network.onnx: {refusal}" for refusal in report.refusals]
        if (report.opset, report.ir) != (manifest["opset"], manifest["ir"]):
            faults.append(
                f"network.onnx has opset {report.opset} and IR {report.ir}, the manifest says "
                f"{manifest['opset']} and {manifest['ir']}"
            )
        faults += _precision_faults(content, manifest, target)
        faults += _interface_faults(content, manifest)
        if not report.refusals and not faults:
            parity = _parity(folder, manifest, content, target)
    except ConfigError as error:
        faults.append(f"{MANIFEST}: {error}")
    except OSError as error:
        faults.append(f"{ONNX_FILE} cannot be read: {error.strerror}")
    except GensynthError as error:
        faults.append(str(error))
    if faults or parity is None:
        raise ExportError("\n".join(f"{folder}: {fault}" for fault in faults))
    return Verified(
        folder=folder,
        name=manifest["name"],
        target=target.name,
        files=len(manifest["files"]),
        opset=report.opset,
        nodes=sum(report.operators.values()),
        parity=parity,
    )


def _hash_faults(folder: Path, files: Mapping[str, str]) -> list[str]:
    needed = {ONNX_FILE, GRAPH_FILE, WEIGHTS_FILE, SAMPLES}
    faults = [f"{MANIFEST} does not list {name}" for name in needed - set(files)]
    for name, expected in files.items():
        path = folder / name
        if name != Path(name).name or path.is_symlink():
            faults.append(f"{MANIFEST} lists {name!r}, which is no file of the folder itself")
        elif not path.is_file():
            faults.append(f"{name} is absent")
        elif file_sha256(path) != expected:
            faults.append(f"{name} has another SHA-256 than {MANIFEST} says")
    return sorted(faults)


def _card_faults(folder: Path) -> list[str]:
    """Name the files that the card was not written for; its ONNX file is the run's own."""
    if not (folder / CARD_FILE).is_file():
        return []
    try:
        card = OWN.read(read_bytes(folder / CARD_FILE))
    except OSError as error:
        return [f"{CARD_FILE} cannot be read: {error.strerror}"]
    except ValueError as error:
        return [f"{CARD_FILE} is damaged: {error}"]
    return [
        f"{name} is not the file that {CARD_FILE} was written for, so none of its figures hold of "
        "it; export the network again"
        for name in differing(card, folder, (GRAPH_FILE, WEIGHTS_FILE))
    ]


def _interface_faults(content: bytes, manifest: Manifest) -> list[str]:
    graph = ModelProto.FromString(content).graph
    faults = []
    outputs = outputs_of(manifest)
    said_of = {"input": [manifest["input"]], "output": outputs}
    for word, values in (("input", graph.input), ("output", graph.output)):
        found = [
            (v.name, [d.dim_value or None for d in v.type.tensor_type.shape.dim]) for v in values
        ]
        said = [(each["name"], each["shape"]) for each in said_of[word]]
        if found != said:
            faults.append(f"network.onnx has the {word} {found}, {MANIFEST} says {said}")
    reads = manifest["reads"]
    sizes = [len(reads["mean"]), reads["height"], reads["width"]]
    if manifest["input"]["shape"][1:] != sizes:
        faults.append(f"{MANIFEST} reads images of {sizes} for an input of another shape")
    if all(each["shape"][1:2] != [len(manifest["classes"])] for each in outputs):  # channels first
        faults.append(f"{MANIFEST} names {len(manifest['classes'])} classes for another output")
    return faults


def _precision_faults(content: bytes, manifest: Manifest, target: Target) -> list[str]:
    precision = manifest["precision"]
    target.check_precision(precision)
    in_file = precision == "fp16" and target.fp16 == "file"
    faults = []
    if (precision == "int8", in_file) != (is_int8(content), is_half(content)):
        faults.append(f"{ONNX_FILE} is not in the precision {precision!r}")
    names = {node.name for node in ModelProto.FromString(content).graph.node}
    unknown = [name for name in _builder_fp32(manifest) if name not in names]
    if unknown:
        faults.append(f"{MANIFEST} keeps {', '.join(map(repr, unknown))} in FP32, which no node is")
    return faults


def _builder_fp32(manifest: Manifest) -> list[str]:
    """Return the layers that the builder keeps in FP32; older manifests name none."""
    return list(manifest.get("builder_fp32_layers", []))


def _parity(folder: Path, manifest: Manifest, content: bytes, target: Target) -> Parity:
    images, recorded = read_samples(folder / SAMPLES, manifest)
    precision, kept = manifest["precision"], _builder_fp32(manifest)
    read = Reading.of(manifest)(images)
    if not all(np.isfinite(each).all() for each in recorded):
        raise ExportError(f"{SAMPLES} holds outputs that are not finite")
    if manifest["opaque"]:  # only the prototype's own code computes these parts
        return compare(content, recorded, read, target, precision, builder_fp32=kept)
    network = load_network(folder)
    shape = network.graph[network.graph.inputs[0].name].shape
    if len(network.graph.inputs) != 1 or shape != read.shape[1:]:
        raise ExportError(f"graph.json reads images of {shape}, {MANIFEST} of {read.shape[1:]}")
    outputs = compute(network, read)
    if not all(np.isfinite(each).all() for each in outputs):
        raise ExportError("graph and weights compute values that are not finite")
    shapes = [[each.shape for each in maps] for maps in (outputs, recorded)]
    if shapes[0] != shapes[1]:
        raise ExportError(f"graph.json gives outputs of {shapes[0]}, samples.npz holds {shapes[1]}")
    parity = compare(
        content, outputs, read, target, precision, builder_fp32=kept,
        exact=lambda: exact_outputs(network, [read]),
    )  # fmt: skip
    worst = max(
        float(np.abs(now - then).max()) / max(float(np.abs(then).max()), 1e-30)
        for now, then in zip(outputs, recorded, strict=True)
    )
    if not worst <= RECORDED_TOLERANCE:
        raise ExportError(
            f"graph and weights differ from the outputs recorded in samples.npz by {worst:.3g} of "
            f"the largest; at most {RECORDED_TOLERANCE:g} is allowed"
        )
    return parity
