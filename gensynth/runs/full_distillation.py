"""Networks distilled fully within a run, each kept in a folder of its own.

    attempts/NAME/          graph, weights, the generator it came from, and attempt.json
    checkpoints/NAME...     stands in for it while it is being distilled

What is scored here is scored on the search split; the test split is not touched.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from gensynth.atomic_files import file_sha256, json_bytes
from gensynth.errors import RunError
from gensynth.goals import metrics
from gensynth.goals.device_costs import derived
from gensynth.goals.exact import peak_limit
from gensynth.goals.score import Score, in_percent, read_score, value_for_utility
from gensynth.goals.verdicts import Verdict, judge_all
from gensynth.graph.activations import peak_mib
from gensynth.graph.files import GRAPH_FILE, WEIGHTS_FILE
from gensynth.graph.graph import Graph
from gensynth.network.files import read_graph, read_weights
from gensynth.network.module import Network, build
from gensynth.progress import Listener
from gensynth.run_files import GENERATOR_FILE
from gensynth.runs.folder import RunFolder
from gensynth.runs.forms import ATTEMPT
from gensynth.runs.prepare import Job
from gensynth.runs.result import read_document
from gensynth.search.cycle import Candidate, Interval, State
from gensynth.search.inquisitor import FULL, Inquisitor, Observation, read_point
from gensynth.space.points import Point, Points

ATTEMPTS = "attempts"
CHECKPOINTS = "checkpoints"
ATTEMPT_FILE = "attempt.json"


@dataclass(frozen=True)
class FullDistillation:
    """A network that was distilled fully, and what it reached on the search split.

    Attributes:
        name: of its folder.
        seed: s.
        generator_sha256: of the generator file whose network of this seed it is.
        graph: N.
        point: N as a point of the space.
        predicted: its score, said before it was distilled.
        score: on the search split.
        seconds: wall time of its training and evaluation, here or before the run was resumed.
    """

    name: str
    seed: int
    generator_sha256: str
    graph: Graph
    point: Point
    predicted: Interval
    score: Score
    seconds: Mapping[str, float]

    def observation(self) -> Observation:
        """Return what the inquisitor learns from it."""
        return Observation(self.point, FULL, self.score)

    def points(self, job: Job) -> Points:
        """Return N as arrays."""
        return job.space.points([self.point])

    def costs(self, job: Job) -> dict[str, float]:
        """Return its costs by name; its peak of activations follows from the whole graph."""
        return {**job.costs(self.point), metrics.PEAK.name: peak_mib(self.graph)}

    def fits(self, job: Job) -> bool:
        """Return whether its costs are within the limits that every network obeys."""
        costs, peak = self.costs(job), peak_limit(job.requirements)
        if peak is not None and not peak.allows(costs[metrics.PEAK.name]):
            return False
        return all(costs[name] <= limit for name, limit in job.settings.limits.items())

    def utility(self, job: Job) -> float:
        """Return U at its score on the search split."""
        quality_pct = 100 * value_for_utility(self.score)
        costs = derived(self.costs(job), job.hardware.batches)
        return float(job.utility({self.score.metric: quality_pct, **costs}))

    def missed(self, job: Job) -> list[str]:
        """Return what the search is to meet and its point value does not reach."""
        sought = job.search_requirements
        exactly = {self.score.metric: (self.score.value,) * 2}
        known = job.hardware.figures(self.point)
        verdicts = judge_all(sought, exactly, self.costs(job), known)
        return [one.text for one in sought if verdicts[one.text] is Verdict.VIOLATED]

    def accepted(self, job: Job) -> bool:
        """Return whether it misses nothing that the search is to meet."""
        return not self.missed(job)

    def to_document(self, job: Job) -> dict[str, Any]:
        """Return the record as JSON values; the graph stands beside it."""
        metric = self.score.metric
        return {
            "seed": self.seed,
            "generator_sha256": self.generator_sha256,
            "graph_sha256": self.graph.sha256,
            "widths": list(self.point.widths),
            "bits": list(self.point.kept_blocks),
            **({"operators": list(self.point.substitutes)} if self.point.substitutes else {}),
            **self.costs(job),
            "metric": metric,
            f"predicted_{metric}_pct": [100 * p for p in self.predicted],
            "predicted": list(self.predicted),
            **in_percent(self.score),
            "split": "search",
            "utility": self.utility(job),
            "accepted": self.accepted(job),
            "seconds": {phase: round(s, 3) for phase, s in self.seconds.items()},
        }


def read(run: RunFolder, job: Job, name: str) -> FullDistillation | None:
    """Return a distillation that the run folder keeps, or None.

    Raises:
        RunError: if its record is damaged, or its graph or its weights are not those that were
            scored.
    """
    folder = run.path / ATTEMPTS / name
    if not folder.exists():
        return None
    file = folder / ATTEMPT_FILE
    entry = read_document(ATTEMPT, file)
    check_weights(folder, entry)
    graph = read_graph(folder / GRAPH_FILE)
    try:
        if entry.get("graph_sha256") not in (None, graph.sha256):
            raise ValueError(f"{GRAPH_FILE} beside it is another network")
        return FullDistillation(
            name=name,
            seed=entry["seed"],
            generator_sha256=entry["generator_sha256"],
            graph=graph,
            point=read_point(job.space, entry["widths"], entry["bits"], entry.get("operators", ())),
            predicted=(entry["predicted"][0], entry["predicted"][1], entry["predicted"][2]),
            score=read_score(entry),
            seconds=entry["seconds"],
        )
    except ValueError as error:
        raise RunError(
            f"{file} is damaged: {error}; put it back from a copy, or remove {folder}, and it is "
            "done again"
        ) from error


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def check_weights(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse weights that are not those whose score stands in a record beside them.

    Raises:
        RunError: if they are others or cannot be read; a record of an earlier version does not
            say.
    """
    file = folder / WEIGHTS_FILE
    try:
        found = file_sha256(file)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}") from error
    if record.get("weights_sha256") not in (None, found):
        raise RunError(
            f"{file} is not what was distilled and scored; put it back from a copy, or remove "
            f"{folder}, and it is done again"
        )


def read_network(run: RunFolder, name: str, job: Job) -> Network:
    """Return the network of a distillation that is kept, placed, in evaluation mode."""
    folder = run.path / ATTEMPTS / name
    graph = read_graph(folder / GRAPH_FILE)
    weights = read_weights(folder / WEIGHTS_FILE)
    network = build(graph, weights, opaque=job.prototype.opaque)
    job.evaluator.compute.place(network)
    network.eval()
    return network


def distil(
    run: RunFolder,
    job: Job,
    graph: Graph,
    weights: Mapping[str, Tensor],
    *,
    name: str,
    listener: Listener,
) -> tuple[Network, Score, dict[str, float]]:
    """Distil a network fully from shared weights and score it on the search split.

    Its checkpoint in the run folder takes every epoch; `forget_checkpoint` once the result is
    kept.

    Returns:
        (network, its score on the search split, seconds by phase).
    """
    checkpoint = run.path / CHECKPOINTS / f"{name}.safetensors"
    checkpoint.parent.mkdir(exist_ok=True)
    start = time.perf_counter()
    network = job.evaluator.inherit(graph, weights)
    job.evaluator.distil(
        network, job.recipe, checkpoint=checkpoint, progress=steps_of(listener, name)
    )
    trained = time.perf_counter()
    score = job.evaluator.score(network, job.dataset.search)
    seconds = {"train": trained - start, "evaluate": time.perf_counter() - trained}
    return network, score, seconds


def forget_checkpoints(run: RunFolder) -> None:
    """Remove the checkpoints of networks that are not distilled to their end."""
    for file in (run.path / CHECKPOINTS).glob("*"):
        file.unlink()


def forget_checkpoint(run: RunFolder, name: str) -> None:
    """Remove the checkpoint of a network whose result is kept."""
    (run.path / CHECKPOINTS / f"{name}.safetensors").unlink(missing_ok=True)


def network_files(network: Network) -> dict[str, bytes]:
    """Return graph and weights of a network as files."""
    tensors = save(network.tensors())
    return {GRAPH_FILE: network.graph.to_json().encode(), WEIGHTS_FILE: tensors}


def distil_once(
    run: RunFolder,
    job: Job,
    state: State,
    inquisitor: Inquisitor,
    candidate: Candidate,
    *,
    name: str,
    listener: Listener,
) -> FullDistillation:
    """Distil one network fully and keep what it reached, unless the run folder has it.

    What stands there of another network, since less was asked before, is put aside.

    Args:
        run: where it is kept.
        job: the run.
        state: whose generator gave the network, and whose weights it inherits.
        inquisitor: that predicts its score.
        candidate: the network.
        name: of its folder.
        listener: hears of the progress.
    """
    kept = read(run, job, name)
    generator = state.generator.to_json().encode()
    made_by = sha256_of(generator)
    if kept is not None and (kept.seed, kept.generator_sha256) != (candidate.seed, made_by):
        run.put_aside(f"{ATTEMPTS}/{name}")
        kept = None
    if kept is None:
        graph = candidate.graph
        network, score, seconds = distil(
            run, job, graph, state.weights, name=name, listener=listener
        )
        kept = FullDistillation(
            name=name,
            seed=candidate.seed,
            generator_sha256=made_by,
            graph=graph,
            point=candidate.points[0],
            predicted=inquisitor.interval(candidate.points, FULL),
            score=score,
            seconds=seconds,
        )
        files = network_files(network)
        record = kept.to_document(job) | {"weights_sha256": sha256_of(files[WEIGHTS_FILE])}
        files[ATTEMPT_FILE] = json_bytes(record)
        files[GENERATOR_FILE] = generator
        run.write_folder(f"{ATTEMPTS}/{name}", files)
    forget_checkpoint(run, name)
    return kept


def steps_of(listener: Listener, name: str) -> Callable[[float, float], None]:
    """Pass on a training's progress a hundred times, not at every step."""
    last = -1

    def tell(share: float, loss: float) -> None:
        nonlocal last
        if int(100 * share) > last:
            last = int(100 * share)
            listener.progress(name, share, f"loss {loss:.3f}")

    return tell
