"""Numbers of a file that FP16 does not have, and which nodes must not compute in it for that.

    beyond   max |value| > 65504, over images, for a value of the file or a weight
    kept     the node that gives such a value, and every node that reads it

What is beyond in one value is beyond in a copy of it, so a node that reads it in FP16 would read
an infinity. A value that is infinite in FP32 already loses nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from gensynth.errors import ExportError
from gensynth.export.acceptance import vertex_of
from gensynth.export.half import HALF, LARGEST
from gensynth.export.parity import feeds
from gensynth.export.runtime import open_session
from gensynth.export.writer import Array


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
        first, *rest = (f"{what} {number:.3g}" for what, number in self.values.items())
        more = f" and {len(rest)} more" if rest else ""
        return f"{first}{more}, and FP16 ends at {LARGEST:g}"


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
    kept = [n.name for n in graph.node if not beyond.isdisjoint((*n.input, *n.output))]
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
    sizes = largest(content, read, names)
    beyond = {name for name in names if sizes.get(name, 0.0) > LARGEST}
    nodes = ModelProto.FromString(content).graph.node
    ordered = dict.fromkeys(n for node in nodes for n in (*node.input, *node.output))
    return {_told(name, nodes): sizes[name] for name in ordered if name in beyond}, beyond


def largest(content: bytes, read: Array, names: Collection[str]) -> dict[str, float]:
    """Return the largest finite magnitude of those values of a file that are FP32, by name."""
    model = shape_inference.infer_shapes(ModelProto.FromString(content))
    graph = model.graph
    held = {
        tensor.name: _magnitude(numpy_helper.to_array(tensor))
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
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


def _magnitude(numbers: Array) -> float:
    return float(np.abs(numbers).max(initial=0.0, where=np.isfinite(numbers)))


def _told(name: str, nodes: Iterable[NodeProto]) -> str:
    """Return what gives a value or holds it, in the network's own words."""
    maker = next((node for node in nodes if name in node.output), None)
    if maker is None:
        return f"{name!r} holds"
    return f"vertex {vertex_of(maker)!r} ({maker.op_type}) gives"
