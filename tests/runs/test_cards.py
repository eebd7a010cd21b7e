"""What a card claims: by the whole interval of a measurement, not by its middle."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gensynth.config import DeviceConfig, PrototypeConfig
from gensynth.goals.card_form import CARD
from gensynth.goals.certificate import certify
from gensynth.goals.figure import Figure, Provenance
from gensynth.goals.score import Proportion
from gensynth.runs.cards import Entrant, card_of
from gensynth.runs.prepare import Job, prepare
from tests.runs import tiny

LIMIT = "latency_ms@local <= 5"


@pytest.fixture(scope="module")
def job() -> Job:
    """A run whose latency is limited; its prototype is not trained."""
    untrained = PrototypeConfig(network="tests.runs.tiny:net", train=True)
    requirements = ("top1 >= 40%", "macs <= 60k", LIMIT)
    return prepare(tiny.config(Path(), None, prototype=untrained, requirements=requirements))


@pytest.mark.parametrize(
    ("low_ms", "middle_ms", "high_ms", "certified", "point"),
    [
        (4.0, 4.5, 4.9, "satisfied", "satisfied"),
        (4.0, 4.5, 5.4, "unknown", "satisfied"),
        (4.0, 5.2, 5.4, "unknown", "violated"),
        (5.1, 5.2, 5.4, "violated", "violated"),
    ],
)
def test_a_latency_is_certified_by_its_interval_and_judged_beside_it_by_its_middle(
    job: Job, low_ms: float, middle_ms: float, high_ms: float, certified: str, point: str
) -> None:
    network, score = job.prototype.network(), Proportion("top1", 100, 150)
    certificate = certify(Proportion("top1", 120, 180), job.requirements)
    latency = {"p50_low_ms": low_ms, "p50_ms": middle_ms, "p50_high_ms": high_ms, "rounds_ms": []}
    card = card_of(job, Entrant("net", "net", network, score, None), certificate, latency)
    (found,) = (one for one in card["requirements"] if one["text"] == LIMIT)
    assert (found["certified"], found["point"]) == (certified, point)


def card_with(job: Job, figures: dict[str, Figure]) -> dict[str, Any]:
    network, score = job.prototype.network(), Proportion("top1", 100, 150)
    certificate = certify(Proportion("top1", 120, 180), job.requirements)
    entrant = Entrant("net", "net", network, score, None)
    return card_of(job, entrant, certificate, None, figures)


def test_a_network_that_is_never_right_scores_as_if_one_image_were(job: Job) -> None:
    # NetScore is minus infinity at 0; by hand 40 log10(100 / 180) - 10 log10(params * macs).
    certificate = certify(Proportion("top1", 0, 180), job.requirements)
    entrant = Entrant("net", "net", job.prototype.network(), Proportion("top1", 0, 150), None)
    card = card_of(job, entrant, certificate)
    size = card["costs"]["params"] / 1e6 * card["costs"]["macs"] / 1e9
    expected = 40 * math.log10(100 / 180) - 10 * math.log10(size)
    assert card["scores"]["netscore"] == pytest.approx(expected)
    assert card["certificate"]["point_pct"] == 0


@pytest.mark.parametrize(
    ("provenance", "certified", "point"),
    [
        # 5 ms is kept with a probability of nine tenths, and lies within the 95 % interval.
        ("estimate", "satisfied", "satisfied"),
        ("measured", "unknown", "satisfied"),
    ],
)
def test_a_card_says_which_verdict_rests_on_an_estimate(
    job: Job, provenance: Provenance, certified: str, point: str
) -> None:
    figure = Figure(4.1, (3.3, 4.9), (2.9, 6.1), provenance, 3)
    card = card_with(job, {"latency_ms@local": figure})
    (found,) = (one for one in card["requirements"] if one["text"] == LIMIT)
    assert (found["certified"], found["point"]) == (certified, point)
    assert found.get("by") == ("estimate" if provenance == "estimate" else None)
    assert card["figures"] == {"latency_ms@local": figure.to_document()}


def test_a_card_says_which_precision_its_score_and_each_device_are_of(job: Job) -> None:
    config = replace(job.config, devices={"jetson-tx2": DeviceConfig(precision="fp16")})
    told = card_with(replace(job, config=config), {})["precisions"]
    assert told == {"certificate": "fp32", "jetson-tx2": "fp16"}


def test_a_card_has_every_exact_cost(job: Job) -> None:
    costs = card_with(job, {})["costs"]
    assert costs["size_mib"] == 4 * costs["params"] / 2**20
    # The block's one convolution reads and writes 8 x 12 x 12, and its input is what the sum reads.
    assert costs["peak_mib"] == 2 * 8 * 144 * 4 / 2**20


def test_a_card_whose_figure_is_damaged_is_refused(job: Job) -> None:
    figure = Figure(4.1, (3.3, 4.9), (2.9, 6.1), "estimate", 3)
    card = {**card_with(job, {"latency_ms@local": figure}), "ratios": None}
    card["latency"] = None
    CARD.check(card)
    card["figures"]["latency_ms@local"]["value"] = -1
    with pytest.raises(ValueError, match="figures"):
        CARD.check(card)
