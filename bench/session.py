"""A measurement from the question to the record.

    find and read the files -> look at the device -> look into the store -> else: see that the
    board is what it was -> the device's agent measures all of them in turns -> check the outputs,
    work out the figures -> compare with what it uses to take, keep the record, return it

The same request of the same device in the same state is answered from the store, unless a fresh
measurement is asked for. What was measured is returned even where it cannot be kept.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.bench import control, subjects
from gensynth.bench.dialogue import Agent, Measuring, Opener
from gensynth.bench.estimate.profiled import to_keep
from gensynth.bench.grades import find_grade
from gensynth.bench.place import place
from gensynth.bench.quiet import DISTURBING, Usual
from gensynth.bench.record import answering, flag, is_usable, power_mode
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.devices import registry
from gensynth.errors import ConfigError, StoreError
from gensynth.progress import SILENT, Listener

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
    runtime: str | None = None,
    profile: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    fresh: bool = False,
    store: Store | None = None,
    command: str | None = None,
    listener: Listener = SILENT,
    opened: Opener | None = None,
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
        runtime: "tensorrt", "trtexec" or "onnxruntime", which then measures or nothing does; None
            takes the first of the device's that works.
        profile: whether the time of each kernel is wanted too, where the runtime tells it.
        shapes: of inputs whose sizes the files leave free, by name.
        inputs: arrays to feed in place of noise, by name.
        fresh: whether to measure even if the store has an answer.
        store: where measurements are kept; None for the user's own.
        command: to stand in the record; None for that of this process.
        listener: hears of the progress.
        opened: a session with the device (`gensynth.devices.sessions`); None opens one for each
            question.

    Returns:
        A record (`gensynth.bench.record`). "from_store" is in it, and true, when it answers an
        earlier request; "not_kept" is why the store does not have it, and None where it does. Its
        "status" is ok or degraded, or throttled or not_steady: then the figures are there and
        `gensynth.bench.record.is_usable` says no.

    Raises:
        ConfigError: if something cannot be meant.
        ExportError: if a file cannot be read.
        DeviceFault: if there are no figures; its status says why.
        StoreError: if the store is damaged, cannot be written or has no room, before anything
            is measured.
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
        runtime=runtime,
        profile=profile,
    )
    subjects.check_names(request.subjects, shapes, inputs)
    agent = Agent(command or shlex.join(sys.orig_argv), opened)
    return answer(request, fresh=fresh, store=store, listener=listener, device=agent)


def answer(
    request: Request,
    *,
    fresh: bool = False,
    store: Store | None = None,
    listener: Listener = SILENT,
    device: Measuring | None = None,
) -> dict[str, Any]:
    """Return a request's record, from the store or measured now; all else is as in `measure`.

    Args:
        device: what is looked at and measures; None for the agent of the request's device.
    """
    kept = Store() if store is None else store
    agent = Agent(shlex.join(sys.orig_argv)) if device is None else device
    facts = agent.look(request.device, listener)
    where = place(request, facts)
    key = request.key(where)
    known = None if fresh else kept.answer(key)
    if known is not None:
        return {**answering(known, request), "from_store": True, "not_kept": None}
    kept.require_room(request.room_bytes)

    reference, why_not = control.keep_watch(request, kept, agent.measure, listener)
    record, raw = agent.measure(request, listener)
    if reference is not None and reference["power_mode"] != power_mode(record):
        reference = None  # the mode was changed by hand since that point
    record["reference"] = reference
    if why_not is not None:
        flag(record, "reference_left_out")
        record["reference_in_turns"]["why"] = record["reference_in_turns"]["why"] or why_not
    if _has_changed(facts, record["device"]):
        key = request.key(f"{where} and then {record['job_id']}")  # it answers nothing
    record["not_kept"] = _keep(kept, key, request.reference_key(where), request, record, raw)
    return {**record, "from_store": False}


def _has_changed(facts: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """Return whether a device was another, or in another mode, when it measured."""
    return any(then.get(name) != facts.get(name) for name in ("serial_hash", "power_mode"))


def _keep(
    store: Store,
    key: str,
    reference_key: str,
    request: Request,
    record: dict[str, Any],
    raw: Mapping[str, bytes],
) -> str | None:
    """Keep a record beside those of before; return why that failed, which loses no figure."""
    try:
        slow = _compare(store, reference_key, request, record)
        store.keep(key, record, raw, to_keep(request, record))
        store.doubt_jobs(slow, found_by=record["job_id"])
    except StoreError as error:
        return str(error)
    return None


def _compare(store: Store, key: str, request: Request, record: dict[str, Any]) -> list[str]:
    """Note what the reference network uses to take there; return jobs that were slower.

    A job that is slower than those before is flagged. One that is faster may show that those
    before were slow, which nothing could tell then.
    """
    quiet, beside = request.grade.quiet, record["reference_in_turns"]
    p50_ms = beside["p50_ms"]
    if quiet is None or p50_ms is None:
        return []
    before = Usual(quiet, store.references(key))
    beside.update(key=key, usual_p50_ms=before.p50_ms, jobs=len(before.times))
    if not is_usable(record) or set(DISTURBING) & set(record["flags"]):
        return []
    if before.is_slow(p50_ms):
        flag(record, "slow")
    return Usual(quiet, [(record["job_id"], p50_ms), *before.times]).slow_jobs()


def _paths(networks: Paths) -> list[Path]:
    if isinstance(networks, str | os.PathLike):
        return [Path(networks)]
    return [Path(network) for network in networks]
