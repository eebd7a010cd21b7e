"""A torch network as an ONNX file: its graph by our writer, its opaque parts by torch's exporter.

An opaque vertex is a module of the user's that could not be looked into. torch traces it by
itself, on inputs of the vertex's shapes, and its nodes stand in the file where the vertex stood,
named after it, so that a target's refusal and a device's profile still name the vertex. The
exporter is the one by tracing (dynamo=False): the other one writes opset 18 whatever it is asked.
"""

import contextlib
import copy
import io
import os
import sys
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from gensynth.errors import ExportError
from gensynth.export.constants import fold_constants
from gensynth.export.onnx import to_onnx
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import Network, opaque_modules


def from_network(
    network: Network,
    *,
    opset: int = 13,
    batch: int | None = None,
    operators: Collection[str] | None = None,
) -> bytes:
    """Return a network as the bytes of an ONNX file.

    Args:
        network: any device; it is left as it is.
        opset: as `to_onnx`.
        batch: as `to_onnx`.
        operators: as `to_onnx`; torch's exporter does not heed them.

    Raises:
        ExportError: as `to_onnx`, and if torch's exporter cannot write an opaque part.
    """
    weights = {
        key: tensor.detach().float().cpu().numpy() for key, tensor in network.state_dict().items()
    }
    modules = opaque_modules(network.graph, network)
    parts = {
        name: _traced(network.graph, network.graph[name], module, opset=opset, batch=batch)
        for name, module in modules.items()
    }
    return to_onnx(
        network.graph, weights, opset=opset, batch=batch, operators=operators, parts=parts
    )


def _traced(
    graph: Graph, vertex: Vertex, module: torch.nn.Module, *, opset: int, batch: int | None
) -> bytes:
    """Return an opaque vertex's module as an ONNX file of its own."""
    own = copy.deepcopy(module).float().cpu().eval()
    images = tuple(torch.zeros(batch or 2, *graph[name].shape) for name in vertex.inputs)
    names = [f"x{number}" for number in range(len(images))]
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(), _unheard(), torch.no_grad():
            warnings.simplefilter("ignore")  # that it is deprecated, and what tracing fixes
            torch.onnx.export(
                own,
                images,
                file,  # type: ignore[arg-type]  # the exporter by tracing takes files too
                input_names=names,
                output_names=["y"],
                opset_version=opset,
                dynamic_axes=None if batch else {name: {0: "batch"} for name in (*names, "y")},
                dynamo=False,
            )
        return fold_constants(file.getvalue())
    except Exception as error:  # whatever the user's module or the exporter raises
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"vertex {vertex.name!r} is opaque ({vertex.attributes.get('reason', 'unknown')}), and "
            f"torch's exporter cannot write it at opset {opset}: {message}"
        ) from error


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Send nowhere what is written to the process's stdout, past Python's own.

    torch's exporter prints there the whole graph of what it gives up on, whatever it is told.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
