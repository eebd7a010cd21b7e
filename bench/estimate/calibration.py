"""Everything that was ever measured on a device, as what calibrates its estimates.

A context is all that a time depends on besides the network. Networks of the same context count as
they are; those of another context of the same device and runtime are inherited with more variance,
which a few measurements of the new one outweigh. A file that was measured in the very context
has no estimate: `measured` is its figure.

The store keeps the kernels of each network beside its times, once for all networks that have the
same ones, so that nothing has to be planned again.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.place import settings
from gensynth.bench.store import Store
from gensynth.devices.agent.board import board
from gensynth.devices.registry import Device
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
        return Context(**{**fields, "clocks": _chosen(row["clocks"])})

    def is_asked(self, precision: str, threads: int, batch: int, power_mode: int | None) -> bool:
        """Return whether a measurement with these settings would be in this context."""
        mode = json.loads(self.power_mode or "null")
        own = (self.precision, self.threads, self.batch)
        return own == (precision, threads, batch) and (
            power_mode is None or (mode or {}).get("id") == power_mode
        )

    def variance_of(self, other: "Context") -> float | None:
        """Return the variance of what was measured in another context; None if it says nothing."""
        names = Context.__dataclass_fields__
        differs = {name for name in names if getattr(self, name) != getattr(other, name)}
        if differs & {"serial_hash", "runtime"}:
            return None
        if self.serial_hash is not None:
            differs.discard("device")  # the machine is what counts, whatever it is called
        elif "device" in differs:
            return None
        if not differs:
            return 0.0
        return OTHER_VERSION if differs == {"runtime_version"} else OTHER_SETTING


@dataclass(frozen=True)
class Known:
    """What a store knows of a device as it is asked now.

    Attributes:
        samples: networks, those of the very context before others, the newest first.
        watts: that each drew; None where it was not measured.
        context: that they calibrate; None where there are none.
    """

    samples: tuple[Sample, ...] = ()
    watts: tuple[float | None, ...] = ()
    context: Context | None = None


def known_of(
    store: Store,
    device: Device,
    *,
    precision: str,
    threads: int,
    batch: int,
    power_mode: int | None = None,
) -> Known:
    """Return what calibrates estimates of a device with these settings, each file once.

    The device is not asked: its state is taken to be that in which it measured last. Where it
    was never measured with these settings, all that there is counts as of another context.

    Raises:
        StoreError: as `Store.keep`.
    """
    serial = machine_of(device)
    rows = [
        row
        for row in store.planned(serial, None, MOST)
        if serial is not None or row["device"] == device.alias
    ]
    contexts = [Context.of(row) for row in rows]
    if not contexts:
        return Known()
    asked = [one for one in contexts if one.is_asked(precision, threads, batch, power_mode)]
    never = replace(
        contexts[0], precision=precision, threads=threads, batch=batch, power_mode=None, clocks=None
    )
    return _known(rows, contexts, asked[0] if asked else never)


def samples_of(store: Store, context: Context) -> tuple[Sample, ...]:
    """Return what calibrates estimates in a context, each file once, the newest first.

    Raises:
        StoreError: as `Store.keep`.
    """
    rows = store.planned(context.serial_hash, context.runtime, MOST)
    return _known(rows, [Context.of(row) for row in rows], context).samples


def _known(
    rows: Sequence[Mapping[str, Any]], contexts: Sequence[Context], context: Context
) -> Known:
    found, seen = [], set()
    for row, own in zip(rows, contexts, strict=True):
        variance = context.variance_of(own)
        if variance is None or (row["onnx_sha256"], variance == 0) in seen:
            continue
        seen.add((row["onnx_sha256"], variance == 0))
        found.append((_sample(row, variance), _watts(row)))
    found.sort(key=lambda one: one[0].variance)
    return Known(tuple(one for one, _ in found), tuple(watts for _, watts in found), context)


def machine_of(device: Device) -> str | None:
    """Return the hash of a device's serial number; this machine's is looked up."""
    if device.destination is not None:
        return device.serial
    found = board.facts(os.environ.get("GENSYNTH_AGENT_ROOT") or "/")["serial_hash"]
    return None if found is None else str(found)


def _sample(row: Mapping[str, Any], variance: float) -> Sample:
    times = tuple(json.loads(row["kernel_ms"] or "[]")) or None
    return Sample(read_kernels(row["kernels"]), row["p50_ms"], None, times, variance)


def _watts(row: Mapping[str, Any]) -> float | None:
    joule = row["j_per_img"]
    return None if joule is None else 1e3 * float(row["batch"] * joule / row["mean_ms"])


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


@lru_cache(maxsize=64)
def _chosen(clocks: str | None) -> str:
    """Return what governors may choose, of clocks as the store has them."""
    found = json.loads(clocks or "{}")
    return json.dumps({**settings(found), "locked": found.get("locked")}, sort_keys=True)


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


@lru_cache(maxsize=2 * MOST)
def read_kernels(text: str) -> tuple[Kernel, ...]:
    """Return the kernels that `write_kernels` has written."""
    return tuple(_kernels(json.loads(text)))


def _kernels(document: Mapping[str, Any]) -> Iterator[Kernel]:
    kinds = document["kinds"]
    for place, vertex, macs, read, written, sizes in document["kernels"]:
        kind, names = kinds[place]
        yield Kernel(kind, vertex, macs, read, written, dict(zip(names, sizes, strict=True)))
