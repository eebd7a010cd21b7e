"""What may change in a run that has begun: what its networks so far still answer to.

    requirements       as strict as before, or stricter
    search.cycles      at least as many as are done
    finalists.count    any number

A change is said beside --resume, held against what the run began with, and journaled. Everything
else decided the networks that are there already, so another value of it is another run. Where
things lie (`LOCATIONS`) is no change: what lies there is compared by its content.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gensynth.config import RunConfig
from gensynth.config_file import read, to_document, to_toml
from gensynth.errors import RunError
from gensynth.goals.relative import settled_texts
from gensynth.goals.requirements import is_as_strict
from gensynth.progress import Listener
from gensynth.run_files import FINALISTS, GENERATED, RESULT_FILE, RUN_FILE
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import forget_checkpoints
from gensynth.runs.inputs import config_of, inputs_of, keep_config, reference_of
from gensynth.runs.plan import goals_of

OPTIONS = {
    "requirements": "--require",
    "search.cycles": "--cycles",
    "finalists.count": "--finalists",
}
"""What a run can honour after it has begun, and how it is said."""
LOCATIONS = {
    "out", "modules", "data.source", "data.folder", "prototype.weights", "search.start",
}  # fmt: skip

Changes = dict[str, tuple[Any, Any]]
"""(before, now) by table and key, such as "search.cycles"."""


def asked(run: RunFolder, overrides: Mapping[str, Any]) -> tuple[RunConfig, Changes]:
    """Return what a resumed run is to do, and what of it is new.

    Args:
        run: that goes on.
        overrides: values of `OPTIONS` by key; None means that the option was not given.

    Raises:
        RunError: if the run file was edited and no option says the same, or a change is not one
            that the run can honour.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    unknown = sorted(given.keys() - OPTIONS.keys())
    if unknown:
        raise RunError(_refusal(run, f"{unknown[0]} cannot be given beside --resume"))
    config = config_of(run.path, given)
    reference = reference_of(run.path)
    config = replace(config, requirements=settled_texts(config.requirements, reference))
    known = inputs_of(run.path)
    # A run of an earlier version kept no copy of its run file.
    began = known.get("config") or to_document(read(run.path / RUN_FILE))
    changes = _differences(began, to_document(config))
    if "data" not in known and began["search"]["round_to"] is None:
        changes.pop("search.round_to", None)  # the step that this machine suggested
    for key, (before, now) in changes.items():
        if key not in OPTIONS:
            what = f"{key} was {_shown(before)} when {run.path} began, and is {_shown(now)} now"
            raise RunError(_refusal(run, what))
        if key not in given:
            raise RunError(
                f"{key} in {run.path / RUN_FILE} was edited from {_shown(before)} to "
                f"{_shown(now)}; say so: gensynth synth --resume {_place(run)} "
                f"{_options(key, now)}, or put it back"
            )
        _check(run, config, key, before, now)
    return config, changes


def commit(
    run: RunFolder, config: RunConfig, changes: Changes, judged: int, listener: Listener
) -> None:
    """Make changes the run's own: whatever was settled by what is no longer asked is put aside.

    Should the process end within it, the same command does the rest.
    """
    run.write_text(RUN_FILE, to_toml(config))
    run.journal_change({key: list(pair) for key, pair in changes.items()})
    forget_checkpoints(run)
    if (run.path / RESULT_FILE).exists():
        for name in (FINALISTS, GENERATED):
            if (aside := run.put_aside(name)) is not None:
                listener.note(f"what stood in {name} stands in {aside.name} now")
        run.remove(RESULT_FILE)
    keep_config(run, config, judged=judged)
    for key, (before, now) in changes.items():
        listener.note(f"{key}: {_shown(before)} before, {_shown(now)} from here on")


def _differences(began: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Return what differs, by table and key; a key that an earlier version lacks does not.

    An earlier version had no devices, and they are one whole: a run is of these and no others.
    """
    pairs: Changes = {}
    for key, before in {"devices": {}, **began}.items():
        if isinstance(before, dict) and key != "devices":
            pairs |= {f"{key}.{k}": (v, now[key].get(k)) for k, v in before.items()}
        else:
            pairs[key] = (before, now.get(key))
    return {
        key: (before, after)
        for key, (before, after) in pairs.items()
        if before != after and key not in LOCATIONS
    }


def _check(run: RunFolder, config: RunConfig, key: str, before: Any, now: Any) -> None:
    """Refuse a value that the networks made so far do not answer to."""
    if key == "requirements":
        old, new = (
            goals_of(replace(config, requirements=tuple(texts)))[0] for texts in (before, now)
        )
        looser = [one.text for one in old if not any(is_as_strict(other, one) for other in new)]
        if looser:
            what = f'"{looser[0]}" would be loosened, and networks were chosen by it'
            raise RunError(_refusal(run, what))
    last = run.latest_state()
    if key == "search.cycles" and last is not None and now < last[0]:
        raise RunError(
            f"{last[0]} cycles of {run.path} are done, so --cycles must be {last[0]} or more, "
            f"got {now}"
        )


def _refusal(run: RunFolder, what: str) -> str:
    return (
        f"{what}; a run that has begun can only be asked for stricter requirements, more cycles "
        "or another number of finalists (--require, --cycles, --finalists beside --resume): put "
        f"it back, or start another run: gensynth synth {_place(run)}/{RUN_FILE} --out FOLDER"
    )


def _options(key: str, value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return " ".join(f"{OPTIONS[key]} {shlex.quote(str(one))}" for one in values)


def _place(run: RunFolder) -> str:
    return shlex.quote(str(run.path))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
