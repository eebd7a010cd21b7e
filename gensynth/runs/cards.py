"""The card of a finalist: every figure with what it was measured on, and how to repeat it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gensynth.environment import environment
from gensynth.goals.certificate import Certificate, verdicts
from gensynth.goals.intervals import wilson
from gensynth.goals.utility import information_density, netscore
from gensynth.goals.verdicts import judge_range
from gensynth.graph.cost import cost
from gensynth.network.module import Network
from gensynth.runs.full_distillation import Attempt
from gensynth.runs.prepare import Job
from gensynth.runs.result import CARD_FORMAT


@dataclass(frozen=True)
class Entrant:
    """A network on its way to a card.

    Attributes:
        name: on the card.
        source: its folder in the run folder: graph, weights and, once exported, ONNX.
        network: placed, in evaluation mode.
        search_correct: images of the search split that it classifies correctly.
        attempt: where it came from; None for the prototype.
    """

    name: str
    source: str
    network: Network
    search_correct: int
    attempt: Attempt | None


def card_of(
    job: Job,
    entrant: Entrant,
    certificate: Certificate,
    latency: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what a card says of one network alone.

    Args:
        job: the run.
        entrant: the network.
        certificate: of its accuracy on the test split.
        latency: what was measured on this machine, or None.
    """
    graph, one = entrant.network.graph, entrant.attempt
    counted = cost(graph)
    costs = {"params": counted.params, "macs": counted.macs}
    measured = None
    if latency is not None:
        measured = {"latency_ms@local": (latency["p50_low_ms"], latency["p50_high_ms"])}
        latency = {key: value for key, value in latency.items() if key != "rounds_ms"}
    point = certificate.correct / certificate.n
    exact = None if latency is None else {"latency_ms@local": (latency["p50_ms"],) * 2}
    certified = verdicts(certificate, job.requirements, costs, measured)
    pointwise = judge_range(job.requirements, (point, point), costs, exact)
    n, correct = len(job.dataset.search), entrant.search_correct
    return {
        "format": CARD_FORMAT,
        "name": entrant.name,
        "what": (
            f"the prototype, trained for {job.dataset.name}"
            if one is None
            else f"generated from {job.config.prototype.network} for {job.dataset.name}, distilled"
        ),
        "seed": None if one is None else one.seed,
        "generator_sha256": None if one is None else one.generator_sha256,
        "made_in": None if one is None else one.name,
        "removed_blocks": list(graph.selection.removed),
        "operators": dict(graph.selection.operators),
        "costs": {**costs, "provenance": "counted exactly; MACs of convolutions and linear layers"},
        "certificate": certificate.to_json(),
        "search": {
            "correct": correct,
            "n": n,
            "top1_pct": 100 * correct / n,
            "interval_pct": [100 * bound for bound in wilson(correct, n)],
            "provenance": "measured; these images chose among networks",
            "seen_by_prototype": job.config.prototype.seen_search,
        },
        "predicted": None
        if one is None
        else {
            "top1_pct": [100 * p for p in one.predicted],
            "provenance": "predicted before it was distilled; 95 % interval",
        },
        "scores": {
            **_scores(job, point, costs),
            "expression": job.utility.expression,
            "provenance": "computed from the certificate's point value and the costs",
        },
        "requirements": [
            {
                "text": requirement.text,
                "certified": certified[requirement.text].value,
                "point": pointwise[requirement.text].value,
            }
            for requirement in job.requirements
        ],
        "latency": latency,
    }


def setting_of(job: Job, command: str | None) -> dict[str, Any]:
    """Return what all cards of a run share."""
    data, compute = job.dataset, job.workshop.compute
    return {
        "data": {**job.inputs["data"], "source": data.source, "shape": list(data.shape)},
        "reads": "(image / 255 - mean) / std, channels first",
        "training": {"recipe": asdict(job.recipe), "seed": job.config.seed},
        "prototype": job.inputs["prototype"],
        "command": command,
        "environment": environment(
            device=compute.device, autocast=str(compute.autocast), threads=compute.threads
        ),
    }


def _scores(job: Job, accuracy: float, costs: Mapping[str, int]) -> dict[str, float]:
    top1_pct = max(100 * accuracy, np.finfo(float).tiny)
    params_m, macs_g = costs["params"] / 1e6, costs["macs"] / 1e9
    return {
        "utility": job.utility({"top1": top1_pct, **costs}),
        "netscore": netscore(top1_pct, params_m, macs_g),
        "information_density": information_density(top1_pct, params_m),
    }


def ratios_of(
    prototype: Mapping[str, Any], card: Mapping[str, Any], latency: dict[str, float] | None
) -> dict[str, Any]:
    """Return how a card's figures stand to the prototype's card."""
    before, after = prototype["scores"], card["scores"]
    return {
        "params": prototype["costs"]["params"] / card["costs"]["params"],
        "macs": prototype["costs"]["macs"] / card["costs"]["macs"],
        "information_density": after["information_density"] / before["information_density"],
        "netscore_gain": after["netscore"] - before["netscore"],
        "latency": latency,
        "provenance": "to the prototype of this run; latency within one session, 95 % interval",
    }
