"""Numbers of a file that FP16 does not have, and which nodes must not compute in it for that.

    beyond   max |value| > 65504, over images, for a value of the file or a weight
    kept     the node that gives such a value, and every node that reads it

What is beyond in one value is beyond in a copy of it, so a node that reads it in FP16 would read
an infinity. A value that is infinite in FP32 already loses nothing.

TensorRT makes layers of their own of what a mean and a length sum within, and rounds their values
as every other's (its own warning is of "FP16 Reduce or Pow"), so these sums are looked at too:

    GlobalAveragePool, ReduceMean    sum |x|
    ReduceL2                         sum x^2
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)

from gensynth.errors import ExportError
from gensynth.export.acceptance import vertex_of
from gensynth.export.half import HALF, LARGEST
from gensynth.export.parity import feeds
from gensynth.export.runtime import open_session
from gensynth.export.writer import Array

_MEANS = ("GlobalAveragePool", "ReduceMean")
_LENGTHS = ("ReduceL2",)


@dataclass(frozen=True)
class Overflow:
    """What of a file FP16 cannot hold.

    Attributes:
        values: the largest magnitude of each, by what gives or holds it, in the file's order.
        nodes: that stay in FP32 for it, in the file's order.
    """

    values: Mapping[str, float]
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        told = [f"{what} {number:.3g}" for what, number in self.values.items()] or ["all fits"]
        more = f" and {len(told) - 1} more" if told[1:] else ""
        return f"{told[0]}{more}, and FP16 ends at {LARGEST:g}"


def overflow(content: bytes, read: Array) -> Overflow:
    """Return what of an FP32 file FP16 cannot hold.

    Args:
        content: of the file.
        read: (images, channels, height, width), normalised: what is looked for it on.

    Raises:
        ExportError: if the file cannot be run on these images.
    """
    graph = ModelProto.FromString(content).graph
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    values, beyond = _beyond(content, read, names)
    kept = [
        node.name
        for node in graph.node
        if not beyond.isdisjoint((*node.input, *node.output, *map(_sum_in, node.output)))
    ]
    return Overflow(values, tuple(kept))


def check_fits(shown: bytes, read: Array) -> None:
    """Refuse a file in which a number is rounded to FP16 that FP16 does not have.

    Args:
        shown: as `gensynth.export.half.rounded` returns it.
        read: as `overflow`.

    Raises:
        ExportError: naming the vertex, and as `overflow`.
    """
    nodes = ModelProto.FromString(shown).graph.node
    cast = {n.input[0] for n in nodes if n.op_type == "Cast" and n.attribute[0].i == HALF}
    values, _ = _beyond(shown, read, cast)
    if values:
        raise ExportError(f"it overflows in FP16: {Overflow(values, ())}")


def _beyond(
    content: bytes, read: Array, names: Collection[str]
) -> tuple[dict[str, float], set[str]]:
    """Return what is too large among values of a file: by what gives it, and their names."""
    sizes = largest(content, read, {*names, *map(_sum_in, names)})
    beyond = {name for name, size in sizes.items() if size > LARGEST}
    nodes = ModelProto.FromString(content).graph.node
    ordered = dict.fromkeys(
        n for node in nodes for n in (*node.input, *map(_sum_in, node.output), *node.output)
    )
    return {_told(name, nodes): sizes[name] for name in ordered if name in beyond}, beyond


def largest(content: bytes, read: Array, names: Collection[str]) -> dict[str, float]:
    """Return the largest finite magnitude of those values of a file that are FP32, by name."""
    model = ModelProto.FromString(content)
    _sum_apart(model.graph)
    model = shape_inference.infer_shapes(model)
    graph = model.graph
    held = {
        tensor.name: _magnitude(numpy_helper.to_array(tensor))
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor.name in names
    }
    infos = (*graph.input, *graph.value_info, *graph.output)
    floats = {v.name for v in infos if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    watched = {name: f"{name}:largest" for name in sorted(floats.intersection(names) - held.keys())}
    del graph.output[:], graph.value_info[:]
    for name, watch in watched.items():
        graph.node.append(helper.make_node("Abs", [name], [f"{watch}:abs"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{watch}:abs"], [watch], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(watch, TensorProto.FLOAT, []))
    session = open_session(model.SerializeToString())
    sizes = dict.fromkeys(watched, 0.0)
    for feed, _ in feeds(session, [read]):
        for name, size in zip(watched, session.run(feed), strict=True):
            sizes[name] = max(sizes[name], _magnitude(size))
    return held | sizes


def _sum_apart(graph: GraphProto) -> None:
    """Have a file compute what its means and lengths sum within as values of their own."""
    for node in [node for node in graph.node if node.op_type in (*_MEANS, *_LENGTHS)]:
        read, given = node.input[0], node.output[0]
        name = _sum_in(given)
        if node.op_type in _LENGTHS:
            graph.node.append(helper.make_node("Mul", [given, given], [name]))
            continue
        mean = NodeProto()
        mean.CopyFrom(node)
        mean.name, mean.input[0], mean.output[0] = f"{name}:mean", f"{name}:abs", f"{name}:mean"
        graph.node.append(helper.make_node("Abs", [read], [f"{name}:abs"]))
        graph.node.append(mean)
        for value, size in ((read, f"{name}:read"), (given, f"{name}:given")):
            graph.node.append(helper.make_node("Size", [value], [f"{size}:whole"]))
            graph.node.append(
                helper.make_node("Cast", [f"{size}:whole"], [size], to=TensorProto.FLOAT)
            )
        graph.node.append(helper.make_node("Div", [f"{name}:read", f"{name}:given"], [f"{name}:n"]))
        graph.node.append(helper.make_node("Mul", [f"{name}:mean", f"{name}:n"], [name]))


def _sum_in(name: str) -> str:
    """Return the name of what is summed within the node that gives a value."""
    return f"{name}:sum"


def _magnitude(numbers: Array) -> float:
    return float(np.abs(numbers).max(initial=0.0, where=np.isfinite(numbers)))


def _told(name: str, nodes: Iterable[NodeProto]) -> str:
    """Return what gives a value or holds it, in the network's own words."""
    for node in nodes:
        for does, values in (("gives", node.output), ("sums", map(_sum_in, node.output))):
            if name in values:
                return f"vertex {vertex_of(node)!r} ({node.op_type}) {does}"
    return f"{name!r} holds"
