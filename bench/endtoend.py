"""A network with its pre- and post-processing as one ONNX file, so that a device times both.

    pixels (batch, height, width, channels)
      -> (pixels / 255 - mean) / std, channels first       as the artefact's manifest says
      -> the network
      -> softmax, and the class with the largest share; of a map, the class of every pixel; of a
         detector's maps, the surest cells' boxes (`gensynth.export.decoding`)

It runs in the runtime that runs the network, beside the bare network and in the same turns.
Pixels are in memory, of the network's own size: reading a camera or decoding a file is no part
of it, and neither is resizing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    checker,
    helper,
    numpy_helper,
)

from gensynth.bench.subjects import Subject
from gensynth.errors import ConfigError
from gensynth.export.decoding import RANKED, are_maps, decoded
from gensynth.randomness import stream

SCOPE = (
    "pixels in memory, normalised, network, best class of the image, with its softmax, or of every "
    "pixel, or the boxes of the surest cells, not yet merged; nothing decoded or resized"
)
_PREFIX = "end-to-end/"
_DECODING = _PREFIX + "decoding/"
_TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


def end_to_end(subject: Subject, *, pixels: str = "uint8") -> Subject:
    """Return a network from pixels to its answer.

    Args:
        subject: of an artefact, which says how its network reads images.
        pixels: their type, "uint8", or "float32" for a runtime that takes no bytes.

    Raises:
        ConfigError: if it is of no artefact, or is no image classifier.
    """
    if subject.manifest is None:
        raise ConfigError(
            f"--end-to-end needs to know how {subject.name} reads images, which an artefact says: "
            "gensynth export RUN, then name the artefact's folder"
        )
    model = ModelProto.FromString(subject.content)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    how = subject.manifest.get("answer")
    one = len(graph.output) == 1 and _rank(graph.output[0]) in (2, 4)
    if len(inputs) != 1 or not (one if how is None else are_maps(graph, how["order"])):
        raise ConfigError(
            f"--end-to-end is for one image in and one row of logits out, or one a pixel, or a "
            f"detector's maps, which {subject.name} does not have"
        )
    reads = subject.manifest["reads"]
    channels = 1 if reads["mode"] == "L" else 3
    shape = (subject.batch, reads["height"], reads["width"], channels)
    _wrap(graph, inputs[0], reads, shape, pixels, how)
    checker.check_model(model)
    images = stream(0, "end-to-end").integers(0, 256, shape, dtype=np.uint8).astype(pixels)
    return replace(
        subject,
        name=f"{subject.name} end to end",
        content=model.SerializeToString(deterministic=True),
        feed={_PREFIX + "pixels": images},
        fed_with=f"random pixels of seed 0, {pixels}",
        manifest=None,
        ranked=frozenset([_DECODING + RANKED] if how else []),
    )


def _wrap(
    graph: GraphProto,
    image: str,
    reads: Mapping[str, Any],
    shape: tuple[int, ...],
    pixels: str,
    how: Mapping[str, Any] | None,
) -> None:
    """Put the processing before a graph's input and after its output."""

    def own(name: str) -> str:
        return _PREFIX + name

    def constant(name: str, values: object) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32), own(name)))
        return own(name)

    def per_channel(key: str) -> str:
        return constant(key, np.array(reads[key], np.float32).reshape(1, -1, 1, 1))

    before = [
        helper.make_node("Cast", [own("pixels")], [own("floats")], to=TensorProto.FLOAT),
        helper.make_node("Transpose", [own("floats")], [own("planes")], perm=[0, 3, 1, 2]),
        helper.make_node("Div", [own("planes"), constant("full", 255)], [own("shares")]),
        helper.make_node("Sub", [own("shares"), per_channel("mean")], [own("centred")]),
        helper.make_node("Div", [own("centred"), per_channel("std")], [own("image")]),
    ]
    nodes = list(graph.node)
    kept = [value for value in graph.input if value.name != image]
    (old,) = (value for value in graph.input if value.name == image)
    if old.type.tensor_type.elem_type == TensorProto.FLOAT16:
        before.append(
            helper.make_node("Cast", [own("image")], [own("halves")], to=TensorProto.FLOAT16)
        )
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == image:
                node.input[place] = before[-1].output[0]
    after, outputs = (
        decoded(graph, how, shape[0], _DECODING) if how else _answer(graph.output[0], shape)
    )
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend([*before, *nodes, *after])
    graph.input.extend([helper.make_tensor_value_info(own("pixels"), _TYPES[pixels], shape), *kept])
    graph.output.extend(outputs)
    del graph.value_info[:]


def _answer(
    logits: ValueInfoProto, shape: tuple[int, ...]
) -> tuple[list[NodeProto], list[ValueInfoProto]]:
    """Return what turns logits into an answer, and what it gives."""
    best, shares = _PREFIX + "class", _PREFIX + "shares-of-classes"
    places = [None, None] if _rank(logits) == 4 else []
    given = helper.make_tensor_value_info(best, TensorProto.INT64, [shape[0], *places])
    if places:
        return [helper.make_node("ArgMax", [logits.name], [best], axis=1, keepdims=0)], [given]
    kind = logits.type.tensor_type.elem_type
    nodes = [
        helper.make_node("Softmax", [logits.name], [shares], axis=-1),
        helper.make_node("ArgMax", [shares], [best], axis=1, keepdims=0),
    ]
    return nodes, [helper.make_tensor_value_info(shares, kind, [shape[0], None]), given]


def _rank(value: Any) -> int:
    return len(value.type.tensor_type.shape.dim)
