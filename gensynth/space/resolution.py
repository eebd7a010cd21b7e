"""The same network on smaller images: its input is resized first, and every shape follows.

    resolution_3_4, resolution_1_2    three quarters, a half of the height and of the width

Weights stay as they are; only MACs fall, by the positions that each vertex has left. A
network that ties weights to positions, or whose output is an image, has one resolution.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from gensynth.graph.graph import Graph, Vertex

RESOLUTIONS: Mapping[str, Fraction] = {
    "resolution_3_4": Fraction(3, 4),
    "resolution_1_2": Fraction(1, 2),
}


class Unfit(ValueError):
    """Why a network cannot have another resolution."""


def image_input(graph: Graph) -> Vertex | None:
    """Return the input that can be resized: the only one, if it is an image."""
    (first, *others) = graph.inputs
    taken = any(vertex.name.startswith(f"{first.name}.") for vertex in graph.vertices)
    return None if others or len(first.shape) != 3 or taken else first


def refusal(graph: Graph, name: str) -> str | None:
    """Return why a prototype cannot have a resolution, or None if it can."""
    try:
        resized(graph, name)
    except Unfit as error:
        return str(error)
    return None


def resized(graph: Graph, name: str) -> Graph:
    """Return a graph that resizes its images first.

    Raises:
        Unfit: if the network cannot do with another size.
    """
    image = image_input(graph)
    if image is None:
        raise Unfit("it does not have one image as its only input")
    share = RESOLUTIONS[name]
    size = [max(1, int(side * share)) for side in image.shape[1:]]
    first = Vertex(
        f"{image.name}.resized",
        "resize",
        (image.name,),
        {"size": size, "mode": "bilinear", "align_corners": False},
        (image.shape[0], *size),
    )
    shapes: dict[str, tuple[int, ...]] = {image.name: image.shape, first.name: first.shape}
    vertices: list[Vertex] = []
    for vertex in graph.vertices:
        if vertex.name == image.name:
            vertices += [vertex, first]
            continue
        inputs = tuple(first.name if name == image.name else name for name in vertex.inputs)
        shapes[vertex.name] = _shape(vertex, [shapes[name] for name in inputs])
        vertices.append(replace(vertex, inputs=inputs, shape=shapes[vertex.name]))
    for name in graph.outputs:
        if shapes[name] != graph[name].shape:
            raise Unfit("its output is an image")
    return Graph(graph.name, tuple(vertices), graph.outputs, graph.selection)


def _shape(vertex: Vertex, read: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of a vertex whose inputs have other sizes than they had."""
    a, old = vertex.attributes, vertex.shape
    size = read[0][1:]
    match vertex.op:
        case "opaque":
            raise Unfit("it has a part that cannot be looked into")
        case "conv" | "max_pool" | "avg_pool":
            return old[0], *_windows(a, size, vertex.op)
        case "conv_transpose":
            return old[0], *(
                (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
                for n, k, s, p, d, extra in zip(
                    size, a["kernel"], a["stride"], a["padding"], a["dilation"],
                    a["output_padding"], strict=True,
                )
            )  # fmt: skip
        case "adaptive_avg_pool" | "resize" | "mean" | "unflatten":
            return old  # whatever the size was
        case "pad":
            margins = list(zip(a["before"], a["after"], strict=True))
            if a["mode"] == "reflect" and any(
                max(pair) >= n for pair, n in zip(margins, size, strict=True)
            ):
                raise Unfit("it would be padded by more than it has")
            return old[0], *(n + sum(pair) for n, pair in zip(size, margins, strict=True))
        case "subsample":
            if a.get("stop"):
                raise Unfit("it cuts its images off at one place")
            first = a.get("start") or (0, 0)
            if any(n <= start for n, start in zip(size, first, strict=True)):
                raise Unfit("it would cut off more than it has")
            sides = zip(size, first, a["stride"], strict=True)
            return old[0], *(-(-(n - start) // s) for n, start, s in sides)
        case "take":
            raise Unfit("it takes single rows or columns")
        case "pixel_shuffle":
            return old[0], *(n * a["factor"] for n in size)
        case "pixel_unshuffle":
            if any(n % a["factor"] for n in size):
                raise Unfit("its images would not fall into whole squares")
            return old[0], *(n // a["factor"] for n in size)
        case "flatten" if math.prod(read[0]) != old[0]:
            raise Unfit("its linear layers read single positions")
        case "flatten":
            return old
    if vertex.op in ("layer_norm", "add_constant", "mul_constant") and _holds_positions(vertex):
        raise Unfit("it has weights of single positions")
    largest = max((shape[1:] for shape in read), key=math.prod)
    if any(shape[1:] != largest and math.prod(shape[1:]) > 1 for shape in read):
        raise Unfit("it joins images that would have different sizes")
    return (old[0], *largest) if len(old) > 1 else old


def _windows(a: Mapping[str, Any], size: tuple[int, ...], op: str) -> list[int]:
    """Return how many windows fit into each side."""
    counts = []
    dilations = a.get("dilation", [1, 1])
    for n, k, s, p, d in zip(size, a["kernel"], a["stride"], a["padding"], dilations, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        if room < 0:
            raise Unfit("its windows would be larger than the image")
        count = room // s + 1
        # As torch rounds up: a last window must begin within the image or its left padding.
        if op != "conv" and a["ceil"] and room % s and (count * s) < n + p:
            count += 1
        counts.append(count)
    return counts


def _holds_positions(vertex: Vertex) -> bool:
    if vertex.op == "layer_norm":
        return bool(vertex.attributes["axes"] > 1 and math.prod(vertex.shape[1:]) > 1)
    value, sizes = vertex.attributes["value"], []
    while isinstance(value, list):
        sizes.append(len(value))
        value = value[0]
    return len(vertex.shape) > 1 and max(sizes[-2:], default=1) > 1
