"""What a run began with, as inputs.json keeps it, and whether it is so still.

    config        its run file, table by table
    data          of the data set: classes, normalisation, the splits' SHA-256
    prototype     name and graph; its weights by their SHA-256
    score         of the prototype on the search split, in percent by metric
    judged        networks that the test split had judged when more was asked of the run

The first is kept from the start, the others once the prototype is there.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save

from gensynth import references
from gensynth.atomic_files import file_sha256, json_bytes
from gensynth.config import RunConfig, located
from gensynth.config_file import read, to_document, to_toml
from gensynth.errors import RunError
from gensynth.goals.exact import exact_costs
from gensynth.goals.metrics import stand_in
from gensynth.graph.files import GRAPH_FILE, WEIGHTS_FILE
from gensynth.network.files import read_graph
from gensynth.prototypes import is_of_library
from gensynth.run_files import INPUTS_FILE, PROTOTYPE, RUN_FILE, is_finished
from gensynth.runs.folder import RunFolder
from gensynth.runs.forms import INPUTS
from gensynth.runs.hardware import calibration
from gensynth.runs.hardware.calibration import Calibration
from gensynth.runs.objects import OBJECT
from gensynth.runs.prepare import Job
from gensynth.runs.result import read_document
from gensynth.runs.trust import require


def config_of(run: Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the run file in a run's folder; modules that it names are found from now on.

    Raises:
        ConfigError: as `gensynth.config_file.read`.
    """
    config = read(run / RUN_FILE, overrides)
    references.search(config.modules)
    return config


def begun_from(run: Path, overrides: Mapping[str, Any], *, trust: bool = False) -> RunConfig:
    """Return the configuration of a run that goes on from what a finished one has learned.

    It is the finished run's own, with the prototype that it kept and without its folder; what is
    asked of it anew is laid over.

    Raises:
        ConfigError: as `gensynth.config_file.read`.
        RunError: if the run is not finished, or names code that is not trusted.
    """
    if not is_finished(run):
        raise RunError(f"{run} is no finished run; go on with it by: gensynth synth --resume {run}")
    require(config_of(run), run, trust=trust)
    config = config_of(run, {k: v for k, v in overrides.items() if v is not None})
    return replace(
        config,
        out=overrides.get("out") and located(overrides["out"]),
        prototype=replace(config.prototype, train=False, weights=kept_weights(run.absolute())),
        search=replace(config.search, start=run.absolute()),
    )


def with_modules(config: RunConfig) -> RunConfig:
    """Return a configuration that says where the modules lie which it names."""
    references.search(config.modules)
    named = (
        config.prototype.network,
        config.data.source,
        config.task.kind,
        config.task.train or "",
        *config.data.augments,
    )
    own = [n for n in named if ":" in n and not n.startswith(OBJECT) and not is_of_library(n)]
    found = [references.folder_of(name) for name in own]
    folders = dict.fromkeys([*config.modules, *(folder for folder in found if folder is not None)])
    return replace(config, modules=tuple(folders))


def inputs_of(run: Path) -> dict[str, Any]:
    """Return what is kept; empty in a run of an earlier version that was stopped at once."""
    path = run / INPUTS_FILE
    if not path.exists():
        return {}
    return read_document(INPUTS, path)


def kept_weights(run: Path) -> Path | None:
    """Return the weights of the prototype that a run keeps; None before it is there."""
    return run / PROTOTYPE / WEIGHTS_FILE if "data" in inputs_of(run) else None


def reference_of(run: Path) -> dict[str, float]:
    """Return what relative requirements of a run are held against: costs and score by metric.

    Empty before the prototype is there; without a score in a run of an earlier version. The metric
    of the score is known from then on, though its task may not have been opened.

    Raises:
        RunError: if what the run keeps is damaged.
    """
    known = inputs_of(run)
    if "data" not in known:
        return {}
    score = known.get("score", {})
    try:
        for metric in score:
            stand_in(metric)
    except ValueError as error:
        raise RunError(f"{run / INPUTS_FILE} is damaged: {error}") from error
    return {**exact_costs(read_graph(run / PROTOTYPE / GRAPH_FILE)), **score}


def kept_calibration(run: Path) -> Calibration | None:
    """Return what a run knew of its devices at its start; None before it has begun to learn."""
    return None if kept_weights(run) is None else calibration.read(run)


def judged_before(run: Path) -> int:
    """Return how many networks the test split had judged when this was asked of a run."""
    return int(inputs_of(run).get("judged", 0))


def keep_config(run: RunFolder, config: RunConfig, *, judged: int = 0) -> None:
    """Keep what is asked of a run: from its start, or from a change of it."""
    known = inputs_of(run.path)
    now = {"config": to_document(config), **({"judged": judged} if judged else {})}
    run.write_bytes(INPUTS_FILE, json_bytes({**known, **now}))


def keep_inputs(run: RunFolder, job: Job) -> None:
    """Keep the prototype, and what a resumed run must find unchanged."""
    # All of its weights, those too that its graph does not use: the module wants them back.
    files = {
        GRAPH_FILE: job.prototype.graph.to_json().encode(),
        WEIGHTS_FILE: save({k: t.contiguous() for k, t in job.prototype.weights.items()}),
    }
    run.write_folder(PROTOTYPE, {**files, **job.training})
    calibration.keep(run, job.calibration)
    digest = file_sha256(run.path / PROTOTYPE / WEIGHTS_FILE)
    # With the step of widths that this machine suggested: another one may suggest another.
    config = replace(job.config, out=run.path.resolve())
    run.write_text(RUN_FILE, to_toml(config))
    inputs = {"config": to_document(config), "data": job.inputs["data"], "weights_sha256": digest}
    inputs["prototype"] = job.inputs["prototype"]
    inputs["score"] = {job.task.metric: 100 * job.search_score.value}
    run.write_bytes(INPUTS_FILE, json_bytes(inputs))


def check_inputs(run: Path, job: Job) -> None:
    """Refuse a data set or a prototype that is not what a run began with.

    The data set's name does not matter, its images do.

    Raises:
        RunError: naming what differs.
    """
    known = inputs_of(run)
    if "data" not in known:
        return
    weights = run / PROTOTYPE / WEIGHTS_FILE
    if not weights.is_file() or file_sha256(weights) != known["weights_sha256"]:
        raise RunError(f"{weights} is not what the run began with; put it back from a copy")
    for what, name in (("data", "data set"), ("prototype", "prototype")):
        found = job.inputs[what]
        changed = [
            key
            for key, value in known[what].items()
            if found.get(key) != value and (what, key) != ("data", "name")
        ]
        if changed:
            raise RunError(
                f"the {name} of {run} is not what the run began with: {changed[0]} differs; put "
                "it back, or start another run"
            )
