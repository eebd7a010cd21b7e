"""What TensorRT 8 makes of an ONNX file: its kernels, by the fusions that NVIDIA documents.

    constants and shapes       computed once, when the engine is built: no kernel
    Reshape, Flatten, Identity and the like, a Transpose that moves sizes of 1: no kernel
    two nodes that compute the same: one of them
    Conv, Gemm + norm, factor and addend a channel (into its weights) + ReLU
    Conv + sum with an equal shape + ReLU: one kernel, for the later of two convolutions
    Pad + Conv
    activations, sums, products, norms next to each other: one "pointwise" kernel
    Concat                     none where kernels of its own write its parts in place; else a
                               copy for each part that is an input, a constant or shared
    Slice, Split               none where the parts lie together in memory; else a copy each
    FP16, INT8                 a "reformat" at each input and output, which stay FP32

Source: NVIDIA TensorRT developer guide 8.2, "Types of fusions" (convolution and ReLU, scale,
element-wise sum; padding; pointwise fusion; shuffle and shuffle) and builder logs of version 8,
which name the passes: ConvReluFusion and ActivationToPointwiseConversion (a Clip becomes a
pointwise kernel), removal of duplicates, of slices and of concatenations.

Assumed, where the guide is silent or a builder decides by timing: only ReLU is fused into a
convolution; no two convolutions that read the same value are merged side by side; no layout
changes between kernels, so widths that suit no format of FP16 and INT8 are padded and not
reordered. An operator that none of this speaks of is a kernel of kind "unknown: NAME".
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, NodeProto, helper, inliner, numpy_helper

from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.onnx_cost import node_macs, value_shapes
from gensynth.errors import ExportError

WIDTH_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
UNKNOWN = "unknown: "

_CONVOLUTIONS = {"Conv", "ConvTranspose"}
_PRODUCTS = {"Gemm", "MatMul"}
_UNARY = {
    "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "HardSigmoid", "Softplus",
    "Softsign", "ThresholdedRelu", "PRelu", "HardSwish", "Erf", "Exp", "Log", "Sqrt", "Abs", "Neg",
    "Reciprocal", "Floor", "Ceil", "Round", "Sin", "Cos", "Not", "BatchNormalization",
}  # fmt: skip
_BINARY = {
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Where", "Equal", "Less", "Greater",
    "And", "Or",
}  # fmt: skip
_POOLS = {"MaxPool", "AveragePool"}
_REDUCTIONS = {
    "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin",
    "ReduceProd", "ReduceL2", "ArgMax", "ArgMin", "TopK",
}  # fmt: skip
_SOFTMAX = {"Softmax", "LogSoftmax"}
_VIEWS = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_COPIES = {"Transpose", "Gather", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Pad"}
_RESIZES = {"Resize", "Upsample"}
_SHAPES = {"Shape", "Constant", "Size"}

Shape = tuple[int, ...]


def plan(model: ModelProto, precision: str, batch: int = 1) -> tuple[Kernel, ...]:
    """Return the kernels of a file, in the order in which they run.

    Args:
        model: the file.
        precision: "fp32", "fp16" or "int8": of what kernels read and write.
        batch: images of one run, where the file leaves that free.

    Raises:
        ExportError: if the size of a value does not follow from the file.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    return _Planner(model, WIDTH_BYTES[precision], batch).kernels()


@dataclass(eq=False)
class _Group:
    """Nodes that become one kernel.

    Attributes:
        kind: of the kernel.
        vertex: the first of its nodes.
        takes: what may still be fused behind it: "scale", "sum", "relu".
        macs: multiply-accumulates.
        reads: values.
        weights: elements of its constants.
        output: the value that it writes.
        copies: whether it reads no more than it writes.
    """

    kind: str
    vertex: str
    takes: frozenset[str] = frozenset()
    macs: int = 0
    reads: list[str] = field(default_factory=list)
    weights: int = 0
    output: str = ""
    copies: bool = False
    sizes: dict[str, float] = field(default_factory=dict)


class _Planner:
    """Walks through a file's nodes and fuses each into what stands before it where it may."""

    def __init__(self, model: ModelProto, element_bytes: int, batch: int) -> None:
        self._graph = model.graph
        self._bytes = element_bytes
        fixed = {
            value.name: tuple(
                dim.dim_value or (batch if place == 0 else 0)
                for place, dim in enumerate(value.type.tensor_type.shape.dim)
            )
            for value in self._graph.input
        }
        self._shapes = value_shapes(model, fixed)
        self._constants = {tensor.name for tensor in self._graph.initializer}
        self._constants |= {tensor.values.name for tensor in self._graph.sparse_initializer}
        self._inputs = [v.name for v in self._graph.input if v.name not in self._constants]
        self._alias: dict[str, str] = {}
        self._nodes = self._without_idle_nodes()
        self._uses = Counter(name for node in self._nodes for name in self._read(node))
        self._uses.update(self._name(value.name) for value in self._graph.output)
        self._groups: list[_Group] = []
        self._by_output: dict[str, _Group] = {}
        self._concatenated: set[str] = set()

    def kernels(self) -> tuple[Kernel, ...]:
        for node in self._nodes:
            self._place(node)
        kernels = [self._kernel(group) for group in self._groups]
        if self._bytes == WIDTH_BYTES["fp32"]:
            return tuple(kernels)
        ends = [self._name(value.name) for value in self._graph.output]
        return (
            *(self._reformat(name, reads_fp32=True) for name in self._inputs),
            *kernels,
            *(self._reformat(name, reads_fp32=False) for name in ends),
        )

    # What is no kernel at all

    def _without_idle_nodes(self) -> list[NodeProto]:
        """Return the nodes that compute something of the input, duplicates and views left out."""
        kept: list[NodeProto] = []
        seen: dict[Any, NodeProto] = {}
        for node in self._graph.node:
            present = [name for name in node.input if name]
            if node.op_type in _SHAPES or (
                present and all(name in self._constants for name in present)
            ):
                self._constants.update(node.output)
                continue
            if self._is_view(node):
                self._alias[node.output[0]] = self._name(node.input[0])
                continue
            key = (
                node.domain,
                node.op_type,
                tuple(self._name(name) for name in node.input),
                tuple(sorted(a.SerializeToString() for a in node.attribute)),
            )
            if key in seen:
                pairs = zip(node.output, seen[key].output, strict=False)
                self._alias.update((name, self._name(first)) for name, first in pairs)
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
            shape = self._shape(node.input[0])
            order = _attributes(node).get("perm", range(len(shape))[::-1])
            moved = [axis for axis in order if shape[axis] != 1]
            return moved == sorted(moved)
        if node.op_type == "Pad":
            readers = [n for n in self._graph.node if node.output[0] in n.input]
            return len(readers) == 1 and readers[0].op_type in _CONVOLUTIONS
        return False

    # Which kernel a node becomes, or becomes part of

    def _place(self, node: NodeProto) -> None:
        op = node.op_type
        if node.domain not in ("", "ai.onnx"):
            self._add(node, f"{UNKNOWN}{node.domain}.{op}")
        elif op in _CONVOLUTIONS:
            self._add(node, self._convolution(node), ("scale", "sum", "relu"))
        elif op in _PRODUCTS:
            self._add(node, "gemm", ("scale", "relu"))
        elif op in _UNARY or op in _BINARY:
            self._pointwise(node)
        elif op in _POOLS:
            self._add(node, "pool")
        elif op in _REDUCTIONS:
            self._add(node, "reduce")
        elif op in _SOFTMAX:
            self._add(node, "softmax")
        elif op in _RESIZES:
            self._add(node, "resize")
        elif op == "Concat":
            self._concat(node)
        elif op in ("Slice", "Split"):
            self._slice(node)
        elif op in _COPIES:
            self._add(node, "copy")
        else:
            self._add(node, f"{UNKNOWN}{op}")

    def _pointwise(self, node: NodeProto) -> None:
        before = [self._by_output.get(name) for name in self._read(node)]
        alone = [
            group
            for group in before
            if group is not None
            and self._uses[group.output] == self._read(node).count(group.output)
        ]
        for group in sorted(set(alone), key=self._groups.index, reverse=True):
            fused = self._fused_into(group, node, len(set(self._read(node))))
            if fused is not None:
                group.takes = frozenset(fused)
                if len(before) == 2:
                    group.kind += " add"
                self._extend(group, node)
                return
        group = self._add(node, "pointwise")
        for other in {g for g in alone if g.kind == "pointwise"}:
            self._swallow(group, other)

    def _fused_into(self, group: _Group, node: NodeProto, operands: int) -> Sequence[str] | None:
        """Return what a kernel may take after a node; None if it does not take the node."""
        op = node.op_type
        if op == "Relu" and "relu" in group.takes:
            return ()
        if operands == 1 and "scale" in group.takes and self._is_scale(node):
            return tuple(group.takes)
        if (
            op in ("Add", "Sum")
            and operands == 2
            and "sum" in group.takes
            and len({self._shape(name) for name in self._read(node)}) == 1
        ):
            return ("relu",)
        return None

    def _is_scale(self, node: NodeProto) -> bool:
        """Return whether a node multiplies or shifts channels by constants."""
        if node.op_type == "BatchNormalization":
            return True
        if node.op_type not in ("Mul", "Add", "Sub", "Div"):
            return False
        after = self._shape(node.output[0])
        for name in node.input:
            if name in self._constants:
                shape = (1,) * (len(after) - len(self._shape(name))) + self._shape(name)
                return all(size == 1 for axis, size in enumerate(shape) if axis != 1)
        return False

    def _concat(self, node: NodeProto) -> None:
        """A part that one kernel computes for this alone is written in place."""
        self._concatenated.add(node.output[0])
        for name in node.input:
            value = self._name(name)
            in_place = value in self._by_output or value in self._concatenated
            if not in_place or self._is_concatenated_elsewhere(value, node):
                self._copy(node, value, name)

    def _is_concatenated_elsewhere(self, value: str, node: NodeProto) -> bool:
        others = [n for n in self._nodes if n.op_type == "Concat" and n is not node]
        return any(value in self._read(other) for other in others) or (
            self._read(node).count(value) > 1
        )

    def _slice(self, node: NodeProto) -> None:
        """Parts that lie together are read where they are."""
        whole = self._shape(node.input[0])
        has_steps = node.op_type == "Slice" and len(node.input) > 4 and self._strides(node.input[4])
        for name in node.output:
            part = self._shape(name)
            axes = [axis for axis, size in enumerate(part) if size != whole[axis]]
            lies_together = len(axes) == 0 or all(size == 1 for size in whole[: axes[0]])
            if len(axes) > 1 or not lies_together or has_steps:
                self._copy(node, self._name(node.input[0]), name)

    def _strides(self, name: str) -> bool:
        """Return whether the steps of a Slice are other than 1, or not known."""
        found = next((t for t in self._graph.initializer if t.name == name), None)
        for node in self._graph.node:
            if node.op_type == "Constant" and node.output[0] == name:
                found = next((a.t for a in node.attribute if a.name == "value"), None)
        return found is None or any(numpy_helper.to_array(found).reshape(-1) != 1)

    def _copy(self, node: NodeProto, source: str, part: str) -> None:
        """Add a kernel that copies a part of a value, or a value into a part."""
        self._groups.append(
            _Group("copy", node.name or node.output[0], reads=[source], output=part, copies=True)
        )

    # Building kernels

    def _add(self, node: NodeProto, kind: str, takes: Sequence[str] = ()) -> _Group:
        group = self._group(node, kind, *self._read(node))
        group.takes = frozenset(takes)
        group.output = node.output[0]
        group.weights = self._weights(node)
        if node.op_type in _CONVOLUTIONS | _PRODUCTS:
            group.macs = node_macs(node, self._shapes)
        self._groups.append(group)
        for name in node.output:
            if name:
                self._by_output[name] = group
        return group

    def _group(self, node: NodeProto, kind: str, *reads: str) -> _Group:
        return _Group(kind, node.name or node.output[0], reads=list(reads), sizes=self._sizes(node))

    def _extend(self, group: _Group, node: NodeProto) -> None:
        """Let a kernel do a later node's work, where that stands."""
        group.reads += [name for name in self._read(node) if name != group.output]
        self._by_output.pop(group.output, None)
        group.output = node.output[0]
        self._by_output[group.output] = group
        self._groups.remove(group)
        self._groups.append(group)

    def _swallow(self, group: _Group, other: _Group) -> None:
        """Let a pointwise kernel do the work of one that it alone reads."""
        group.reads = [name for name in group.reads if name != other.output] + other.reads
        group.weights += other.weights
        group.vertex = other.vertex
        self._groups.remove(other)
        self._by_output.pop(other.output, None)

    def _kernel(self, group: _Group) -> Kernel:
        read = sum(math.prod(self._shape(name)) for name in set(group.reads))
        written = math.prod(self._shape(group.output))
        if group.copies:
            read = written
        return Kernel(
            group.kind,
            group.vertex,
            group.macs,
            (read + group.weights) * self._bytes,
            written * self._bytes,
            group.sizes,
        )

    def _reformat(self, name: str, *, reads_fp32: bool) -> Kernel:
        elements = math.prod(self._shape(name))
        wide, narrow = elements * WIDTH_BYTES["fp32"], elements * self._bytes
        read, written = (wide, narrow) if reads_fp32 else (narrow, wide)
        return Kernel("reformat", name, 0, read, written, {})

    def _convolution(self, node: NodeProto) -> str:
        weight, groups = self._shape(node.input[1]), _attributes(node).get("group", 1)
        if node.op_type == "ConvTranspose":
            return "deconv"
        if groups > 1:
            return "depthwise" if groups == weight[0] and weight[1] == 1 else "grouped"
        return "conv 1x1" if set(weight[2:]) == {1} else "conv"

    def _sizes(self, node: NodeProto) -> dict[str, float]:
        sizes: dict[str, float] = {}
        before, after = (self._shape(name) for name in (node.input[0], node.output[0]))
        if len(before) > 1:
            sizes["channels_read"] = before[1]
        if len(after) > 1:
            sizes["channels_written"] = after[1]
        if len(after) == 4:
            sizes["height"], sizes["width"] = after[2:]
        if node.op_type in _CONVOLUTIONS:
            attributes = _attributes(node)
            sizes["area"] = math.prod(self._shape(node.input[1])[2:])
            sizes["groups"] = attributes.get("group", 1)
            sizes["stride"] = max(attributes.get("strides", [1]))
        return sizes

    def _weights(self, node: NodeProto) -> int:
        return sum(
            math.prod(self._shapes.get(name, ())) for name in node.input if name in self._constants
        )

    def _read(self, node: NodeProto) -> list[str]:
        """Return the values that a node reads, constants left out."""
        names = [name for name in node.input if name and name not in self._constants]
        return [self._name(name) for name in names]

    def _name(self, value: str) -> str:
        return self._alias.get(value, value)

    def _shape(self, value: str) -> Shape:
        value = self._name(value) if value not in self._shapes else value
        if value not in self._shapes:
            raise ExportError(f"the size of '{value}' does not follow from the file")
        return self._shapes[value]


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
