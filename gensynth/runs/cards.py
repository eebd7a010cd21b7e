"""The card of a network: every figure with what it was measured on, and how to repeat it.

The one writer of cards: of a run's prototype and finalists, and of networks that were generated
and distilled later.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gensynth.bench.latency import certain_range
from gensynth.environment import environment
from gensynth.goals.card import CARD_FORMAT
from gensynth.goals.certificate import Certificate, is_by, point_verdicts, verdicts
from gensynth.goals.device_costs import derived
from gensynth.goals.difference import Difference, PairedImages
from gensynth.goals.exact import exact_costs
from gensynth.goals.figure import Figure
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import Score, in_percent, value_for_utility
from gensynth.goals.utility import information_density, netscore
from gensynth.goals.verdicts import Known, is_estimate
from gensynth.network.module import Network
from gensynth.runs.prepare import Job
from gensynth.search.cycle import Interval

TIMED = "latency_ms@local"
"""What a run itself times at its end."""


@dataclass(frozen=True)
class Origin:
    """Where a generated network came from.

    Attributes:
        seed: s.
        generator_sha256: of the generator file whose network of this seed it is.
        made_in: name of its full distillation.
        predicted: its score, said before it was distilled.
    """

    seed: int
    generator_sha256: str
    made_in: str
    predicted: Interval


@dataclass(frozen=True)
class Entrant:
    """A network on its way to a card.

    Attributes:
        name: on the card.
        source: its folder in the run folder: graph, weights and, once exported, ONNX.
        network: placed, in evaluation mode.
        search_score: on the search split.
        origin: where it came from; None for the prototype.
    """

    name: str
    source: str
    network: Network
    search_score: Score
    origin: Origin | None


def card_of(
    job: Job,
    entrant: Entrant,
    certificate: Certificate,
    latency: Mapping[str, Any] | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> dict[str, Any]:
    """Return what a card says of one network alone.

    Args:
        job: the run.
        entrant: the network.
        certificate: of its quality on the test split.
        latency: what was measured on this machine, or None.
        figures: what was measured of it on the run's devices, by key such as
            "joule_per_img@tx2"; what was not is estimated.
    """
    graph, origin, metric = entrant.network.graph, entrant.origin, certificate.score.metric
    costs = exact_costs(graph)
    figures = {**job.hardware.estimated(graph), **(figures or {})}
    known: dict[str, Known] = dict(figures)
    exactly: dict[str, Known] = {k: _point(figure) for k, figure in figures.items()}
    if latency is not None:
        if TIMED not in figures or is_estimate(figures[TIMED]):  # else the bench has decided
            if (certain := certain_range(latency)) is not None:
                known[TIMED] = certain
            exactly[TIMED] = (latency["p50_ms"],) * 2
        latency = {key: value for key, value in latency.items() if key != "rounds_ms"}
    certified = verdicts(certificate, job.requirements, costs, known)
    pointwise = point_verdicts(certificate, job.requirements, costs, exactly)
    what = f"the prototype, trained for {job.dataset.name}"
    if origin is not None:
        what = f"generated from {job.prototype.graph.name} for {job.dataset.name}, distilled"
    return {
        "format": CARD_FORMAT,
        "name": entrant.name,
        "what": what,
        "seed": None if origin is None else origin.seed,
        "generator_sha256": None if origin is None else origin.generator_sha256,
        "made_in": None if origin is None else origin.made_in,
        "removed_blocks": list(graph.selection.removed),
        "operators": dict(graph.selection.substitutes),
        "costs": {
            **costs,
            "provenance": "counted exactly; MACs of convolutions and linear layers; size of the "
            "parameters in FP32, peak of the activations alive at once of one image in FP32",
        },
        "certificate": certificate.to_document(),
        "precisions": {"certificate": "fp32"}
        | {name: device.precision for name, device in job.config.devices.items()},
        "search": {
            **in_percent(entrant.search_score),
            "provenance": "measured; these images chose among networks",
            "seen_by_prototype": job.config.prototype.seen_search,
        },
        "predicted": None
        if origin is None
        else {
            f"{metric}_pct": [100 * p for p in origin.predicted],
            "provenance": "predicted before it was distilled; 95 % interval",
        },
        "scores": {
            **_scores(job, certificate.score, {**costs, **_values(job, figures)}),
            "expression": job.utility.expression,
            "provenance": _weighed(job, known),
        },
        "requirements": [
            {
                "text": requirement.text,
                "certified": certified[requirement.text].value,
                "point": pointwise[requirement.text].value,
                **_by(requirement, certificate, known),
            }
            for requirement in job.requirements
        ],
        "latency": latency,
        "figures": {key: figure.to_document() for key, figure in figures.items()},
        "ratios": None,
        "difference": None
        if certificate.difference is None
        else _apart(certificate, certificate.difference),
    }


def _by(
    requirement: Requirement, certificate: Certificate, known: Mapping[str, Known]
) -> dict[str, str]:
    """Return what a verdict must not be read without."""
    if is_by(requirement, certificate.difference):
        return {"by": "difference"}
    return {"by": "estimate"} if is_estimate(known.get(requirement.key)) else {}


def _weighed(job: Job, known: Mapping[str, Known]) -> str:
    """Return what scores are computed from, estimates by name."""
    what = "computed from the certificate's point value and the costs"
    estimated = sorted(key for key in job.utility.needs if is_estimate(known.get(key)))
    return what + "".join(f", and an estimate of {key}" for key in estimated)


def _point(figure: Figure) -> Known:
    """Return what a point verdict looks at: a measured value, but never an estimate's middle."""
    return figure if is_estimate(figure) else (figure.value,) * 2


def _values(job: Job, figures: Mapping[str, Figure]) -> dict[str, float]:
    values = {key: figure.value for key, figure in figures.items()}
    return {key: float(value) for key, value in derived(values, job.hardware.batches).items()}


def _apart(certificate: Certificate, found: Difference) -> dict[str, Any]:
    """Return how far a network's test score is from the prototype's, as a card has it."""
    low, high = certificate.gained or found.bounds()
    how = "of a bootstrap over test images, the same draws for both"
    if isinstance(found, PairedImages):
        how = "by Newcombe's method 10 for paired proportions, of the same test images"
    return {
        "metric": certificate.score.metric,
        **found.to_document(),
        "lower_bound": low,
        "upper_bound": high,
        "provenance": f"to the prototype of this run, in points; 95 % interval {how}; the bounds "
        "are one-sided, at the certificate's shared confidence",
    }


def setting_of(job: Job, command: str | None) -> dict[str, Any]:
    """Return what all cards of a run share."""
    data, compute = job.dataset, job.evaluator.compute
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


def _scores(job: Job, score: Score, costs: Mapping[str, float]) -> dict[str, float]:
    """Return what weighs a score against costs; one of 0 is taken for an image's share.

    NetScore is minus infinity there, which neither JSON nor a ratio can say.
    """
    value_pct = 100 * value_for_utility(score)
    params_m, macs_g = costs["params"] / 1e6, costs["macs"] / 1e9
    return {
        "utility": job.utility({score.metric: value_pct, **costs}),
        "netscore": netscore(value_pct, params_m, macs_g),
        "information_density": information_density(value_pct, params_m),
    }


def ratios_of(
    prototype: Mapping[str, Any],
    card: Mapping[str, Any],
    latency: Mapping[str, float | None] | None,
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
