"""When a run measures: before its first cycle, after every cycle, before a finalist is distilled.

Never beside a training: each returns when the figures are there, and the seconds it took.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from gensynth.atomic_files import json_bytes
from gensynth.errors import ExportError, RunError
from gensynth.export.from_torch import from_network
from gensynth.goals.verdicts import Verdict, judge_all
from gensynth.graph.graph import Graph
from gensynth.progress import Listener
from gensynth.randomness import stream
from gensynth.run_files import MEASURED_FILE
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware import worth
from gensynth.runs.hardware.documents import ALL
from gensynth.runs.hardware.first import diverse
from gensynth.runs.hardware.hardware import AT_ONCE
from gensynth.runs.prepare import Job
from gensynth.runs.result import read_document
from gensynth.search.cycle import Candidate, State
from gensynth.space.points import Point, Points

Documents = list[dict[str, Any]]

POOL = 64
"""Networks of a generator among which those to measure are chosen."""

MORE = 2
"""Networks that are measured after a cycle beside its own, because it is worth it."""


def before_cycles(job: Job, listener: Listener) -> Documents:
    """Measure a dozen diverse networks, which teach the estimates what the device is like."""
    hardware = job.hardware
    if not hardware:
        return []
    listener.phase("devices")
    points = diverse(job.space, job.settings.seed)
    why = ["first"] * len(points)
    return _measure(job, points, _graphs(job, points), why, job.prototype.weights, listener)


def after_cycle(
    job: Job, chosen: Candidate, state: State, listener: Listener
) -> tuple[Documents, float]:
    """Measure a cycle's network, what could not be measured before, and what is worth most.

    Args:
        job: the run.
        chosen: the cycle's network.
        state: after the cycle.
        listener: hears of faults.

    Returns:
        (for the journal, seconds that it took to choose).
    """
    if not job.hardware.attached:
        return [], 0.0
    start = time.perf_counter()
    point = chosen.points[0]
    owed = [one for one in job.hardware.owed() if one != point][:AT_ONCE]
    worthy = [one for one in _worthy(job, state) if one not in (point, *owed)][:MORE]
    others = [*owed, *worthy]
    points, graphs = chosen.points, [chosen.graph]
    if others:
        more = job.space.points(others)
        points, graphs = job.space.points([point, *others]), [*graphs, *_graphs(job, more)]
    why = ["cycle", *["again"] * len(owed), *["worth"] * len(worthy)]
    spent_s = time.perf_counter() - start
    return _measure(job, points, graphs, why, state.weights, listener), spent_s


def _worthy(job: Job, state: State) -> list[Point]:
    """Return some of the generator's networks, those whose measurement is worth most first."""
    hardware = job.hardware
    draws = stream(job.settings.seed, "measure", state.cycle).integers(0, 2**31, POOL)
    points = state.generator.points([int(seed) for seed in draws])
    ranked = worth.order(job.settings, state, points, hardware.spreads(), hardware.asked())
    found = dict.fromkeys(points[place] for place in ranked)
    return [point for point in found if not hardware.is_known(point)]


def _graphs(job: Job, points: Points) -> list[Graph]:
    ranking = [np.arange(size) for size in job.space.sizes]
    return [
        job.space.coupling.apply(job.space.selection(points, index, ranking))
        for index in range(len(points))
    ]


def before_distillation(
    run: RunFolder,
    job: Job,
    candidate: Candidate,
    weights: Mapping[str, Tensor],
    listener: Listener,
) -> str | None:
    """Measure a network that may become a finalist; return why it cannot be one.

    What a network takes does not hang on its training, so one that is too slow is not trained.
    """
    if not job.hardware:
        return None
    why = ["finalist"]
    documents = _measure(job, candidate.points, [candidate.graph], why, weights, listener)
    if documents:
        kept = _kept_documents(run)
        run.write_bytes(MEASURED_FILE, json_bytes([*kept, *documents]))
    point = candidate.points[0]
    if (device := job.hardware.unable(point)) is not None:
        return f"{device} cannot run it"
    on_devices = [r for r in job.requirements if r.of == "device"]
    verdicts = judge_all(on_devices, {}, {}, job.hardware.figures(point))
    missed = [text for text, verdict in verdicts.items() if verdict is Verdict.VIOLATED]
    return f"it misses {missed[0]}" if missed else None


def recall(run: RunFolder, job: Job) -> None:
    """Let the devices of a finished run know what it measured.

    Raises:
        RunError: if what is kept of that is damaged.
    """
    recall_cycles(run, job)
    recall_end(run, job)


def recall_cycles(run: RunFolder, job: Job) -> None:
    """Let the devices of a run know what it measured up to its last cycle; see `recall`."""
    for entry in run.read_journal():
        _remember(job, entry.get("measured", []), f"cycle {entry['cycle']} of {run.path}'s journal")


def recall_end(run: RunFolder, job: Job) -> None:
    """Let them know what it measured after its last cycle; see `recall`."""
    _remember(job, _kept_documents(run), str(run.path / MEASURED_FILE))


def _remember(job: Job, documents: Any, where: str) -> None:
    try:
        job.hardware.remember(documents)
    except (TypeError, ValueError) as error:
        raise RunError(f"what was measured, in {where}, is damaged: {error}") from error


def _kept_documents(run: RunFolder) -> Documents:
    file = run.path / MEASURED_FILE
    return [*read_document(ALL, file)] if file.exists() else []


def _measure(
    job: Job,
    points: Points,
    graphs: list[Graph],
    why: list[str],
    weights: Mapping[str, Tensor],
    listener: Listener,
) -> Documents:
    if not job.hardware.attached:
        return []
    try:
        prototype = from_network(job.prototype.network())
        files = [from_network(job.evaluator.inherit(graph, weights)) for graph in graphs]
    except ExportError as error:
        listener.note(f"not measured: {error}")
        return []
    return job.hardware.measure(prototype, points, files, why, listener)
