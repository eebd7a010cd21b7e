"""The end of a run: finalists certified, exported, timed beside the prototype, described.

    certify     each network once on the test split, through the ledger
    export      ONNX, compared with the network's own outputs
    latency     all files in turns in one session
    cards       one a network, then the networks' folders, then result.json

The order matters: names and choice are settled on the search split before the test split is
touched, and `result.json` appears last, so a run that has one is whole.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from gensynth.attempts import ATTEMPTS, Attempt, read_network
from gensynth.bench.latency import Latency, measure, ratio
from gensynth.certify import Certificate, certify, verdicts
from gensynth.cost import cost
from gensynth.data.views import normaliser
from gensynth.environment import environment
from gensynth.errors import ExportError
from gensynth.export import export_network
from gensynth.intervals import wilson
from gensynth.job import Job
from gensynth.judgement import judge_range
from gensynth.ledger import Ledger, split_sha256, weights_sha256
from gensynth.network import Network
from gensynth.record import RunFolder
from gensynth.results import CARD_FILE, CARD_FORMAT, RESULT_FILE
from gensynth.utility import information_density, netscore
from gensynth.watch import Watch

PARITY_IMAGES = 64
PROTOTYPE = "prototype"
ONNX_FILE = "network.onnx"
LATENCY_FILE = "latency.json"


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


def entrants(run: RunFolder, job: Job, chosen: list[Attempt]) -> list[Entrant]:
    """Return the prototype and the finalists, named in the order in which they were chosen."""
    network = job.prototype.network()
    job.workshop.compute.place(network).eval()
    name = job.config.prototype.network
    found = [Entrant(name, PROTOTYPE, network, job.search_correct, None)]
    for index, one in enumerate(chosen):
        network, _ = read_network(run, one.name, job)
        source = f"{ATTEMPTS}/{one.name}"
        found.append(Entrant(f"FermiNet-{letters(index)}", source, network, one.correct, one))
    return found


def letters(index: int) -> str:
    """Return A, B, ..., Z, AA, AB, ... for 0, 1, ..., 25, 26, 27, ..."""
    head, last = divmod(index, 26)
    return (letters(head - 1) if head else "") + chr(ord("A") + last)


def certify_all(run: RunFolder, job: Job, found: list[Entrant]) -> list[Certificate]:
    """Count every network on the test split, each at most once in the run's life."""
    ledger, test = Ledger(run.ledger), job.dataset.test
    digest = split_sha256(test)
    certificates = []
    for entrant in found:
        weights = run.path / entrant.source / "weights.safetensors"
        correct = ledger.count(
            weights_sha256(weights),
            digest,
            lambda network=entrant.network: job.workshop.correct(network, test),  # type: ignore[misc]
            n=len(test),
        )
        certificates.append(
            certify(correct, len(test), job.requirements, sharing=max(1, len(found) - 1))
        )
    return certificates


def export_all(
    run: RunFolder, job: Job, found: list[Entrant], watch: Watch
) -> dict[str, dict[str, Any] | None]:
    """Write each network's ONNX file beside its weights; return parity by name.

    A prototype with parts that cannot be looked into has no ONNX, and neither have its
    networks: None, and the watch hears why.
    """
    images = torch.from_numpy(job.dataset.search.images[:PARITY_IMAGES])
    normalised = normaliser(job.dataset)(images)
    parities: dict[str, dict[str, Any] | None] = {}
    for entrant in found:
        path = run.path / entrant.source / ONNX_FILE
        if job.prototype.opaque:
            if entrant.attempt is None:
                watch.note(
                    "no ONNX files: the prototype has parts that cannot be looked into, "
                    f"{', '.join(sorted(job.prototype.opaque))}"
                )
            parities[entrant.name] = None
            continue
        try:
            parity = export_network(entrant.network, normalised, path)
        except ExportError as error:
            raise ExportError(f"{entrant.name}: {error}") from error
        parities[entrant.name] = {**asdict(parity), "relative": parity.relative}
    return parities


def time_all(
    run: RunFolder, job: Job, found: list[Entrant]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, float]]]:
    """Time all ONNX files in turns and keep every run of them in the run folder.

    Returns:
        (records, ratios prototype / network with their intervals), by name.
    """
    files = [run.path / entrant.source / ONNX_FILE for entrant in found]
    if not all(file.exists() for file in files):
        return {}, {}
    config = job.config.latency
    measured = measure(files, repeats=config.repeats, threads=config.threads)
    records = {
        entrant.name: {**latency.record(), "network": entrant.name}
        for entrant, latency in zip(found, measured, strict=True)
    }
    ratios = {
        entrant.name: _ratio(measured[0], latency)
        for entrant, latency in zip(found[1:], measured[1:], strict=True)
    }
    run.write_text(LATENCY_FILE, _json({"networks": records, "ratios": ratios}))
    return records, ratios


def write_all(
    run: RunFolder,
    job: Job,
    found: list[Entrant],
    certificates: list[Certificate],
    parities: Mapping[str, dict[str, Any] | None],
    latencies: Mapping[str, dict[str, Any]],
    ratios: Mapping[str, dict[str, float]],
    *,
    command: str | None,
) -> None:
    """Write the cards and the finalists' folders."""
    first: dict[str, Any] | None = None
    setting = _setting(job, command)
    for entrant, certificate in zip(found, certificates, strict=True):
        folder = run.path / entrant.source
        card = _card(job, entrant, certificate, latencies.get(entrant.name))
        card |= setting
        card["parity"] = parities[entrant.name]
        card["sha256"] = {
            file: weights_sha256(folder / file)
            for file in ("graph.json", "weights.safetensors", ONNX_FILE)
            if (folder / file).exists()
        }
        card["ratios"] = None
        if first is None:
            first = card
            run.write_text(f"{PROTOTYPE}/{CARD_FILE}", _json(card))
            continue
        card["ratios"] = _ratios(first, card, ratios.get(entrant.name))
        files = {file: (folder / file).read_bytes() for file in card["sha256"]}
        files[CARD_FILE] = _json(card).encode()
        run.write_folder(f"finalists/{entrant.name}", files)


def finish(run: RunFolder, job: Job, found: list[Entrant], seconds: Mapping[str, float]) -> None:
    """Write result.json, which says that the run is whole."""
    document = {
        "finalists": [entrant.name for entrant in found if entrant.attempt is not None],
        "requirements": [r.text for r in job.requirements],
        "seconds": {phase: round(s, 3) for phase, s in seconds.items()},
    }
    run.write_text(RESULT_FILE, _json(document))


def _card(
    job: Job,
    entrant: Entrant,
    certificate: Certificate,
    latency: dict[str, Any] | None,
) -> dict[str, Any]:
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


def _setting(job: Job, command: str | None) -> dict[str, Any]:
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


def _ratios(
    prototype: Mapping[str, Any], card: Mapping[str, Any], latency: dict[str, float] | None
) -> dict[str, Any]:
    before, after = prototype["scores"], card["scores"]
    return {
        "params": prototype["costs"]["params"] / card["costs"]["params"],
        "macs": prototype["costs"]["macs"] / card["costs"]["macs"],
        "information_density": after["information_density"] / before["information_density"],
        "netscore_gain": after["netscore"] - before["netscore"],
        "latency": latency,
        "provenance": "to the prototype of this run; latency within one session, 95 % interval",
    }


def _ratio(prototype: Latency, network: Latency) -> dict[str, float]:
    found = ratio(prototype, network)
    return {"value": found.value, "low": found.low, "high": found.high}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
