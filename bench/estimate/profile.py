"""Which kernel of a plan each entry of a runtime's own profile is.

ONNX Runtime names its nodes after the first or the last vertex that is in them, and changes of
layout not at all; but every entry has its operator and the shapes of its inputs and outputs, and
these, with channels filled up to blocks, are a kernel's. Kernels that are alike in these have
equal sizes too, so it matters only for their names which is which; they are taken in order.
"""

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gensynth.bench.estimate.convolutions import blocks, form_of
from gensynth.bench.estimate.kernels import Kernel

_CONVOLUTIONS = {"Conv", "FusedConv"}
_GEMMS = {"Gemm", "FusedGemm"}
_REORDERS = {"ReorderInput": "reorder in", "ReorderOutput": "reorder out"}

Shape = tuple[int, ...]
Signature = tuple[Any, ...]


@dataclass(frozen=True)
class KernelTime:
    """One entry of a profile.

    Attributes:
        name: of the runtime's node.
        operator: of the runtime.
        inputs, outputs: shapes.
        ms: of one run, from the quickest part of all runs.
    """

    name: str
    operator: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    ms: float

    @staticmethod
    def of(entry: Mapping[str, Any]) -> "KernelTime":
        """Return an entry of an agent's result."""
        inputs, outputs = (
            tuple(tuple(int(size) for size in shape) for shape in entry[side])
            for side in ("inputs", "outputs")
        )
        return KernelTime(entry["name"], entry["operator"], inputs, outputs, float(entry["ms"]))


def match(
    kernels: Sequence[Kernel], times: Sequence[KernelTime], block: int | None
) -> tuple[float, ...] | None:
    """Return each kernel's milliseconds; None if a kernel has no entry or an entry no kernel.

    Args:
        kernels: of the network's plan.
        times: of its profile, in the order of the run.
        block: of the processor.
    """
    entries: dict[Signature, deque[KernelTime]] = defaultdict(deque)
    for time in times:
        try:
            entries[_of_time(time)].append(time)
        except (IndexError, ZeroDivisionError):  # shapes that no kernel of this operator has
            return None
    found = []
    for kernel in kernels:
        same = entries.get(_of_kernel(kernel, block))
        if not same:
            return None
        named = next((time for time in same if kernel.vertex in time.name), same[0])
        same.remove(named)
        found.append(named.ms)
    return None if any(entries.values()) else tuple(found)


def _of_kernel(kernel: Kernel, block: int | None) -> Signature:
    sizes, kind = kernel.sizes, kernel.kind
    is_blocked = " blocked" in kind or " direct" in kind
    if "groups" in sizes:
        read, written = int(sizes["read"]), int(sizes["written"])
        area = int(sizes["kernel_height"]), int(sizes["kernel_width"])
        if is_blocked:
            written = blocks(written, block)
        if " blocked" in kind:
            read = blocks(read, block)
        form = form_of(int(sizes["read"]), int(sizes["written"]), int(sizes["groups"]), area)
        positions = int(sizes["batch"] * sizes["height"] * sizes["width"])
        return ("conv", form, is_blocked, kind.endswith(" add"), read, written, area, positions)
    if kind == "gemm":
        return ("gemm", *(int(sizes[name]) for name in ("rows", "read", "written")))
    channels = blocks(int(sizes["channels"]), block) if is_blocked else int(sizes["channels"])
    return (kind.removesuffix(" blocked"), channels, int(sizes["positions"]))


def _of_time(time: KernelTime) -> Signature:
    inputs, outputs = time.inputs, time.outputs
    if time.operator in _CONVOLUTIONS and len(outputs[0]) == 4:
        weight = inputs[1]
        read, written = inputs[0][1], outputs[0][1]
        area = weight[2], weight[3]
        groups = max(1, read // weight[1])
        is_blocked = time.name.split("_token_")[0].endswith("_nchwc")
        added = any(len(shape) == 4 for shape in inputs[2:])
        positions = outputs[0][0] * outputs[0][2] * outputs[0][3]
        form = form_of(read, written, groups, area)
        return ("conv", form, is_blocked, added, read, written, area, positions)
    if time.operator in _GEMMS:
        return ("gemm", inputs[0][0], inputs[0][-1], outputs[0][-1])
    is_window = "Pool" in time.operator and "Global" not in time.operator
    shape = (outputs if is_window else inputs)[0]
    if time.operator == "ReorderOutput":
        shape = outputs[0]
    channels = shape[1] if len(shape) > 1 else 1
    kind = _REORDERS.get(time.operator, time.operator.lower())
    return (kind, channels, math.prod(shape) // max(channels, 1))
