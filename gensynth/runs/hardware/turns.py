"""When a run measures: before its first cycle, after every cycle, before a finalist is distilled.

Never beside a training: each returns when the figures are there, and the seconds it took.
"""

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
from gensynth.run_files import MEASURED_FILE
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware.documents import ALL
from gensynth.runs.hardware.first import diverse
from gensynth.runs.prepare import Job
from gensynth.runs.result import read_document
from gensynth.search.cycle import Candidate
from gensynth.space.points import Points

Documents = list[dict[str, Any]]


def before_cycles(job: Job, listener: Listener) -> Documents:
    """Measure a dozen diverse networks, which teach the estimates what the device is like."""
    hardware = job.hardware
    if not hardware:
        return []
    listener.phase("devices")
    points = diverse(job.space, job.settings.seed)
    ranking = [np.arange(size) for size in job.space.sizes]
    graphs = [
        job.space.coupling.apply(job.space.selection(points, index, ranking))
        for index in range(len(points))
    ]
    return _measure(job, points, graphs, job.prototype.weights, listener)


def after_cycle(
    job: Job, chosen: Candidate, weights: Mapping[str, Tensor], listener: Listener
) -> Documents:
    """Measure a cycle's network."""
    return _measure(job, chosen.points, [chosen.graph], weights, listener)


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
    documents = _measure(job, candidate.points, [candidate.graph], weights, listener)
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
    return job.hardware.measure(prototype, points, files, listener)
