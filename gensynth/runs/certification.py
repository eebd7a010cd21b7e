"""One's own further training, certified in the run that the network came from.

    RUN/finalists/NAME      its weights replaced by further trained ones
        -> search split     scored anew
        -> test split       through the run's ledger: one more network that it has judged
        -> network.onnx     written from what is there now, compared, timed beside the prototype
        -> card.json        for these files, last

Nobody can tell here what a network was trained on: the card says that it was trained outside
gensynth, and how many networks the test split has judged, who share its confidence.
"""

import json
from pathlib import Path
from typing import Any

from torch import nn

from gensynth.atomic_files import json_bytes
from gensynth.errors import Interrupted, RunError
from gensynth.goals.card import CARD_FORMAT, differing, hashes, read_card
from gensynth.goals.card_form import OWN
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, WEIGHTS_FILE
from gensynth.network.files import load_network
from gensynth.outside import read_bytes
from gensynth.progress import SILENT, Listener
from gensynth.run_files import PROTOTYPE, run_of
from gensynth.runs import publish
from gensynth.runs.cards import Entrant, card_of, ratios_of, setting_of
from gensynth.runs.family import open_finished
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware.turns import recall
from gensynth.runs.inputs import check_inputs, config_of, kept_weights
from gensynth.runs.learning import with_found_rate
from gensynth.runs.objects import Objects
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import Finalist, read_finalist
from gensynth.runs.trust import require

FROM_THE_RUN = ("seed", "generator_sha256", "made_in")
"""What stays true of a network whose weights alone are others."""
HISTORY = frozenset({"what", "training", "predicted"})
"""What stays true of one that is the same, beside another ONNX file."""


def certify(
    path: Path,
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
    root = run_of(path)
    if root is None or root == path or path.resolve().parent.parent != root.resolve():
        raise RunError(f"{path} is no network of a run; name one such as RUN/finalists/FermiNet-A")
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        if not (path / name).is_file():
            raise RunError(f"no network in {path}: {name} is absent")
    before = _old_card(path)
    if before.get("format") == CARD_FORMAT and not differing(before, path):
        return read_finalist(root / PROTOTYPE), read_finalist(path)
    with open_finished(root) as run:
        try:
            overrides = {"data.source": None if dataset is not None else data}
            config = config_of(root, overrides)
            require(config, root, trust=trust, named=data)
            job = prepare(
                config, listener=listener, kept=kept_weights(root),
                objects=Objects.of(prototype, dataset),
            )  # fmt: skip
            check_inputs(root, job)
            recall(run, job)
            job = with_found_rate(run, job)
            _certify(run, job, path, before, listener, command)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped; the same command goes on") from error
    return read_finalist(root / PROTOTYPE), read_finalist(path)


def _certify(
    run: RunFolder,
    job: Job,
    path: Path,
    before: dict[str, Any],
    listener: Listener,
    command: str | None,
) -> None:
    """Score, certify, export and time one network; its card comes last."""
    listener.phase("certify")
    network = load_network(path, opaque=job.prototype.opaque)
    job.task.check(network.graph, job.dataset)
    job.evaluator.compute.place(network).eval()
    source = str(path.resolve().relative_to(run.path.resolve()))
    score = job.evaluator.score(network, job.dataset.search)
    entrant = Entrant(str(before.get("name") or path.name), source, network, score, None)
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
    card |= _history(job, before, path, sharing)
    card |= {
        "parity": exported.parity,
        "no_onnx_because": exported.why_not,
        "sha256": hashes(path),
        "ratios": ratios_of(read_card(run.path / PROTOTYPE), card, ratios.get(entrant.name)),
    }
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
