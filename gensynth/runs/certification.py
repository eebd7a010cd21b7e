"""Further training, one's own or a run's, certified in the run that the network came from.

    RUN/finalists/NAME      its weights replaced by further trained ones, or `train` makes
                            RUN/finalists/NAME-EPOCHS by more of the run's distillation
        -> search split     scored anew
        -> test split       through the run's ledger: one more network that it has judged
        -> network.onnx     written from what is there now, compared, timed beside the prototype
        -> card.json        for these files, last

Nobody can tell here what a network was trained on outside gensynth: the card says that it was, and
how many networks the test split has judged, who share its confidence.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from gensynth.atomic_files import json_bytes
from gensynth.errors import ConfigError, Interrupted, RunError
from gensynth.goals.card import CARD_FORMAT, differing, hashes, read_card
from gensynth.goals.card_form import OWN
from gensynth.goals.hub_card import HUB_FILE, hub_card
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, WEIGHTS_FILE
from gensynth.network.files import load_network
from gensynth.outside import read_bytes
from gensynth.progress import SILENT, Listener
from gensynth.run_files import FINALISTS, PROTOTYPE, run_of
from gensynth.runs import publish
from gensynth.runs.cards import Entrant, card_of, ratios_of, setting_of
from gensynth.runs.family import open_finished
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import (
    CHECKPOINTS,
    forget_checkpoint,
    network_files,
    steps_of,
)
from gensynth.runs.hardware.turns import recall
from gensynth.runs.inputs import check_inputs, config_of, kept_calibration, kept_weights
from gensynth.runs.learning import with_found_rate
from gensynth.runs.objects import Objects
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import Finalist, read_finalist
from gensynth.runs.trust import require
from gensynth.training.fit import COMPILED_FROM

FROM_THE_RUN = ("seed", "generator_sha256", "made_in")
"""What stays true of a network whose weights alone are others."""
HISTORY = frozenset({"what", "training", "predicted"})
"""What stays true of one that is the same, beside another ONNX file."""


def certify(
    path: str | Path,
    *,
    data: str | None = None,
    prototype: nn.Module | None = None,
    dataset: Any = None,
    trust: bool = False,
    listener: Listener = SILENT,
    command: str | None = None,
) -> tuple[Finalist, Finalist]:
    """Certify what stands in a network's folder of a run, and write its card anew.

    A network whose card is its own already is only read.

    Args:
        path: of the folder, RUN/finalists/NAME.
        data: where the run's data set lies now, if not where it lay; as in a run file.
        prototype, dataset: the objects that the run began with, if it did.
        trust: whether code may run that only the run's folder names (`gensynth.runs.trust`).
        listener: hears of the progress.
        command: what a person types to repeat it, for the card.

    Returns:
        (the run's prototype, the network).

    Raises:
        RunError: if there is no such network, its run is not finished or in use, or the data set
            is not what the run began with; the test split is not touched then.
        GensynthError: for what is wrong with the files.
    """
    path = Path(path)
    root, before = _run_of_network(path), _old_card(path)
    if before.get("format") == CARD_FORMAT and not differing(before, path):
        return read_finalist(root / PROTOTYPE), read_finalist(path)
    objects = Objects.of(prototype, dataset)
    with _opened(root, data, objects, listener, trust=trust) as (run, job):
        name = str(before.get("name") or path.name)
        _certify(run, job, path, name, before, None, listener, command)
    return read_finalist(root / PROTOTYPE), read_finalist(path)


def train(
    path: str | Path,
    *,
    epochs: float,
    data: str | None = None,
    prototype: nn.Module | None = None,
    dataset: Any = None,
    trust: bool = False,
    listener: Listener = SILENT,
    command: str | None = None,
) -> tuple[Finalist, Finalist]:
    """Distil a run's network further, and certify it beside the one that it came from.

    The network in `path` stays as it is; the new one stands in RUN/finalists/NAME-EPOCHS. A stopped
    training goes on by the same call.

    Args:
        path: of the folder, RUN/finalists/NAME.
        epochs: passes over the training images, by the run's recipe from its largest rate on.
        data, prototype, dataset, trust, listener, command: as `certify`.

    Returns:
        (the run's prototype, the new network).

    Raises:
        ConfigError: if the epochs are not above zero.
        RunError: as `certify`.
    """
    if not epochs > 0:
        raise ConfigError(f"epochs must be above zero, got {epochs:g}")
    path = Path(path)
    root, before = _run_of_network(path), _old_card(path)
    name = f"{before.get('name') or path.name}-{epochs:g}"
    made = root / FINALISTS / name
    if (made / CARD_FILE).is_file():
        return certify(
            made, data=data, prototype=prototype, dataset=dataset, trust=trust,
            listener=listener, command=command,
        )  # fmt: skip
    objects = Objects.of(prototype, dataset)
    with _opened(root, data, objects, listener, trust=trust) as (run, job):
        compiled = epochs * len(job.dataset.train) >= COMPILED_FROM
        recipe = replace(job.recipe, epochs=epochs, compiled=compiled)
        if not (made / WEIGHTS_FILE).is_file():
            listener.phase("finalists")
            network = load_network(path, opaque=job.prototype.opaque)
            job.evaluator.compute.place(network)
            checkpoint = run.path / CHECKPOINTS / f"{name}.safetensors"
            checkpoint.parent.mkdir(exist_ok=True)
            job.evaluator.distil(
                network, recipe, checkpoint=checkpoint, progress=steps_of(listener, name)
            )
            run.write_folder(f"{FINALISTS}/{name}", network_files(network))
            forget_checkpoint(run, name)
        history = {
            "what": f"{before.get('what', 'a network of this run')}, then {epochs:g} epochs more",
            "training": {"recipe": asdict(recipe), "seed": job.config.seed},
        }
        _certify(run, job, made, name, before, history, listener, command)
    return read_finalist(root / PROTOTYPE), read_finalist(made)


def _run_of_network(path: Path) -> Path:
    """Return the run that a network's folder belongs to."""
    root = run_of(path)
    if root is None or root == path or path.resolve().parent.parent != root.resolve():
        raise RunError(f"{path} is no network of a run; name one such as RUN/finalists/FermiNet-A")
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        if not (path / name).is_file():
            raise RunError(f"no network in {path}: {name} is absent")
    return root


@contextlib.contextmanager
def _opened(
    root: Path, data: str | None, objects: Objects, listener: Listener, *, trust: bool
) -> Iterator[tuple[RunFolder, Job]]:
    """Open a finished run for one more network; what it began with is there as it was."""
    with open_finished(root) as run:
        try:
            overrides = {"data.source": None if objects.dataset is not None else data}
            config = config_of(root, overrides)
            require(config, root, trust=trust, named=data)
            job = prepare(
                config, listener=listener, kept=kept_weights(root), objects=objects,
                known=kept_calibration(root),
            )  # fmt: skip
            check_inputs(root, job)
            recall(run, job)
            yield run, with_found_rate(run, job)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped; the same command goes on") from error


def _certify(
    run: RunFolder,
    job: Job,
    path: Path,
    name: str,
    before: dict[str, Any],
    history: dict[str, Any] | None,
    listener: Listener,
    command: str | None,
) -> None:
    """Score, certify, export and time one network; its card comes last.

    Args:
        run, job: opened.
        path: of the network's folder.
        name: of the network.
        before: the card of what it was before.
        history: how it came to be; None if only its folder tells.
        listener: hears of the progress.
        command: for the card.
    """
    listener.phase("certify")
    network = load_network(path, opaque=job.prototype.opaque)
    job.task.check(network.graph, job.dataset)
    job.evaluator.compute.place(network).eval()
    source = str(path.resolve().relative_to(run.path.resolve()))
    score = job.evaluator.score(network, job.dataset.search)
    entrant = Entrant(name, source, network, score, None)
    sharing = publish.sharing_of(run, job, [path])
    certificate = publish.certificate_of(run, job, network, path / WEIGHTS_FILE, sharing)
    listener.phase("export")
    exported = publish.export_all(run, job, [entrant], listener)[entrant.name]
    listener.phase("latency")
    unchanged = Entrant(job.prototype.graph.name, PROTOTYPE, network, job.search_score, None)
    latencies, ratios = publish.time_all(run, job, [unchanged, entrant], listener)
    card = card_of(job, entrant, certificate, latencies.get(entrant.name)) | setting_of(
        job, command
    )
    card |= {key: before[key] for key in FROM_THE_RUN if key in before}
    card |= history or _history(job, before, path, sharing)
    card |= {
        "parity": exported.parity,
        "no_onnx_because": exported.why_not,
        "sha256": hashes(path),
        "ratios": ratios_of(read_card(run.path / PROTOTYPE), card, ratios.get(entrant.name)),
    }
    run.write_bytes(f"{source}/{HUB_FILE}", hub_card(card).encode())
    run.write_bytes(f"{source}/{CARD_FILE}", json_bytes(card))


def _history(job: Job, before: dict[str, Any], path: Path, sharing: int) -> dict[str, Any]:
    """Return what a card says of how its network came to be."""
    if before.keys() >= HISTORY and not differing(before, path, (GRAPH_FILE, WEIGHTS_FILE)):
        kept = {"trained_further"} & before.keys()  # only another file beside it had changed
        return {key: before[key] for key in (*HISTORY, *kept)}
    return {
        "what": f"trained further outside gensynth, from a network of {job.prototype.graph.name} "
        f"for {job.dataset.name}",
        "training": None,
        "trained_further": {
            "judged": sharing,
            "provenance": "networks that this test split has judged, this one included; they share "
            "the confidence. What it was trained on is not known here",
        },
    }


def _old_card(path: Path) -> dict[str, Any]:
    """Return the card of what stood there before; empty if there is none that can be read."""
    try:
        OWN.read(content := read_bytes(path / CARD_FILE))
        return dict(json.loads(content))
    except (OSError, ValueError):
        return {}
