"""What a card must say: its form, held against it where it is read.

What the form does not list is for people.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from gensynth.goals.difference import DifferenceDocument
from gensynth.goals.readings import FigureDocument
from gensynth.outside import Finite, Form, Natural, Positive

Verdict = Literal["satisfied", "violated", "unknown"]
Confidence = Annotated[float, Field(gt=0, le=0.9999)]
Above0 = Annotated[float, Field(gt=0, le=1e30)]


class Costs(TypedDict):
    """Exact ones."""

    params: Natural
    macs: Natural
    size_mib: NotRequired[Annotated[float, Field(ge=0, le=1e30)]]
    peak_mib: NotRequired[Annotated[float, Field(ge=0, le=1e30)]]


class CertificateDocument(TypedDict):
    """A certificate, beside the score that it is of."""

    metric: str
    requirement: str | None
    confidence: Confidence
    sharing: Annotated[int, Field(ge=1, le=1 << 30)]
    claims: NotRequired[Annotated[int, Field(ge=1, le=2)]]


class Scores(TypedDict):
    """U, and what weighs accuracy against cost."""

    utility: Finite
    information_density: Finite
    netscore: Finite


class Latency(TypedDict):
    """What was measured on the run's own machine."""

    p50_ms: Above0
    p50_low_ms: Above0 | None
    p50_high_ms: Above0 | None
    p50_interval: NotRequired[str]
    steady: NotRequired[bool]
    flags: NotRequired[list[str]]
    device: str
    runtime: str
    threads: Positive
    batch: Positive
    n: Positive


class RatioInterval(TypedDict):
    """A ratio of latencies."""

    value: Above0
    low: Above0 | None
    high: Above0 | None


class Ratios(TypedDict):
    """Figures to the prototype's."""

    params: Finite
    macs: Finite
    information_density: Finite
    netscore_gain: Finite
    latency: RatioInterval | None


class RequirementDocument(TypedDict):
    """A requirement, and whether it is met."""

    text: str
    certified: Verdict
    point: Verdict
    by: NotRequired[Literal["estimate", "difference"]]


class Own(TypedDict):
    """The files beside a card that it was written for."""

    sha256: NotRequired[dict[str, str] | None]


class Card(Own):
    """card.json."""

    format: Literal[1]
    name: str
    seed: Natural | None
    costs: Costs
    certificate: CertificateDocument
    precisions: NotRequired[dict[str, str]]
    search: dict[str, Any]
    scores: Scores
    latency: Latency | None
    figures: NotRequired[dict[str, FigureDocument]]
    ratios: Ratios | None
    difference: NotRequired[DifferenceDocument | None]
    requirements: list[RequirementDocument]
    no_onnx_because: NotRequired[str | None]
    trained_further: NotRequired[dict[str, Any] | None]


CARD: Form[Card] = Form(Card)
OWN: Form[Own] = Form(Own)
