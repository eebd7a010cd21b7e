"""Latency of ONNX files, all of them timed in turns in one session.

What is timed is one call of ONNX Runtime with images in memory: inputs to outputs on the
processor, nothing decoded, nothing normalised. The images are normal noise of a fixed
seed, and a file whose outputs are not finite gives no numbers.

A ratio is only made within one session: a machine is never twice in the same state.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.bench.compare import Ratio, median_interval, ratio_of_medians
from gensynth.bench.timing import Timings, time_interleaved
from gensynth.errors import DeviceError, ExportError
from gensynth.export.runtime import InputSpec, Session, open_session, runtime_name
from gensynth.randomness import stream

SCHEMA = "gensynth.latency/1"
RUNS_A_ROUND = 10
_NS_A_MS = 1e6


@dataclass(frozen=True)
class Latency:
    """How long one file took on one device.

    Attributes:
        network: name of the file.
        sha256: of the file.
        device: where it ran.
        runtime: what ran it, with version.
        rounds_ms: one entry a round with one entry a run of `batch` images, in milliseconds,
            in the order they were taken, warm-up left out.
        threads: that one operator could use.
        batch: images of one run.
        warmup_runs: runs before the first round.
        steady: whether the warm-up reached a steady state; if not, the figures may drift.
        session: what was timed in turns with it has the same.
        provenance: "measured": it is no estimate.
    """

    network: str
    sha256: str
    device: str
    runtime: str
    rounds_ms: tuple[tuple[float, ...], ...]
    threads: int
    batch: int
    warmup_runs: int
    steady: bool
    session: str
    provenance: str = "measured"

    def __post_init__(self) -> None:
        if not self.rounds_ms or not all(self.rounds_ms):
            raise ValueError("a latency needs at least one timed run in every round")

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """Every timed run, in order."""
        return tuple(run for turn in self.rounds_ms for run in turn)

    @cached_property
    def p50_ms(self) -> float:
        """The median."""
        return float(np.percentile(self.latencies_ms, 50))

    @cached_property
    def p90_ms(self) -> float | None:
        """The 90th percentile; None below 100 runs, which do not show it."""
        return self._percentile(90)

    @cached_property
    def p99_ms(self) -> float | None:
        """The 99th percentile; None below 1,000 runs, which do not show it."""
        return self._percentile(99)

    @cached_property
    def p50_interval_ms(self) -> tuple[float, float]:
        """The 95 % interval of the median, by a bootstrap of rounds."""
        return median_interval(self.rounds_ms)

    def _percentile(self, percent: int) -> float | None:
        if len(self.latencies_ms) * (100 - percent) < 10 * 100:
            return None
        return float(np.percentile(self.latencies_ms, percent))

    def record(self) -> dict[str, Any]:
        """Return everything as JSON values: what was measured and what follows from it."""
        low, high = self.p50_interval_ms
        return {
            "schema": SCHEMA,
            "network": self.network,
            "onnx_sha256": self.sha256,
            "device": self.device,
            "runtime": self.runtime,
            "scope": "one call, inputs and outputs in memory",
            "threads": self.threads,
            "batch": self.batch,
            "warmup_runs": self.warmup_runs,
            "steady": self.steady,
            "session": self.session,
            "provenance": self.provenance,
            "n": len(self.latencies_ms),
            "p50_ms": self.p50_ms,
            "p50_low_ms": low,
            "p50_high_ms": high,
            "p50_interval": "95 %, bootstrap of rounds",
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "rounds_ms": [list(turn) for turn in self.rounds_ms],
        }


def measure(
    files: Sequence[Path],
    *,
    device: str = "local",
    repeats: int = 200,
    warmup_s: float = 0.2,
    threads: int = 1,
    batch: int = 1,
) -> tuple[Latency, ...]:
    """Time ONNX files in turns on this machine's processor.

    Args:
        files: in the order of the result; the same file may stand there twice.
        device: "local".
        repeats: timed runs of each file, rounded up to whole rounds of 10.
        warmup_s: the longest warm-up of one file; it ends when the file runs steadily.
        threads: that one operator may use.
        batch: images of one run.

    Raises:
        DeviceError: if the device is not there, or a file cannot be timed: it wants another
            batch, inputs that are no images, or computes values that are not finite.
        ExportError: if a file is absent or damaged.
        ValueError: if there is no file, or a number is not positive.
    """
    if device != "local":
        raise DeviceError(f"no device named {device!r}; files are timed on 'local'")
    if not files:
        raise ValueError("there must be at least one file to time")
    if min(repeats, threads, batch) < 1 or warmup_s < 0:
        raise ValueError(
            "repeats, threads and batch must be at least 1 and warmup_s not negative, got "
            f"{repeats}, {threads}, {batch} and {warmup_s}"
        )
    digests = [_sha256(file) for file in files]
    runs = [_ready(open_session(file, threads=threads), batch) for file in files]
    timings = time_interleaved(
        runs,
        rounds=-(-repeats // RUNS_A_ROUND),
        runs=RUNS_A_ROUND,
        warmup_ns=round(warmup_s * 1e9),
    )
    session = uuid.uuid4().hex
    return tuple(
        Latency(
            network=file.name,
            sha256=digest,
            device=device,
            runtime=runtime_name(),
            rounds_ms=_milliseconds(timing),
            threads=threads,
            batch=batch,
            warmup_runs=timing.warmup_runs,
            steady=timing.steady,
            session=session,
        )
        for file, digest, timing in zip(files, digests, timings, strict=True)
    )


def ratio(numerator: Latency, denominator: Latency) -> Ratio:
    """Return how many times the median of one is that of the other.

        ratio = p50(numerator) / p50(denominator)

    with a 95 % interval by a bootstrap of the rounds that both were timed in.

    Raises:
        ValueError: if the two were not timed in one session.
    """
    if numerator.session != denominator.session:
        raise ValueError(
            f"{numerator.network} and {denominator.network} were timed in different sessions; "
            "time them in one"
        )
    return ratio_of_medians(numerator.rounds_ms, denominator.rounds_ms)


class _Run:
    """One call of a session on fixed images."""

    def __init__(self, session: Session, feed: dict[str, np.ndarray]) -> None:
        self._session = session
        self._feed = feed

    def __call__(self) -> list[np.ndarray]:
        return self._session.run(self._feed)


def _ready(session: Session, batch: int) -> _Run:
    """Give a session its images, and see that it computes numbers from them."""
    feed = {
        spec.name: stream(0, "latency-images", number)
        .standard_normal(_shape(spec, batch, session.source))
        .astype(np.float32)
        for number, spec in enumerate(session.inputs)
    }
    run = _Run(session, feed)
    try:
        outputs = run()
    except ExportError as error:
        raise DeviceError(str(error)) from error
    if not all(np.isfinite(output).all() for output in outputs):
        raise DeviceError(f"{session.source} computes values that are not finite; not timed")
    return run


def _shape(spec: InputSpec, batch: int, source: str) -> tuple[int, ...]:
    first, *rest = spec.shape or (None,)
    sizes = [size for size in rest if isinstance(size, int)]
    if spec.type != "tensor(float)" or not rest or len(sizes) != len(rest):
        raise DeviceError(
            f"{source}: input {spec.name!r} is {spec.type} of shape {list(spec.shape)}; only "
            "float images of fixed size can be timed"
        )
    if isinstance(first, int) and first != batch:
        raise DeviceError(f"{source} takes {first} images at a time, so not {batch}")
    return (batch, *sizes)


def _milliseconds(timing: Timings) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(ns / _NS_A_MS for ns in turn) for turn in timing.rounds_ns)


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ExportError(f"cannot read {file}: {error.strerror}") from error
