"""What is left of an ONNX file's nodes once ONNX Runtime has put together what belongs together.

    constants            computed once, when the file is loaded: no node
    Identity, Dropout    no node
    Conv and what follows: a norm, a factor and an addend a channel, an activation: one node
    MatMul and Add, Gemm and an activation: one node
    x * Sigmoid(x), x * HardSigmoid(x), the five nodes of a GELU: one node

These are its optimisations of the levels "basic" and "extended"; layouts are
`gensynth.bench.estimate.onnxruntime_plan`'s.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, NodeProto, helper

_PART = re.compile(r"/\d+$")
CHEAP = {"Relu", "Clip", "LeakyRelu"}
"""Activations that cost nothing where they are fused."""
ACTIVATIONS = CHEAP | {"Sigmoid", "Tanh", "HardSigmoid", "HardSwish"}
_GEMM_ACTIVATIONS = ACTIVATIONS - {"Clip", "HardSwish"} | {"Elu", "Softplus", "Softsign"}
_PRODUCTS = {"Sigmoid": "QuickGelu", "HardSigmoid": "HardSwish"}
"""What an activation times its own input is."""
_NO_NODE = {"Identity", "Dropout"}
_PER_CHANNEL = {"Mul", "Add"}


@dataclass(eq=False)
class Node:
    """An operator with all that is fused into it.

    Attributes:
        op: ONNX's name of it, or ONNX Runtime's of what several have become.
        vertex: whose work it is.
        inputs: values that it reads, constants left out.
        outputs: values that it writes.
        weight: shape of its constant factor, where it has one.
        attributes: of the node.
        activation: that is fused, "" without.
    """

    op: str
    vertex: str
    inputs: list[str]
    outputs: list[str]
    weight: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    activation: str = ""


def vertex_of(name: str) -> str:
    """Return the vertex that a node of our own files is named after.

    Example:
        >>> vertex_of("gelu/3"), vertex_of("/layer1/Conv")
        ('gelu', '/layer1/Conv')
    """
    return _PART.sub("", name)


class Fused:
    """A file's nodes in order, each with what is fused into it.

    Args:
        model: the file.
        shapes: of every value.
    """

    def __init__(self, model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.outputs = {value.name for value in model.graph.output}
        self._constants = {tensor.name for tensor in model.graph.initializer}
        self._renamed: dict[str, str] = {}
        self.nodes: list[Node] = []
        for node in model.graph.node:
            self._read(node)
        self._fuse_gelu()
        self._fuse_products()
        self._fuse_affine()
        self._fuse_activations()

    def uses(self, value: str) -> int:
        """Return how often a value is read, the file's own outputs counted."""
        return sum(node.inputs.count(value) for node in self.nodes) + (value in self.outputs)

    def reader(self, value: str) -> Node | None:
        """Return the one node that reads a value; None if there are more, or it is an output."""
        if self.uses(value) != 1:
            return None
        return next((node for node in self.nodes if value in node.inputs), None)

    def producer(self, value: str) -> Node | None:
        """Return the node that writes a value."""
        return next((node for node in self.nodes if value in node.outputs), None)

    def absorb(self, into: Node, node: Node) -> None:
        """Let one node do another's work: it writes what that wrote."""
        into.outputs = node.outputs
        self.nodes.remove(node)

    def _read(self, node: NodeProto) -> None:
        values = [name for name in node.input if name]
        if node.op_type == "Constant" or (
            values and all(name in self._constants for name in values)
        ):
            self._constants.update(node.output)
            return
        if node.op_type in _NO_NODE and node.output[0] not in self.outputs:
            self._renamed[node.output[0]] = self._renamed.get(values[0], values[0])
            return
        constants = [name for name in values if name in self._constants]
        self.nodes.append(
            Node(
                node.op_type,
                vertex_of(node.name or node.output[0]),
                [self._renamed.get(n, n) for n in values if n not in self._constants],
                list(node.output),
                self.shapes.get(constants[0], ()) if constants else (),
                {a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
        )

    def _fuse_gelu(self) -> None:
        """Find x * (Erf(x / root 2) + 1) * 1/2, in the order of nodes that ONNX Runtime knows."""
        for node in [n for n in self.nodes if n.op == "Div" and len(n.inputs) == 1]:
            chain = self._chain(node, ("Erf", "Add", "Mul", "Mul"))
            if chain and chain[2].inputs.count(node.inputs[0]) == 1:
                for part in chain:
                    self.absorb(node, part)
                node.op, node.weight = "Gelu", ()

    def _fuse_products(self) -> None:
        for node in [n for n in self.nodes if n.op in _PRODUCTS]:
            after = self.reader(node.outputs[0])
            source = node.inputs[0]
            if (
                after
                and after.op == "Mul"
                and sorted(after.inputs) == sorted([source, node.outputs[0]])
            ):
                self.absorb(node, after)
                node.op = _PRODUCTS[node.op]
        for node in [n for n in self.nodes if n.op == "MatMul" and n.weight]:
            after = self.reader(node.outputs[0])
            if after and after.op == "Add" and after.weight and len(self._shape(node)) == 2:
                self.absorb(node, after)
                node.op = "Gemm"

    def _fuse_affine(self) -> None:
        """Put norms, factors and addends a channel into the convolution before them."""
        for node in [n for n in self.nodes if n.op == "Conv"]:
            while (after := self.reader(node.outputs[0])) and self._is_per_channel(after):
                self.absorb(node, after)

    def _is_per_channel(self, node: Node) -> bool:
        if node.op == "BatchNormalization":
            return True
        shape = node.weight
        return (
            node.op in _PER_CHANNEL
            and len(node.inputs) == 1
            and len(shape) in (3, 4)
            and all(size == 1 for size in shape[-2:])
        )

    def _fuse_activations(self) -> None:
        for node in list(self.nodes):
            known = {"Conv": ACTIVATIONS, "Gemm": _GEMM_ACTIVATIONS}.get(node.op, ())
            if node not in self.nodes or not known:
                continue
            after = self.reader(node.outputs[0])
            if after and after.op in known:
                node.activation = after.op
                self.absorb(node, after)

    def _chain(self, node: Node, operators: Sequence[str]) -> list[Node]:
        """Return the nodes behind one, each the only reader of the last; empty if others."""
        found: list[Node] = []
        for op in operators:
            after = self.reader((found or [node])[-1].outputs[0])
            if after is None or after.op != op:
                return []
            found.append(after)
        return found

    def _shape(self, node: Node) -> tuple[int, ...]:
        return self.shapes.get(node.outputs[0], ())
