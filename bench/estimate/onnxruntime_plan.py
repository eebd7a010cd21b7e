"""What ONNX Runtime's provider for processors makes of an ONNX file: its kernels, by rule.

A convolution that suits the processor's blocks of channels writes them blocked, and what reads
it takes them as they are where it can (pools, sums, activations, concatenations). Whoever cannot
reads them through a kernel that puts them in order again, and a blocked convolution that reads
what is not blocked has it put into blocks first. So a width that suits no block costs twice: the
slower convolution, and the changes of layout around it.

    kind                                 sizes
    conv, conv 1x1, depthwise, grouped   read, written, height, width, kernel, strides, groups
        with plain, direct or blocked,
        "add" where a sum is fused
    reorder in, reorder out              channels, height, width
    gemm                                 read, written
    any other operator, blocked or not   channels, height, width, and `kernel` of a pool

The rules are those of version 1.32; tests compare them with the runtime's own files.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from onnx import ModelProto

from gensynth.bench.estimate import convolutions
from gensynth.bench.estimate.convolutions import BLOCKED, FLOAT, LAYOUTS, PLAIN
from gensynth.bench.estimate.fusion import CHEAP, Fused, Node
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.onnx_cost import run_shapes
from gensynth.errors import ExportError

_POOLS = {"MaxPool", "AveragePool"}
_GLOBAL_POOLS = {"GlobalAveragePool", "GlobalMaxPool"}
_SUMS = {"Add", "Sum"}
_FUSED_LATER = {"Relu", "Sigmoid", "Tanh", "Clip", "LeakyRelu", "HardSigmoid", "HardSwish"}
"""Activations that a blocked convolution takes even behind a sum, and that keep blocks."""
_KEEPS_BLOCKS = {"QuickGelu", "Gelu"}

Shape = tuple[int, ...]


def plan(model: ModelProto, block: int | None, batch: int = 1) -> tuple[Kernel, ...]:
    """Return the kernels of a file, in the order of its nodes.

    Args:
        model: the file.
        block: channels that a block has on the processor (`gensynth.export.runtime`); None where
            the runtime has none.
        batch: images of one run, where the file leaves that free.

    Raises:
        ExportError: if the size of a value does not follow from the file.
    """
    fused = Fused(model, run_shapes(model, batch))
    return tuple(_Layouts(fused, block).kernels())


@dataclass(eq=False)
class _Value:
    """A blocked value: which step writes it, and how it is read."""

    step: "_Step"
    channels: int
    uses: int
    plain_uses: int


@dataclass(eq=False)
class _Step:
    """A kernel in the making."""

    node: Node
    layout: int = PLAIN
    add: str = ""
    reorders: list[str] = field(default_factory=list)  # of its inputs, before it
    shape: Shape = ()


class _Layouts:
    """Walks through a file as the runtime does, and gives each node its layout."""

    def __init__(self, fused: Fused, block: int | None) -> None:
        self._fused, self._block = fused, block
        self._shapes = fused.shapes
        self._uses = Counter(name for node in fused.nodes for name in node.inputs)
        self._uses.update(fused.outputs)
        self._blocked: dict[str, _Value] = {}
        self._put_in_blocks: set[str] = set()
        self._steps: list[_Step] = []
        for node in list(fused.nodes):
            self._steps.append(_Step(node))
            self._lay_out(self._steps[-1])
        self._fuse_plain_sums()

    def kernels(self) -> Iterator[Kernel]:
        """Yield the kernels; a change of layout stands behind whoever wrote the value."""
        for step in self._steps:
            for read in step.reorders:
                yield self._reorder("reorder in", step.node.vertex, self._shape(read))
            yield self._kernel(step)
            for name in step.node.outputs:
                value = self._blocked.get(name)
                if value is not None and value.plain_uses:
                    yield self._reorder("reorder out", step.node.vertex, self._shape(name))

    def _lay_out(self, step: _Step) -> None:
        if self._block is None:
            return
        node = step.node
        if node.op == "Conv":
            self._conv(step)
        elif node.op in _POOLS:
            self._pool(step)
        elif node.inputs and all(name in self._blocked for name in node.inputs):
            if node.op in _SUMS or node.op == "Mul":
                self._binary(step)
            elif node.op == "Concat":
                self._concat(step)
            elif node.op in _FUSED_LATER:
                self._activation(step)
            elif node.op == "BatchNormalization":
                self._norm(step)
            elif node.op in _KEEPS_BLOCKS:
                self._take(step, self._blocked[node.inputs[0]].channels)
            elif node.op in _GLOBAL_POOLS:
                self._pool(step)
            elif node.op == "Resize" and self._is_whole_upsample(node):
                node.op = "Upsample"
                self._take(step, self._blocked[node.inputs[0]].channels)

    def _conv(self, step: _Step) -> None:
        node = step.node
        if len(node.weight) != 4 or len(self._shape(node.inputs[0])) != 4:
            return
        groups = int(node.attributes.get("group", 1))
        read, written = node.weight[1] * groups, node.weight[0]
        layout = int(convolutions.layout_of(read, written, groups, self._block))
        if layout == PLAIN:
            return
        step.layout = layout
        if layout == BLOCKED:
            self._read_blocked(step)
        self._write_blocked(step, written)

    def _pool(self, step: _Step) -> None:
        channels = self._shape(step.node.inputs[0])[1]
        assert self._block is not None, "layouts are of processors with blocks"
        if len(step.node.outputs) > 1 or channels % self._block:
            return
        self._read_blocked(step)
        step.layout = BLOCKED
        self._write_blocked(step, channels)

    def _binary(self, step: _Step) -> None:
        """A sum becomes part of a convolution that it alone reads, the first if both could."""
        node = step.node
        if len(node.inputs) != 2:
            return
        first, second = (self._blocked[name] for name in node.inputs)
        if self._shape(node.inputs[0]) != self._shape(node.inputs[1]):
            return
        first.plain_uses -= 1
        second.plain_uses -= 1
        if node.op in _SUMS:
            for value, other in ((first, node.inputs[1]), (second, node.inputs[0])):
                conv = value.step
                if (
                    conv.node.op == "Conv"
                    and value.uses == 1
                    and not conv.add
                    and not conv.node.activation
                ):
                    conv.add = other
                    self._merge(conv, step, value)
                    return
        step.layout = BLOCKED
        self._write_blocked(step, first.channels)

    def _concat(self, step: _Step) -> None:
        node = step.node
        channels = [self._blocked[name].channels for name in node.inputs]
        if node.attributes.get("axis") != 1 or any(c % (self._block or 1) for c in channels):
            return
        for name in node.inputs:
            self._blocked[name].plain_uses -= 1
        step.layout = BLOCKED
        self._write_blocked(step, sum(channels))

    def _activation(self, step: _Step) -> None:
        value = self._blocked[step.node.inputs[0]]
        conv = value.step
        if conv.node.op == "Conv" and value.uses == 1 and not conv.node.activation:
            value.plain_uses -= 1
            conv.node.activation = step.node.op
            self._merge(conv, step, value)
            return
        self._take(step, value.channels)

    def _norm(self, step: _Step) -> None:
        """A norm becomes a convolution of one position and channel, with all that that can take."""
        node = step.node
        channels = self._blocked[node.inputs[0]].channels
        node.op, node.weight = "Conv", (channels, 1, 1, 1)
        node.attributes = {"group": channels}
        self._take(step, channels)

    def _take(self, step: _Step, channels: int) -> None:
        """Let a step read and write blocks."""
        self._blocked[step.node.inputs[0]].plain_uses -= 1
        step.layout = BLOCKED
        self._write_blocked(step, channels)

    def _read_blocked(self, step: _Step) -> None:
        name = step.node.inputs[0]
        value = self._blocked.get(name)
        if value is not None:
            value.plain_uses -= 1
        elif name not in self._put_in_blocks:
            self._put_in_blocks.add(name)
            step.reorders.append(name)

    def _write_blocked(self, step: _Step, channels: int) -> None:
        name = step.node.outputs[0]
        uses = self._uses[name]
        self._blocked[name] = _Value(step, channels, uses, uses)

    def _merge(self, conv: _Step, step: _Step, value: _Value) -> None:
        """Let a convolution do a later step's work."""
        conv.node.outputs = step.node.outputs
        self._steps.remove(step)
        self._write_blocked(conv, value.channels)

    def _is_whole_upsample(self, node: Node) -> bool:
        attributes = node.attributes
        before, after = self._shape(node.inputs[0]), self._shape(node.outputs[0])
        mode = attributes.get("mode", b"nearest"), attributes.get("coordinate_transformation_mode")
        return (
            mode in ((b"linear", b"half_pixel"), (b"nearest", b"asymmetric"))
            and (mode[0] == b"linear" or attributes.get("nearest_mode") == b"floor")
            and all(b % a == 0 for a, b in zip(before, after, strict=True))
        )

    def _fuse_plain_sums(self) -> None:
        """Put sums, and the activation behind them, into convolutions that are not blocked."""
        readers: dict[str, list[_Step]] = {}
        for step in self._steps:
            for name in step.node.inputs:
                readers.setdefault(name, []).append(step)
        for conv in [s for s in self._steps if s.node.op == "Conv" and s.layout == PLAIN]:
            value = conv.node.outputs[0]
            after = readers.get(value, [])
            if conv.node.activation or len(after) != 1 or self._uses[value] != 1:
                continue
            total = after[0]
            others = [name for name in total.node.inputs if name != value]
            if total.node.op != "Add" or total.layout != PLAIN or len(others) != 1:
                continue
            if total not in self._steps:  # the other convolution's already
                continue
            if self._shape(others[0]) != self._shape(value):
                continue
            conv.add = others[0]
            self._append(conv, total)
            value = conv.node.outputs[0]
            behind = readers.get(value, [])
            if len(behind) == 1 and self._uses[value] == 1 and behind[0].node.op in CHEAP:
                conv.node.activation = behind[0].node.op
                self._append(conv, behind[0])

    def _append(self, conv: _Step, step: _Step) -> None:
        conv.node.outputs = step.node.outputs
        self._steps.remove(conv)
        self._steps[self._steps.index(step)] = conv  # the other addend must be there by then

    def _kernel(self, step: _Step) -> Kernel:
        node = step.node
        output = self._shape(node.outputs[0])
        written = FLOAT * math.prod(output)
        read = FLOAT * sum(math.prod(self._shape(name)) for name in node.inputs)
        blocked = " blocked" if step.layout == BLOCKED else ""
        if node.op == "Conv" and len(output) == len(node.weight) == 4:
            return conv_kernel(
                node, step.layout, bool(step.add), self._shape(node.inputs[0]), output
            )
        if node.op == "Gemm" and len(node.weight) == 2:
            inputs = self._shape(node.inputs[0])
            sizes: dict[str, float]
            sizes = {"rows": inputs[0], "read": inputs[-1], "written": output[-1]}
            macs = inputs[0] * inputs[-1] * output[-1]
            weights = FLOAT * math.prod(node.weight)
            return Kernel("gemm", node.vertex, macs, read + weights, written, sizes)
        sizes = _image(self._shape(node.inputs[0]) if node.inputs else output)
        if node.op in _POOLS:
            sizes = {**_image(output), "kernel": float(math.prod(node.attributes["kernel_shape"]))}
        macs = 0
        if node.op == "ConvTranspose":
            macs = read // FLOAT * math.prod(node.weight[1:])
        elif node.op == "MatMul":
            macs = math.prod(output) * self._shape(node.inputs[0])[-1]
        read += FLOAT * math.prod(node.weight) if node.weight else 0
        return Kernel(node.op.lower() + blocked, node.vertex, macs, read, written, sizes)

    def _reorder(self, kind: str, vertex: str, shape: Shape) -> Kernel:
        moved = FLOAT * math.prod(shape)
        return Kernel(kind, vertex, 0, moved, moved, _image(shape))

    def _shape(self, name: str) -> Shape:
        if name not in self._shapes:
            raise ExportError(f"the size of '{name}' does not follow from the file")
        return self._shapes[name]


def conv_kernel(node: Node, layout: int, add: bool, source: Shape, output: Shape) -> Kernel:
    """Return the kernel of a convolution; `source` and `output` are the shapes of its images."""
    groups = int(node.attributes.get("group", 1))
    batch, read, *_ = source
    _, written, height, width = output
    kernel = node.weight[2], node.weight[3]
    form = convolutions.form_of(read, written, groups, kernel)
    kind = f"{form} {LAYOUTS[layout]}"
    if node.activation and node.activation not in CHEAP:
        kind += f" {node.activation.lower()}"
    each = math.prod(node.weight[1:])
    area = math.prod(output)
    return Kernel(
        f"{kind} add" if add else kind,
        node.vertex,
        each * area,
        FLOAT * (math.prod(source) + each * written + add * area),
        FLOAT * area,
        {
            "batch": batch,
            "read": read,
            "written": written,
            "height": height,
            "width": width,
            "kernel_height": kernel[0],
            "kernel_width": kernel[1],
            "stride": math.prod(node.attributes.get("strides", [1, 1])),
            "groups": groups,
        },
    )


def _image(shape: Shape) -> dict[str, float]:
    """Return channels and the rest of a value's size."""
    channels = shape[1] if len(shape) > 1 else 1
    return {"channels": channels, "positions": math.prod(shape) / max(channels, 1)}
