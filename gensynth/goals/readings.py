"""Figures that are read: from a bench's record, and from a document that keeps one.

of_record       a metric, a network's entry of a record -> Figure
of_interval     a measured value and its 95 % interval -> Figure
read_figure     what `Figure.to_document` wrote -> Figure
"""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from gensynth.goals.figure import Figure, Provenance
from gensynth.goals.metrics import Metric
from gensynth.outside import Form, Natural

_NARROWER = NormalDist().inv_cdf(0.9) / NormalDist().inv_cdf(0.975)
"""How many times as wide as a 95 % interval an 80 % one is, of a normal distribution."""

_Above0 = Annotated[float, Field(gt=0, le=1e30)]


class FigureDocument(TypedDict):
    """A figure as JSON."""

    value: _Above0
    interval80: tuple[_Above0, _Above0]
    interval95: tuple[_Above0, _Above0]
    provenance: Provenance
    measurements: Natural
    unknown: NotRequired[tuple[str, ...]]


FORM: Form[FigureDocument] = Form(FigureDocument)


def of_record(metric: Metric, network: Mapping[str, Any], provenance: Provenance) -> Figure | None:
    """Return what a bench's record says of a network, as a figure.

    Args:
        metric: of a device.
        network: the network's entry in the record.
        provenance: the record's own, "measured" or "simulated".

    Returns:
        None where it was not measured, or too few rounds or windows give no interval: such a value
        decides nothing.
    """
    value, interval = _at(network, metric.value), _at(network, metric.interval95)
    if value is None or interval is None or interval[0] <= 0:
        return None
    return of_interval(float(value), (float(interval[0]), float(interval[1])), provenance)


def of_interval(
    value: float, interval95: tuple[float, float], provenance: Provenance = "measured"
) -> Figure:
    """Return the figure of one measurement.

    Its 80 % interval is that of a normal distribution of the logarithm. A value and its interval
    may come from different statistics, so the interval is widened until it holds the value.

    Args:
        value: positive.
        interval95: (low, high), positive.
        provenance: "measured" or "simulated".
    """
    low, high = min(interval95[0], value), max(interval95[1], value)
    low80, high80 = (value * (end / value) ** _NARROWER for end in (low, high))
    return Figure(value, (max(low, low80), min(high, high80)), (low, high), provenance, 1)


def read_figure(document: Mapping[str, Any]) -> Figure:
    """Return a figure that `Figure.to_document` wrote.

    Raises:
        ValueError: if the document is no such figure.
    """
    own = FORM.check(dict(document))
    return Figure(
        own["value"],
        own["interval80"],
        own["interval95"],
        own["provenance"],
        own["measurements"],
        own.get("unknown", ()),
    )


def _at(entry: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry if path else None
