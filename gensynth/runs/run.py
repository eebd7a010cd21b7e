"""A run from its run file to its finalists, kept in a folder, and gone on with after a stop.

    prepare -> initialise -> cycles -> finalists -> certify -> export -> latency -> cards

What is kept when: a checkpoint after each epoch of a prototype that is trained here,
inputs.json once the prototype is there, a state after every cycle, an
attempt's folder after every full distillation (a checkpoint after each of its epochs), the
ledger around every look at the test split, result.json at the end. `resume` does what is
not kept yet, and nothing twice; all randomness is a function of seed, cycle and purpose, so
it ends with the same networks.
"""

import json
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from gensynth import atomic_files
from gensynth.atomic_files import file_sha256, json_bytes
from gensynth.config import RunConfig
from gensynth.config_file import read, to_toml
from gensynth.data.dataset import Dataset
from gensynth.environment import environment
from gensynth.errors import Interrupted, RunError
from gensynth.goals.score import in_percent
from gensynth.goals.verdicts import combine, judge_all
from gensynth.graph.files import GRAPH_FILE, WEIGHTS_FILE
from gensynth.network.compute import detect
from gensynth.progress import SILENT, Listener
from gensynth.run_files import (
    ENVIRONMENT_FILE,
    GENERATOR_FILE,
    INPUTS_FILE,
    INQUISITOR_FILE,
    PHASES_FILE,
    PROTOTYPE,
    RUN_FILE,
    TRAINING,
    is_finished,
)
from gensynth.runs import finalists, full_distillation, publish, state_files
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import distil_once
from gensynth.runs.objects import Objects
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import Result, read_result
from gensynth.runs.stopwatch import Phases
from gensynth.search.cycle import Cycle, State
from gensynth.search.synthesis import initialise, synthesise

RUNS = Path("runs")


def synth(
    config: RunConfig,
    *,
    prototype: nn.Module | None = None,
    dataset: Dataset | None = None,
    listener: Listener = SILENT,
    command: str | None = None,
) -> Result:
    """Learn a generator, and leave certified finalists in a new run folder.

    Args:
        config: the run file; `out` None takes the first free folder of runs/.
        prototype: a trained module, in place of the one that the run file names; it is not
            changed.
        dataset: a data set, in place of the one that the run file names.
        listener: hears of the progress.
        command: what a person types to repeat it, for the record.

    Raises:
        Interrupted: on Ctrl-C, with the way on.
        GensynthError: for what the user can put right, before a folder is made; for what
            the world does (a full disk) later, with the way on.
    """
    objects = Objects(prototype, dataset)
    config = objects.named(config)
    if config.out is not None:
        RunFolder.check_free(config.out)
    phases = Phases()
    runs: list[RunFolder] = []
    with ExitStack() as folders:

        def begin(data: str) -> RunFolder:
            runs.append(folders.enter_context(_create(config, data, command)))
            return runs[0]

        def training(data: str) -> Path:
            return begin(data).path / TRAINING

        try:
            with phases("prepare"):
                job = prepare(config, listener=listener, training=training, objects=objects)
        except KeyboardInterrupt as error:
            if runs:
                raise _interrupted(runs[0], phases) from error
            raise Interrupted("stopped before the run began; nothing is kept") from error
        run = runs[0] if runs else begin(job.dataset.name)
        return _watched(run, job, phases, listener)


def resume(
    path: Path,
    *,
    prototype: nn.Module | None = None,
    dataset: Dataset | None = None,
    listener: Listener = SILENT,
) -> Result:
    """Go on with a run that was stopped, to the end that it would have had.

    A finished run is only read.

    Args:
        path: of the run folder.
        prototype, dataset: the objects that the run began with, if it did.
        listener: hears of the progress.

    Raises:
        Interrupted: on Ctrl-C, with the way on.
        RunError: if there is no run, another process works on it, or the data set or the
            prototype are not what they were.
    """
    phases = Phases()
    with RunFolder.open(path) as run:
        if is_finished(path):
            return read_result(path)
        if (path / PHASES_FILE).exists():
            phases.add(json.loads((path / PHASES_FILE).read_bytes()))
        config = read(path / RUN_FILE)
        known = _inputs(run)
        kept = None if known is None else path / PROTOTYPE / WEIGHTS_FILE
        objects = Objects(prototype, dataset)
        try:
            with phases("prepare"):
                job = prepare(
                    config, listener=listener, kept=kept, training=lambda _: path / TRAINING,
                    objects=objects,
                )  # fmt: skip
        except KeyboardInterrupt as error:
            raise _interrupted(run, phases) from error
        if known is not None:
            _check_inputs(run, job, known)
        return _watched(run, job, phases, listener)


def free_folder(config: RunConfig, data: str) -> Path:
    """Return the first free folder of runs/ that is named after prototype, data and seed."""
    words = (config.prototype.network.split(":")[-1], data, str(config.seed))
    name = re.sub(r"[^\w.-]+", "-", "-".join(words))
    number = 1
    while (path := RUNS / (name if number == 1 else f"{name}.{number}")).exists():
        number += 1
    return path


def _create(config: RunConfig, data: str, command: str | None) -> RunFolder:
    path = config.out or free_folder(config, data)
    compute = detect()
    facts = environment(
        device=compute.device,
        autocast=str(compute.autocast),
        threads=compute.threads,
        command=command,
    )
    return RunFolder.create(path, to_toml(replace(config, out=path.resolve())), facts)


def _watched(run: RunFolder, job: Job, phases: Phases, listener: Listener) -> Result:
    try:
        _go(run, job, phases, listener)
    except KeyboardInterrupt as error:
        raise _interrupted(run, phases) from error
    return read_result(run.path)


def _go(run: RunFolder, job: Job, phases: Phases, listener: Listener) -> None:
    if _inputs(run) is None:
        _keep_inputs(run, job)
    if (run.path / TRAINING).exists():  # its result is kept now
        atomic_files.remove_folder(run.path / TRAINING)
    state = _learn(run, job, phases, listener)
    with phases("finalists"):
        listener.phase("finalists")
        early = [
            kept
            for cycle in range(1, job.config.search.full_networks + 1)
            if (kept := full_distillation.read(run, _early_name(cycle))) is not None
        ]
        chosen, made, inquisitor = finalists.choose(run, job, state, early, listener=listener)
        final = state_files.dump(replace(state, inquisitor=inquisitor))
        for name in (GENERATOR_FILE, INQUISITOR_FILE):
            run.write_bytes(name, final[name])
    with phases("certify"):
        listener.phase("certify")
        found = publish.entrants(run, job, chosen)
        certificates = publish.certify_all(run, job, found)
    with phases("export"):
        listener.phase("export")
        exported = publish.export_all(run, job, found, listener)
    with phases("latency"):
        listener.phase("latency")
        latencies, ratios = publish.time_all(run, job, found, listener)
    with phases("cards"):
        command = json.loads((run.path / ENVIRONMENT_FILE).read_bytes())["command"]
        publish.write_all(
            run, job, found, certificates, exported, latencies, ratios, command=command
        )
    work = {
        f"finalists {phase}": sum(attempt.seconds[phase] for attempt in made)
        for phase in ("train", "evaluate")
    }
    publish.finish(run, job, found, {**phases.seconds, **work})


def _learn(run: RunFolder, job: Job, phases: Phases, listener: Listener) -> State:
    """Run the cycles that are left; return the last state as the run folder has it."""
    state = _last_state(run, job)
    if state is None:
        with phases("initialise"):
            listener.phase("initialise")
            start = time.perf_counter()
            first = initialise(job.settings, job.evaluator, job.probe, job.space)
            seconds = {"initialise": round(time.perf_counter() - start, 3)}
            state = _keep(run, job, first, {"phase": "initialise", "seconds": seconds})
    listener.phase("cycles")
    for entry in run.read_journal():
        if entry["cycle"] > 0:
            listener.cycle(entry, job.config.search.cycles)

    def keep(before: State, cycle: Cycle) -> State:
        entry, after = _entry(job, cycle), cycle.after
        if cycle.number <= job.config.search.full_networks:
            full = distil_once(
                run, job, before, after.inquisitor, cycle.chosen,
                name=_early_name(cycle.number), listener=listener,
            )  # fmt: skip
            after = replace(after, inquisitor=after.inquisitor.observe(full.observation()))
            entry |= {
                **{f"full_{key}": value for key, value in in_percent(full.score).items()},
                "full_seconds": {phase: round(s, 3) for phase, s in full.seconds.items()},
            }
        kept = _keep(run, job, after, entry)
        run.write_bytes(PHASES_FILE, json_bytes(phases.lap()))
        listener.cycle({"cycle": cycle.number, **entry}, job.config.search.cycles)
        return kept

    with phases("cycles"):
        return synthesise(job.settings, job.evaluator, job.probe, state, keep=keep)


def _early_name(cycle: int) -> str:
    return f"cycle-{cycle}"


def _entry(job: Job, cycle: Cycle) -> dict[str, Any]:
    low, _, high = cycle.promised
    verdicts = judge_all(job.requirements, {cycle.score.metric: (low, high)}, cycle.costs)
    return {
        **cycle.to_document(),
        "verdict": combine(verdicts.values()).value,
        "verdicts": {text: verdict.value for text, verdict in verdicts.items()},
    }


def _keep(run: RunFolder, job: Job, state: State, entry: dict[str, Any]) -> State:
    """Commit a state; return it as it would be read back."""
    files = state_files.dump(state)
    run.commit_state(state.cycle, files, entry)
    return state_files.restore(state.cycle, files, job.space)


def _last_state(run: RunFolder, job: Job) -> State | None:
    last = run.latest_state()
    if last is None:
        return None
    return state_files.restore(last[0], state_files.read_files(last[1]), job.space)


def _keep_inputs(run: RunFolder, job: Job) -> None:
    """Keep the prototype, and what a resumed run must find unchanged."""
    # All of its weights, those too that its graph does not use: the module wants them back.
    files = {
        GRAPH_FILE: job.prototype.graph.to_json().encode(),
        WEIGHTS_FILE: save({k: t.contiguous() for k, t in job.prototype.weights.items()}),
    }
    run.write_folder(PROTOTYPE, {**files, **job.training})
    digest = file_sha256(run.path / PROTOTYPE / WEIGHTS_FILE)
    inputs = {"data": job.inputs["data"], "weights_sha256": digest}
    inputs["prototype"] = job.inputs["prototype"]
    # With the step of widths that this machine suggested: another one may suggest another.
    run.write_text(RUN_FILE, to_toml(replace(job.config, out=run.path.resolve())))
    run.write_bytes(INPUTS_FILE, json_bytes(inputs))


def _inputs(run: RunFolder) -> dict[str, Any] | None:
    path = run.path / INPUTS_FILE
    if not path.exists():
        return None
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _check_inputs(run: RunFolder, job: Job, known: Mapping[str, Any]) -> None:
    weights = run.path / PROTOTYPE / WEIGHTS_FILE
    if file_sha256(weights) != known["weights_sha256"]:
        raise RunError(f"{weights} is not what the run began with; put it back from a copy")
    job.check_inputs(known, run.path)


def _interrupted(run: RunFolder, phases: Phases) -> Interrupted:
    """Keep the times of a stopped session, and say how to go on."""
    run.write_bytes(PHASES_FILE, json_bytes(phases.lap()))
    last = run.latest_state()
    done = "before the first cycle" if last is None or last[0] == 0 else f"after cycle {last[0]}"
    return Interrupted(f"stopped {done}; go on with: gensynth synth --resume {run.path}")
