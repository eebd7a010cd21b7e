"""A detector's maps decoded within its ONNX file, so that a device times it with the network.

    of each scale   scores by the logits' sigmoid, boxes in pixels
    of all scales   the surest pairs of cell and class: boxes (batch, pairs, 4), scores and classes
                    (batch, pairs)

It is what `gensynth.tasks.boxes.detect` does up to merging, which takes a few boxes and a loop over
them: that is left to the processor beside, and is not timed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from gensynth.tasks.boxes import MERGED, stride_of

RANKED = "surest-boxes"
"""Of what `decoded` gives, the boxes in the order of their scores, after the prefix."""


def are_maps(graph: GraphProto, order: Sequence[int]) -> bool:
    """Tell whether a graph's outputs, in this order, are pairs of maps that can be decoded."""
    if sorted(order) != list(range(len(graph.output))) or len(order) % 2:
        return False
    shapes = [
        [d.dim_value for d in graph.output[place].type.tensor_type.shape.dim] for place in order
    ]
    return all(len(shape) == 4 and min(shape[1:]) > 0 for shape in shapes) and all(
        logits[2:] == sides[2:] and sides[1] % 4 == 0
        for logits, sides in zip(shapes[::2], shapes[1::2], strict=True)
    )


def decoded(
    graph: GraphProto, how: Mapping[str, Any], batch: int, prefix: str
) -> tuple[list[NodeProto], list[ValueInfoProto]]:
    """Return the nodes that decode a graph's outputs, and what they give.

    Args:
        graph: takes the constants.
        how: of the artefact's manifest, "answer".
        batch: images a run.
        prefix: of all names.
    """
    nodes: list[NodeProto] = []

    def add(operator: str, reads: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, reads, [prefix + name], **attributes))
        return prefix + name

    def constant(name: str, values: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(values, prefix + name))
        return prefix + name

    outputs = [graph.output[place] for place in how["order"]]
    columns: dict[str, list[str]] = {"scores": [], "boxes": []}
    cells, classes = 0, 1
    for scale, (logits, sides) in enumerate(zip(outputs[::2], outputs[1::2], strict=True)):
        classes, high, wide = (d.dim_value for d in logits.type.tensor_type.shape.dim[1:])
        bins = sides.type.tensor_type.shape.dim[1].dim_value // 4
        count, stride = high * wide, stride_of(how["height"], high)
        cells += count

        def reshaped(value: str, name: str, *shape: int, scale: int = scale) -> str:
            wanted = constant(f"{name}-shape-{scale}", np.array([batch, *shape], np.int64))
            return add("Reshape", [value, wanted], f"{name}-{scale}")

        floats = [
            add("Cast", [value.name], f"floats-{which}-{scale}", to=TensorProto.FLOAT)
            for which, value in (("logits", logits), ("sides", sides))
        ]
        flat = reshaped(floats[0], "logits", classes, count)
        columns["scores"].append(add("Sigmoid", [flat], f"shares-{scale}"))
        values = reshaped(floats[1], "sides", 4, bins, count)
        if bins > 1:
            chances = add("Softmax", [values], f"chances-{scale}", axis=2)
            weights = constant(f"bins-{scale}", np.arange(bins, dtype=np.float32)[:, None])
            weighted = add("Mul", [chances, weights], f"weighted-{scale}")
            axes = constant(f"axes-{scale}", np.array([2], np.int64))
            values = add("ReduceSum", [weighted, axes], f"distances-{scale}", keepdims=0)
        else:
            values = reshaped(values, "distances", 4, count)
        signs = [-1, -1, 1, 1] if how["kind"] == "scales" else [1, 1, 1, 1]
        pixels = constant(f"pixels-{scale}", stride * np.array(signs, np.float32)[:, None])
        y, x = np.indices((high, wide)).reshape(2, -1)
        middle = constant(
            f"centres-{scale}", (np.stack([x, y, x, y]) + 0.5).astype(np.float32) * stride
        )
        reach = add("Mul", [values, pixels], f"reach-{scale}")
        corners = add("Add", [reach, middle], f"corners-{scale}")
        columns["boxes"].append(add("Transpose", [corners], f"boxes-{scale}", perm=[0, 2, 1]))
    shares = add("Concat", columns["scores"], "shares", axis=2)
    whole = add("Concat", columns["boxes"], "boxes", axis=1)
    pairs = constant("pairs", np.array([batch, classes * cells], np.int64))
    kept = min(MERGED * how["most"], classes * cells)
    most = constant("most", np.array([kept], np.int64))
    surest, places = prefix + "surest", prefix + "places"
    nodes.append(
        helper.make_node(
            "TopK", [add("Reshape", [shares, pairs], "scores"), most], [surest, places]
        )
    )
    # Of a class and a cell of all, the place is class * cells + cell.
    count_of_cells = constant("cells", np.array([cells], np.int64))
    own = add("Div", [places, count_of_cells], "surest-classes")
    cell = add("Sub", [places, add("Mul", [own, count_of_cells], "before")], "cell")
    shape = constant("spread-shape", np.array([batch, kept, 1], np.int64))
    ones = constant("spread-ones", np.array([1, 1, 4], np.int64))
    spread = add("Expand", [add("Reshape", [cell, shape], "column"), ones], "spread")
    boxes = add("GatherElements", [whole, spread], "free-boxes", axis=1)
    ends = np.array([how["width"], how["height"]] * 2, np.float32)
    above = add("Max", [boxes, constant("zero", np.zeros(1, np.float32))], "above")
    inside = add("Min", [above, constant("ends", ends)], RANKED)
    given = [
        helper.make_tensor_value_info(inside, TensorProto.FLOAT, [batch, kept, 4]),
        helper.make_tensor_value_info(surest, TensorProto.FLOAT, [batch, kept]),
        helper.make_tensor_value_info(own, TensorProto.INT64, [batch, kept]),
    ]
    return nodes, given
