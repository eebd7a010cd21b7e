"""The cycles of a run: what is not kept yet is done, and kept, one by one.

first state from the prototype, or from what an earlier run of it has learned
state       after every cycle, with its line of the journal
attempts    a network of the first cycles that is also distilled as a finalist is
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gensynth.atomic_files import json_bytes
from gensynth.errors import RunError, UnreachableError
from gensynth.goals import metrics
from gensynth.goals.score import in_percent
from gensynth.goals.verdicts import combine, judge_all
from gensynth.graph.activations import peak_mib
from gensynth.outside import read_text
from gensynth.progress import Listener
from gensynth.run_files import GENERATOR_FILE, PHASES_FILE, is_finished
from gensynth.runs import full_distillation, state_files
from gensynth.runs.ahead.stopwatch import Phases
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import FullDistillation, distil_once
from gensynth.runs.hardware.opening import tables_of
from gensynth.runs.hardware.turns import after_cycle, before_cycles, recall_cycles
from gensynth.runs.inputs import inputs_of
from gensynth.runs.prepare import Job
from gensynth.search.cycle import Cycle, State
from gensynth.search.generator import FORM, Generator
from gensynth.search.inquisitor import Inquisitor
from gensynth.search.synthesis import find_rate, first_state, synthesise, warm_up
from gensynth.space.space import Space

RATE = "learning_rate"
"""Key of the journal's first line: the test of learning rates."""
BRIEF = "brief_peak_lr"
"""Key of the test: the rate of cycles, beside `peak_lr`, that of finalists."""


def learn(run: RunFolder, job: Job, phases: Phases, listener: Listener) -> State:
    """Run the cycles that are left; return the last state as the run folder has it."""
    recall_cycles(run, job)
    state = _last_state(run, job)
    if state is None:
        with phases("initialise"):
            listener.phase("initialise")
            state = _keep(run, job, *_begin(job, listener))
    job = with_found_rate(run, job)
    listener.phase("cycles")
    for done in run.read_journal():
        if done["cycle"] > 0:
            listener.cycle(done, job.config.search.cycles)

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
        if job.hardware:
            start = time.perf_counter()
            entry["measured"], chose_s = after_cycle(job, cycle.chosen, after, listener)
            seen = time.perf_counter()
            entry |= _on_devices(job, cycle)
            told_s = chose_s + time.perf_counter() - seen
            seconds = {"devices": seen - start - chose_s, "estimate": told_s}
            entry["seconds"] |= {phase: round(s, 3) for phase, s in seconds.items()}
        kept = _keep(run, job, after, entry)
        run.write_bytes(PHASES_FILE, json_bytes(phases.lap()))
        listener.cycle({"cycle": cycle.number, **entry}, job.config.search.cycles)
        return kept

    with phases("cycles"):
        return synthesise(job.settings, job.evaluator, job.probe, state, keep=keep)


def _begin(job: Job, listener: Listener) -> tuple[State, dict[str, Any]]:
    """Return the state before the first cycle, and its line of the journal."""
    begun = time.perf_counter()
    entry: dict[str, Any] = {"phase": "initialise"}
    measured = before_cycles(job, listener)
    seen = time.perf_counter()
    settings = replace(job.settings, limits=job.limits())
    start = job.config.search.start
    if start is None:
        state = first_state(settings, job.evaluator, job.probe, job.hardware.space)
    else:
        state = learned_by(start, job)
    if settings.finds_rate:
        entry |= _found_by(start)
        if RATE not in entry:
            test = find_rate(settings, job.evaluator, state)
            listener.note(test.told())
            entry |= {RATE: {**test.to_document(), BRIEF: test.brief.rate}}
        settings = replace(settings, recipe=job.at_rates(*_rates(entry)).settings.recipe)
    if start is None:
        state = warm_up(settings, job.evaluator, state)
    entry["seconds"] = {"initialise": round(time.perf_counter() - seen, 3)}
    if job.hardware:
        entry["seconds"]["devices"] = round(seen - begun, 3)
        entry["measured"] = measured
    return state, entry


def with_found_rate(run: RunFolder, job: Job) -> Job:
    """Return the job at the learning rates that its run has found, if it has looked for some."""
    for entry in run.read_journal():
        if RATE in entry:
            return job.at_rates(*_rates(entry))
    return job


def _rates(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Return the rates of finalists and of cycles, which had one when the entry named one."""
    found = entry[RATE]
    return float(found["peak_lr"]), float(found.get(BRIEF, found["peak_lr"]))


def _found_by(start: Path | None) -> dict[str, Any]:
    """Return the test of learning rates that an earlier run has made; empty if it made none."""
    if start is None:
        return {}
    journal = RunFolder.open(start, lock=False).read_journal()
    return next(({RATE: entry[RATE]} for entry in journal if RATE in entry), {})


def learned_by(path: Path, job: Job) -> State:
    """Return what a finished run knows, as the state before the first cycle of another.

    Raises:
        RunError: if there is no finished run, or it is of another prototype, other images or
            other widths and substitutes, whose observations would not be true here.
    """
    last = RunFolder.open(path, lock=False).latest_state()
    known = inputs_of(path)
    if last is None or not is_finished(path) or "data" not in known:
        raise RunError(f"{path} is no finished run, so nothing can be begun from it")
    for what in ("data", "prototype"):
        changed = [k for k, v in known[what].items() if job.inputs[what].get(k) != v]
        if set(changed) - {"name"}:
            raise RunError(f"the {what} of {path} is not that of this run: {changed[0]} differs")
    step = FORM.read(read_text(path / GENERATOR_FILE))["align"]
    if step != job.step.channels:
        raise RunError(
            f"{path} has widths in steps of {step}, and this run in steps of "
            f"{job.step.channels}; leave out round_to"
        )
    now = job.hardware.space
    # It may be limited by what its networks took on devices, which need not be this run's.
    bare = Space(now.coupling, now.round_to, now.sites.substitutes)
    try:
        state = state_files.read(*last, job.prototype, tables_of(path, bare))
        return _on_space_of(job, replace(state, cycle=0))
    except UnreachableError as error:
        raise RunError(f"{path} cannot be begun from: {error}") from error


def early(run: RunFolder, job: Job) -> list[FullDistillation]:
    """Return the networks that cycles distilled fully, if they are within the limits on cost."""
    names = map(_early_name, range(1, job.config.search.full_networks + 1))
    kept = [full_distillation.read(run, job, name) for name in names]
    return [one for one in kept if one is not None and one.fits(job)]


def _early_name(cycle: int) -> str:
    return f"cycle-{cycle}"


def _entry(job: Job, cycle: Cycle) -> dict[str, Any]:
    low, _, high = cycle.promised
    costs = {**cycle.costs, metrics.PEAK.name: peak_mib(cycle.chosen.graph)}
    verdicts = judge_all(job.requirements, {cycle.score.metric: (low, high)}, costs)
    return {
        **cycle.to_document(),
        "verdict": combine(verdicts.values()).value,
        "verdicts": {text: verdict.value for text, verdict in verdicts.items()},
    }


def _on_devices(job: Job, cycle: Cycle) -> dict[str, Any]:
    """Return what is known of a cycle's network on devices, and what its requirements say now.

    The tables and limits of the next cycle are made here.
    """
    low, _, high = cycle.promised
    figures = job.hardware.figures(cycle.chosen.points[0])
    quality = {cycle.score.metric: (low, high)}
    verdicts = judge_all(job.requirements, quality, cycle.costs, figures)
    job.hardware.tabulate()
    return {
        "figures": {key: figure.to_document() for key, figure in figures.items()},
        "limits": job.limits(),
        "verdict": combine(verdicts.values()).value,
        "verdicts": {text: verdict.value for text, verdict in verdicts.items()},
    }


def _keep(run: RunFolder, job: Job, state: State, entry: dict[str, Any]) -> State:
    """Commit a state; return it as it would be read back."""
    files = state_files.dump(state)
    run.commit_state(state.cycle, files, entry)
    return _now(job, state_files.restore(state.cycle, files, job.hardware.space))


def _last_state(run: RunFolder, job: Job) -> State | None:
    """Return the last state that is kept, its generator under the limits that are asked now."""
    last = run.latest_state()
    if last is None:
        return None
    return _now(job, state_files.read(*last, job.prototype, job.hardware.space))


def _on_space_of(job: Job, state: State) -> State:
    """Return what another run knows, with the costs and limits of this one."""
    space, known = job.hardware.space, state.inquisitor
    return replace(
        state,
        generator=Generator(space, state.generator.theta, job.limits(), job.settings.budgeted),
        inquisitor=Inquisitor(space, known.importance, known.divergences, known.observations),
    )


def _now(job: Job, state: State) -> State:
    """Return a state whose generator obeys the limits as they are now."""
    return replace(state, generator=replace(state.generator, limits=job.limits()))
