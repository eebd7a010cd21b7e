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
from collections.abc import Sequence
from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto

from gensynth.bench.estimate.boards.tensorrt_nodes import CONVOLUTIONS, Computed, attributes_of
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.onnx_cost import node_macs

WIDTH_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
UNKNOWN = "unknown: "

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
_COPIES = {"Transpose", "Gather", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Pad"}
_RESIZES = {"Resize", "Upsample"}


def plan(model: ModelProto, precision: str, batch: int = 1) -> tuple[Kernel, ...]:
    """Return the kernels of a file, in the order in which they run.

    Args:
        model: the file.
        precision: "fp32", "fp16" or "int8": of what kernels read and write.
        batch: images of one run, where the file leaves that free.

    Raises:
        ExportError: if the size of a value does not follow from the file.
    """
    return _Planner(Computed(model, batch), WIDTH_BYTES[precision]).kernels()


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

    def __init__(self, file: Computed, element_bytes: int) -> None:
        self._file, self._bytes = file, element_bytes
        self._groups: list[_Group] = []
        self._by_output: dict[str, _Group] = {}
        self._concatenated: set[str] = set()

    def kernels(self) -> tuple[Kernel, ...]:
        for node in self._file.nodes:
            self._place(node)
        kernels = [self._kernel(group) for group in self._groups]
        if self._bytes == WIDTH_BYTES["fp32"]:
            return tuple(kernels)
        return (
            *(self._reformat(name, reads_fp32=True) for name in self._file.inputs),
            *kernels,
            *(self._reformat(name, reads_fp32=False) for name in self._file.outputs),
        )

    # Which kernel a node becomes, or becomes part of

    def _place(self, node: NodeProto) -> None:
        op = node.op_type
        if node.domain not in ("", "ai.onnx"):
            self._add(node, f"{UNKNOWN}{node.domain}.{op}")
        elif op in CONVOLUTIONS:
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
        before = [self._by_output.get(name) for name in self._file.read(node)]
        alone = [
            group
            for group in before
            if group is not None
            and self._file.uses[group.output] == self._file.read(node).count(group.output)
        ]
        for group in sorted(set(alone), key=self._groups.index, reverse=True):
            fused = self._fused_into(group, node, len(set(self._file.read(node))))
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
            and len({self._file.shape(name) for name in self._file.read(node)}) == 1
        ):
            return ("relu",)
        return None

    def _is_scale(self, node: NodeProto) -> bool:
        """Return whether a node multiplies or shifts channels by constants."""
        if node.op_type == "BatchNormalization":
            return True
        if node.op_type not in ("Mul", "Add", "Sub", "Div"):
            return False
        after = self._file.shape(node.output[0])
        for name in node.input:
            if name in self._file.constants:
                shape = (1,) * (len(after) - len(self._file.shape(name))) + self._file.shape(name)
                return all(size == 1 for axis, size in enumerate(shape) if axis != 1)
        return False

    def _concat(self, node: NodeProto) -> None:
        """A part that one kernel computes for this alone is written in place."""
        self._concatenated.add(node.output[0])
        for name in node.input:
            value = self._file.name(name)
            in_place = value in self._by_output or value in self._concatenated
            if not in_place or self._is_concatenated_elsewhere(value, node):
                self._copy(node, value, name)

    def _is_concatenated_elsewhere(self, value: str, node: NodeProto) -> bool:
        others = [n for n in self._file.nodes if n.op_type == "Concat" and n is not node]
        return any(value in self._file.read(other) for other in others) or (
            self._file.read(node).count(value) > 1
        )

    def _slice(self, node: NodeProto) -> None:
        """Parts that lie together are read where they are."""
        whole = self._file.shape(node.input[0])
        has_steps = node.op_type == "Slice" and self._file.has_steps(node)
        for name in node.output:
            part = self._file.shape(name)
            axes = [axis for axis, size in enumerate(part) if size != whole[axis]]
            lies_together = len(axes) == 0 or all(size == 1 for size in whole[: axes[0]])
            if len(axes) > 1 or not lies_together or has_steps:
                self._copy(node, self._file.name(node.input[0]), name)

    def _copy(self, node: NodeProto, source: str, part: str) -> None:
        """Add a kernel that copies a part of a value, or a value into a part."""
        self._groups.append(
            _Group("copy", node.name or node.output[0], reads=[source], output=part, copies=True)
        )

    # Building kernels

    def _add(self, node: NodeProto, kind: str, takes: Sequence[str] = ()) -> _Group:
        group = self._group(node, kind, *self._file.read(node))
        group.takes = frozenset(takes)
        group.output = node.output[0]
        group.weights = self._file.weights(node)
        if node.op_type in CONVOLUTIONS | _PRODUCTS:
            group.macs = node_macs(node, self._file.shapes)
        self._groups.append(group)
        for name in node.output:
            if name:
                self._by_output[name] = group
        return group

    def _group(self, node: NodeProto, kind: str, *reads: str) -> _Group:
        return _Group(kind, node.name or node.output[0], reads=list(reads), sizes=self._sizes(node))

    def _extend(self, group: _Group, node: NodeProto) -> None:
        """Let a kernel do a later node's work, where that stands."""
        group.reads += [name for name in self._file.read(node) if name != group.output]
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
        read = sum(math.prod(self._file.shape(name)) for name in set(group.reads))
        written = math.prod(self._file.shape(group.output))
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
        elements = math.prod(self._file.shape(name))
        wide, narrow = elements * WIDTH_BYTES["fp32"], elements * self._bytes
        read, written = (wide, narrow) if reads_fp32 else (narrow, wide)
        return Kernel("reformat", name, 0, read, written, {})

    def _convolution(self, node: NodeProto) -> str:
        weight, groups = self._file.shape(node.input[1]), attributes_of(node).get("group", 1)
        if node.op_type == "ConvTranspose":
            return "deconv"
        if groups > 1:
            return "depthwise" if groups == weight[0] and weight[1] == 1 else "grouped"
        return "conv 1x1" if set(weight[2:]) == {1} else "conv"

    def _sizes(self, node: NodeProto) -> dict[str, float]:
        sizes: dict[str, float] = {}
        before = self._file.shape(node.input[0]) if node.input else ()
        after = self._file.shape(node.output[0])
        if len(before) > 1:
            sizes["channels_read"] = before[1]
        if len(after) > 1:
            sizes["channels_written"] = after[1]
        if len(after) == 4:
            sizes["height"], sizes["width"] = after[2:]
        if node.op_type in CONVOLUTIONS:
            attributes = attributes_of(node)
            sizes["area"] = math.prod(self._file.shape(node.input[1])[2:])
            sizes["groups"] = attributes.get("group", 1)
            sizes["stride"] = max(attributes.get("strides", [1]))
        return sizes
