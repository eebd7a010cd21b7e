"""What a kernel would take by what is known of a kind of machine alone: the roofline.

    ms = max(MACs / rate, bytes / bandwidth) / efficiency + launch

Rate and bandwidth are the machine's own, for one thread where it is a processor; the efficiency
is what kernels of a kind have been seen to reach of either.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gensynth.bench.estimate.columns import Columns


class Prior(Protocol):
    """What is known of a device before anything was measured on it."""

    @property
    def spread(self) -> float:
        """Standard deviation of ln(true / estimated) of a whole network."""

    def kernel_ms(self, columns: Columns) -> np.ndarray | None:
        """Return (kernels,) milliseconds, positive; None if nothing is known of the kind."""


@dataclass(frozen=True)
class Roofline:
    """A machine's roofline.

    Attributes:
        macs_per_s: multiply-accumulates at most.
        bytes_per_s: to and from where activations and weights are.
        launch_ms: that a kernel takes whatever it does.
        efficiencies: share of the roofline that a kind reaches, by the longest beginning of the
            kind's name that is in it; a kind with none is unknown.
        spread: see `Prior`.
    """

    macs_per_s: float
    bytes_per_s: float
    launch_ms: float
    efficiencies: Mapping[str, float] = field(default_factory=dict)
    spread: float = math.log(2) / 1.28

    def kernel_ms(self, columns: Columns) -> np.ndarray | None:
        """Return (kernels,) milliseconds; None for a kind without an efficiency."""
        known = [name for name in self.efficiencies if columns.kind.startswith(name)]
        if not known:
            return None
        seconds = np.maximum(columns.macs / self.macs_per_s, columns.moved / self.bytes_per_s)
        work_ms: np.ndarray = 1e3 * seconds / self.efficiencies[max(known, key=len)]
        return work_ms + self.launch_ms


PROCESSOR = Roofline(
    macs_per_s=5e10,
    bytes_per_s=2e10,
    launch_ms=1.5e-3,
    efficiencies={
        "conv": 0.6, "conv plain": 0.3, "conv 1x1": 0.5, "depthwise": 0.3, "depthwise plain": 0.05,
        "grouped": 0.4, "grouped plain": 0.2, "gemm": 0.2, "matmul": 0.2, "reorder": 0.3,
        **dict.fromkeys((
            "add", "sum", "mul", "relu", "clip", "leakyrelu", "sigmoid", "tanh", "hardsigmoid",
            "hardswish", "quickgelu", "gelu", "elu", "prelu", "concat", "split", "slice", "gather",
            "pad", "transpose", "reshape", "flatten", "squeeze", "unsqueeze", "maxpool",
            "averagepool", "globalaveragepool", "globalmaxpool", "reducemean", "softmax",
            "batchnormalization", "layernormalization", "instancenormalization", "resize",
            "upsample", "identity",
        ), 0.3),
    },
)  # fmt: skip
"""One thread of a processor with AVX2 or AVX-512, of which nothing else is known."""
