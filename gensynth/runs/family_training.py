"""Generated networks trained and certified: each distilled once, counted once, kept.

`family` draws them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from gensynth.config_file import read
from gensynth.errors import Interrupted, RunError
from gensynth.goals.certificate import certify, verdicts
from gensynth.goals.intervals import lower_bound, wilson
from gensynth.goals.ledger import Ledger, split_sha256, weights_sha256
from gensynth.goals.requirements import DEVICE_COSTS, Requirement
from gensynth.goals.verdicts import Verdict, combine, judge_range
from gensynth.graph.graph import Graph
from gensynth.network.module import GRAPH_FILE, WEIGHTS_FILE, load_network
from gensynth.progress import SILENT, Watch
from gensynth.runs import full_distillation, state_files
from gensynth.runs.family import (
    DRAWN_FILE,
    GENERATED,
    Drawn,
    Family,
    draw,
    has_files,
    json_bytes,
    open_finished,
)
from gensynth.runs.folder import RunFolder
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import CARD_FILE, CARD_FORMAT

SEARCH_FILE = "search.json"


def distil(path: Path, seeds: Iterable[int], *, watch: Watch = SILENT) -> Family:
    """Draw networks, distil each fully as a finalist is, and certify it on the test split.

    What was done before is kept: the same call after a stop goes on where it was, and a
    network that two seeds give is distilled for the first of them.

    Args:
        path: of the run folder.
        seeds: one network each; the confidence of all certificates together is shared by
            as many networks as there are seeds.
        watch: hears of the progress.

    Raises:
        Interrupted: on Ctrl-C.
        GensynthError: as `generate`, and if the data set is not what the run began with.
    """
    with open_finished(path) as run:
        family = draw(run, list(dict.fromkeys(seeds)), watch)
        kept = path / "prototype" / state_files.WEIGHTS_FILE
        done = 0
        try:
            job = prepare(read(path / "run.toml"), watch=watch, kept=kept)
            _check_data(run, job)
            watch.phase("finalists")
            for drawn in family.drawn:
                _train(run, job, drawn, watch)
                done += 1
            watch.phase("certify")
            certified = tuple(_certify(run, job, d, len(family.drawn)) for d in family.drawn)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"stopped after {done} of {len(family.drawn)} networks; the same command goes on"
            ) from error
    satisfied = sum(_meets(job.requirements, drawn) for drawn in certified)
    return Family(
        path=family.path,
        drawn=certified,
        median_distance=family.median_distance,
        satisfied=satisfied,
        judged=len(certified),
        share_lower_bound=lower_bound(satisfied, len(certified)) if certified else None,
    )


def _train(run: RunFolder, job: Job, drawn: Drawn, watch: Watch) -> None:
    """Distil one network and count on the search split, unless that is kept."""
    name = f"seed-{drawn.seed}"
    if not (drawn.folder / SEARCH_FILE).exists():
        twin = _trained_twin(drawn)
        files = _trained(run, job, drawn, name, watch) if twin is None else _taken_from(twin)
        files[DRAWN_FILE] = (drawn.folder / DRAWN_FILE).read_bytes()
        run.write_folder(f"{GENERATED}/{drawn.seed}", files)
    full_distillation.forget_checkpoint(run, name)


def _trained_twin(drawn: Drawn) -> Path | None:
    """Return the folder of another seed that gave the same network, if it is trained."""
    graph = (drawn.folder / GRAPH_FILE).read_bytes()
    others = sorted(found.parent for found in drawn.folder.parent.glob(f"*/{SEARCH_FILE}"))
    return next((o for o in others if (o / GRAPH_FILE).read_bytes() == graph), None)


def _taken_from(twin: Path) -> dict[str, bytes]:
    """Return what the same training would give again, and the seed that it was done for."""
    files = {name: (twin / name).read_bytes() for name in (GRAPH_FILE, WEIGHTS_FILE)}
    search = {"trained_as_seed": int(twin.name), **json.loads((twin / SEARCH_FILE).read_bytes())}
    return {**files, SEARCH_FILE: json_bytes(search)}


def _trained(run: RunFolder, job: Job, drawn: Drawn, name: str, watch: Watch) -> dict[str, bytes]:
    last = run.latest_state()
    assert last is not None, "a finished run has a state"
    weights = state_files.restore(last[0], state_files.read_files(last[1]), job.space).weights
    graph = Graph.from_json((drawn.folder / GRAPH_FILE).read_text())
    network, correct, seconds = full_distillation.distil(
        run, job, graph, weights, name=name, watch=watch
    )
    n = len(job.dataset.search)
    search = {
        "correct": correct,
        "n": n,
        "top1_pct": 100 * correct / n,
        "interval_pct": [100 * bound for bound in wilson(correct, n)],
        "seconds": {phase: round(s, 3) for phase, s in seconds.items()},
    }
    return {**full_distillation.network_files(network), SEARCH_FILE: json_bytes(search)}


def _certify(run: RunFolder, job: Job, drawn: Drawn, sharing: int) -> Drawn:
    """Count one network on the test split through the ledger, and write its card."""
    test = job.dataset.test
    network = load_network(drawn.folder, opaque=job.prototype.opaque)
    job.workshop.compute.place(network)
    correct = Ledger(run.ledger).count(
        weights_sha256(drawn.folder / WEIGHTS_FILE),
        split_sha256(test),
        lambda: job.workshop.correct(network, test),
        n=len(test),
    )
    certificate = certify(correct, len(test), job.requirements, sharing=sharing)
    costs = {"params": drawn.params, "macs": drawn.macs}
    share = correct / len(test)
    certified = verdicts(certificate, job.requirements, costs)
    pointwise = judge_range(job.requirements, (share, share), costs)
    search = json.loads((drawn.folder / SEARCH_FILE).read_bytes())
    card = {
        "format": CARD_FORMAT,
        "name": f"seed {drawn.seed}",
        "what": f"generated from {job.config.prototype.network} for {job.dataset.name}, distilled",
        "seed": drawn.seed,
        "generator_sha256": weights_sha256(run.path / state_files.GENERATOR_FILE),
        "removed_blocks": list(network.graph.selection.removed),
        "operators": dict(network.graph.selection.operators),
        "costs": costs,
        "certificate": certificate.to_json(),
        "search": search,
        "predicted": {"top1_pct": list(drawn.predicted_top1_pct)},
        "requirements": [
            {"text": text, "certified": certified[text].value, "point": pointwise[text].value}
            for text in certified
        ],
        "data": job.inputs["data"],
    }
    content = json_bytes(card)
    if not has_files(drawn.folder, {CARD_FILE: content}):
        run.write_bytes(f"{GENERATED}/{drawn.seed}/{CARD_FILE}", content)
    return Drawn(
        seed=drawn.seed,
        folder=drawn.folder,
        graph_sha256=drawn.graph_sha256,
        params=drawn.params,
        macs=drawn.macs,
        predicted_top1_pct=drawn.predicted_top1_pct,
        verdicts=certified,
        certificate=certificate,
        search_correct=search["correct"],
        search_n=search["n"],
        point_verdicts=pointwise,
    )


def _meets(requirements: tuple[Requirement, ...], drawn: Drawn) -> bool:
    assert drawn.point_verdicts is not None
    decided = [r.text for r in requirements if r.metric not in DEVICE_COSTS]
    return combine(drawn.point_verdicts[text] for text in decided) is Verdict.SATISFIED


def _check_data(run: RunFolder, job: Job) -> None:
    known = json.loads((run.path / "inputs.json").read_bytes())["data"]
    found = job.inputs["data"]
    changed = [key for key, value in known.items() if found.get(key) != value]
    if changed:
        raise RunError(
            f"the data set of {run.path} is not what the run began with: {changed[0]} differs; "
            "put it back, or start another run"
        )
