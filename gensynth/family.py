"""More networks of a learned generator, without a new search.

    generate    seeds -> graphs, exact costs, predicted accuracy; in seconds
    distil      the same networks trained, measured on the search split, certified

A seed's graph follows from generator.json and the prototype's graph alone, byte for byte.
Each network stands in RUN/generated/SEED, and is not made twice.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensynth import attempts, states
from gensynth.certify import Certificate, certify, verdicts
from gensynth.coupling import couple
from gensynth.errors import Interrupted, PrototypeError, RunError
from gensynth.evolution import median_distance
from gensynth.generator import Generator
from gensynth.graph import Graph
from gensynth.inquisitor import Inquisitor
from gensynth.intervals import lower_bound, wilson
from gensynth.job import Job, prepare
from gensynth.judgement import judge_range
from gensynth.ledger import Ledger, split_sha256, weights_sha256
from gensynth.network import load_network
from gensynth.points import COSTS, Points
from gensynth.record import RunFolder
from gensynth.requirements import DEVICE_COSTS, Requirement, Verdict, combine, parse_all
from gensynth.results import CARD_FILE, CARD_FORMAT, RESULT_FILE
from gensynth.runfile import read
from gensynth.space import Space
from gensynth.watch import SILENT, Watch

GENERATED = "generated"
DRAWN_FILE = "drawn.json"


@dataclass(frozen=True)
class Drawn:
    """One network that a seed gave.

    Attributes:
        seed: s.
        folder: its files.
        graph_sha256: of graph.json.
        params, macs: exact.
        predicted_top1_pct: (low, mean, high) after full distillation, at 95 %.
        verdicts: by requirement; of predicted accuracy, or certified once it is distilled.
        certificate: of the test split; None before it is distilled.
        search_correct, search_n: on the search split; None before it is distilled.
        point_verdicts: by requirement, of the point values; None before it is distilled.
    """

    seed: int
    folder: Path
    graph_sha256: str
    params: int
    macs: int
    predicted_top1_pct: tuple[float, float, float]
    verdicts: Mapping[str, Verdict]
    certificate: Certificate | None = None
    search_correct: int | None = None
    search_n: int | None = None
    point_verdicts: Mapping[str, Verdict] | None = None


@dataclass(frozen=True)
class Family:
    """The networks of some seeds.

    Attributes:
        path: of the folder that holds them.
        drawn: one a seed, in the order asked for.
        median_distance: median over pairs of the mean absolute difference of relative
            widths, in [0, 1]; None for fewer than two networks.
        satisfied, judged: how many distilled networks meet 1_r by their point values on the
            test split, of how many; None if they were not distilled. Requirements on a device
            are left out, nothing is timed here.
        share_lower_bound: that the share of all seeds meeting 1_r exceeds, at one-sided 95 %
            (Wilson), the seeds taken as independent draws.
    """

    path: Path
    drawn: tuple[Drawn, ...]
    median_distance: float | None
    satisfied: int | None = None
    judged: int | None = None
    share_lower_bound: float | None = None


def generate(path: Path, seeds: Iterable[int], *, watch: Watch = SILENT) -> Family:
    """Draw networks from the generator of a finished run.

    Args:
        path: of the run folder.
        seeds: one network each; the same seed twice counts once.
        watch: hears of the progress.

    Raises:
        RunError: if there is no finished run, another process works on it, or its generator
            is damaged.
        PrototypeError: if the kept prototype graph is damaged.
    """
    with _finished(path) as run:
        return _draw(run, list(dict.fromkeys(seeds)), watch)


def distil(path: Path, seeds: Iterable[int], *, watch: Watch = SILENT) -> Family:
    """Draw networks, distil each fully as a finalist is, and certify it on the test split.

    What was done before is kept: the same call after a stop goes on where it was.

    Args:
        path: of the run folder.
        seeds: one network each; the confidence of all certificates together is shared by
            as many networks as there are seeds.
        watch: hears of the progress.

    Raises:
        Interrupted: on Ctrl-C.
        GensynthError: as `generate`, and if the data set is not what the run began with.
    """
    with _finished(path) as run:
        family = _draw(run, list(dict.fromkeys(seeds)), watch)
        kept = path / "prototype" / states.WEIGHTS_FILE
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


def open_generator(path: Path) -> tuple[Generator, Inquisitor]:
    """Return the generator of a finished run, and the inquisitor that predicts its networks.

    Raises:
        RunError, PrototypeError: if a file is absent or damaged.
    """
    graph_file = path / "prototype" / "graph.json"
    try:
        graph = Graph.from_json(graph_file.read_text())
    except OSError as error:
        raise RunError(f"{graph_file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PrototypeError(f"{graph_file} is damaged: {error}") from error
    try:
        text = (path / states.GENERATOR_FILE).read_text()
        document = json.loads(text)
        space = Space(couple(graph), document["align"], tuple(document.get("operators", ())))
        insight = json.loads((path / states.INQUISITOR_FILE).read_text())
        inquisitor = Inquisitor.from_document(insight["inquisitor"], space)
        return Generator.from_json(text, space), inquisitor
    except OSError as error:
        raise RunError(f"the generator of {path} cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"the generator of {path} is damaged: {error!r}") from error


def _finished(path: Path) -> RunFolder:
    run = RunFolder.open(path)
    if not (path / RESULT_FILE).exists():
        run.close()
        raise RunError(
            f"the run in {path} is not finished, so its generator is not; go on with: "
            f"gensynth synth --resume {path}"
        )
    return run


def _draw(run: RunFolder, seeds: list[int], watch: Watch) -> Family:
    watch.phase("generate")
    if not seeds:
        return Family(run.path / GENERATED, (), None)
    generator, inquisitor = open_generator(run.path)
    requirements = parse_all(read(run.path / "run.toml").requirements)
    points = generator.points(seeds)
    drawn = []
    for index, seed in enumerate(seeds):
        graph = generator.graph(points, index, seed)
        drawn.append(_drawn(run, seed, graph, points.take([index]), inquisitor, requirements))
        watch.progress("networks", (index + 1) / len(seeds), f"seed {seed}")
    distance = median_distance(generator, points) if len(seeds) > 1 else None
    return Family(run.path / GENERATED, tuple(drawn), distance)


def _drawn(
    run: RunFolder,
    seed: int,
    graph: Graph,
    point: Points,
    inquisitor: Inquisitor,
    requirements: tuple[Requirement, ...],
) -> Drawn:
    """Write a network's graph and what is known of it, if it is not there already."""
    low, mean, high = attempts.interval(inquisitor, point)
    counts = inquisitor.space.costs(point)[0]
    costs = {name: int(counts[i]) for i, name in enumerate(COSTS)}
    drawn = Drawn(
        seed=seed,
        folder=run.path / GENERATED / str(seed),
        graph_sha256=graph.sha256,
        params=costs["params"],
        macs=costs["macs"],
        predicted_top1_pct=(100 * low, 100 * mean, 100 * high),
        verdicts=judge_range(requirements, (low, high), costs),
    )
    document = {
        "seed": seed,
        "graph_sha256": graph.sha256,
        **costs,
        "predicted_top1_pct": list(drawn.predicted_top1_pct),
        "verdicts": drawn.verdicts,
    }
    files = {"graph.json": graph.to_json().encode(), DRAWN_FILE: _json(document)}
    if not _holds(drawn.folder, files):
        run.write_folder(f"{GENERATED}/{seed}", files)
    return drawn


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    return all(
        (folder / name).exists() and (folder / name).read_bytes() == content
        for name, content in files.items()
    )


def _train(run: RunFolder, job: Job, drawn: Drawn, watch: Watch) -> None:
    """Distil one network and count on the search split, unless that is kept."""
    name = f"seed-{drawn.seed}"
    if not (drawn.folder / "search.json").exists():
        last = run.latest_state()
        assert last is not None, "a finished run has a state"
        weights = states.restore(last[0], states.read_files(last[1]), job.space).weights
        graph = Graph.from_json((drawn.folder / "graph.json").read_text())
        network, correct, seconds = attempts.distil(
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
        files = {
            **attempts.network_files(network),
            DRAWN_FILE: (drawn.folder / DRAWN_FILE).read_bytes(),
            "search.json": _json(search),
        }
        run.write_folder(f"{GENERATED}/{drawn.seed}", files)
    attempts.forget_checkpoint(run, name)


def _certify(run: RunFolder, job: Job, drawn: Drawn, sharing: int) -> Drawn:
    """Count one network on the test split through the ledger, and write its card."""
    test = job.dataset.test
    network = load_network(drawn.folder, opaque=job.prototype.opaque)
    job.workshop.compute.place(network)
    correct = Ledger(run.ledger).count(
        weights_sha256(drawn.folder / states.WEIGHTS_FILE),
        split_sha256(test),
        lambda: job.workshop.correct(network, test),
        n=len(test),
    )
    certificate = certify(correct, len(test), job.requirements, sharing=sharing)
    costs = {"params": drawn.params, "macs": drawn.macs}
    share = correct / len(test)
    certified = verdicts(certificate, job.requirements, costs)
    pointwise = judge_range(job.requirements, (share, share), costs)
    search = json.loads((drawn.folder / "search.json").read_bytes())
    card = {
        "format": CARD_FORMAT,
        "name": f"seed {drawn.seed}",
        "what": f"generated from {job.config.prototype.network} for {job.dataset.name}, distilled",
        "seed": drawn.seed,
        "generator_sha256": weights_sha256(run.path / states.GENERATOR_FILE),
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
    content = _json(card)
    if not _holds(drawn.folder, {CARD_FILE: content}):
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


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
