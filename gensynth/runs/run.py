"""A run from its run file to its finalists, kept in a folder, and gone on with after a stop.

    prepare -> initialise -> cycles -> finalists -> certify -> export -> latency -> cards

What is kept when: a checkpoint after each epoch of a prototype that is trained here,
inputs.json from the start and once the prototype is there, a state after every cycle, an
attempt's folder after every full distillation (a checkpoint after each of its epochs), the
ledger around every look at the test split, result.json at the end. `resume` does what is
not kept yet, and nothing twice; all randomness is a function of seed, cycle and purpose, so
it ends with the same networks.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from gensynth import atomic_files
from gensynth.atomic_files import json_bytes
from gensynth.config import RunConfig
from gensynth.config_file import to_toml
from gensynth.environment import environment
from gensynth.errors import Interrupted
from gensynth.goals.figure import Figure
from gensynth.network.compute import detect
from gensynth.progress import SILENT, Listener
from gensynth.run_files import (
    ENVIRONMENT_FILE,
    GENERATOR_FILE,
    INQUISITOR_FILE,
    PHASES_FILE,
    TRAINING,
    is_finished,
)
from gensynth.runs import changes, finalists, inputs, publish, state_files
from gensynth.runs.ahead.reach import Reach
from gensynth.runs.ahead.stopwatch import Phases
from gensynth.runs.folder import RunFolder
from gensynth.runs.forms import ENVIRONMENT, PHASES
from gensynth.runs.hardware.opening import keep_tables
from gensynth.runs.learning import early, learn, with_found_rate
from gensynth.runs.objects import Objects
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import Result, read_document, read_result
from gensynth.runs.trust import note, require
from gensynth.tasks.task import Task

RUNS = Path("runs")


def synth(
    config: RunConfig,
    *,
    prototype: nn.Module | None = None,
    dataset: Any = None,
    task: Task | None = None,
    listener: Listener = SILENT,
    command: str | None = None,
) -> Result:
    """Learn a generator, and leave certified finalists in a new run folder.

    Args:
        config: the run file; `out` None takes the first free folder of runs/.
        prototype: a trained module, in place of the one that the run file names; it is not
            changed.
        dataset: a data set, in place of the one that the run file names: one of ours, a
            torch.utils.data.Dataset of (image, label), or such by split, {"train": ..., "val": ...,
            "test": ...}, see `gensynth.data.torch_dataset`.
        task: likewise, see `gensynth.tasks.task`.
        listener: hears of the progress.
        command: what a person types to repeat it, for the record.

    Raises:
        Interrupted: on Ctrl-C, with the way on.
        GensynthError: for what the user can put right, before a folder is made; for what
            the world does (a full disk) later, with the way on.
    """
    objects = Objects.of(prototype, dataset, task)
    config = inputs.with_modules(objects.named(config))
    note(config)
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
                job = prepare(
                    config, listener=listener, training=training, objects=objects,
                    tell=lambda reach: describe(reach, listener),
                )  # fmt: skip
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
    dataset: Any = None,
    task: Task | None = None,
    trust: bool = False,
    listener: Listener = SILENT,
    overrides: Mapping[str, Any] | None = None,
) -> Result:
    """Go on with a run that was stopped, to the end that it would have had.

    A finished run is only read, unless more is asked of it now.

    Args:
        path: of the run folder.
        prototype, dataset, task: the objects that the run began with, if it did.
        trust: whether code may run that only the folder names (`gensynth.runs.trust`).
        listener: hears of the progress.
        overrides: what is asked from here on, by the keys of `gensynth.runs.changes`, such as
            {"search.cycles": 24}.

    Raises:
        Interrupted: on Ctrl-C, with the way on.
        ConfigError: if the folder names code that this user has not named, and is not trusted.
        RunError: if there is no run, another process works on it, the data set, the prototype or
            the run file are not what they were, or the run cannot do what is asked now.
    """
    phases = Phases()
    with RunFolder.open(path) as run:
        config, changed = changes.asked(run, overrides or {})
        if is_finished(path) and not changed:
            return read_result(path)
        if (path / PHASES_FILE).exists():
            phases.add(read_document(PHASES, path / PHASES_FILE))
        require(config, path, trust=trust)
        objects = Objects.of(prototype, dataset, task)
        judged = publish.judged_by(run) if changed else inputs.judged_before(path)
        try:
            with phases("prepare"):
                job = prepare(
                    config, listener=listener, kept=inputs.kept_weights(path),
                    training=lambda _: path / TRAINING, objects=objects, judged=judged,
                    known=inputs.kept_calibration(path),
                )  # fmt: skip
        except KeyboardInterrupt as error:
            raise _interrupted(run, phases) from error
        inputs.check_inputs(path, job)
        if changed:
            changes.commit(run, config, changed, judged, listener)
        return _watched(run, job, phases, listener)


def describe(reach: Reach, listener: Listener) -> None:
    """Say what the data are before they are used, and whether a certificate can come of them."""
    for line in [*reach.description, reach.certificate]:
        if line:
            listener.note(line)


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
    config = replace(config, out=path.resolve())
    compute = detect()
    facts = environment(
        device=compute.device,
        autocast=str(compute.autocast),
        threads=compute.threads,
        command=command,
    )
    run = RunFolder.create(path, to_toml(config), facts)
    inputs.keep_config(run, config)
    return run


def _watched(run: RunFolder, job: Job, phases: Phases, listener: Listener) -> Result:
    try:
        with closing(job.hardware):
            _go(run, job, phases, listener)
    except KeyboardInterrupt as error:
        raise _interrupted(run, phases) from error
    return read_result(run.path)


def _go(run: RunFolder, job: Job, phases: Phases, listener: Listener) -> None:
    if inputs.kept_weights(run.path) is None:
        inputs.keep_inputs(run, job)
    if (run.path / TRAINING).exists():  # its result is kept now
        atomic_files.remove_folder(run.path / TRAINING)
    state = learn(run, job, phases, listener)
    job = with_found_rate(run, job)
    with phases("finalists"):
        listener.phase("finalists")
        known = early(run, job)
        chosen, made, inquisitor = finalists.choose(run, job, state, known, listener=listener)
        final = state_files.dump(replace(state, inquisitor=inquisitor))
        for name in (GENERATOR_FILE, INQUISITOR_FILE):
            run.write_bytes(name, final[name])
        keep_tables(run, job.hardware)
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
    figures: dict[str, dict[str, Figure]] = {}
    if job.hardware:
        with phases("devices"):
            listener.phase("devices")
            figures = publish.measure_all(run, job, found, listener)
    with phases("cards"):
        command = read_document(ENVIRONMENT, run.path / ENVIRONMENT_FILE)["command"]
        publish.write_all(
            run, job, found, certificates, exported, latencies, ratios, figures, command=command
        )
        pictures = publish.draw_all(run, job, found)
    work = {
        f"finalists {phase}": sum(attempt.seconds[phase] for attempt in made)
        for phase in ("train", "evaluate")
    }
    publish.finish(run, job, found, pictures, {**phases.seconds, **work})


def _interrupted(run: RunFolder, phases: Phases) -> Interrupted:
    """Keep the times of a stopped session, and say how to go on."""
    run.write_bytes(PHASES_FILE, json_bytes(phases.lap()))
    last = run.latest_state()
    done = "before the first cycle" if last is None or last[0] == 0 else f"after cycle {last[0]}"
    return Interrupted(f"stopped {done}; go on with: gensynth synth --resume {run.path}")
