"""A network that was measured, as estimates are made of it."""

from dataclasses import dataclass

from gensynth.bench.estimate.kernels import Kernel


@dataclass(frozen=True)
class Sample:
    """One network that was measured.

    Attributes:
        kernels: of its plan.
        latency_ms: of the whole network.
        interval_ms: that holds it with probability 0.95; None where it is not known.
        kernel_ms: of each kernel, by the runtime's own profile; None without.
        variance: of ln(true / measured) where it was measured in another context; 0 in this one.
    """

    kernels: tuple[Kernel, ...]
    latency_ms: float
    interval_ms: tuple[float, float] | None = None
    kernel_ms: tuple[float, ...] | None = None
    variance: float = 0.0

    def __post_init__(self) -> None:
        if self.kernel_ms is not None and len(self.kernel_ms) != len(self.kernels):
            raise ValueError(
                f"a network of {len(self.kernels)} kernels must have as many times, got "
                f"{len(self.kernel_ms)}"
            )
