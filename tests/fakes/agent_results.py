"""Results as a device's agent sends them, with figures that a test chooses."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from gensynth.bench.request import Request
from gensynth.bench.samples import PAIR

S = 1_000_000_000
FACTS = {
    "model": "NVIDIA Jetson TX2", "serial_hash": "0123456789abcdef", "boot_id": "b", "l4t": "32.7",
    "jetpack": None, "cuda": "10.2", "tensorrt": "8.2.1", "kernel": "4.9", "machine": "aarch64",
    "python": "3.6.9", "power_mode": {"id": 0, "name": "MAXN"},
    "clocks": {"locked": False, "cpu_mhz": 2035.0, "gpu_mhz": 1300.5, "emc_mhz": None},
    "fan": None, "temperatures_c": {"GPU-therm": 41.0}, "throttle": [], "load": [0.1, 0.1, 0.1],
    "uptime_s": 100.0,
}  # fmt: skip
SENSOR = {
    "rail": "VDD_IN", "scope": "module", "sensor": "ina3221x avg=64", "kind": "power",
    "period_s": 0.01, "tau_s": 0.42, "plausible_w": [0.5, 25.0], "offset_w": 0.3, "gain_pct": 0.5,
    "syst_pct": 4.25, "seen": {}, "rate_hz": 20.0,
}  # fmt: skip


class AgentResult:
    """A result and its blobs.

    Args:
        request: that it answers.
        times_ms: for each network, (rounds, runs).
    """

    def __init__(self, request: Request, times_ms: Sequence[np.ndarray]) -> None:
        self.request = request
        self._blobs: dict[str, bytes] = {}
        path = request.runtimes[0] if request.prefers_gpu else "onnxruntime"
        self.result: dict[str, Any] = {
            "id": "job-1", "status": "ok", "flags": [], "message": "", "details": {},
            "runtime": {"path": path, "version": "1.10.0", "details": {}, "tried": []},
            "board": FACTS,
            "board_after": {**FACTS, "temperatures_c": {"GPU-therm": 57.0}},
            "networks": [self._network(*pair) for pair in enumerate(times_ms)],
            "reference": None, "others": None,
            "idle": None, "power": None, "clocks": None, "simulated": False,
            "seconds": {"total": 12.5},
        }  # fmt: skip
        if request.grade.quiet is not None:
            self.beside(2.0)

    def fetch(self, sha256: str, at_most: int = 1 << 20) -> bytes:
        """Return a blob."""
        return self._blobs[sha256]

    def beside(self, p50_ms: float) -> None:
        """Add the reference network in turns, of three runs in each round."""
        rounds = self.result["networks"][0]["times"]["rounds"]
        times = np.full((rounds, 3), round(p50_ms * 1e6), "<u8")
        blob = self.put(times.tobytes())
        entry = {"blob": blob, "compute": None, "rounds": rounds, "runs": 3}
        self.result["reference"] = {"times": entry, "why": None}

    def put(self, content: bytes) -> str:
        """Keep a blob."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._blobs[sha256] = content
        return sha256

    def add_energy(self, power_w: Sequence[float], runs: int, *, windows: int = 4) -> None:
        """Add windows of 10 s in turns at constant power, a network each, 20 polls a second."""
        readings, clock = [(0.0, 2.0)], 0.0  # 2 W at rest
        kept: list[list[dict[str, Any]]] = [[] for _ in power_w]
        noise = np.random.default_rng(0)

        def pass_time(seconds: float, watts: float) -> None:
            nonlocal clock
            steps = int(seconds * 20)
            readings.extend(
                (clock + (k + 0.5) / 20, watts * (1 + 1e-5 * noise.normal())) for k in range(steps)
            )
            clock += seconds

        pass_time(20, 2.0)
        for _ in range(windows):
            for index, watts in enumerate(power_w):
                onset = clock
                pass_time(2.5, watts)
                start = clock
                pass_time(10, watts)
                kept[index].append(
                    {
                        "onset_ns": round(onset * S), "start_ns": round(start * S),
                        "end_ns": round(clock * S), "runs": runs, "throttle": [],
                    }
                )  # fmt: skip
        pass_time(1, 2.0)
        pairs = np.array([(round(t * S), w) for t, w in readings], PAIR)
        self.result["power"] = {**SENSOR, "samples": self.put(pairs.tobytes())}
        self.result["idle"] = {"start_ns": 1 * S, "end_ns": 19 * S}
        for entry, own in zip(self.result["networks"], kept, strict=True):
            entry.update(windows=own, windows_rejected=[])

    def _network(self, index: int, times_ms: np.ndarray) -> dict[str, Any]:
        subject = self.request.jobs[index]
        session = onnxruntime.InferenceSession(subject.content, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        times = np.round(np.asarray(times_ms) * 1e6).astype("<u8")
        return {
            "id": self.request.ids[index], "engine": None, "file_precision": "fp32",
            "outputs": [
                self.output(name, array)
                for name, array in zip(names, session.run(None, dict(subject.feed)), strict=True)
            ],
            "warmup": {"seconds": 3.0, "runs": 10, "steady": True},
            "times": {
                "blob": self.put(times.tobytes()), "compute": None, "rounds": len(times),
                "runs": times.shape[1],
            },
            "windows": None, "windows_rejected": None,
        }  # fmt: skip

    def output(self, name: str, array: np.ndarray) -> dict[str, Any]:
        """Return an output of a network."""
        blob = self.put(np.ascontiguousarray(array).tobytes())
        return {"name": name, "dtype": str(array.dtype), "shape": list(array.shape), "blob": blob}
