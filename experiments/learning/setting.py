"""The setting that every arm of the learning experiment shares, and its one evaluation.

So that neither a shrinking budget nor trained weights can look like learning, every
evaluation is the same: slices of one frozen, committed W_0 (ResNet-20 on CIFAR-10), norms
recalibrated, 8,000 images of distillation, top-1 on the search split. One half of that
split guides an arm's decisions, the other half scores what it delivers. All networks have
the same cost limits, a third of the prototype's MACs and parameters, and the utility is
top-1 itself: at equal cost NetScore orders networks in the same way, and top-1 cannot be
had by spending less.

Two sets of 24 networks are evaluated once for all seeds. They are in no arm, and no inquisitor
is ever trained on them: the fixed ones are those of an untrained generator of a seed of its
own, the far ones have shapes that no generator gives. The requirement 1_r is an accuracy that
the best quarter of the fixed ones reach.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensynth.config import SearchConfig
from gensynth.data import cifar10
from gensynth.data.dataset import Dataset, Split
from gensynth.data.views import Views
from gensynth.goals.utility import Utility
from gensynth.graph.graph import Graph
from gensynth.network.compute import detect
from gensynth.network.module import Network
from gensynth.probing.probe import Probe
from gensynth.prototypes import create
from gensynth.prototypes.checkpoint import load_weights
from gensynth.randomness import stream
from gensynth.runs.prepare import make_probe
from gensynth.search.cycle import Settings
from gensynth.search.evolution import Objective
from gensynth.search.inquisitor import SHORT
from gensynth.space.prototype import read_prototype
from gensynth.space.space import Space
from gensynth.tasks.classification import Classification
from gensynth.training.evaluator import Evaluator
from gensynth.training.fit import Recipe, Teacher

HERE = Path(__file__).parent
FIXED = HERE / "results" / "fixed.jsonl"
WEIGHTS = HERE.parent / "cifar10" / "prototype" / "resnet20-cifar10.safetensors"
EVALUATIONS = 24
FAMILY = 8
IMAGES = 8_000
PEAK_LR = 0.0125
"""Of 125 steps that start from slices of W_0. Networks of no arm, at a third of the cost, reached
55 % with it (4 networks, search split), 53 % with twice as much and 41 % with eight times."""

COST_SHARE = 1 / 3
ABSORB, WARMUP = 0.3, 4
"""Of the one arm in which W learns: what a run takes over of each cycle, and rounds before the
first, as in `experiments/cifar10/quick.toml`."""


@dataclass(frozen=True)
class Setting:
    """What an arm works with."""

    dataset: Dataset
    evaluator: Evaluator
    probe: Probe
    space: Space
    settings: Settings


def open_setting(folder: Path, seed: int) -> Setting:
    """Return the setting of one search seed.

    Args:
        folder: with CIFAR-10's official binary files.
        seed: of the search; the training views are the same for all.
    """
    whole = cifar10.load(folder)
    decide, _ = halves(whole.search)
    dataset = replace(whole, search=decide)
    compute = detect()
    module = create("resnet20", classes=10, channels=3)
    load_weights(module, WEIGHTS, name="resnet20")
    prototype = read_prototype(module.eval(), whole.shape, name="resnet20")
    views = Views(whole, whole.train, 0, compute.device)
    teacher = Teacher(prototype.network(), views, compute)
    evaluator = Evaluator(prototype, dataset, views, teacher, compute, Classification())
    space = Space(prototype.coupling, round_to=2)
    costs = space.named_costs(space.whole(1))
    settings = Settings(
        objective=Objective(Utility("top1"), "top1", space.names, requirement(), SHORT),
        limits={name: cost * COST_SHARE for name, cost in costs.items()},
        recipe=Recipe(epochs=IMAGES / len(whole.train), batch=64, peak_lr=PEAK_LR),
        search=SearchConfig(cycles=EVALUATIONS, learn_weights=False),
        seed=seed,
        free_budget=False,
    )
    return Setting(whole, evaluator, make_probe(evaluator, 512, seed), space, settings)


def requirement() -> float | None:
    """Return what the best quarter of the fixed networks reach, None before they are there."""
    lines = Record(FIXED).of("fixed")
    if len(lines) < EVALUATIONS:
        return None
    accuracies = [(line["decide"] + line["score"]) / (2 * line["n"]) for line in lines]
    return float(np.quantile(accuracies, 0.75))


def halves(split: Split) -> tuple[Split, Split]:
    """Cut the search split into the half that decides and the half that scores."""
    order = stream(0, "halves").permutation(len(split))
    first, second = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    return (
        Split(split.name, split.images[first], split.labels[first]),
        Split(split.name, split.images[second], split.labels[second]),
    )


def evaluate(
    setting: Setting, graph: Graph, weights: Mapping[str, Tensor] | None = None
) -> tuple[Network, dict[str, Any]]:
    """Train and count one network, a slice of W_0 or of other weights; return it and its line."""
    evaluator = setting.evaluator
    network = evaluator.inherit(graph, evaluator.prototype.weights if weights is None else weights)
    evaluator.distil(network, setting.settings.recipe)
    return network, score(setting, network)


def score(setting: Setting, network: Network) -> dict[str, Any]:
    """Count a trained network on both halves of the search split."""
    decide, scored = halves(setting.dataset.search)
    point = setting.space.point(network.graph.selection)
    return {
        "graph": network.graph.sha256,
        "widths": list(point.widths),
        "bits": list(point.kept_blocks),
        **setting.space.named_costs(setting.space.points([point])),
        "decide": _correct(setting, network, decide),
        "score": _correct(setting, network, scored),
        "n": len(scored),
    }


def _correct(setting: Setting, network: Network, split: Split) -> int:
    return int(setting.evaluator.score(network, split).to_document()["correct"])


class Record:
    """Lines of JSON, appended one evaluation at a time, so that a killed job resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # killed while writing
            path.write_text(whole)
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]

    def of(self, arm: str) -> list[dict[str, Any]]:
        """Return an arm's lines."""
        return [line for line in self.lines if line["arm"] == arm]

    def add(self, arm: str, line: dict[str, Any]) -> None:
        """Append one line to an arm."""
        entry = {"arm": arm, **line}
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self.lines.append(entry)


def add_environment(record: Record) -> None:
    """Record what the figures that follow depend on, where it is not as it was."""
    from gensynth.environment import environment

    found = environment(threads=torch.get_num_threads(), autocast=str(detect().autocast))
    if not record.of("environment") or record.of("environment")[-1] != {
        "arm": "environment",
        **found,
    }:
        record.add("environment", found)
