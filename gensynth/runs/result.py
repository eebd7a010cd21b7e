"""What a finished run shows: its prototype and finalists, read back from their cards.

Everything a table needs stands in the run folder's cards and journal, so a run shows the
same on the day it ends and years later, and nothing here imports torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gensynth.bench.compare import ROUNDS_FOR_INTERVAL
from gensynth.errors import RunError
from gensynth.goals.card import read_card
from gensynth.goals.certificate import Certificate
from gensynth.goals.difference import Difference, read_difference
from gensynth.goals.figure import Figure
from gensynth.goals.readings import read_figure
from gensynth.goals.requirements import parse
from gensynth.goals.score import Score, read_score
from gensynth.goals.verdicts import Verdict, combine
from gensynth.graph.files import CARD_FILE
from gensynth.outside import Form, read_bytes
from gensynth.run_files import FINALISTS, PICTURES, PROTOTYPE, RESULT_FILE, is_finished
from gensynth.runs.folder import RunFolder
from gensynth.runs.forms import RESULT

_RUNS_A_ROUND_OF_OLD = 10


@dataclass(frozen=True)
class LatencyFigures:
    """The median latency of one network, with its 95 % interval.

    Attributes:
        p50_ms: of one run of `batch` images.
        low_ms, high_ms: None where too few rounds were timed for an interval.
        device, runtime: where and by what it was run.
        threads: of the runtime.
        batch: images a run.
        n: timed runs.
        flags: what it must not be read without, as in the bench's records.
    """

    p50_ms: float
    low_ms: float | None
    high_ms: float | None
    device: str
    runtime: str
    threads: int
    batch: int
    n: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ratios:
    """How much better than its prototype a network is; above 1, or above 0 for the gain.

    Attributes:
        params, macs, latency: prototype / network.
        information_density: network / prototype.
        netscore_gain: network - prototype, in points.
        latency_low, latency_high: 95 % interval of the latency ratio, of one session.
    """

    params: float
    macs: float
    information_density: float
    netscore_gain: float
    latency: float | None
    latency_low: float | None
    latency_high: float | None


@dataclass(frozen=True)
class Finalist:
    """One network of a finished run: the prototype, or a certified FermiNet.

    Attributes:
        name: "FermiNet-A", "-B", ... by utility on the search split; the prototype's own.
        folder: its files.
        seed: s; None for the prototype.
        costs: exact ones by name.
        certificate: of the test split.
        search_score: on the search split.
        utility, information_density, netscore: at the certificate's point value.
        latency: None where it was not measured.
        ratios: to the prototype; None for the prototype itself.
        figures: what is known of it on the run's devices, by key such as "joule_per_img@tx2".
        estimated: requirements whose verdicts rest on an estimate.
        verdicts: by requirement, as certified.
        point_verdicts: by requirement, of the point values: the paper's own criterion.
        no_onnx_because: why there is no ONNX file of it; None if there is one.
        trained_further: whether its weights were changed outside gensynth, then certified again.
        difference: of its test score from the prototype's of the same images; None where it is
            not known.
        by_difference: requirements whose verdicts rest on that.
        rounded: precisions of the run's devices that are not the certificate's, by device.
    """

    name: str
    folder: Path
    seed: int | None
    costs: Mapping[str, float]
    certificate: Certificate
    search_score: Score
    utility: float
    information_density: float
    netscore: float
    latency: LatencyFigures | None
    ratios: Ratios | None
    verdicts: Mapping[str, Verdict]
    point_verdicts: Mapping[str, Verdict]
    no_onnx_because: str | None = None
    trained_further: bool = False
    figures: Mapping[str, Figure] = field(default_factory=dict)
    estimated: frozenset[str] = frozenset()
    difference: Difference | None = None
    by_difference: frozenset[str] = frozenset()
    rounded: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Of all requirements together, as certified."""
        return combine(self.verdicts.values())

    @property
    def params(self) -> int:
        """Parameters, exactly."""
        return int(self.costs["params"])

    @property
    def macs(self) -> int:
        """MACs, exactly."""
        return int(self.costs["macs"])


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        path: of its folder.
        prototype: what all were learned from.
        finalists: the best utility on the search split first.
        requirements: as written.
        journal: one line a cycle, from cycle 1.
        seconds: wall time by phase, over all sessions of the run.
        pictures: of answers to images of the search split, where the task draws any.
    """

    path: Path
    prototype: Finalist
    finalists: tuple[Finalist, ...]
    requirements: tuple[str, ...]
    journal: tuple[Mapping[str, Any], ...]
    seconds: Mapping[str, float]
    pictures: tuple[Path, ...] = ()


def read_result(path: Path) -> Result:
    """Read a finished run.

    Raises:
        RunError: if there is no run, it is not finished, or a card of it is damaged.
    """
    run = RunFolder.open(path, lock=False)
    if not is_finished(path):
        raise RunError(f"{path} has no finalists yet; go on with: gensynth synth --resume {path}")
    document = read_document(RESULT, path / RESULT_FILE)
    read = Result(
        path=path,
        prototype=read_finalist(path / PROTOTYPE),
        finalists=tuple(read_finalist(path / FINALISTS / n) for n in document["finalists"]),
        requirements=tuple(document["requirements"]),
        journal=tuple(entry for entry in run.read_journal() if entry["cycle"] > 0),
        seconds=document["seconds"],
        pictures=tuple(path / PICTURES / name for name in document.get("pictures", ())),
    )
    for one in (read.prototype, *read.finalists):
        unjudged = set(read.requirements) - one.verdicts.keys()
        if unjudged:
            raise RunError(
                f"{one.folder / CARD_FILE} is damaged: it does not say whether "
                f'"{min(unjudged)}" is met'
            )
    return read


def read_finalist(folder: Path) -> Finalist:
    """Read a network's card.

    Raises:
        RunError: if it is absent, damaged or of another format, or the files beside it are not
            those that it was written for.
    """
    card = read_card(folder)
    requirements = card["requirements"]
    try:
        certificate = read_certificate(card["certificate"], card.get("difference"))
        return Finalist(
            name=card["name"],
            folder=folder,
            seed=card["seed"],
            costs={k: v for k, v in card["costs"].items() if isinstance(v, int | float)},
            certificate=certificate,
            search_score=read_score(card["search"], card["certificate"]["metric"]),
            utility=card["scores"]["utility"],
            information_density=card["scores"]["information_density"],
            netscore=card["scores"]["netscore"],
            latency=_latency(card["latency"]),
            ratios=_ratios(card["ratios"]),
            verdicts={r["text"]: Verdict(r["certified"]) for r in requirements},
            point_verdicts={r["text"]: Verdict(r["point"]) for r in requirements},
            no_onnx_because=card.get("no_onnx_because"),
            trained_further=card.get("trained_further") is not None,
            figures={key: read_figure(one) for key, one in card.get("figures", {}).items()},
            estimated=frozenset(r["text"] for r in requirements if r.get("by") == "estimate"),
            difference=certificate.difference,
            by_difference=frozenset(r["text"] for r in requirements if r.get("by") == "difference"),
            rounded={
                device: precision
                for device, precision in card.get("precisions", {}).items()
                if precision != "fp32"
            },
        )
    except ValueError as error:
        raise RunError(f"{folder / CARD_FILE} is damaged: {error}") from error


def read_certificate(
    document: Mapping[str, Any], difference: Mapping[str, Any] | None = None
) -> Certificate:
    """Read a certificate that `Certificate.to_document` wrote; bounds are worked out again.

    Args:
        document: of a card.
        difference: of the same card, if it has one.
    """
    text = document["requirement"]
    return Certificate(
        score=read_score(document, document["metric"]),
        requirement=None if text is None else parse(text),
        confidence=document["confidence"],
        sharing=document["sharing"],
        difference=None if difference is None else read_difference(difference),
        claims=document.get("claims", 1),
    )


def _latency(document: Mapping[str, Any] | None) -> LatencyFigures | None:
    if document is None:
        return None
    low_ms, high_ms = document["p50_low_ms"], document["p50_high_ms"]
    rounds = document["n"] / _RUNS_A_ROUND_OF_OLD
    if "bootstrap" in document.get("p50_interval", "") and rounds < ROUNDS_FOR_INTERVAL:
        low_ms = high_ms = None  # a bootstrap of one round has no width, whatever the spread
    return LatencyFigures(
        p50_ms=document["p50_ms"],
        low_ms=low_ms,
        high_ms=high_ms,
        device=document["device"],
        runtime=document["runtime"],
        threads=document["threads"],
        batch=document["batch"],
        n=document["n"],
        flags=tuple(document.get("flags", () if document.get("steady", True) else ["not_steady"])),
    )


def _ratios(document: Mapping[str, Any] | None) -> Ratios | None:
    if document is None:
        return None
    latency = document["latency"] or {}
    return Ratios(
        params=document["params"],
        macs=document["macs"],
        information_density=document["information_density"],
        netscore_gain=document["netscore_gain"],
        latency=latency.get("value"),
        latency_low=latency.get("low"),
        latency_high=latency.get("high"),
    )


def read_document(form: Form[Any], path: Path) -> Any:
    """Return a document, with what its form does not list, once it has that form.

    Raises:
        RunError: if it cannot be read or is damaged.
    """
    try:
        content = read_bytes(path)
        form.read(content)
        document = json.loads(content)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
    return document
