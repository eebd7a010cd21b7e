"""Whether an artefact still is what it was when it was written, found from the artefact alone.

    manifest    every file is there, with the SHA-256 it is said to have
    card        what it claims is claimed of this graph and these weights
    file        the target takes network.onnx; opset, shapes and names are the manifest's
    parity      the ONNX file computes what graph and weights compute, on the sample images,
                and both give the outputs that were recorded

The hashes tell damage; the rest tells a file that is whole and wrong, a manifest written over
it included. Nothing in an artefact is executed, and nothing outside it is read.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from gensynth.errors import ConfigError, ExportError, GensynthError
from gensynth.export.acceptance import inspect
from gensynth.export.artefact import FORMAT, MANIFEST
from gensynth.export.half import is_half
from gensynth.export.int8 import is_int8
from gensynth.export.parity import Parity, exact_outputs
from gensynth.export.precisions import compare
from gensynth.export.source import Reading, compute
from gensynth.export.targets import Target, find_target
from gensynth.goals.card import differing
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, ONNX_FILE, WEIGHTS_FILE
from gensynth.network.module import load_network

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
    manifest = _manifest(folder)
    try:
        return _verify(folder, manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(f"{folder / MANIFEST} is damaged: {error!r}") from error


def _verify(folder: Path, manifest: Mapping[str, Any]) -> Verified:
    faults = [*_hash_faults(folder, manifest["files"]), *_card_faults(folder)]
    missing = [f for f in (ONNX_FILE, "samples.npz") if not (folder / f).is_file()]
    if missing:
        raise ExportError("\n".join(faults))
    content = (folder / ONNX_FILE).read_bytes()
    parity = None
    try:
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
    except GensynthError as error:
        faults.append(str(error))
    except zipfile.BadZipFile as error:
        faults.append(f"samples.npz is damaged: {error}")
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


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        found = document["format"]
    except OSError as error:
        raise ExportError(f"{folder} is no artefact: {MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} is damaged: {error!r}") from error
    if found != FORMAT:
        raise ExportError(f"{path} has format {found}, this version reads {FORMAT}")
    return document


def _hash_faults(folder: Path, files: Mapping[str, str]) -> list[str]:
    needed = {ONNX_FILE, GRAPH_FILE, WEIGHTS_FILE, "samples.npz"}
    faults = [f"{MANIFEST} does not list {name}" for name in needed - set(files)]
    for name, expected in files.items():
        path = folder / name
        if name != Path(name).name or path.is_symlink():
            faults.append(f"{MANIFEST} lists {name!r}, which is no file of the folder itself")
        elif not path.is_file():
            faults.append(f"{name} is absent")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            faults.append(f"{name} has another SHA-256 than {MANIFEST} says")
    return sorted(faults)


def _card_faults(folder: Path) -> list[str]:
    """Name the files that the card was not written for; its ONNX file is the run's own."""
    if not (folder / CARD_FILE).is_file():
        return []
    try:
        card = json.loads((folder / CARD_FILE).read_bytes())
    except ValueError as error:
        return [f"{CARD_FILE} is damaged: {error}"]
    return [
        f"{name} is not the file that {CARD_FILE} was written for, so none of its figures hold of "
        "it; export the network again"
        for name in differing(card, folder, (GRAPH_FILE, WEIGHTS_FILE))
    ]


def _interface_faults(content: bytes, manifest: Mapping[str, Any]) -> list[str]:
    graph = ModelProto.FromString(content).graph
    faults = []
    for word, values in (("input", graph.input), ("output", graph.output)):
        found = [
            (v.name, [d.dim_value or None for d in v.type.tensor_type.shape.dim]) for v in values
        ]
        said = [(manifest[word]["name"], manifest[word]["shape"])]
        if found != said:
            faults.append(f"network.onnx has the {word} {found}, {MANIFEST} says {said}")
    reads = manifest["reads"]
    sizes = [len(reads["mean"]), reads["height"], reads["width"]]
    if manifest["input"]["shape"][1:] != sizes:
        faults.append(f"{MANIFEST} reads images of {sizes} for an input of another shape")
    if manifest["output"]["shape"][1:] != [len(manifest["classes"])]:
        faults.append(f"{MANIFEST} names {len(manifest['classes'])} classes for another output")
    return faults


def _precision_faults(content: bytes, manifest: Mapping[str, Any], target: Target) -> list[str]:
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


def _builder_fp32(manifest: Mapping[str, Any]) -> list[str]:
    """Return the layers that the builder keeps in FP32; older manifests name none."""
    return list(manifest.get("builder_fp32_layers", []))


def _parity(folder: Path, manifest: Mapping[str, Any], content: bytes, target: Target) -> Parity:
    with np.load(folder / "samples.npz", allow_pickle=False) as samples:
        images, recorded = samples["images"], samples["outputs"]
    read, precision, kept = (
        Reading.of(manifest)(images),
        manifest["precision"],
        _builder_fp32(manifest),
    )
    if manifest["opaque"]:  # only the prototype's own code computes these parts
        return compare(content, recorded, read, target, precision, builder_fp32=kept)
    network = load_network(folder)
    outputs = compute(network, read)
    parity = compare(
        content, outputs, read, target, precision, builder_fp32=kept,
        exact=lambda: exact_outputs(network, [read]),
    )  # fmt: skip
    worst = float(np.abs(outputs - recorded).max()) / max(float(np.abs(recorded).max()), 1e-30)
    if not worst <= RECORDED_TOLERANCE:
        raise ExportError(
            f"graph and weights differ from the outputs recorded in samples.npz by {worst:.3g} of "
            f"the largest; at most {RECORDED_TOLERANCE:g} is allowed"
        )
    return parity
