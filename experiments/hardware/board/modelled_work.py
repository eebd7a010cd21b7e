# ruff: noqa: PTH123 (the grammar of Python 3.6)
# ruff: noqa: S311 (draws that are to be the same every time)
"""What a run takes and draws on a board whose every network takes what a formula says.

    ms     = 0.12 + sum over kernels of 0.041 + MACs / 1.2e8 + bytes / 1.4e7, widths made even,
             times the builder's luck with this network, exp(0.03 z)
    joule  = 4.1 W ms + 11 pJ a MAC + 60 pJ a byte

Kernels are convolutions, linear layers and pools. It is written beside what gensynth believes of
boards, not after it. The watts stand in the file GENSYNTH_DRAW, where the rail looks
(`drawn_rail`).

GENSYNTH_FAULTS is a share of networks that something befalls: a run fails, the board throttles
for three seconds, or the cable is cut by whoever watches for the word. Each is a line of the
file GENSYNTH_BEFALLEN; the same lines are drawn every time.
"""

import hashlib
import math
import mmap
import os
import random
import struct
from typing import Any

CALL_MS, LAUNCH_MS, MACS_PER_MS, BYTES_PER_MS, LUCK = 0.12, 0.041, 1.2e8, 1.4e7, 0.03
STATIC_W, JOULE_PER_MAC, JOULE_PER_BYTE = 4.1, 11e-12, 60e-12
DRAW = struct.Struct("<Qd")
KERNELS = ("Conv", "Gemm", "MatMul", "GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean")


class Draw:
    """The watts of what runs, for the rail to see."""

    def __init__(self) -> None:
        path = os.environ.get("GENSYNTH_DRAW")
        self._memory = None  # type: Any
        if path is not None:
            with open(path, "r+b") as file:
                self._memory = mmap.mmap(file.fileno(), DRAW.size)

    def write(self, until_ns: int, watts: float) -> None:
        """Say what is drawn, and until when by the monotonic clock."""
        if self._memory is not None:  # each number at once, since the rail looks at any moment
            content = DRAW.pack(until_ns, watts)
            self._memory[8:], self._memory[:8] = content[8:], content[:8]


def work_of(model: Any) -> Any:
    """Return (kernels, MACs, bytes) of a model for one image, widths made even."""
    shapes = {
        value.name: shape_of(value)
        for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]
    }
    weights = {one.name: tuple(one.dims) for one in model.graph.initializer}
    kernels, macs, moved = 0, 0.0, 0.0
    for node in model.graph.node:
        if node.op_type not in KERNELS:
            continue
        kernels += 1
        out, read = shapes[node.output[0]][1:], shapes[node.input[0]][1:]
        moved += 2.0 * (product(_even(out)) + product(_even(read)))
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            shape = _even(weights[node.input[1]][:2]) + weights[node.input[1]][2:]
            positions = product(out[1:])
            macs += float(product(shape)) * positions
    return kernels, macs, moved


def taken(work: Any, images: int) -> Any:
    """Return (milliseconds, watts) of a run."""
    kernels, macs, moved = work
    macs, moved = macs * images, moved * images
    ms = CALL_MS + kernels * LAUNCH_MS + macs / MACS_PER_MS + moved / BYTES_PER_MS
    joule = STATIC_W * ms / 1e3 + JOULE_PER_MAC * macs + JOULE_PER_BYTE * moved
    return ms, 1e3 * joule / ms


def luck_of(content: bytes) -> float:
    """Return by how much the builder does worse, or better, with this network."""
    return math.exp(LUCK * random.Random(hashlib.sha256(content).digest()).gauss(0, 1))


def befalls() -> Any:
    """Return what is to befall the network that is loaded now; None for most."""
    share, path = float(os.environ.get("GENSYNTH_FAULTS", "0")), os.environ.get("GENSYNTH_BEFALLEN")
    if not share or path is None:
        return None
    with open(path, "a+") as file:
        file.seek(0)
        number = len(file.read().splitlines())
        drawn = random.Random(number)
        what = drawn.choice(["failed", "throttled", "cut"]) if drawn.random() < share else None
        file.write("loaded\n")
    return what


def befall(what: str) -> str:
    """Let it befall the run that is under way; return it."""
    with open(os.environ["GENSYNTH_BEFALLEN"] + ".done", "a") as file:
        file.write(what + "\n")
    if what == "throttled":
        root = os.environ["GENSYNTH_AGENT_ROOT"]
        with open(root + "/sys/class/thermal/cooling_device1/cur_state", "w") as state:
            state.write("1\n")
    return what


def shape_of(value: Any) -> Any:
    """Return the sizes of a model's value, 0 where one is not fixed."""
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


def _even(sizes: Any) -> Any:
    return (sizes[0] + sizes[0] % 2,) + tuple(sizes[1:])  # noqa: RUF005


def product(sizes: Any) -> int:
    """Return how many numbers have these sizes."""
    found = 1
    for size in sizes:
        found *= size
    return found
