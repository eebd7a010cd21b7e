"""Latency of ONNX files, all of them timed in turns in one session.

What is timed is one call of ONNX Runtime with images in memory: inputs to outputs on the
processor, nothing decoded, nothing normalised. The images are normal noise of a fixed
seed, and a file whose outputs are not finite gives no numbers. The loop, the figures, their
intervals and what they are flagged with are the bench's own.

A ratio is only made within one session: a machine is never twice in the same state.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.bench.compare import Ratio, paired_ratio
from gensynth.bench.figures import latency
from gensynth.bench.grades import Grade, Quiet, Warmup
from gensynth.bench.timing import Timings, time_interleaved
from gensynth.devices.agent.board import others
from gensynth.errors import DeviceError, ExportError
from gensynth.export.runtime import InputSpec, Session, open_session, runtime_name
from gensynth.outside import ONNX_BYTES, read_bytes
from gensynth.randomness import stream

SCHEMA = "gensynth.latency/1"
DEVICE = "local"
GRADE = Grade("run", Warmup(0.0, 0.05, 5.0, 1.0), rounds=20, round_s=0.0, energy=None)
"""Of a run: as the bench does it, and shorter, since a run waits for it."""

QUIET = Quiet(cov_pct=10.0, load=0.3, reference_s=0.0, slower_pct=0.0)
"""What must hold of the machine meanwhile, as of the bench's quick grade but for the reference."""
_NS_A_MS = 1e6


@dataclass(frozen=True)
class Latency:
    """How long one file took on this machine.

    Attributes:
        network: name of the file.
        sha256: of the file.
        runtime: what ran it, with version.
        rounds_ms: one entry a round with one entry a run of `batch` images, in milliseconds,
            in the order they were taken, warm-up left out.
        threads: that one operator could use.
        batch: images of one run.
        warmup_runs: runs before the first round.
        steady: whether the warm-up reached a steady state; if not, the figures may drift.
        busy: whether others used the machine's processors meanwhile.
        crowded: whether there were more threads than processors for them.
        session: what was timed in turns with it has the same.
        provenance: "measured": it is no estimate.
    """

    network: str
    sha256: str
    runtime: str
    rounds_ms: tuple[tuple[float, ...], ...]
    threads: int
    batch: int
    warmup_runs: int
    steady: bool
    session: str
    busy: bool = False
    crowded: bool = False
    provenance: str = "measured"

    def __post_init__(self) -> None:
        if not self.rounds_ms or not all(self.rounds_ms):
            raise ValueError("a latency needs at least one timed run in every round")

    @cached_property
    def figures(self) -> Mapping[str, Any]:
        """What the bench says of such times: `gensynth.bench.figures`."""
        return latency(np.array(self.rounds_ms), self.batch)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a figure must not be read without, as the bench says it."""
        scatters = self.figures["cov_pct"] > QUIET.cov_pct
        found = {
            "not_steady": not self.steady, "scatter": scatters, "busy": self.busy,
            "threads": self.crowded,
        }  # fmt: skip
        return tuple(flag for flag, holds in found.items() if holds)

    def record(self) -> dict[str, Any]:
        """Return everything as JSON values: what was measured and what follows from it."""
        figures = self.figures
        low, high = figures["p50_ci95_ms"] or (None, None)
        return {
            "schema": SCHEMA,
            "network": self.network,
            "onnx_sha256": self.sha256,
            "device": DEVICE,
            "runtime": self.runtime,
            "scope": "one call, inputs and outputs in memory",
            "threads": self.threads,
            "batch": self.batch,
            "warmup_runs": self.warmup_runs,
            "steady": self.steady,
            "flags": list(self.flags),
            "session": self.session,
            "provenance": self.provenance,
            "n": figures["n"],
            "p50_ms": figures["p50_ms"],
            "p50_low_ms": low,
            "p50_high_ms": high,
            "p50_interval": "95 %, Student's t over the medians of rounds",
            "p90_ms": figures["p90_ms"],
            "p99_ms": figures["p99_ms"],
            "cov_pct": figures["cov_pct"],
            "rounds_ms": [list(turn) for turn in self.rounds_ms],
        }


def certain_range(record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the 95 % interval of p50 by which a record may be judged; None without one.

    Figures that were taken before the file ran steadily decide nothing, and neither do those of too
    few rounds for an interval. A machine that was not quiet is slower and never faster, so what it
    took bounds the latency from above alone.
    """
    low, high = record["p50_low_ms"], record["p50_high_ms"]
    if low is None or high is None or not record.get("steady", True):
        return None
    return (0.0, high) if record.get("flags") else (low, high)


def measure(
    files: Sequence[Path],
    *,
    repeats: int = 200,
    warmup: Warmup = GRADE.warmup,
    threads: int = 1,
    batch: int = 1,
) -> tuple[Latency, ...]:
    """Time ONNX files in turns on this machine's processor.

    Args:
        files: in the order of the result; the same file may stand there twice.
        repeats: timed runs of each file, in 20 rounds, rounded up to whole ones; fewer than 20
            are a round each.
        warmup: of each file.
        threads: that one operator may use.
        batch: images of one run.

    Raises:
        DeviceError: if a file cannot be timed: it wants another batch, inputs that are no
            images, or computes values that are not finite.
        ExportError: if a file is absent or damaged.
        ValueError: if there is no file, or a number is not positive.
    """
    if not files:
        raise ValueError("there must be at least one file to time")
    if min(repeats, threads, batch) < 1:
        raise ValueError(
            f"repeats, threads and batch must be at least 1, got {repeats}, {threads} and {batch}"
        )
    digests = [_sha256(file) for file in files]
    runs = [_ready(open_session(file, threads=threads), batch) for file in files]
    rounds = min(GRADE.rounds, repeats)
    began = others.use("/")
    timings = time_interleaved(runs, rounds=rounds, runs=-(-repeats // rounds), warmup=warmup)
    used = others.between(began, others.use("/"))["processors"]
    processors = others.processors("/")
    busy = used is not None and used > QUIET.load_of(processors)
    crowded = processors is not None and threads > processors
    session = uuid.uuid4().hex
    return tuple(
        Latency(
            network=file.name,
            sha256=digest,
            runtime=runtime_name(),
            rounds_ms=_milliseconds(timing),
            threads=threads,
            batch=batch,
            warmup_runs=timing.warmup_runs,
            steady=timing.steady,
            session=session,
            busy=busy,
            crowded=crowded,
        )
        for file, digest, timing in zip(files, digests, timings, strict=True)
    )


def refusal(file: Path, *, batch: int = 1) -> str | None:
    """Return why a file cannot be timed; None if it can.

    Raises:
        ExportError: as `measure`.
    """
    try:
        _ready(open_session(file), batch)
    except DeviceError as error:
        return str(error)
    return None


def ratio(numerator: Latency, denominator: Latency) -> Ratio:
    """Return how many times slower one is than the other, from the rounds both were timed in.

    As `gensynth.bench.compare.paired_ratio`.

    Raises:
        ValueError: if the two were not timed in one session.
    """
    if numerator.session != denominator.session:
        raise ValueError(
            f"{numerator.network} and {denominator.network} were timed in different sessions; "
            "time them in one"
        )
    return paired_ratio(numerator.rounds_ms, denominator.rounds_ms)


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
        return hashlib.sha256(read_bytes(file, ONNX_BYTES)).hexdigest()
    except OSError as error:
        raise ExportError(f"cannot read {file}: {error.strerror}") from error
