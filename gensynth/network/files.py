"""A network in its folder: graph.json and weights.safetensors, written and read.

Nothing that is read is executed: weights are safetensors, a graph is JSON. A graph is held against
its form (`gensynth.graph.form`), its shapes against those that it computes (`shapes`) and the
weights against the graph, before room is made for anything.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from gensynth.atomic_files import write_bytes
from gensynth.errors import PrototypeError, RunError
from gensynth.graph.files import GRAPH_FILE, WEIGHTS_FILE
from gensynth.graph.graph import Graph
from gensynth.network.apart import find_mixing
from gensynth.network.module import Network, build
from gensynth.network.shapes import check_shapes
from gensynth.outside import WEIGHTS_BYTES, check_plain, read_text


def save_network(network: Network, folder: Path) -> None:
    """Write a network as graph.json and weights.safetensors.

    Each file is complete or not there; the graph comes last.

    Raises:
        RunError: if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / WEIGHTS_FILE, save(network.tensors()))
        write_bytes(folder / GRAPH_FILE, network.graph.to_json().encode())
    except OSError as error:
        raise RunError(f"cannot write the network to {folder}: {error}") from error


def load_network(folder: Path, *, opaque: Mapping[str, nn.Module] | None = None) -> Network:
    """Read a network that `save_network` wrote; nothing in the files is executed.

    Raises:
        RunError: if a file is absent or cannot be read.
        PrototypeError: if a file is damaged, if weights and graph do not fit, if the module of
            an opaque vertex is not given, or does not keep the images of a batch apart.
    """
    for file in (folder / GRAPH_FILE, folder / WEIGHTS_FILE):
        if not file.is_file():
            raise RunError(f"no network in {folder}: {file.name} is absent")
    graph = read_graph(folder / GRAPH_FILE)
    weights = read_weights(folder / WEIGHTS_FILE)
    try:
        check_weights(graph, weights)
        network = build(graph, weights, opaque=opaque)
    except ValueError as error:
        raise PrototypeError(
            f"{folder / WEIGHTS_FILE} does not fit {GRAPH_FILE}: {error}"
        ) from error
    parts = [vertex.attributes["path"] for vertex in graph.vertices if vertex.op == "opaque"]
    if parts:  # the operators of the vocabulary cannot
        shapes = [vertex.shape for vertex in graph.inputs]
        mixing = find_mixing(copy.deepcopy(network).eval(), shapes, parts)
        if mixing is not None:
            raise PrototypeError(f"{mixing.part!r} of {folder} cannot be used: {mixing.why}")
    return network


def read_graph(file: Path) -> Graph:
    """Return the graph that a file holds.

    Raises:
        RunError: if the file is absent or cannot be read.
        PrototypeError: if it is damaged: no graph, too large, or of other shapes than it says.
    """
    try:
        graph = Graph.from_json(read_text(file))
        check_shapes(graph)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PrototypeError(f"{file} is damaged: {error}") from error
    return graph


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        RunError: if the file is absent or cannot be read.
        PrototypeError: if it is damaged.
    """
    try:
        check_plain(file, WEIGHTS_BYTES)
        return load_file(file)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}") from error
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a type torch has not
        raise PrototypeError(f"{file} is not a complete safetensors file: {error}") from error


def check_weights(graph: Graph, weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not a graph's.

    Raises:
        ValueError: if a tensor is absent, has another shape, or they are not all numbers of one
            floating-point type.
    """
    for key, shape in graph.tensor_shapes.items():
        if key not in weights:
            raise ValueError(f"the weights have no tensor {key!r}")
        if tuple(weights[key].shape) != shape:
            raise ValueError(f"tensor {key!r} must be {shape}, got {tuple(weights[key].shape)}")
    types = {weights[key].dtype for key in graph.tensor_shapes}
    if len(types) > 1 or not types <= {torch.float16, torch.bfloat16, torch.float32, torch.float64}:
        names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in types))
        raise ValueError(f"the weights must be of one floating-point type, got {names}")
