"""What a card claims: by the whole interval of a measurement, not by its middle."""

from pathlib import Path

import pytest

from gensynth.config import PrototypeConfig
from gensynth.goals.certificate import certify
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
