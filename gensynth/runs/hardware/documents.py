"""What was measured of a network, as JSON values of a run's journal, and back."""

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from gensynth.goals.figure import Figure
from gensynth.goals.readings import FigureDocument, read_figure
from gensynth.outside import Finite, Form, Natural, Positive
from gensynth.runs.hardware.measuring import Outcome
from gensynth.search.inquisitor import read_point
from gensynth.space.points import Point
from gensynth.space.space import Space


class KernelDocument(TypedDict):
    """A kernel of a profile."""

    name: str
    operator: str
    inputs: list[list[Natural]]
    outputs: list[list[Natural]]
    ms: Finite


class MeasuredDocument(TypedDict):
    """One network on one device."""

    device: str
    widths: list[Positive]
    kept_blocks: list[bool]
    substitutes: list[Natural]
    status: str
    figures: dict[str, FigureDocument]
    beside_ms: Finite | None
    message: str
    job: str
    why: NotRequired[str]
    estimated: NotRequired[dict[str, FigureDocument]]
    profile: NotRequired[list[KernelDocument]]


FORM: Form[MeasuredDocument] = Form(MeasuredDocument)
ALL: Form[list[MeasuredDocument]] = Form(list[MeasuredDocument])


def to_document(
    device: str,
    point: Point,
    outcome: Outcome,
    why: str = "",
    estimated: Mapping[str, Figure] | None = None,
) -> dict[str, Any]:
    """Return what came of a measurement as JSON values.

    Args:
        device, point, outcome: what was measured, and where.
        why: this network.
        estimated: what was said of it until then.
    """
    document: dict[str, Any] = {
        "device": device,
        "widths": list(point.widths),
        "kept_blocks": list(point.kept_blocks),
        "substitutes": list(point.substitutes),
        "why": why,
        "status": outcome.status,
        "estimated": {name: figure.to_document() for name, figure in (estimated or {}).items()},
        "figures": {name: figure.to_document() for name, figure in outcome.figures.items()},
        "beside_ms": outcome.beside_ms,
        "message": outcome.message,
        "job": outcome.job_id,
    }
    if outcome.profile is not None:
        document["profile"] = [dict(entry) for entry in outcome.profile]
    return document


def outcome_of(document: Mapping[str, Any]) -> Outcome:
    """Return what `to_document` wrote.

    Raises:
        ValueError: if it is no such document.
    """
    own = FORM.check(dict(document))
    return Outcome(
        own["status"],
        {name: read_figure(figure) for name, figure in own["figures"].items()},
        own["beside_ms"],
        own.get("profile"),
        own["message"],
        own["job"],
    )


def point_of(document: Mapping[str, Any], space: Space) -> Point:
    """Return the network of a document.

    Raises:
        ValueError: if it is none of the space.
    """
    return read_point(space, document["widths"], document["kept_blocks"], document["substitutes"])
