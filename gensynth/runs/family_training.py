"""Generated networks trained and certified: each distilled once, counted once, kept.

`family` draws them.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from gensynth.atomic_files import file_sha256, json_bytes
from gensynth.errors import Interrupted, RunError
from gensynth.goals.card import hashes, read_card
from gensynth.goals.intervals import lower_bound
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import in_percent, read_score
from gensynth.goals.verdicts import Verdict, combine
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, WEIGHTS_FILE
from gensynth.network.files import load_network, read_graph
from gensynth.outside import WEIGHTS_BYTES, read_bytes
from gensynth.progress import SILENT, Listener
from gensynth.run_files import GENERATED, GENERATOR_FILE, PROTOTYPE
from gensynth.runs import full_distillation, state_files
from gensynth.runs.cards import Entrant, Origin, card_of, setting_of
from gensynth.runs.family import (
    DRAWN_FILE,
    Drawn,
    Family,
    asked_of,
    draw,
    has_files,
    open_finished,
)
from gensynth.runs.folder import RunFolder
from gensynth.runs.forms import SEARCH
from gensynth.runs.hardware.turns import recall
from gensynth.runs.inputs import check_inputs, kept_calibration
from gensynth.runs.learning import with_found_rate
from gensynth.runs.objects import Objects
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.publish import certificate_of, sharing_of
from gensynth.runs.result import read_document
from gensynth.runs.trust import require

SEARCH_FILE = "search.json"


def distil(
    path: Path,
    seeds: Iterable[int],
    *,
    requirements: Iterable[str] = (),
    prototype: nn.Module | None = None,
    dataset: Any = None,
    trust: bool = False,
    listener: Listener = SILENT,
) -> Family:
    """Draw networks, distil each fully as a finalist is, and certify it on the test split.

    What was done before is kept: the same call after a stop goes on where it was, and a
    network that two seeds give is distilled for the first of them.

    Args:
        path: of the run folder.
        seeds: one network each; they share the confidence of their certificates with every
            network that the run's test split has judged before.
        requirements: as `gensynth.runs.family.generate`.
        prototype, dataset: the objects that the run began with, if it did.
        trust: whether code may run that only the folder names (`gensynth.runs.trust`).
        listener: hears of the progress.

    Raises:
        Interrupted: on Ctrl-C.
        GensynthError: as `generate`, and if the data set is not what the run began with.
    """
    with open_finished(path) as run:
        config = asked_of(path, requirements)
        require(config, path, trust=trust)
        family = draw(run, list(dict.fromkeys(seeds)), listener, config)
        kept = path / PROTOTYPE / WEIGHTS_FILE
        done = 0
        try:
            job = prepare(
                config, listener=listener, kept=kept,
                objects=Objects.of(prototype, dataset), known=kept_calibration(path),
            )  # fmt: skip
            check_inputs(path, job)
            recall(run, job)
            job = with_found_rate(run, job)
            listener.phase("finalists")
            for drawn in family.drawn:
                _train(run, job, drawn, listener)
                done += 1
            listener.phase("certify")
            sharing = sharing_of(run, job, [drawn.folder for drawn in family.drawn])
            certified = tuple(_certify(run, job, drawn, sharing) for drawn in family.drawn)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"stopped after {done} of {len(family.drawn)} networks; the same command goes on"
            ) from error
    satisfied = sum(_meets(job.requirements, drawn) for drawn in certified)
    return Family(
        path=family.path,
        drawn=certified,
        architectures=family.architectures,
        median_distance=family.median_distance,
        satisfied=satisfied,
        judged=len(certified),
        share_lower_bound=lower_bound(satisfied, len(certified)) if certified else None,
    )


def _train(run: RunFolder, job: Job, drawn: Drawn, listener: Listener) -> None:
    """Distil one network and count on the search split, unless that is kept."""
    name = f"seed-{drawn.folder.name}"
    if not (drawn.folder / SEARCH_FILE).exists():
        twin = _trained_twin(drawn)
        files = _trained(run, job, drawn, name, listener) if twin is None else _taken_from(twin)
        files[DRAWN_FILE] = read_bytes(drawn.folder / DRAWN_FILE)
        run.write_folder(f"{GENERATED}/{drawn.folder.name}", files)
    full_distillation.forget_checkpoint(run, name)


def _trained_twin(drawn: Drawn) -> Path | None:
    """Return the folder of another seed that gave the same network, if it is trained."""
    graph = read_bytes(drawn.folder / GRAPH_FILE)
    others = sorted(found.parent for found in drawn.folder.parent.glob(f"*/{SEARCH_FILE}"))
    return next((o for o in others if read_bytes(o / GRAPH_FILE) == graph), None)


def _taken_from(twin: Path) -> dict[str, bytes]:
    """Return what the same training would give again, and the seed that it was done for."""
    files = {
        GRAPH_FILE: read_bytes(twin / GRAPH_FILE),
        WEIGHTS_FILE: read_bytes(twin / WEIGHTS_FILE, WEIGHTS_BYTES),
    }
    search = {
        "trained_as_seed": int(twin.name.rpartition("-")[2]),
        **read_document(SEARCH, twin / SEARCH_FILE),
    }
    return {**files, SEARCH_FILE: json_bytes(search)}


def _trained(
    run: RunFolder, job: Job, drawn: Drawn, name: str, listener: Listener
) -> dict[str, bytes]:
    last = run.latest_state()
    assert last is not None, "a finished run has a state"
    weights = state_files.read(*last, job.prototype, job.hardware.space).weights
    graph = read_graph(drawn.folder / GRAPH_FILE)
    network, score, seconds = full_distillation.distil(
        run, job, graph, weights, name=name, listener=listener
    )
    rounded = {phase: round(s, 3) for phase, s in seconds.items()}
    files = full_distillation.network_files(network)
    digest = full_distillation.sha256_of(files[WEIGHTS_FILE])
    search = {"metric": score.metric, **in_percent(score), "seconds": rounded}
    return {**files, SEARCH_FILE: json_bytes({**search, "weights_sha256": digest})}


def _certify(run: RunFolder, job: Job, drawn: Drawn, sharing: int) -> Drawn:
    """Score one network on the test split through the ledger, and write its card.

    Raises:
        RunError: if its weights are not those that were distilled here.
    """
    if (drawn.folder / CARD_FILE).is_file() and read_card(drawn.folder).get("trained_further"):
        raise RunError(
            f"{drawn.folder} was trained further outside gensynth; move it away, and the same "
            f"command distils seed {drawn.seed} again"
        )
    search = read_document(SEARCH, drawn.folder / SEARCH_FILE)
    full_distillation.check_weights(drawn.folder, search)
    network = load_network(drawn.folder, opaque=job.prototype.opaque)
    job.evaluator.compute.place(network)
    certificate = certificate_of(run, job, network, drawn.folder / WEIGHTS_FILE, sharing)
    name, source = f"seed-{drawn.seed}", f"{GENERATED}/{drawn.folder.name}"
    generator = file_sha256(run.path / GENERATOR_FILE)
    origin = Origin(drawn.seed, generator, name, drawn.predicted)
    entrant = Entrant(f"seed {drawn.seed}", source, network, read_score(search), origin)
    card = {**card_of(job, entrant, certificate), **setting_of(job, command=None)}
    card["sha256"] = hashes(drawn.folder)
    card["search"] |= {key: search[key] for key in ("trained_as_seed", "seconds") if key in search}
    content = json_bytes(card)
    if not has_files(drawn.folder, {CARD_FILE: content}):
        run.write_bytes(f"{source}/{CARD_FILE}", content)
    verdicts = {one["text"]: one for one in card["requirements"]}
    return replace(
        drawn,
        verdicts={text: Verdict(one["certified"]) for text, one in verdicts.items()},
        certificate=certificate,
        search_score=entrant.search_score,
        point_verdicts={text: Verdict(one["point"]) for text, one in verdicts.items()},
    )


def _meets(requirements: tuple[Requirement, ...], drawn: Drawn) -> bool:
    assert drawn.point_verdicts is not None
    decided = [r.text for r in requirements if r.of != "device"]
    return combine(drawn.point_verdicts[text] for text in decided) is Verdict.SATISFIED
