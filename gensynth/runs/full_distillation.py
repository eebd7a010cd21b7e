"""Networks distilled fully within a run, each kept in a folder of its own.

    attempts/NAME/          graph, weights, the generator it came from, and attempt.json
    checkpoints/NAME...     stands in for it while it is being distilled

What is counted here is counted on the search split; the test split is not touched.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.torch import load, save
from torch import Tensor

from gensynth.goals.intervals import wilson
from gensynth.goals.verdicts import Verdict, judge_range
from gensynth.graph.graph import Graph
from gensynth.network.module import Network, build
from gensynth.progress import Watch
from gensynth.runs.folder import RunFolder
from gensynth.runs.prepare import Job
from gensynth.search.cycle import State
from gensynth.search.inquisitor import FULL, Inquisitor, Observation
from gensynth.search.regression import sigmoid
from gensynth.space.points import COSTS, Points

ATTEMPTS = "attempts"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Attempt:
    """A network that was distilled fully, and what it reached on the search split.

    Attributes:
        name: of its folder among the attempts.
        seed: s.
        generator_sha256: of the generator file whose network of this seed it is.
        graph: N.
        widths, bits: N as a point of the space.
        predicted: (low, mean, high) accuracy in [0, 1] at 95 %, said before it was distilled.
        correct, n: on the search split.
        seconds: wall time of its training and evaluation, here or before the run was resumed.
        operators: of N's convolutions; none where the space has no sites.
    """

    name: str
    seed: int
    generator_sha256: str
    graph: Graph
    widths: tuple[int, ...]
    bits: tuple[bool, ...]
    predicted: tuple[float, float, float]
    correct: int
    n: int
    seconds: Mapping[str, float]
    operators: tuple[int, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of the search split that is right."""
        return self.correct / self.n

    @property
    def point(self) -> Points:
        """N as a point of the space."""
        return Points.of((self.widths, self.bits, self.operators))

    def observation(self) -> Observation:
        """Return what the inquisitor learns from it."""
        return Observation(self.widths, self.bits, FULL, self.correct, self.n, self.operators)

    def costs(self, job: Job) -> dict[str, int]:
        """Return its exact costs by name."""
        return named_costs(job, self.point)

    def utility(self, job: Job) -> float:
        """Return U at its accuracy on the search split."""
        accuracy = max(self.correct, 1) / self.n
        return job.utility({"top1": 100 * accuracy, **self.costs(job)})

    def missed(self, job: Job) -> list[str]:
        """Return what the run aims at and its point value on the search split does not reach."""
        verdicts = judge_range(job.aims, (self.accuracy,) * 2, self.costs(job))
        return [aim.text for aim in job.aims if verdicts[aim.text] is Verdict.VIOLATED]

    def accepted(self, job: Job) -> bool:
        """Return whether it misses nothing that the run aims at."""
        return not self.missed(job)

    def to_document(self, job: Job) -> dict[str, Any]:
        """Return the record of the attempt as JSON values; the graph stands beside it."""
        return {
            "seed": self.seed,
            "generator_sha256": self.generator_sha256,
            "graph_sha256": self.graph.sha256,
            "widths": list(self.widths),
            "bits": list(self.bits),
            **({"operators": list(self.operators)} if self.operators else {}),
            **self.costs(job),
            "predicted_top1_pct": [100 * p for p in self.predicted],
            "predicted": list(self.predicted),
            "correct": self.correct,
            "n": self.n,
            "split": "search",
            "top1_pct": 100 * self.accuracy,
            "interval_pct": [100 * bound for bound in wilson(self.correct, self.n)],
            "utility": self.utility(job),
            "accepted": self.accepted(job),
            "seconds": {phase: round(s, 3) for phase, s in self.seconds.items()},
        }


def named_costs(job: Job, point: Points) -> dict[str, int]:
    """Return the exact costs of one point by name."""
    costs = job.space.costs(point)[0]
    return {name: int(costs[i]) for i, name in enumerate(COSTS)}


def interval(inquisitor: Inquisitor, point: Points) -> tuple[float, float, float]:
    """Return (low, mean, high) predicted accuracy after full distillation, at 95 %."""
    mean, sd = inquisitor.predict(point, FULL)
    low, middle, high = sigmoid(mean[0] + sd[0] * np.array([-1.96, 0.0, 1.96]))
    return float(low), float(middle), float(high)


def read_attempt(run: RunFolder, name: str) -> Attempt | None:
    """Return an attempt that the run folder keeps, or None."""
    folder = run.path / ATTEMPTS / name
    if not folder.exists():
        return None
    entry = json.loads((folder / "attempt.json").read_text())
    return Attempt(
        name=name,
        seed=entry["seed"],
        generator_sha256=entry["generator_sha256"],
        graph=Graph.from_json((folder / "graph.json").read_text()),
        widths=tuple(entry["widths"]),
        bits=tuple(entry["bits"]),
        operators=tuple(entry.get("operators", ())),
        predicted=(entry["predicted"][0], entry["predicted"][1], entry["predicted"][2]),
        correct=entry["correct"],
        n=entry["n"],
        seconds=entry["seconds"],
    )


def read_network(run: RunFolder, name: str, job: Job) -> tuple[Network, bytes]:
    """Return an attempt's network, placed, and the bytes of its weights file."""
    folder = run.path / ATTEMPTS / name
    graph = Graph.from_json((folder / "graph.json").read_text())
    weights = (folder / "weights.safetensors").read_bytes()
    network = build(graph, load(weights), opaque=job.prototype.opaque)
    job.workshop.compute.place(network)
    network.eval()
    return network, weights


def distil(
    run: RunFolder,
    job: Job,
    graph: Graph,
    weights: Mapping[str, Tensor],
    *,
    name: str,
    watch: Watch,
) -> tuple[Network, int, dict[str, float]]:
    """Distil a network fully from shared weights and count on the search split.

    Its checkpoint in the run folder takes every epoch; `forget` it once the result is kept.

    Returns:
        (network, images of the search split it classifies correctly, seconds by phase).
    """
    checkpoint = run.path / CHECKPOINTS / f"{name}.safetensors"
    checkpoint.parent.mkdir(exist_ok=True)
    start = time.perf_counter()
    network = job.workshop.inherit(graph, weights)
    job.workshop.distil(network, job.recipe, checkpoint=checkpoint, progress=_steps(watch, name))
    trained = time.perf_counter()
    correct = job.workshop.correct(network, job.dataset.search)
    seconds = {"train": trained - start, "evaluate": time.perf_counter() - trained}
    return network, correct, seconds


def forget_checkpoint(run: RunFolder, name: str) -> None:
    """Remove the checkpoint of a network whose result is kept."""
    (run.path / CHECKPOINTS / f"{name}.safetensors").unlink(missing_ok=True)


def network_files(network: Network) -> dict[str, bytes]:
    """Return graph.json and weights.safetensors of a network."""
    tensors = {key: t.detach().cpu().contiguous() for key, t in network.state_dict().items()}
    return {"graph.json": network.graph.to_json().encode(), "weights.safetensors": save(tensors)}


def attempt(
    run: RunFolder,
    job: Job,
    state: State,
    inquisitor: Inquisitor,
    point: Points,
    graph: Graph,
    seed: int,
    *,
    name: str,
    watch: Watch,
) -> Attempt:
    """Distil one network fully and keep what it reached, unless the run folder has it."""
    kept = read_attempt(run, name)
    if kept is None:
        network, correct, seconds = distil(run, job, graph, state.weights, name=name, watch=watch)
        widths, bits, operators = point.rows()[0]
        kept = Attempt(
            name=name,
            seed=seed,
            generator_sha256=hashlib.sha256(state.generator.to_json().encode()).hexdigest(),
            graph=graph,
            widths=widths,
            bits=bits,
            operators=operators,
            predicted=interval(inquisitor, point),
            correct=correct,
            n=len(job.dataset.search),
            seconds=seconds,
        )
        files = network_files(network)
        files["attempt.json"] = (json.dumps(kept.to_document(job), indent=1) + "\n").encode()
        files["generator.json"] = state.generator.to_json().encode()
        run.write_folder(f"{ATTEMPTS}/{name}", files)
    forget_checkpoint(run, name)
    return kept


def _steps(watch: Watch, name: str) -> Callable[[float, float], None]:
    """Pass on a training's progress a hundred times, not at every step."""
    last = -1

    def tell(share: float, loss: float) -> None:
        nonlocal last
        if int(100 * share) > last:
            last = int(100 * share)
            watch.progress(name, share, f"loss {loss:.3f}")

    return tell
