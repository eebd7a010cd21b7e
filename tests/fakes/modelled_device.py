"""A device whose every network takes what a formula says, in place of the bench.

    ms = 0.002 + 0.001 a kernel + MACs / 2e9, and as much again for each of its convolutions whose
         width is no multiple of 4

It is asked as `gensynth.runs.hardware.measuring.measured` is, and can be away for some calls.
"""

from collections.abc import Collection, Sequence
from typing import Any

import onnx

from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.devices.run_device import RunDevice
from gensynth.goals.readings import of_interval
from gensynth.progress import Listener
from gensynth.runs.hardware.measuring import Outcome


def milliseconds(content: bytes) -> float:
    """Return what a network takes."""
    kernels = plan(onnx.load_from_string(content), None)
    odd = sum("written" in k.sizes and k.sizes["written"] % 4 > 0 for k in kernels)
    return 0.002 + 0.001 * (len(kernels) + odd) + sum(k.macs for k in kernels) / 2e9 * 1e3


class ModelledDevice:
    """Counts its calls and its networks; `away` are the calls that it does not answer."""

    def __init__(self, away: Collection[int] = (), drift: Sequence[float] = (1.0,)) -> None:
        self.away, self.drift = away, drift
        self.calls: list[int] = []
        self.grades: list[str] = []

    def __call__(
        self,
        device: RunDevice,
        names: Sequence[str],
        prototype: bytes,
        networks: Sequence[bytes],
        *,
        grade: str = "loop",
        listener: Listener,
        **_: Any,
    ) -> list[Outcome]:
        """Return what came of every network, the prototype first."""
        number = len(self.calls)
        self.calls.append(len(networks))
        self.grades.append(grade)
        files = [prototype, *networks]
        if number in self.away:
            listener.note(f"{device.name} gives no figures (device_lost)")
            return [Outcome("device_lost", message="the cable is out")] * len(files)
        slower = self.drift[number % len(self.drift)]
        times = [slower * milliseconds(content) for content in files]
        found = []
        for ms in times:
            latency = of_interval(ms, (0.99 * ms, 1.01 * ms))
            rate = of_interval(1000 / ms, (1000 / 1.01 / ms, 1000 / 0.99 / ms))
            figures = {"latency_ms": latency, "throughput": rate}
            found.append(Outcome("ok", figures, times[0], job_id=str(number)))
        return found
