"""The end of a run: finalists certified, exported, timed beside the prototype, described.

    certify     each network scored once on the test split, through the ledger
    export      ONNX, compared with the network's own outputs
    latency     all files in turns in one session
    cards       one a network, then the networks' folders
    pictures    of answers, where the task has any; then result.json

`gensynth.runs.certification` takes the same steps for a network that was trained further.

The order matters: names and choice are settled on the search split before the test split is
touched, and `result.json` appears last, so a run that has one is whole.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gensynth.atomic_files import file_sha256, json_bytes, write_bytes
from gensynth.bench.latency import Latency, measure, ratio, refusal
from gensynth.data.passes import images_a_pass
from gensynth.data.views import normaliser
from gensynth.errors import ExportError
from gensynth.export import export_network
from gensynth.export.metadata import Reading, keeping_in_fp32
from gensynth.export.overflow import overflow
from gensynth.goals.card import hashes
from gensynth.goals.certificate import Certificate, certify
from gensynth.goals.difference import NONE, Difference, difference
from gensynth.goals.figure import Figure
from gensynth.goals.hub_card import HUB_FILE, hub_card
from gensynth.goals.ledger import Ledger
from gensynth.goals.score import Score
from gensynth.graph.files import CARD_FILE, ONNX_FILE, WEIGHTS_FILE
from gensynth.outside import WEIGHTS_BYTES, read_bytes
from gensynth.progress import Listener
from gensynth.run_files import FINALISTS, LATENCY_FILE, PICTURES, PROTOTYPE, RESULT_FILE
from gensynth.runs.cards import Entrant, Origin, card_of, ratios_of, setting_of
from gensynth.runs.folder import RunFolder
from gensynth.runs.full_distillation import ATTEMPTS, FullDistillation, read_network
from gensynth.runs.inputs import inputs_of
from gensynth.runs.prepare import Job
from gensynth.tasks.task import Draws
from gensynth.training.evaluator import answerer

PARITY_IMAGES = 64


def entrants(run: RunFolder, job: Job, chosen: list[FullDistillation]) -> list[Entrant]:
    """Return the prototype and the finalists, named in the order in which they were chosen."""
    network = job.prototype.network()
    job.evaluator.compute.place(network).eval()
    name = job.prototype.graph.name
    found = [Entrant(name, PROTOTYPE, network, job.search_score, None)]
    for index, one in enumerate(chosen):
        network = read_network(run, one.name, job)
        origin = Origin(one.seed, one.generator_sha256, one.name, one.predicted)
        name, source = f"FermiNet-{letters(index)}", f"{ATTEMPTS}/{one.name}"
        found.append(Entrant(name, source, network, one.score, origin))
    return found


def letters(index: int) -> str:
    """Return A, B, ..., Z, AA, AB, ... for 0, 1, ..., 25, 26, 27, ..."""
    head, last = divmod(index, 26)
    return (letters(head - 1) if head else "") + chr(ord("A") + last)


def certify_all(run: RunFolder, job: Job, found: list[Entrant]) -> list[Certificate]:
    """Score every network on the test split, each at most once in the run's life.

    The prototype is the first of them, so that the others are held against it.
    """
    sharing = sharing_of(run, job, [run.path / one.source for one in found[1:]])
    return [
        certificate_of(run, job, one.network, run.path / one.source / WEIGHTS_FILE, sharing)
        for one in found
    ]


def sharing_of(run: RunFolder, job: Job, folders: list[Path]) -> int:
    """Return how many networks share the confidence of a test split, those in `folders` included.

    Every network that the run's ledger has a result of counts, whatever became of it since, but
    for the prototype, among which nothing was chosen.
    """
    judged = Ledger(run.ledger).judged(job.dataset.test.sha256)
    judged |= {file_sha256(folder / WEIGHTS_FILE) for folder in folders}
    return max(1, len(judged - _prototype(run)))


def judged_by(run: RunFolder) -> int:
    """Return how many networks the test split of a run has judged, the prototype left out."""
    data = inputs_of(run.path).get("data")
    if data is None:
        return 0
    return len(Ledger(run.ledger).judged(data["test_sha256"]) - _prototype(run))


def _prototype(run: RunFolder) -> set[str]:
    return {file_sha256(run.path / PROTOTYPE / WEIGHTS_FILE)}


def certificate_of(
    run: RunFolder, job: Job, network: nn.Module, weights: Path, sharing: int
) -> Certificate:
    """Score one network on the test split through the run's ledger, and certify it.

    In float32, as its files are computed: what trains in a lower precision is not certified by it.
    How far it is from the prototype is known where the ledger has both, image by image.

    Args:
        run: whose ledger.
        job: the run.
        network: placed.
        weights: its weights file, whose hash is the network's name in the ledger.
        sharing: networks certified together.

    Raises:
        PrototypeError: if it answers an image alone otherwise than among others; no test image
            is looked at then.
    """
    test, evaluator = job.dataset.test, job.evaluator
    evaluator.check_apart(network, f"the network of {weights.parent}")
    exact = replace(evaluator, compute=replace(evaluator.compute, autocast=None))
    score = Ledger(run.ledger).score(
        file_sha256(weights),
        test.sha256,
        lambda: exact.score(network, test),
        metric=job.task.metric,
        n=len(test),
    )
    apart = _from_prototype(run, job, file_sha256(weights), score)
    return certify(score, job.requirements, sharing=sharing, difference=apart)


def _from_prototype(run: RunFolder, job: Job, network: str, score: Score) -> Difference | None:
    """Return how far a test score is from the prototype's, as far as the ledger knows."""
    (own,) = _prototype(run)
    known = Ledger(run.ledger).recorded(own, job.dataset.test.sha256, job.task.metric)
    found = None if known is None else difference(score, known)
    return NONE if found is not None and network == own else found


@dataclass(frozen=True)
class Exported:
    """What became of a network's ONNX file.

    Attributes:
        parity: of the file with the network; None if there is no file.
        why_not: why there is none; None if there is one.
    """

    parity: dict[str, Any] | None
    why_not: str | None = None


def export_all(
    run: RunFolder, job: Job, found: list[Entrant], listener: Listener
) -> dict[str, Exported]:
    """Write each network's ONNX file beside its weights, as far as it can be; by name.

    Parts that cannot be looked into are written by torch's exporter. Where a device of the run
    computes in FP16, the file says which nodes cannot, and the listener hears of them. A network
    that cannot be written, or whose file does not compute the same, goes on without: by now the
    test images are spent, and every figure but its latency stands. The listener hears why.

    Raises:
        ExportError: if a file cannot be stored.
    """
    count = images_a_pass(job.dataset.shape, PARITY_IMAGES)
    images = torch.from_numpy(job.dataset.search.images[:count])
    normalised = normaliser(job.dataset)(images)
    halves = any(device.precision == "fp16" for device in job.config.devices.values())
    exported: dict[str, Exported] = {}
    for entrant in found:
        file = run.path / entrant.source / ONNX_FILE
        try:
            facts = _facts(job, run.path / entrant.source / WEIGHTS_FILE)
            parity = export_network(
                entrant.network, normalised, file, name=entrant.name, facts=facts
            )
            if halves:
                _say_what_fp16_lacks(entrant.name, file, normalised.numpy(), listener)
        except ExportError as error:
            if isinstance(error.__cause__, OSError):
                raise ExportError(f"{entrant.name}: {error}") from error
            file.unlink(missing_ok=True)  # of a session before this one
            exported[entrant.name] = Exported(None, str(error))
        else:
            exported[entrant.name] = Exported({**asdict(parity), "relative": parity.relative})
    lost = {name: one.why_not for name, one in exported.items() if one.why_not is not None}
    if lost.keys() == exported.keys():
        name, why_not = next(iter(lost.items()))
        listener.note(f"no ONNX files: {name}: {why_not}")
    else:
        for name, why_not in lost.items():
            listener.note(f"no ONNX file of {name}, so no latency either: {why_not}")
    return exported


def _say_what_fp16_lacks(name: str, file: Path, read: np.ndarray, listener: Listener) -> None:
    """Have a file say which of its nodes a builder keeps in FP32."""
    content = file.read_bytes()
    beyond = overflow(content, read)
    if beyond.nodes:
        write_bytes(file, keeping_in_fp32(content, beyond.nodes))
        listener.note(f"{name}: {beyond}; what gives or reads that stays in FP32")


def _facts(job: Job, weights: Path) -> dict[str, Any]:
    """Return what a network's ONNX file says of itself."""
    data, colour = job.dataset, job.config.data.colour
    shape = (data.shape[0], data.shape[1], data.shape[2])
    read_as = "grey" if shape[0] == 1 else "bgr" if colour == "bgr" else "rgb"
    reading = Reading(shape, tuple(data.mean), tuple(data.std), read_as, tuple(data.classes))
    return {
        "classes": list(data.classes),
        "reads": reading.to_document(),
        "task": getattr(job.task, "program", None),
        "requirements": [requirement.text for requirement in job.requirements],
        "weights_sha256": file_sha256(weights),
    }


def time_all(
    run: RunFolder, job: Job, found: list[Entrant], listener: Listener
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, float | None]]]:
    """Time all ONNX files in turns.

    A network that does not take the noise that networks are timed on, or has no file, is left out.

    Returns:
        (records, ratios prototype / network with their intervals), by name.
    """
    files = _files(run, found)
    refused = {name: why for name, file in files.items() if (why := refusal(file)) is not None}
    if refused.keys() == files.keys():
        if refused:
            listener.note(f"no latency: {next(iter(refused.values()))}")
        return {}, {}
    for name, why in refused.items():
        listener.note(f"no latency of {name}: {why}")
        del files[name]
    config = job.config.latency
    measured = measure(list(files.values()), repeats=config.repeats, threads=config.threads)
    latencies = dict(zip(files, measured, strict=True))
    records = {name: {**one.record(), "network": name} for name, one in latencies.items()}
    prototype = latencies.pop(found[0].name, None)
    ratios = {}
    if prototype is not None:
        ratios = {name: _ratio(prototype, latency) for name, latency in latencies.items()}
    return records, ratios


def measure_all(
    run: RunFolder, job: Job, found: list[Entrant], listener: Listener
) -> dict[str, dict[str, Figure]]:
    """Measure every network in turns at a grade that counts, on every device that can be asked.

    One without an ONNX file is left out.

    Returns:
        What was measured, by the network's name and the figure's key.
    """
    files = _files(run, found)
    if not job.hardware.attached or not files:
        return {}
    contents = [file.read_bytes() for file in files.values()]
    measured = job.hardware.finally_measured(contents, listener)
    return dict(zip(files, measured, strict=True))


def _files(run: RunFolder, found: list[Entrant]) -> dict[str, Path]:
    """Return the ONNX files that there are, by the networks' names and in their order."""
    files = {entrant.name: run.path / entrant.source / ONNX_FILE for entrant in found}
    return {name: file for name, file in files.items() if file.exists()}


def write_all(
    run: RunFolder,
    job: Job,
    found: list[Entrant],
    certificates: list[Certificate],
    exported: Mapping[str, Exported],
    latencies: Mapping[str, dict[str, Any]],
    ratios: Mapping[str, dict[str, float | None]],
    figures: Mapping[str, Mapping[str, Figure]],
    *,
    command: str | None,
) -> None:
    """Write what was timed, the cards and the finalists' folders."""
    if latencies:
        run.write_bytes(LATENCY_FILE, json_bytes({"networks": latencies, "ratios": ratios}))
    first: dict[str, Any] | None = None
    setting = setting_of(job, command)
    for entrant, certificate in zip(found, certificates, strict=True):
        folder = run.path / entrant.source
        card = card_of(
            job, entrant, certificate, latencies.get(entrant.name), figures.get(entrant.name)
        )
        card |= setting | {"sha256": hashes(folder)}
        card["parity"] = exported[entrant.name].parity
        card["no_onnx_because"] = exported[entrant.name].why_not
        if first is None:
            first = card
            run.write_bytes(f"{PROTOTYPE}/{CARD_FILE}", json_bytes(card))
            continue
        card["ratios"] = ratios_of(first, card, ratios.get(entrant.name))
        files = {file: read_bytes(folder / file, WEIGHTS_BYTES) for file in card["sha256"]}
        files[CARD_FILE] = json_bytes(card)
        files[HUB_FILE] = hub_card(card).encode()
        run.write_folder(f"{FINALISTS}/{entrant.name}", files)


def draw_all(run: RunFolder, job: Job, found: list[Entrant]) -> list[str]:
    """Draw what the networks answer to some images of the search split; return the files' names."""
    if not isinstance(job.task, Draws):
        return []
    evaluator = job.evaluator
    networks = {one.name: answerer(one.network, job.dataset, evaluator.compute) for one in found}
    drawn = job.task.draw(networks, job.dataset, job.dataset.search)
    run.write_folder(PICTURES, drawn)
    return list(drawn)


def finish(
    run: RunFolder,
    job: Job,
    found: list[Entrant],
    pictures: list[str],
    seconds: Mapping[str, float],
) -> None:
    """Write result.json, which says that the run is whole."""
    document: dict[str, Any] = {
        "finalists": [entrant.name for entrant in found if entrant.origin is not None],
        "requirements": [r.text for r in job.requirements],
        **({"pictures": pictures} if pictures else {}),
        "seconds": {phase: round(s, 3) for phase, s in seconds.items()},
    }
    run.write_bytes(RESULT_FILE, json_bytes(document))


def _ratio(prototype: Latency, network: Latency) -> dict[str, float | None]:
    found = ratio(prototype, network)
    return {"value": found.value, "low": found.low, "high": found.high}
