"""Nodes, weights and names of an ONNX graph in the making.

A node is named like the vertex it computes; the nodes on the way there are 'vertex/1',
'vertex/2' and so on. A weight has its key in the state dict. No two values share a name,
whatever the vertices are called.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from gensynth.errors import ExportError
from gensynth.graph.graph import Graph, Vertex

Array = np.ndarray[Any, Any]


class Writer:
    """Collects the nodes and constants of one graph.

    Args:
        graph: what is written.
        weights: by state-dict key.
        reserved: names of the file's inputs and outputs, which no other value may have.
        native: operators that may be used though not every target has them.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        reserved: Sequence[str],
        native: Collection[str],
    ) -> None:
        self.native = native
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._graph = graph
        self._weights = weights
        self._taken = set(reserved)
        self._node_names: set[str] = set()
        self._closed = 0
        self._tensors: dict[tuple[str, tuple[int, ...]], str] = {}

    def node(self, vertex: Vertex, op: str, reads: Sequence[str], **attributes: Any) -> str:
        """Write a node on the way to a vertex's value; return the name of what it computes."""
        name = f"{vertex.name}/{len(self.nodes) - self._closed + 1}"
        output = _unique(name, self._taken)
        self.nodes.append(helper.make_node(op, list(reads), [output], name, **attributes))
        return output

    def close(self, vertex: Vertex, value: str, output: str | None) -> str:
        """Name the vertex's value, and its last node, after the vertex.

        Args:
            vertex: whose nodes are all written.
            value: what the vertex's nodes computed, or what it reads where it has none.
            output: the name that the file gives the value, if it is an output.

        Returns:
            The value's final name.
        """
        own = len(self.nodes) > self._closed
        if not own and output is None:
            return value
        if not own:
            self.node(vertex, "Identity", [value])
        last = self.nodes[-1]
        last.output[0] = output or _unique(vertex.name, self._taken)
        last.name = vertex.name
        for node in self.nodes[self._closed :]:
            node.name = _unique(node.name, self._node_names)
        self._closed = len(self.nodes)
        return str(last.output[0])

    def split(
        self, parts: Sequence[Vertex], read: str, outputs: Mapping[str, str]
    ) -> dict[str, str]:
        """Write one node for all parts of a value, side by side along the channels.

        Args:
            parts: named and sized by their vertices; the node is named after the first.
            read: the value.
            outputs: the name that the file gives a vertex's value, if it is an output.

        Returns:
            Each vertex's value.
        """
        first = parts[0]
        sizes = self.constant(first, "sizes", np.array([part.shape[0] for part in parts]))
        values = {p.name: outputs.get(p.name) or _unique(p.name, self._taken) for p in parts}
        name = _unique(first.name, self._node_names)
        written = list(values.values())
        self.nodes.append(helper.make_node("Split", [read, sizes], written, name, axis=1))
        self._closed = len(self.nodes)
        return values

    def part(self, vertex: Vertex, reads: Sequence[str], content: bytes) -> str:
        """Write the nodes of another file in a vertex's place; return the name of its value.

        Args:
            vertex: what the nodes compute, and are named after.
            reads: the values that stand for the file's inputs.
            content: the file; its first output is the value.

        Raises:
            ExportError: if it branches or loops.
        """
        graph = ModelProto.FromString(content).graph
        names = {value.name: read for value, read in zip(graph.input, reads, strict=True)}
        for tensor in graph.initializer:
            names[tensor.name] = self.constant(vertex, tensor.name, numpy_helper.to_array(tensor))
        for node in graph.node:
            if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
                raise ExportError(
                    f"vertex {vertex.name!r} is opaque, and branches or loops at run time "
                    f"({node.op_type}); no target takes that"
                )
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                value = numpy_helper.to_array(node.attribute[0].t)
                names[node.output[0]] = self.constant(vertex, node.output[0], value)
                continue
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{vertex.name}/{len(self.nodes) - self._closed + 1}"
            copy.input[:] = [names[name] if name else "" for name in node.input]
            for name in node.output:
                names[name] = _unique(f"{vertex.name}/{name}", self._taken) if name else ""
            copy.output[:] = [names[name] for name in node.output]
            copy.ClearField("doc_string")
            self.nodes.append(copy)
        return self.node(vertex, "Identity", [names[graph.output[0].name]])

    def tensor(self, vertex: Vertex, tensor: str, shape: Sequence[int] | None = None) -> str:
        """Name one of the vertex's weights, in another shape if one is given.

        Raises:
            ExportError: if a value is not finite as float32.
            ValueError: if the weight is not there or has not the shape the graph says.
        """
        key = vertex.tensor_key(tensor)
        expected = tuple(vertex.tensors[tensor])
        if key not in self._weights:
            raise ValueError(f"vertex {vertex.name!r} needs the weight {key!r}, which is not given")
        given = np.asarray(self._weights[key])
        if given.shape != expected:
            raise ValueError(f"weight {key!r} must have shape {expected}, got {given.shape}")
        with np.errstate(over="ignore"):
            value = given.astype(np.float32)
        broken = int(np.count_nonzero(~np.isfinite(value)))
        if broken:
            raise ExportError(
                f"vertex {vertex.name!r}: {broken} of {value.size} values of {key!r} are not "
                "finite as float32; the network cannot be exported"
            )
        if shape is not None:
            value = value.reshape(shape)
        known = (key, value.shape)
        if known not in self._tensors:
            self._tensors[known] = self._constant(key, value)
        return self._tensors[known]

    def constant(self, vertex: Vertex, label: str, value: Array) -> str:
        """Name a constant that is no weight: float32, or int64 where ONNX asks for integers."""
        return self._constant(f"{vertex.name}/{label}", value)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a vertex's value for one image."""
        return self._graph[name].shape

    def _constant(self, wanted: str, value: Array) -> str:
        name = _unique(wanted, self._taken)
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}:{number}", number + 1
    taken.add(name)
    return name
