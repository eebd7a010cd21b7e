"""An artefact's engine, built by the agent of a board and compared there with its network.

The board gets the ONNX file and the artefact's samples, builds the engine with its own TensorRT
and runs it once on each sample; nothing is timed. What comes back is all that is known of the
engine: seconds, bytes, the precision of every layer, the log, how far its outputs are from the
network's. The engine itself stays on the board that it was built for.
"""

import hashlib
import importlib.util
import io
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.devices.agent.spec import LEASE_S
from gensynth.devices.client import Connection
from gensynth.devices.profiles import TENSORRT
from gensynth.errors import DeviceFault, ExportError
from gensynth.export.artefact import MANIFEST, Artefact
from gensynth.export.parity import Parity, compare_outputs
from gensynth.export.source import Reading

TOLERANCE = {"fp32": 5e-3, "fp16": 2e-2, "int8": 0.5}
"""Allowed difference to the network, relative to the largest output. A GPU from Ampere on may
multiply FP32 in TF32, which has the 11 bits of FP16 and its range not."""

WORKSPACE_MIB = 256
BUILD_S, RUN_S = 3600.0, 600.0
LOG, LAYERS = "engine.log", "engine_layers.json"


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


def build(
    artefact: Artefact,
    reading: Reading,
    connection: Connection,
    device: str,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
) -> Engine:
    """Have a board build an artefact's engine and run it on the artefact's samples.

    Args:
        artefact: for a target with TensorRT.
        reading: how its network reads images.
        connection: to the board's agent.
        device: the board's alias.
        on_progress: as `Connection.run`.

    Raises:
        DeviceFault: if the board cannot build or run it, or is gone.
        ExportError: if the engine computes something else than the network.
    """
    with np.load(io.BytesIO(artefact.files["samples.npz"]), allow_pickle=False) as samples:
        read, outputs = reading(samples["images"]), samples["outputs"]
    spec, blobs = _job(artefact, read)
    result = connection.run(spec, blobs, on_progress)
    if result["status"] not in ("ok", "degraded"):
        raise DeviceFault(result["status"], result["message"], result.get("details"))
    parts = [
        np.frombuffer(connection.blob(entry["blob"]), entry["dtype"]).reshape(entry["shape"])
        for network in result["networks"]
        for entry in network["outputs"]
    ]
    found = np.concatenate(parts)[: len(outputs)].astype(np.float32)
    try:
        parity = compare_outputs([found], [outputs], tolerance=TOLERANCE[artefact.precision])
    except ExportError as error:
        raise ExportError(f"the engine that {device} built is wrong: {error}") from error
    facts = result["networks"][0]["engine"]
    return Engine(
        device=device,
        simulated=bool(result.get("simulated")),
        runtime=result["runtime"],
        facts=facts,
        parity=parity,
        board=result.get("board") or {},
        log=connection.blob(facts["log"]),
        layers=None if facts["layers"] is None else connection.blob(facts["layers"]),
    )


def with_engine(artefact: Artefact, engine: Engine) -> Artefact:
    """Return an artefact that tells of its engine."""
    added = {LOG: engine.log} | ({} if engine.layers is None else {LAYERS: engine.layers})
    manifest = json.loads(artefact.files[MANIFEST])
    manifest["engine"] = engine.to_document()
    manifest["files"] |= {name: _sha256(content) for name, content in added.items()}
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    return replace(artefact, files={**artefact.files, **added, MANIFEST: text.encode()})


def _job(artefact: Artefact, read: np.ndarray) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the job of one build and a run on every sample, and its blobs by SHA-256."""
    content = artefact.files["network.onnx"]
    name = json.loads(artefact.files[MANIFEST])["input"]["name"]
    size = artefact.batch or 1
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
        networks.append({"id": f"sample-{number}", "onnx": _sha256(content), "inputs": [given]})
    spec = {
        "id": uuid.uuid4().hex,
        "networks": networks,
        "precision": artefact.precision,
        "runtimes": list(TENSORRT),
        "threads": 1,
        "build_only": False,
        "workspace_mib": WORKSPACE_MIB,
        "timing": None,
        "energy": None,
        "clocks": None,
        "limits": {"build_s": BUILD_S, "run_s": RUN_S, "lease_s": LEASE_S},
    }
    return spec, blobs


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
