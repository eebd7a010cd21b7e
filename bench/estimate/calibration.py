"""Everything that was ever measured on a device, as what calibrates its estimates.

A context is all that a time depends on besides the network. Networks of the same context count as
they are; those of another context of the same device and runtime are inherited with more variance,
which a few measurements of the new one outweigh. A file that was measured in the very context
has no estimate: `measured` is its figure.

The store keeps the kernels of each network beside its times, once for all networks that have the
same ones, so that nothing has to be planned again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.place import settings
from gensynth.bench.store import Store
from gensynth.goals.figure import Figure

MOST = 150
"""Networks that calibrate: the newest of this context, then the newest of others."""
OTHER_VERSION, OTHER_SETTING = 0.01, 0.1
"""Variances of ln(true / measured) of what was measured with another version of the runtime, and in
another precision, power mode or clocks, with other threads or another batch."""
_LEAST_ERROR = 0.01
_80_OF_95 = 1.2816 / 1.96


@dataclass(frozen=True)
class Context:
    """What a time depends on besides the network.

    Attributes:
        device: alias.
        serial_hash: of the machine.
        runtime, runtime_version: as records have them.
        precision, threads, batch: of a run.
        power_mode: as the store has it, JSON; None where a device has none.
        clocks: what governors may choose, JSON.
    """

    device: str
    serial_hash: str | None
    runtime: str
    runtime_version: str | None
    precision: str = "fp32"
    threads: int = 1
    power_mode: str | None = None
    clocks: str | None = None
    batch: int = 1

    @staticmethod
    def of(row: Mapping[str, Any]) -> "Context":
        """Return the context of a row of `Store.measured`."""
        fields = {name: row[name] for name in Context.__dataclass_fields__}
        clocks = json.loads(row["clocks"] or "{}")
        chosen = {**settings(clocks), "locked": clocks.get("locked")}
        return Context(**{**fields, "clocks": json.dumps(chosen, sort_keys=True)})

    def variance_of(self, other: "Context") -> float | None:
        """Return the variance of what was measured in another context; None if it says nothing."""
        here, there = asdict(self), asdict(other)
        differs = {name for name in here if here[name] != there[name]}
        if differs & {"serial_hash", "runtime"}:
            return None
        differs.discard("device")  # the machine is what counts, whatever it is called
        if not differs:
            return 0.0
        return OTHER_VERSION if differs == {"runtime_version"} else OTHER_SETTING


def samples_of(store: Store, context: Context) -> tuple[Sample, ...]:
    """Return what calibrates estimates in a context, each file once, the newest first.

    Raises:
        StoreError: as `Store.keep`.
    """
    found: list[Sample] = []
    seen: set[tuple[str, bool]] = set()
    for row in store.planned(context.serial_hash, context.runtime, MOST):
        variance = context.variance_of(Context.of(row))
        if variance is None or (row["onnx_sha256"], variance == 0) in seen:
            continue
        seen.add((row["onnx_sha256"], variance == 0))
        times = None if row["kernel_ms"] is None else tuple(json.loads(row["kernel_ms"]))
        found.append(Sample(read_kernels(row["kernels"]), row["p50_ms"], None, times, variance))
    return tuple(sorted(found, key=lambda sample: sample.variance))


def measured(store: Store, context: Context, onnx_sha256: str) -> Figure | None:
    """Return the newest latency of a file in this very context; None if it was not measured.

    Raises:
        StoreError: as `Store.keep`.
    """
    rows = [row for row in store.of_file(onnx_sha256) if Context.of(row) == context]
    if not rows:
        return None
    value = rows[-1]["p50_ms"]
    ends = json.loads(rows[-1]["ci95_ms"] or "null") or (value, value)
    mean = rows[-1]["mean_ms"]
    half = max((ends[1] - ends[0]) / 2 / mean, _LEAST_ERROR)
    inner = half * _80_OF_95
    return Figure(
        value,
        (value * (1 - inner), value * (1 + inner)),
        (value * (1 - half), value * (1 + half)),
        "measured",
        len(rows),
    )


def write_kernels(kernels: Sequence[Kernel]) -> str:
    """Return kernels as JSON text: equal texts are equal kernels."""
    kinds = sorted({(kernel.kind, tuple(sorted(kernel.sizes))) for kernel in kernels})
    rows = [
        [
            kinds.index((kernel.kind, tuple(sorted(kernel.sizes)))),
            kernel.vertex,
            kernel.macs,
            kernel.bytes_read,
            kernel.bytes_written,
            [kernel.sizes[name] for name in sorted(kernel.sizes)],
        ]
        for kernel in kernels
    ]
    return json.dumps({"kinds": kinds, "kernels": rows}, separators=(",", ":"))


def read_kernels(text: str) -> tuple[Kernel, ...]:
    """Return the kernels that `write_kernels` has written."""
    return tuple(_kernels(json.loads(text)))


def _kernels(document: Mapping[str, Any]) -> Iterator[Kernel]:
    kinds = document["kinds"]
    for place, vertex, macs, read, written, sizes in document["kernels"]:
        kind, names = kinds[place]
        yield Kernel(kind, vertex, macs, read, written, dict(zip(names, sizes, strict=True)))
