"""Networks as files that a device runs, each shown to compute what its network computes.

    network ──from_torch.from_network──> bytes ──parity.check_network──> file

    onnx         a graph as an ONNX file, vertex by vertex
    from_torch   a torch network as one, its opaque parts by torch's exporter
    folding      what the file leaves out or puts together; `affine` is how
    constants    what a file computes from its own constants, computed once
    operators    each word of the vocabulary in ONNX's operators; `spatial` pools and resizes
    metadata     how images are read, and what a file says of that and of itself
    writer       nodes, weights and names in the making
    runtime      ONNX Runtime on this processor
    decoding     a detector's maps as boxes, within its file
    parity       the file's outputs beside the network's

    targets      what each board reads: opset, operators, precisions
    acceptance   whether a target takes a file; `restrictions` of single operators
    rewrites     which vertices are spelled out because a target lacks their operator
    half         the same file in FP16, and as the numbers that FP16 gives; `overflow`: those
                 that it does not have
    int8         the same file in INT8; `sensitivity`: which layers stay in FP32
    precisions   a network's file in one of these, held against the network
    reading      an ONNX file's bytes as a model that can be asked
    manifest     what an artefact's own documents must say when they are read
    source       a network to export, and how much of the search split it gets right
    artefact     a network's folder for a target; `examples` are the programs in it
    engine       the engine that a board's agent builds from one, and what is known of it
    verify       whether such a folder still is what it was

Nothing here measures time (`bench`) or trains. Writing a file does not import torch;
comparing it with a torch network does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensynth.atomic_files import reason, write_bytes
from gensynth.errors import ExportError
from gensynth.export.parity import TOLERANCE, Parity, check_network

if TYPE_CHECKING:
    import torch

    from gensynth.network.module import Network

__all__ = ["export_network"]


def export_network(
    network: "Network",
    images: "torch.Tensor | Sequence[torch.Tensor]",
    path: Path,
    *,
    opset: int = 13,
    batch: int | None = None,
    tolerance: float = TOLERANCE,
    name: str = "",
    facts: Mapping[str, Any] | None = None,
) -> Parity:
    """Write a network as an ONNX file, if the file computes what the network computes.

    The file appears whole under its name or not at all, and a file that stood there stays
    until the new one has passed.

    Args:
        network: what to write.
        images: (images, channels, height, width), normalised: what to compare on;
            a sequence when the network has several inputs.
        path: of the file.
        opset: as `to_onnx`.
        batch: as `to_onnx`.
        tolerance: as `gensynth.export.parity.check`.
        name: of the network; its graph's own if it is empty.
        facts: what the file says of itself, as `gensynth.export.metadata.described`.

    Raises:
        ExportError: if the network cannot be written as ONNX, the file's outputs are outside
            the tolerance, or the file cannot be stored.
    """
    from gensynth.export.from_torch import from_network
    from gensynth.export.metadata import described

    model = from_network(network, opset=opset, batch=batch)
    model = described(model, name=name or network.graph.name or "network", facts=facts or {})
    parity = check_network(model, network, images, tolerance=tolerance)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, model)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {reason(error)}") from error
    return parity
