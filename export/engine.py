"""An artefact on a board: its engine built by the board's agent, its outputs compared.

The board gets the ONNX file and the artefact's samples, builds the engine with its own TensorRT
and runs it once on each sample; nothing is timed. What comes back is all that is known of the
engine: seconds, bytes, the precision of every layer, the log, how far its outputs are from the
network's. The engine itself stays on the board that it was built for. An artefact for ONNX
Runtime is run there as it is.
"""

import hashlib
import importlib.util
import io
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.atomic_files import json_bytes
from gensynth.devices.agent.wire.spec import LEASE_S
from gensynth.devices.agent.wire.tensors import byte_count
from gensynth.devices.answers import BUILT, RESULT
from gensynth.devices.client import Connection, connect
from gensynth.devices.profiles import TENSORRT
from gensynth.devices.registry import find
from gensynth.errors import DeviceFault, ExportError
from gensynth.export.artefact import Artefact
from gensynth.export.manifest import MANIFEST, SAMPLES, WHOLE, samples_of
from gensynth.export.metadata import Reading
from gensynth.export.parity import Parity, compare_outputs
from gensynth.export.targets import find_target
from gensynth.graph.files import ONNX_FILE
from gensynth.outside import ONNX_BYTES, read_bytes

TOLERANCE = {"fp32": 5e-3, "fp16": 2e-2, "int8": 0.5}
"""Allowed difference to the network, relative to the largest output. A GPU from Ampere on may
multiply FP32 in TF32, which has the 11 bits of FP16 and its range not."""

WORKSPACE_MIB = 256
BUILD_S, RUN_S = 3600.0, 600.0
LOG, LAYERS = "engine.log", "engine_layers.json"
MOST_LOG = 64 << 20


@dataclass(frozen=True)
class Engine:
    """What is known of an engine on a board.

    Attributes:
        device: alias of the board.
        simulated: whether the board was played by a program; then there is no engine.
        runtime: "path" and "version" of what built it.
        facts: "key", "build_s", "cached", "bytes", "workspace_mib" and "precisions", how many
            layers compute in each, None where the runtime does not say.
        parity: of the engine with the network.
        board: what the board says of itself.
        log: of the build.
        layers: one entry a layer; None where the runtime does not say.
    """

    device: str
    simulated: bool
    runtime: Mapping[str, Any]
    facts: Mapping[str, Any]
    parity: Parity
    board: Mapping[str, Any]
    log: bytes
    layers: bytes | None

    def to_document(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        names = ("key", "build_s", "cached", "bytes", "workspace_mib", "precisions")
        return {
            "device": self.device,
            "stands": "in the folder of the device's agent, for that board and TensorRT alone",
            "simulated": self.simulated,
            "runtime": {name: self.runtime[name] for name in ("path", "version")},
            **{name: self.facts[name] for name in names},
            "parity": {**asdict(self.parity), "relative": self.parity.relative},
            "board": dict(self.board),
            "log": LOG,
            "layers": None if self.layers is None else LAYERS,
        }


def is_here() -> bool:
    """Return whether this machine has an NVIDIA GPU and TensorRT to build engines with."""
    gpu = any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/nvhost-gpu"))
    known = importlib.util.find_spec("tensorrt") is not None or shutil.which("trtexec") is not None
    return gpu and known


def build(artefact: Artefact, connection: Connection, device: str) -> Engine:
    """Have a board build an artefact's engine and run it on the artefact's samples.

    Args:
        artefact: for a target with TensorRT.
        connection: to the board's agent.
        device: the board's alias.

    Raises:
        DeviceFault: if the board cannot build or run it, or is gone.
        ExportError: if the engine computes something else than the network.
    """
    result, parity = compared(artefact.files, connection, device)
    facts = result["networks"][0]["engine"]
    try:
        BUILT.check(facts)
    except ValueError as error:
        what = f"{device} sent facts of an engine that cannot be read: {error}"
        raise DeviceFault("protocol_error", what) from error
    return Engine(
        device=device,
        simulated=bool(result.get("simulated")),
        runtime=result["runtime"],
        facts=facts,
        parity=parity,
        board=result.get("board") or {},
        log=connection.blob(facts["log"], MOST_LOG),
        layers=None if facts["layers"] is None else connection.blob(facts["layers"], MOST_LOG),
    )


def compared(
    files: Mapping[str, bytes], connection: Connection, device: str
) -> tuple[dict[str, Any], Parity]:
    """Run an artefact on a board, and hold its outputs against those that its network gave.

    Args:
        files: of the artefact, by name.
        connection: to the board's agent.
        device: the board's alias.

    Returns:
        The job's result (`gensynth.devices.agent.session.job`), and how far the outputs are apart.

    Raises:
        DeviceFault, ExportError: as `build`.
    """
    manifest = WHOLE.read(files[MANIFEST])
    images, outputs = samples_of(io.BytesIO(files[SAMPLES]), manifest)
    read = Reading.of(manifest)(images)
    spec, blobs = _job(files[ONNX_FILE], manifest, read)
    result = connection.run(spec, blobs)
    if result["status"] not in ("ok", "degraded"):
        raise DeviceFault(result["status"], result["message"], result.get("details"))
    try:
        RESULT.check(result)
    except ValueError as error:
        what = f"{device} sent a result that cannot be read: {error}"
        raise DeviceFault("protocol_error", what) from error
    shapes = [each.shape[1:] for each in outputs]
    found = [
        np.concatenate(parts)[: len(images)].astype(np.float32)
        for parts in zip(*_outputs(result, connection, device, shapes), strict=True)
    ]
    tolerance = TOLERANCE[manifest["precision"]]
    try:
        return result, compare_outputs(found, outputs, tolerance=tolerance)
    except ExportError as error:
        raise ExportError(f"{device} computes something else: {error}") from error


def _outputs(
    result: Mapping[str, Any],
    connection: Connection,
    device: str,
    shapes: Sequence[tuple[int, ...]],
) -> Iterator[list[np.ndarray]]:
    """Yield what a board computed of each sample, (batch, *shape) for each output."""
    for network in result["networks"]:
        entries, found = network["outputs"] or (), []
        if entries and len(entries) != len(shapes):
            raise DeviceFault(
                "protocol_error",
                f"{device} must send {len(shapes)} outputs, got {len(entries)}",
            )
        for entry, shape in zip(entries, shapes, strict=False):
            if tuple(entry["shape"][1:]) != shape or not entry["dtype"].startswith("float"):
                raise DeviceFault(
                    "protocol_error",
                    f"{device} must send outputs of {shape} each, got {entry['shape'][1:]} of "
                    f"{entry['dtype']}",
                )
            size = byte_count(entry["dtype"], tuple(entry["shape"]))
            content = connection.blob(entry["blob"], size)
            values = np.frombuffer(content.ljust(size, b"\0"), entry["dtype"])
            found.append(values.reshape(entry["shape"]))
        if found:
            yield found


def verify_on(folder: Path, device: str) -> tuple[Parity, bool]:
    """Run an artefact that was found right on a device, and compare its outputs.

    Args:
        folder: of the artefact.
        device: alias of the device.

    Returns:
        How far the outputs are apart, and whether a program played the device.

    Raises:
        DeviceError: if there is no such device.
        DeviceFault, ExportError: as `build`.
    """
    board = find(device)
    names = (MANIFEST, ONNX_FILE, SAMPLES)
    files = {name: read_bytes(folder / name, ONNX_BYTES) for name in names}
    with connect(board) as connection:
        result, parity = compared(files, connection, board.alias)
    return parity, bool(result.get("simulated"))


def with_engine(artefact: Artefact, engine: Engine) -> Artefact:
    """Return an artefact that tells of its engine."""
    added = {LOG: engine.log} | ({} if engine.layers is None else {LAYERS: engine.layers})
    manifest = json.loads(artefact.files[MANIFEST])
    manifest["engine"] = engine.to_document()
    manifest["files"] |= {name: _sha256(content) for name, content in added.items()}
    files = {**artefact.files, **added, MANIFEST: json_bytes(manifest)}
    return replace(artefact, files=files)


def _job(
    content: bytes, manifest: Mapping[str, Any], read: np.ndarray
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the job of one build and a run on every sample, and its blobs by SHA-256."""
    name, size = manifest["input"]["name"], manifest["batch"] or 1
    tensorrt = find_target(manifest["target"]).tensorrt
    blobs, networks = {_sha256(content): content}, []
    for number, start in enumerate(range(0, len(read), size)):
        images = np.resize(read[start : start + size], (size, *read.shape[1:]))
        sample = np.ascontiguousarray(images, np.float32).tobytes()
        blobs[_sha256(sample)] = sample
        given = {
            "name": name,
            "dtype": "float32",
            "shape": list(images.shape),
            "blob": _sha256(sample),
        }
        networks.append(
            {
                "id": f"sample-{number}",
                "onnx": _sha256(content),
                "inputs": [given],
                "fp32_layers": list(manifest.get("builder_fp32_layers", [])),
            }
        )
    spec = {
        "id": uuid.uuid4().hex,
        "networks": networks,
        "precision": manifest["precision"],
        "runtimes": list(TENSORRT) if tensorrt else ["onnxruntime"],
        "threads": 1,
        "build_only": False,
        "workspace_mib": WORKSPACE_MIB,
        "timing": None,
        "reference": None,
        "energy": None,
        "clocks": None,
        "limits": {"build_s": BUILD_S, "run_s": RUN_S, "lease_s": LEASE_S},
    }
    return spec, blobs


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
