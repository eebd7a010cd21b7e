"""The nodes of an ONNX file that compute something while it runs, as TensorRT sees them.

Left out are constants and all that follows from them, arithmetic of shapes, views of a value
(Reshape and the like, a Transpose that moves sizes of 1, the padding of a convolution) and
duplicates. What remains reads values by one name, whatever views stand between.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from onnx import ModelProto, NodeProto, helper, inliner, numpy_helper

from gensynth.bench.onnx_cost import run_shapes
from gensynth.errors import ExportError

CONVOLUTIONS = {"Conv", "ConvTranspose"}
_VIEWS = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_SHAPES = {"Shape", "Constant", "Size"}

Shape = tuple[int, ...]


class Computed:
    """A file's nodes that compute something of its input.

    Args:
        model: the file.
        batch: images of one run, where the file leaves that free.

    Attributes:
        nodes: in the file's order.
        inputs, outputs: of the file, constants and views left out.
        constants: names of values that do not depend on the input.
        shapes: of values, by name.
        uses: how often a value is read, the file's own outputs counted.

    Raises:
        ExportError: as `gensynth.bench.onnx_cost.run_shapes`.
    """

    def __init__(self, model: ModelProto, batch: int) -> None:
        if model.functions:
            model = inliner.inline_local_functions(model)
        self._graph = model.graph
        self.shapes = run_shapes(model, batch)
        self.constants = {tensor.name for tensor in self._graph.initializer}
        self.constants |= {tensor.values.name for tensor in self._graph.sparse_initializer}
        self._alias: dict[str, str] = {}
        self.nodes = self._without_idle_nodes()
        self.inputs = [v.name for v in self._graph.input if v.name not in self.constants]
        self.outputs = [self.name(value.name) for value in self._graph.output]
        self.uses = Counter(name for node in self.nodes for name in self.read(node))
        self.uses.update(self.outputs)

    def name(self, value: str) -> str:
        """Return the name of what a value is a view of."""
        return self._alias.get(value, value)

    def read(self, node: NodeProto) -> list[str]:
        """Return the values that a node reads, constants left out."""
        return [self.name(name) for name in node.input if name and name not in self.constants]

    def shape(self, value: str) -> Shape:
        """Return the sizes of a value.

        Raises:
            ExportError: if they do not follow from the file.
        """
        if value not in self.shapes:
            raise ExportError(f"the size of '{value}' does not follow from the file")
        return self.shapes[value]

    def weights(self, node: NodeProto) -> int:
        """Return the elements of a node's constants."""
        constants = [name for name in node.input if name in self.constants]
        return sum(math.prod(self.shapes.get(name, ())) for name in constants)

    def has_steps(self, node: NodeProto) -> bool:
        """Return whether the steps of a Slice are other than 1, or not known."""
        if len(node.input) < 5:
            return False
        name = node.input[4]
        found = next((t for t in self._graph.initializer if t.name == name), None)
        for other in self._graph.node:
            if other.op_type == "Constant" and other.output[0] == name:
                found = next((a.t for a in other.attribute if a.name == "value"), None)
        return found is None or bool((numpy_helper.to_array(found) != 1).any())

    def _without_idle_nodes(self) -> list[NodeProto]:
        """Return the nodes that compute something of the input, duplicates and views left out."""
        kept: list[NodeProto] = []
        seen: dict[Any, NodeProto] = {}
        for node in self._graph.node:
            present = [name for name in node.input if name]
            if node.op_type in _SHAPES or (
                present and all(name in self.constants for name in present)
            ):
                self.constants.update(node.output)
                continue
            if self._is_view(node):
                self._alias[node.output[0]] = self.name(node.input[0])
                continue
            key = (
                node.domain,
                node.op_type,
                tuple(self.name(name) for name in node.input),
                tuple(sorted(a.SerializeToString() for a in node.attribute)),
            )
            if key in seen:
                pairs = zip(node.output, seen[key].output, strict=False)
                self._alias.update((name, self.name(first)) for name, first in pairs)
                continue
            seen[key] = node
            kept.append(node)
        return kept

    def _is_view(self, node: NodeProto) -> bool:
        if node.domain not in ("", "ai.onnx"):
            return False
        if node.op_type in _VIEWS:
            return True
        if node.op_type == "Transpose":
            shape = self.shape(node.input[0])
            order = attributes_of(node).get("perm", range(len(shape))[::-1])
            moved = [axis for axis in order if shape[axis] != 1]
            return moved == sorted(moved)
        if node.op_type == "Pad":
            readers = [n for n in self._graph.node if node.output[0] in n.input]
            return len(readers) == 1 and readers[0].op_type in CONVOLUTIONS
        return False


def attributes_of(node: NodeProto) -> Mapping[str, Any]:
    """Return a node's attributes by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
