"""The bench, asked from within a run: some networks in turns with the prototype.

Only figures that were measured as asked, or nearly so, come back. A board that is away, throttled
or busy gives none, and the run goes on with estimates; so it does where figures are to count and
others used the board meanwhile. What is the network's own fault (an operator that the runtime
lacks, memory that it does not have) is told apart, since it would fail again.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gensynth.bench.dialogue import Opener
from gensynth.bench.quiet import UNTRUE
from gensynth.bench.session import measure
from gensynth.bench.store import Store
from gensynth.devices.agent.wire.status import USABLE
from gensynth.devices.run_device import RunDevice
from gensynth.errors import DeviceFault, StoreError
from gensynth.goals import metrics
from gensynth.goals.device_costs import summed
from gensynth.goals.figure import Figure
from gensynth.goals.metrics import LATENCY
from gensynth.goals.readings import of_record
from gensynth.progress import SILENT, Listener

OWN_FAULT = frozenset(["unsupported_op", "invalid_output", "oom"])
"""Outcomes that are the network's: it would fail again."""

LOOP = "loop"
"""The grade of a measurement between two trainings."""


@dataclass(frozen=True)
class Outcome:
    """What came of measuring one network on one device.

    Attributes:
        status: of the job, see `gensynth.devices.agent.wire.status`.
        figures: by the metric's name; empty where there are none.
        beside_ms: the prototype's latency in the same turns.
        profile: of its kernels, as the agent gave them; None without.
        message: why there are no figures.
        job_id: of the bench's record.
    """

    status: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    beside_ms: float | None = None
    profile: Sequence[Mapping[str, Any]] | None = None
    message: str = ""
    job_id: str = ""

    @property
    def is_infeasible(self) -> bool:
        """Whether the network can never run there."""
        return self.status in OWN_FAULT


def measured(
    device: RunDevice,
    names: Sequence[str],
    prototype: bytes,
    networks: Sequence[bytes],
    *,
    grade: str = LOOP,
    store: Store | None = None,
    opened: Opener | None = None,
    listener: Listener = SILENT,
) -> list[Outcome]:
    """Measure networks in turns with the prototype; return what came of each, it first.

    Where one of them cannot run there, each is asked for by itself, so that no other is blamed.

    Args:
        device: one that can be asked.
        names: metrics that are asked of it; energy is measured where one needs it.
        prototype, networks: ONNX files.
        grade: of the bench.
        store: of the bench; None for the user's own.
        opened: a session with the device; None opens one for each question.
        listener: hears why there are no figures.
    """
    files = [prototype, *networks]

    def asked(files: Sequence[bytes]) -> list[Outcome]:
        return _asked(device, names, files, grade, store, opened, listener)

    found = asked(files)
    if not found[0].is_infeasible:
        return found
    alone = [asked([file])[0] for file in files]
    return [replace(one, beside_ms=None) for one in alone]


def _asked(
    device: RunDevice,
    names: Sequence[str],
    networks: Sequence[bytes],
    grade: str,
    store: Store | None,
    opened: Opener | None,
    listener: Listener,
) -> list[Outcome]:
    assert device.device is not None, "a kind of board measures nothing"
    energy = any(metrics.find(name, name).needs_energy for name in names)
    wanted = dict.fromkeys([*summed(names), *names])
    with tempfile.TemporaryDirectory(prefix="gensynth-loop-") as folder:
        files = []
        for number, content in enumerate(networks):
            files.append(Path(folder) / f"{number}.onnx")
            files[-1].write_bytes(content)
        try:
            record = measure(
                files, device=device.device.alias, grade=grade, precision=device.config.precision,
                batch=device.config.batch, threads=device.config.threads, energy=energy,
                power_mode=device.config.power_mode, store=store, profile=grade == LOOP,
                opened=opened,
            )  # fmt: skip
        except (DeviceFault, StoreError) as error:
            status = error.status if isinstance(error, DeviceFault) else "device_lost"
            listener.note(f"{device.name} gives no figures ({status}): {error}")
            return [Outcome(status, message=str(error))] * len(files)
    if record["status"] not in USABLE:
        listener.note(f"{device.name} gives no figures that count: {record['status']}")
        return [Outcome(record["status"], job_id=record["job_id"])] * len(files)
    untrue = [flag for flag in record["flags"] if flag in UNTRUE]
    if untrue and grade != LOOP:  # in the loop a ratio to the prototype in the same turns counts
        listener.note(
            f"{device.name} was not quiet ({', '.join(untrue)}), so that what it took is no figure "
            "of the networks; once it is, measure them with: gensynth bench RUN --device "
            f"{device.name}"
        )
        return [Outcome(record["status"], job_id=record["job_id"])] * len(files)
    beside = of_record(LATENCY, record["networks"][0], record["provenance"])
    found = []
    for entry in record["networks"]:
        figures = {
            name: of_record(metrics.find(name, name), entry, record["provenance"])
            for name in wanted
        }
        found.append(
            Outcome(
                record["status"],
                {name: figure for name, figure in figures.items() if figure is not None},
                None if beside is None else beside.value,
                entry.get("profile"),
                job_id=record["job_id"],
            )
        )
    return found
