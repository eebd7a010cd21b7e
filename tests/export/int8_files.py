"""Networks for INT8 as ONNX files, made without torch, which takes long to start when emulated."""

import itertools

import numpy as np

from gensynth.export.onnx import to_onnx
from gensynth.export.targets import find_target
from gensynth.graph.graph import Graph, Vertex


def line(*widths: int) -> Graph:
    """Linear layers one after the other, with a relu between two."""
    vertices, before = [Vertex("x", "input", shape=(widths[0], 1, 1))], "flat"
    vertices.append(Vertex("flat", "flatten", ("x",), {}, (widths[0],)))
    for number, (a, b) in enumerate(itertools.pairwise(widths)):
        name = f"fc{number}"
        vertices.append(Vertex(name, "linear", (before,), {}, (b,), {"weight": (b, a)}, name))
        vertices.append(Vertex(f"act{number}", "relu", (name,), {}, (b,)))
        before = f"act{number}"
    return Graph("line", tuple(vertices[:-1]), (vertices[-2].name,))


def file_of(graph: Graph, weights: dict[str, np.ndarray], target: str = "jetson-xavier") -> bytes:
    found = find_target(target)
    batch = 1 if found.batch == "fixed" else None
    return to_onnx(graph, weights, opset=found.opset, batch=batch, operators=found.operators)


def spoiled() -> tuple[Graph, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A graph, its weights, images and labels that it classifies without an error.

    The last but one layer reads one channel a thousand times as large as those that tell classes
    apart: one scale for all of them rounds these to nothing. The other layers can be rounded.
    """
    graph = line(4, 5, 5, 4)
    large = np.zeros((5, 4), np.float32)
    large[:4], large[4] = np.eye(4), 1000.0
    through = np.eye(5, dtype=np.float32)
    through[4, 4] = 0.0
    weights = {
        "fc0.weight": large,
        "fc1.weight": through,
        "fc2.weight": np.eye(4, 5, dtype=np.float32),
    }
    labels = np.arange(64) % 4
    images = np.eye(4, dtype=np.float32)[labels][:, :, None, None]
    images = images + np.random.default_rng(2).uniform(0, 0.3, images.shape).astype(np.float32)
    return graph, weights, images, labels
