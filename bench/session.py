"""A measurement from the question to the record.

    find and read the files -> look into the store -> else: see that the board is what it was
    -> the device's agent measures all of them in turns -> check the outputs, work out the
    figures -> keep the record, return it

The same request is answered from the store, unless a fresh measurement is asked for. A device
that is lost in the middle is asked again under the same job's id, which it measures once.
"""

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import gensynth
from gensynth.bench import control, subjects
from gensynth.bench.grades import find_grade
from gensynth.bench.record import make, power_mode
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.devices import registry
from gensynth.devices.agent.board import board
from gensynth.devices.client import connect
from gensynth.devices.registry import Device
from gensynth.environment import environment
from gensynth.errors import ConfigError, DeviceFault
from gensynth.progress import SILENT, Listener
from gensynth.suggestion import did_you_mean

WITH_FIGURES = frozenset(["ok", "degraded", "throttled", "not_steady"])
PAUSES_S = (2.0, 5.0)
"""Before a device that was lost is asked for the same job again."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def measure(
    networks: Paths,
    *,
    device: str = "local",
    grade: str | None = None,
    precision: str = "fp32",
    batch: int | None = None,
    threads: int = 1,
    energy: bool = False,
    power_mode: int | None = None,
    lock_clocks: bool = False,
    end_to_end: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    fresh: bool = False,
    store: Store | None = None,
    command: str | None = None,
    listener: Listener = SILENT,
) -> dict[str, Any]:
    """Measure networks in turns on a device and return the record.

    Args:
        networks: ONNX files, folders of runs, networks or artefacts; figures stand in this
            order, and ratios are to the first.
        device: "local", or the alias of a registered one.
        grade: "quick", "standard" or "report"; None is quick, and standard with `energy`.
        precision: "fp32", "fp16" or "int8".
        batch: images of one run; None for the files' own, 1 where that is free.
        threads: that one operator may use, where a processor computes.
        energy: whether joules are wanted.
        power_mode: nvpmodel's number, set for the job with clocks locked; None changes nothing.
        lock_clocks: whether clocks are locked meanwhile.
        end_to_end: whether each is also measured from pixels to its answer.
        shapes: of inputs whose sizes the files leave free, by name.
        inputs: arrays to feed in place of noise, by name.
        fresh: whether to measure even if the store has an answer.
        store: where measurements are kept; None for the user's own.
        command: to stand in the record; None for that of this process.
        listener: hears of the progress.

    Returns:
        A record (`gensynth.bench.record`). "from_store" is in it, and true, when it answers an
        earlier request. Its "status" is ok or degraded, or throttled or not_steady: then the
        figures are there and `gensynth.bench.record.is_usable` says no.

    Raises:
        ConfigError: if something cannot be meant.
        ExportError: if a file cannot be read.
        DeviceFault: if there are no figures; its status says why.
        StoreError: if the store is damaged or cannot be written.
    """
    registered = registry.find(device)
    sources = subjects.find(_paths(networks))
    if not sources:
        raise ConfigError("there must be a network to measure")
    request = Request(
        device=registered,
        subjects=tuple(
            subjects.read(source, batch=batch, shapes=shapes, inputs=inputs) for source in sources
        ),
        grade=find_grade(grade, energy=energy),
        precision=precision,
        threads=threads,
        energy=energy,
        power_mode=power_mode,
        lock_clocks=lock_clocks,
        end_to_end=end_to_end,
    )
    _check_names(request, shapes, inputs)
    return answer(request, fresh=fresh, store=store, command=command, listener=listener)


def answer(
    request: Request,
    *,
    fresh: bool = False,
    store: Store | None = None,
    command: str | None = None,
    listener: Listener = SILENT,
) -> dict[str, Any]:
    """Return a request's record, from the store or measured now; all else is as in `measure`."""
    kept = Store() if store is None else store
    key = request.key(_place(request.device))
    known = None if fresh else kept.answer(key)
    if known is not None:
        return {**known, "from_store": True}
    kept.require_writable()

    spoken = command or shlex.join(sys.orig_argv)
    reference = control.keep_watch(request, kept, partial(_measured, spoken), listener)
    record, raw = _measured(spoken, request, listener)
    if reference is not None and reference["power_mode"] != power_mode(record):
        reference = None  # the mode was changed by hand since that point
    record["reference"] = reference
    kept.keep(key, record, raw)
    return {**record, "from_store": False}


def _measured(
    command: str, request: Request, listener: Listener
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Ask the device; again, under the same id, if it was reached and then lost."""
    spec, blobs = request.job()
    versions = environment()
    about = {
        "command": command,
        "started_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "gensynth": versions["gensynth"],
        "commit": versions["commit"],
    }
    reached = False
    for pause_s in (*PAUSES_S, None):
        try:
            listener.phase("reach")
            with connect(request.device) as connection:
                reached = True
                listener.phase("load")
                result = connection.run(spec, blobs, _Told(listener))
                if result["status"] in WITH_FIGURES:
                    about["agent"] = connection.hello["agent"]
                    return make(request, result, connection.blob, about)
            break
        except DeviceFault as fault:
            if fault.status == "device_busy":
                raise _busy(request, fault) from fault
            if fault.status != "device_lost" or not reached or pause_s is None:
                raise
            listener.note(f"{fault}; asking for the same job again")
            time.sleep(pause_s)
    raise DeviceFault(result["status"], _message(request, result), result["details"])


def _busy(request: Request, fault: DeviceFault) -> DeviceFault:
    host = (fault.details.get("owner") or {}).get("host", "another host")
    return DeviceFault(
        "device_busy",
        f"{request.device.alias} is busy with another measurement, of {host}; two at once would "
        "disturb each other: run the command again when that has ended",
        fault.details,
    )


def _message(request: Request, result: Mapping[str, Any]) -> str:
    """Return why there are no figures; of several runtimes each on a line."""
    tried = result["details"].get("tried")
    if result["status"] != "runtime_missing" or not tried:
        return f"{request.device.alias}: {result['message']}"
    lines = [f"{request.device.alias}: none of its runtimes can measure that"]
    lines += [f"  {one['path']}: {one['why']}" for one in tried]
    return "\n".join(lines)


class _Told:
    """Passes the agent's words on to a listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __call__(self, said: Mapping[str, Any]) -> None:
        phase, done, total = said.get("phase"), said.get("done", 0), said.get("total", 0)
        if phase in ("warm-up", "latency", "energy") and total:
            self._listener.phase("measure")
            self._listener.progress(phase, done / total, f"{done} of {total}")


def _place(device: Device) -> str:
    """Return what is known of a device before it is asked."""
    if device.destination is not None:
        words = (gensynth.__version__, device.destination, device.python, device.added_utc)
        return " ".join(word for word in words if word)  # a board put in another's place is another
    runtime = None
    with suppress(PackageNotFoundError):
        runtime = version("onnxruntime")
    serial = board.facts(os.environ.get("GENSYNTH_AGENT_ROOT") or "/")["serial_hash"]
    return f"{gensynth.__version__} {serial} {runtime}"


def _paths(networks: Paths) -> list[Path]:
    if isinstance(networks, str | os.PathLike):
        return [Path(networks)]
    return [Path(network) for network in networks]


def _check_names(request: Request, *given: Mapping[str, Any] | None) -> None:
    """Refuse a shape or an array for an input that no file has."""
    known = {name for subject in request.subjects for name in subject.feed}
    for names in given:
        for name in names or {}:
            if name not in known:
                raise ConfigError(
                    f"no network has an input '{name}'; {did_you_mean(name, sorted(known))}"
                )
