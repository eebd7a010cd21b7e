"""How long kernels take on a board of which nothing is known but its kind.

    t = call + sum over kernels of max(macs / (eta_c peak), bytes / (eta_b bandwidth)) e + launch

    call        what a run costs beside its kernels: entering the engine and waiting for it
    launch      what every kernel costs however small it is, known for a board before any network
    peak        multiply-accumulates a second: units * clock, at the clocks of the power mode
    eta         the part of the peak that a kind of kernel gets, of the bandwidth the same
    e           what is particular to a kernel

A small network of many kernels costs what its launches cost: neither its pixels nor its widths
change that, only fewer kernels do, a larger batch or a CUDA graph. All of call, launch and eta
are log-normal and shared by the kernels of a board, so their errors do not average out in a sum;
e is log-normal with median 1 and independent, so its errors do. A loop (`Loop`) multiplies call
and launch by factors of its own, which are as uncertain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gensynth.bench.estimate.boards.beliefs import Belief, Quantities
from gensynth.bench.estimate.boards.tensorrt_plan import UNKNOWN
from gensynth.bench.estimate.columns import Columns
from gensynth.bench.estimate.kernels import Kernel

KERNEL_SPREAD = 0.3
"""Of e. With 30 kernels of equal time it is 5 % of their sum."""

NETWORK_SPREAD = 0.15
"""Of a factor that is a whole network's: fusions that a builder decides otherwise, and the like."""

_CLASSES = {
    "conv": "conv", "conv 1x1": "conv 1x1", "depthwise": "depthwise", "grouped": "grouped",
    "deconv": "conv", "gemm": "gemm",
}  # fmt: skip
MULTIPLYING = tuple(sorted(set(_CLASSES.values())))


@dataclass(frozen=True)
class Clocks:
    """In megahertz, as a power mode sets them.

    Attributes:
        gpu, cpu, memory: at most; `cpu` is that of the core that launches kernels.
    """

    gpu: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Loop:
    """How a runtime is driven, which changes what a call and a launch cost.

    Attributes:
        name: of its factors, "NAME call" and "NAME launch" among a board's quantities; "agent"
            has none.
        title: for people.
    """

    name: str
    title: str


AGENT = Loop("agent", "gensynth's agent: one stream, a wait each run, no CUDA graph")
TORCH2TRT = Loop("torch2trt", "torch2trt: Python makes the outputs and binds them each run")
GRAPH = Loop("graph", "a CUDA graph: all kernels in one launch")
LOOPS: Mapping[str, Belief] = {
    "torch2trt call": Belief(4.0, 0.5, "assumed with HW-NAS-Bench in sight: 0.2 ms of Python"),
    "torch2trt launch": Belief(1.3, 0.35, "assumed with HW-NAS-Bench in sight: waiting for Python"),
    "graph call": Belief(1.0, 0.3, "assumed: as without"),
    "graph launch": Belief(0.4, 0.3, "assumed: 0.3 to 0.6; NVIDIA's guide names no figure"),
}
"""Factors of a board's call and launch, the same on every board."""


@dataclass(frozen=True)
class Roofline:
    """What is known of a kind of board.

    Attributes:
        profile: its name in `gensynth.devices.profiles`.
        modes: clocks by nvpmodel's number; under None those of a board whose modes are not told.
        default_mode: the one that is assumed.
        macs_per_cycle: of the whole GPU, by precision.
        bytes_per_cycle: of the memory, at its clock.
        block: channels of a format, by precision; a width in between is padded.
        timing: "call" and "launch" in ms at the reference clocks, and "compute KIND" and
            "bandwidth" as parts of the peak.
        reference: the clocks that call and launch are told at.
        power: "static" in W at the reference clocks, "joule_per_mac PRECISION" and
            "joule_per_byte"; empty where no figures are known.
        static_w: median of the static power by power mode, where modes differ.
        sources: of clocks and widths.
    """

    profile: str
    modes: Mapping[int | None, Clocks]
    default_mode: int | None
    macs_per_cycle: Mapping[str, int]
    bytes_per_cycle: float
    block: Mapping[str, int]
    timing: Mapping[str, Belief]
    reference: Clocks
    sources: tuple[str, ...]
    power: Mapping[str, Belief] = field(default_factory=dict)
    static_w: Mapping[int | None, float] = field(default_factory=dict)

    def peak(self, precision: str, clocks: Clocks) -> float:
        """Return multiply-accumulates a second."""
        return self.macs_per_cycle[precision] * clocks.gpu * 1e6

    def bandwidth(self, clocks: Clocks) -> float:
        """Return bytes a second."""
        return self.bytes_per_cycle * clocks.memory * 1e6

    def slowdown(self, clocks: Clocks) -> float:
        """Return how much longer a launch takes than at the reference clocks.

        The processor prepares it and the GPU begins and ends it: the geometric mean of both.
        """
        return math.sqrt(self.reference.cpu / clocks.cpu * self.reference.gpu / clocks.gpu)


class Timer:
    """The time of one network's kernels as a function of what is believed of a board.

    Args:
        kernels: those of unknown kinds are left out.
        roofline: of the board.
        precision: of the peak.
        clocks: of the power mode.
        loop: how the runtime is driven.
        calls: engines that these kernels are spread over, each called by itself.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        roofline: Roofline,
        precision: str,
        clocks: Clocks,
        loop: Loop = AGENT,
        calls: int = 1,
    ) -> None:
        self.kernels = tuple(k for k in kernels if not k.kind.startswith(UNKNOWN))
        block, peak = roofline.block.get(precision, 1), roofline.peak(precision, clocks)
        macs = np.array([k.macs * _padding(k.sizes, block) for k in self.kernels], float)
        self.macs, self.bytes_moved = macs, _bytes_moved(self.kernels)
        self._compute_ms = macs / peak * 1e3
        self._memory_ms = self.bytes_moved / roofline.bandwidth(clocks) * 1e3
        # A kernel that only moves computes nothing, whatever the share.
        self._classes = [
            MULTIPLYING.index(class_of(kernel) or MULTIPLYING[0]) for kernel in self.kernels
        ]
        self._slowdown, self._loop, self._calls = roofline.slowdown(clocks), loop, calls

    def ms(self, quantities: Quantities, noise: np.ndarray | None = None) -> np.ndarray:
        """Return milliseconds of one run, one a draw.

        Args:
            quantities: draws of `Roofline.timing`.
            noise: (draws, kernels), standard normal: what is particular to each kernel; None
                for medians.
        """
        if noise is None:
            noise = np.zeros((1, len(self.kernels)))
        work = self.busy_ms(quantities) * np.exp(KERNEL_SPREAD * noise)
        calls = self._slowdown * self._calls * self._cost("call", quantities)
        total: np.ndarray = work.sum(1) + calls + len(self.kernels) * self.launch_ms(quantities)
        return total

    def launch_ms(self, quantities: Quantities) -> np.ndarray:
        """(draws,): milliseconds of a kernel beyond its work."""
        found: np.ndarray = self._slowdown * self._cost("launch", quantities)
        return found

    def _cost(self, name: str, quantities: Quantities) -> np.ndarray:
        """Return what a call or a launch costs at the reference clocks."""
        factor = quantities.get(f"{self._loop.name} {name}", np.ones(1))
        found: np.ndarray = quantities[name] * factor
        return found

    def busy_ms(self, quantities: Quantities) -> np.ndarray:
        """(draws, kernels): milliseconds of each kernel's work alone."""
        shares = np.stack([quantities[f"compute {kind}"] for kind in MULTIPLYING], 1)
        compute = self._compute_ms / shares[:, self._classes]
        memory = self._memory_ms[None] / quantities["bandwidth"][:, None]
        found: np.ndarray = np.maximum(compute, memory)
        return found

    def own_spread(self, quantities: Quantities) -> float:
        """Return the deviation of ln(ms) that is this network's alone, at the first draw.

        That of its kernels, and of what all of them have in common and no other network has.
        """
        kernels = KERNEL_SPREAD * float(np.linalg.norm(self.busy_ms(quantities)[0]))
        return math.hypot(kernels / float(self.ms(quantities)[0]), NETWORK_SPREAD)


def columns_ms(
    columns: Columns, roofline: Roofline, precision: str, clocks: Clocks, quantities: Quantities
) -> np.ndarray | None:
    """Return (kernels,) milliseconds of many kernels of one kind, their launches included.

    It is what `Timer` says of each, at the first draw; None for a kind that nothing is known of.
    """
    if columns.kind.startswith(UNKNOWN):
        return None
    shares = {name: float(values[0]) for name, values in quantities.items()}
    macs = columns.macs * _padding(columns.sizes, roofline.block.get(precision, 1))
    kind = _class_of(columns.kind) or MULTIPLYING[0]
    compute = macs / roofline.peak(precision, clocks) / shares[f"compute {kind}"]
    memory = columns.moved / roofline.bandwidth(clocks) / shares["bandwidth"]
    busy_ms: np.ndarray = 1e3 * np.maximum(compute, memory)
    return busy_ms + roofline.slowdown(clocks) * shares["launch"]


def padded_macs(columns: Columns, roofline: Roofline, precision: str) -> np.ndarray:
    """Return (kernels,) multiply-accumulates, with those that only fill a block."""
    macs: np.ndarray = columns.macs * _padding(columns.sizes, roofline.block.get(precision, 1))
    return macs


def class_of(kernel: Kernel) -> str | None:
    """Return which of `MULTIPLYING` a kernel is; None if it only moves."""
    return _class_of(kernel.kind)


def _class_of(kind: str) -> str | None:
    return _CLASSES.get(kind.removesuffix(" add"))


def unknown(kernels: Sequence[Kernel]) -> tuple[str, ...]:
    """Return the operators that nothing is known of, each once."""
    found = [k.kind.removeprefix(UNKNOWN) for k in kernels if k.kind.startswith(UNKNOWN)]
    return tuple(dict.fromkeys(found))


def _bytes_moved(kernels: Sequence[Kernel]) -> np.ndarray:
    return np.array([k.bytes_read + k.bytes_written for k in kernels], float)


def _padding(sizes: Mapping[str, Any], block: int) -> Any:
    """Return how much of kernels' work is done for channels that only fill a block."""
    factor: Any = 1.0
    for key in ("channels_read", "channels_written"):
        channels = np.asarray(sizes.get(key, 0), float)
        # What has fewer channels than a block (an image) is read by kernels of its own.
        filled = np.ceil(channels / block) * block / np.maximum(channels, 1)
        factor = factor * np.where(channels >= block, filled, 1.0)
    return np.where(np.asarray(sizes.get("groups", 1)) > 1, 1.0, factor)
