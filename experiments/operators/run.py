"""Does it pay to let convolutions have other operators, at equal MACs?

    python -m experiments.operators.run --data FOLDER

appends to experiments/operators/results/pairs.jsonl and says what it did; started again it
goes on where it was stopped. `report.py` makes the table. FOLDER holds CIFAR-10's official
binary files.

A pair is two networks of the trained ResNet-20, both of at most a third of its MACs, of
generators that differ in one thing alone: "off" knows widths and blocks, "on" every operator
of `gensynth.space.substitutes` too. Each arm draws `CANDIDATES` seeds of its first generator, as
a first cycle does, and takes the one whose untrained answers are least far from the
prototype's. Both are distilled on the same images in the same order and counted on the whole
search split. When all are trained, so that no training disturbs it, the networks of each pair
are timed in turns. No cycle has learned anything: what is compared is the space and
the inherited weights.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from experiments.learning.setting import Record
from gensynth.bench.latency import measure, ratio
from gensynth.config import SearchConfig
from gensynth.data import cifar10
from gensynth.data.views import Views, normaliser
from gensynth.environment import environment
from gensynth.export import export_network
from gensynth.goals.utility import Utility
from gensynth.graph.graph import Selection
from gensynth.network.compute import Compute
from gensynth.network.module import Network
from gensynth.probing.probe import Probe
from gensynth.prototypes import create
from gensynth.prototypes.checkpoint import load_weights
from gensynth.randomness import stream
from gensynth.runs.prepare import make_probe
from gensynth.search.cycle import Settings
from gensynth.search.evolution import Objective
from gensynth.search.inquisitor import SHORT
from gensynth.search.synthesis import initialise
from gensynth.space.prototype import read_prototype
from gensynth.space.space import Space
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.tasks.classification import Classification
from gensynth.training.evaluator import Evaluator
from gensynth.training.fit import Recipe, Teacher

HERE = Path(__file__).parent
PAIRS = HERE / "results" / "pairs.jsonl"
WEIGHTS = HERE.parent / "cifar10" / "prototype" / "resnet20-cifar10.safetensors"
ARMS = {"off": (), "on": tuple(SUBSTITUTES)}
SCHEDULE = [(seed, 8_000) for seed in range(6)] + [(seed, 32_000) for seed in range(6)]
"""(seed, images of distillation), one pair each."""
CANDIDATES = 4
STIMULI = 256
COST_SHARE = 1 / 3
REPEATS = 400
PEAK_LR = 0.0125
"""Of both arms, as in `experiments.learning`. Four networks of two seeds that are in no pair, half
of them of each arm, reached 81 % with it after 8,000 images, 78 % with twice as much, 72 % with
four times and 47 % with eight times (search split)."""

AFTER = ("arm", "images", "correct", "n", "distil_cpu_s")
"""Keys of a line that depend on the distillation; latency does not depend on weights."""


def open_evaluator(folder: Path) -> Evaluator:
    """Return the prototype, the images and the teacher that all pairs share."""
    dataset = cifar10.load(folder)
    module = create("resnet20", classes=10, channels=3)
    load_weights(module, WEIGHTS, name="resnet20")
    prototype = read_prototype(module.eval(), dataset.shape, name="resnet20")
    compute = Compute()
    views = Views(dataset, dataset.train, 0)
    teacher = Teacher(prototype.network(), views, compute)
    return Evaluator(prototype, dataset, views, teacher, compute, Classification())


def choose(
    evaluator: Evaluator, probe: Probe, words: tuple[str, ...], seed: int
) -> tuple[Network, dict[str, Any]]:
    """Return the best of some untrained networks of one arm, and what is known of it."""
    start = time.process_time()
    space = Space(evaluator.prototype.coupling, round_to=2, substitutes=words)
    settings = Settings(
        objective=Objective(Utility("top1"), "top1", space.names, None, SHORT),
        limits={"macs": space.named_costs(space.whole(1))["macs"] * COST_SHARE},
        recipe=Recipe(epochs=1), search=SearchConfig(cycles=1, learn_weights=False), seed=seed,
        free_budget=False,
    )  # fmt: skip
    generator = initialise(settings, evaluator, probe, space).generator
    seeds = [int(s) for s in stream(seed, "operators").integers(0, 2**31, CANDIDATES)]
    points = generator.points(seeds)
    shifts, networks = [], []
    for index, one in enumerate(seeds):
        graph = generator.graph(points, index, one)
        networks.append(evaluator.inherit(graph, evaluator.prototype.weights))
        shifts.append(probe.divergence(networks[-1]))
    best = min(range(CANDIDATES), key=shifts.__getitem__)
    network = networks[best]
    macs, params = space.costs(points)[best]
    selection = network.graph.selection
    return network, {
        "network_seed": seeds[best],
        "graph": network.graph.sha256,
        "macs": int(macs),
        "params": int(params),
        "kept": {name: list(kept) for name, kept in selection.kept.items()},
        "removed": list(selection.removed),
        "operators": dict(selection.substitutes),
        "shifts": shifts,
        "untrained": correct(evaluator, network),
        "choose_cpu_s": round(time.process_time() - start, 1),
    }


def chosen(
    evaluator: Evaluator, record: Record, arm: str, seed: int
) -> tuple[Network, dict[str, Any]]:
    """Return what `choose` returned, without its work if the record has it."""
    for line in record.of(arm):
        if line["seed"] == seed:
            kept = {name: tuple(channels) for name, channels in line["kept"].items()}
            selection = Selection(kept, tuple(line["removed"]), line["operators"])
            graph = evaluator.prototype.coupling.apply(selection)
            known = {key: value for key, value in line.items() if key not in AFTER}
            return evaluator.inherit(graph, evaluator.prototype.weights), known
    return choose(evaluator, make_probe(evaluator, STIMULI, seed), ARMS[arm], seed)


def distil(evaluator: Evaluator, network: Network, images: int) -> dict[str, Any]:
    """Distil a network in place and count it on the search split."""
    start = time.process_time()
    epochs = images / len(evaluator.dataset.train)
    evaluator.distil(network, Recipe(epochs=epochs, batch=64, peak_lr=PEAK_LR))
    return {
        "correct": correct(evaluator, network),
        "n": len(evaluator.dataset.search),
        "distil_cpu_s": round(time.process_time() - start, 1),
    }


def correct(evaluator: Evaluator, network: Network) -> int:
    """Return how many images of the search split are right."""
    return int(evaluator.score(network, evaluator.dataset.search).to_document()["correct"])


def latencies(evaluator: Evaluator, networks: dict[str, Network]) -> dict[str, Any]:
    """Time both networks of a pair in turns, in ONNX Runtime, one image and one thread."""
    split = evaluator.dataset.search
    images = normaliser(evaluator.dataset)(torch.from_numpy(split.images[:16]))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{arm}.onnx" for arm in networks]
        parities = [
            export_network(network, images, file)
            for network, file in zip(networks.values(), files, strict=True)
        ]
        timed = measure(files, repeats=REPEATS)
    found = ratio(timed[1], timed[0])
    return {
        "ratio": [found.low, found.value, found.high],
        "p50_ms": {arm: one.figures["p50_ms"] for arm, one in zip(networks, timed, strict=True)},
        "rounds_ms": {arm: one.rounds_ms for arm, one in zip(networks, timed, strict=True)},
        "runtime": timed[0].runtime,
        "parity": [parity.relative for parity in parities],
    }


def has(record: Record, arm: str, seed: int, images: int) -> bool:
    """Return whether the record has a line."""
    return any((one["seed"], one["images"]) == (seed, images) for one in record.of(arm))


def train(evaluator: Evaluator, record: Record, seed: int, images: int) -> None:
    """Train what the record does not have yet of one pair."""
    for arm in ARMS:
        if has(record, arm, seed, images):
            continue
        network, line = chosen(evaluator, record, arm, seed)
        trained = distil(evaluator, network, images)
        record.add(arm, {**line, "seed": seed, "images": images, **trained})
        counted = Counter(line["operators"].values())
        print(f"seed {seed}, {images} images, {arm}: {trained}, {dict(counted)}", flush=True)


def clock(evaluator: Evaluator, record: Record, seed: int, images: int) -> None:
    """Time one pair, whose speed does not depend on what it has learned."""
    if has(record, "latency", seed, images):
        return
    networks = {arm: chosen(evaluator, record, arm, seed)[0] for arm in ARMS}
    timed = latencies(evaluator, networks)
    record.add("latency", {"seed": seed, "images": images, **timed})
    print(f"seed {seed}: on / off latency {timed['ratio']}", flush=True)


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of CIFAR-10's binary files"
    )
    parser.add_argument("--train-only", action="store_true", help="time nothing yet")
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = Record(PAIRS)
    if not record.lines:
        record.add("environment", environment(threads=1, autocast="None"))
    evaluator = open_evaluator(options.data)
    for seed, images in SCHEDULE:
        train(evaluator, record, seed, images)
    if options.train_only:
        return
    for seed, images in SCHEDULE:
        clock(evaluator, record, seed, images)


if __name__ == "__main__":
    main()
