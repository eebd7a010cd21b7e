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

from gensynth import atomic_files
from gensynth.config import RunConfig
from gensynth.config_file import read, to_toml
from gensynth.environment import environment
from gensynth.errors import Interrupted, RunError
from gensynth.goals.ledger import weights_sha256
from gensynth.goals.verdicts import combine, judge_range
from gensynth.network.compute import detect
from gensynth.progress import SILENT, Watch
from gensynth.runs import finalists, full_distillation, publish, state_files
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import Attempt
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import RESULT_FILE, Result, read_result
from gensynth.runs.stopwatch import Phases
from gensynth.search.cycle import Cycle, State
from gensynth.search.synthesis import initialise, synthesise
from gensynth.space.points import Points

INPUTS_FILE = "inputs.json"
PHASES_FILE = "phases.json"
TRAINING = "training"
RUNS = Path("runs")


def synth(config: RunConfig, *, watch: Watch = SILENT, command: str | None = None) -> Result:
    """Learn a generator, and leave certified finalists in a new run folder.

    Args:
        config: the run file; `out` None takes the first free folder of runs/.
        watch: hears of the progress.
        command: what a person types to repeat it, for the record.

    Raises:
        Interrupted: on Ctrl-C, with the way on.
        GensynthError: for what the user can put right, before a folder is made; for what
            the world does (a full disk) later, with the way on.
    """
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
                job = prepare(config, watch=watch, training=training)
        except KeyboardInterrupt as error:
            if runs:
                raise _interrupted(runs[0], phases) from error
            raise Interrupted("stopped before the run began; nothing is kept") from error
        run = runs[0] if runs else begin(job.dataset.name)
        return _watched(run, job, phases, watch)


def resume(path: Path, *, watch: Watch = SILENT) -> Result:
    """Go on with a run that was stopped, to the end that it would have had.

    A finished run is only read.

    Raises:
        Interrupted: on Ctrl-C, with the way on.
        RunError: if there is no run, another process works on it, or the data set or the
            prototype are not what they were.
    """
    phases = Phases()
    with RunFolder.open(path) as run:
        if (path / RESULT_FILE).exists():
            return read_result(path)
        if (path / PHASES_FILE).exists():
            phases.add(json.loads((path / PHASES_FILE).read_bytes()))
        config = read(path / "run.toml")
        known = _inputs(run)
        kept = None if known is None else path / publish.PROTOTYPE / state_files.WEIGHTS_FILE
        try:
            with phases("prepare"):
                job = prepare(config, watch=watch, kept=kept, training=lambda _: path / TRAINING)
        except KeyboardInterrupt as error:
            raise _interrupted(run, phases) from error
        if known is not None:
            _check_inputs(run, job, known)
        return _watched(run, job, phases, watch)


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


def _watched(run: RunFolder, job: Job, phases: Phases, watch: Watch) -> Result:
    try:
        _go(run, job, phases, watch)
    except KeyboardInterrupt as error:
        raise _interrupted(run, phases) from error
    return read_result(run.path)


def _go(run: RunFolder, job: Job, phases: Phases, watch: Watch) -> None:
    if _inputs(run) is None:
        _keep_inputs(run, job)
    if (run.path / TRAINING).exists():  # its result is kept now
        atomic_files.remove_folder(run.path / TRAINING)
    state = _learn(run, job, phases, watch)
    with phases("finalists"):
        watch.phase("finalists")
        early = [
            kept
            for cycle in range(1, job.config.search.full_networks + 1)
            if (kept := full_distillation.read_attempt(run, _early_name(cycle))) is not None
        ]
        chosen, made, inquisitor = finalists.choose(run, job, state, early, watch=watch)
        final = state_files.dump(replace(state, inquisitor=inquisitor))
        for name in (state_files.GENERATOR_FILE, state_files.INQUISITOR_FILE):
            run.write_bytes(name, final[name])
    with phases("certify"):
        watch.phase("certify")
        found = publish.entrants(run, job, chosen)
        certificates = publish.certify_all(run, job, found)
    with phases("export"):
        watch.phase("export")
        parities = publish.export_all(run, job, found, watch)
    with phases("latency"):
        watch.phase("latency")
        latencies, ratios = publish.time_all(run, job, found, watch)
    with phases("cards"):
        command = json.loads((run.path / "environment.json").read_bytes())["command"]
        publish.write_all(
            run, job, found, certificates, parities, latencies, ratios, command=command
        )
    work = {
        f"finalists {phase}": sum(attempt.seconds[phase] for attempt in made)
        for phase in ("train", "evaluate")
    }
    publish.finish(run, job, found, {**phases.seconds, **work})


def _learn(run: RunFolder, job: Job, phases: Phases, watch: Watch) -> State:
    """Run the cycles that are left; return the last state as the run folder has it."""
    state = _last_state(run, job)
    if state is None:
        with phases("initialise"):
            watch.phase("initialise")
            start = time.perf_counter()
            first = initialise(job.plan, job.workshop, job.probe, job.space)
            seconds = {"initialise": round(time.perf_counter() - start, 3)}
            state = _keep(run, job, first, {"phase": "initialise", "seconds": seconds})
    watch.phase("cycles")
    for entry in run.read_journal():
        if entry["cycle"] > 0:
            watch.cycle(entry, job.plan.cycles)

    def keep(before: State, after: State, cycle: Cycle) -> State:
        entry = _entry(job, cycle)
        if cycle.number <= job.config.search.full_networks:
            full = _calibrate(run, job, before, after, cycle, watch)
            after = replace(after, inquisitor=after.inquisitor.observe(full.observation()))
            entry |= {
                "full_correct": full.correct,
                "full_top1_pct": 100 * full.accuracy,
                "full_seconds": {phase: round(s, 3) for phase, s in full.seconds.items()},
            }
        kept = _keep(run, job, after, entry)
        run.write_text(PHASES_FILE, _json(phases.lap()))
        watch.cycle({"cycle": cycle.number, **entry}, job.plan.cycles)
        return kept

    with phases("cycles"):
        return synthesise(job.plan, job.workshop, job.probe, state, keep=keep)


def _calibrate(
    run: RunFolder, job: Job, before: State, after: State, cycle: Cycle, watch: Watch
) -> Attempt:
    """Distil a cycle's network fully too: what the short distillation leaves to be gained."""
    point: Points = job.space.point(cycle.graph.selection)
    return full_distillation.attempt(
        run, job, before, after.inquisitor, point, cycle.graph, cycle.seed,
        name=_early_name(cycle.number), watch=watch,
    )  # fmt: skip


def _early_name(cycle: int) -> str:
    return f"cycle-{cycle}"


def _entry(job: Job, cycle: Cycle) -> dict[str, Any]:
    low, _, high = cycle.promised
    verdicts = judge_range(job.requirements, (low, high), cycle.costs)
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
        "graph.json": job.prototype.graph.to_json().encode(),
        state_files.WEIGHTS_FILE: save(
            {k: t.contiguous() for k, t in job.prototype.weights.items()}
        ),
    }
    run.write_folder(publish.PROTOTYPE, {**files, **job.training})
    digest = weights_sha256(run.path / publish.PROTOTYPE / state_files.WEIGHTS_FILE)
    inputs = {"data": job.inputs["data"], "weights_sha256": digest}
    inputs["prototype"] = job.inputs["prototype"]
    # With the step of widths that this machine suggested: another one may suggest another.
    run.write_text("run.toml", to_toml(replace(job.config, out=run.path.resolve())))
    run.write_text(INPUTS_FILE, _json(inputs))


def _inputs(run: RunFolder) -> dict[str, Any] | None:
    path = run.path / INPUTS_FILE
    if not path.exists():
        return None
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _check_inputs(run: RunFolder, job: Job, known: Mapping[str, Any]) -> None:
    weights = run.path / publish.PROTOTYPE / state_files.WEIGHTS_FILE
    if weights_sha256(weights) != known["weights_sha256"]:
        raise RunError(f"{weights} is not what the run began with; put it back from a copy")
    for what, name in (("data", "data set"), ("prototype", "prototype")):
        found = job.inputs[what]
        changed = [key for key, value in known[what].items() if found.get(key) != value]
        if changed:
            raise RunError(
                f"the {name} of {run.path} is not what the run began with: {changed[0]} "
                "differs; put it back, or start another run"
            )


def _interrupted(run: RunFolder, phases: Phases) -> Interrupted:
    """Keep the times of a stopped session, and say how to go on."""
    run.write_text(PHASES_FILE, _json(phases.lap()))
    last = run.latest_state()
    done = "before the first cycle" if last is None or last[0] == 0 else f"after cycle {last[0]}"
    return Interrupted(f"stopped {done}; go on with: gensynth synth --resume {run.path}")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
