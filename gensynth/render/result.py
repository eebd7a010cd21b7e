"""The prototype and its FermiNets side by side, and what to do with them next."""

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gensynth.goals import metrics
from gensynth.goals.difference import NONE, Difference, PairedImages
from gensynth.goals.figure import Figure
from gensynth.goals.relative import as_asked
from gensynth.goals.requirements import parse
from gensynth.goals.score import value_for_utility
from gensynth.goals.verdicts import is_estimate
from gensynth.graph.files import ONNX_FILE, WEIGHTS_FILE
from gensynth.render.figures import (
    GAP,
    columns,
    count,
    decimals,
    digits,
    interval,
    rough,
    wrapped,
)
from gensynth.render.notes import certified, decided, is_by_score, notes
from gensynth.run_files import PICTURES

if TYPE_CHECKING:
    from gensynth.runs.result import Finalist, Result

_NONE = "-"


def result(result: "Result", width: int = 80) -> str:
    """Return the table of a finished run, the notes to it, and the next commands.

    A network is a column, so that any number of requirements finds its row; networks that
    do not fit beside each other follow below, beside the prototype again.
    """
    table = _table(result.prototype, result.finalists, width)
    return "\n\n".join([table, *notes(result, width), _next(result)])


def networks(prototype: "Finalist", some: Sequence["Finalist"], width: int = 80) -> str:
    """Return the table of some networks beside their prototype, and how they were certified."""
    told = [*certified(some), *decided(some)]
    lines = "\n".join(wrapped(line, width) for line in told)
    return f"{_table(prototype, some, width)}\n\n{lines}"


def _table(prototype: "Finalist", some: Sequence["Finalist"], width: int) -> str:
    rows = _rows(prototype, some)
    tables = []
    for fitting in _fitting(prototype, some, rows, width):
        cells = [[label, *map(show, [prototype, *fitting])] for label, show in rows]
        tables.append("\n".join(columns(cells)))
    return "\n\n".join(tables)


Row = tuple[str, Callable[["Finalist"], str]]


def _rows(prototype: "Finalist", some: Sequence["Finalist"]) -> list[Row]:
    """Return label and cell of every row."""
    networks = [prototype, *some]
    score = prototype.certificate.score
    title = metrics.find(score.metric, "the prototype's card").title
    own = not all(_is_shown(f.utility, f) for f in networks)
    rows: list[Row | None] = [
        ("", lambda f: f.name),
        (f"{title} on {score.n:,} test images", lambda f: f"{f.certificate.point_pct:.2f} %"),
        ("  95 % interval", lambda f: interval(*f.certificate.interval_pct)),
        ("  certified at least", _bound) if any(map(is_by_score, networks)) else None,
        *_beside(networks),
        ("parameters", lambda f: f"{f.params:,}"),
        ("MACs", lambda f: count(f.macs)),
        *((_with_unit(name), _cost(name)) for name in _limited(prototype)),
        ("information density, %/M", lambda f: _below(f) + digits(f.information_density)),
        ("NetScore", lambda f: f"{_below(f)}{f.netscore:.2f}"),
        ("utility", lambda f: f"{f.utility:#.4g}") if own else None,
        ("latency p50, ms", _latency),
        ("  95 % interval", _latency_interval),
        *(row for key in _keys(networks) for row in _figure_rows(key)),
        ("times fewer parameters", lambda f: digits(f.ratios.params) if f.ratios else ""),
        ("times fewer MACs", lambda f: digits(f.ratios.macs) if f.ratios else ""),
        ("times the density", _density),
        ("NetScore gained", lambda f: f"{f.ratios.netscore_gain:+.2f}" if f.ratios else ""),
        ("times faster", _speed),
        ("  95 % interval", _speed_interval),
        *(row for text in prototype.verdicts for row in _verdict_rows(text, networks)),
    ]
    return [row for row in rows if row is not None]


def _beside(networks: Sequence["Finalist"]) -> Iterator[Row]:
    """Yield what is told of the same images beside the score, and how far the prototype is."""
    judged = any(f.by_difference for f in networks)
    # Where counted images decide nothing, the card has them, and more columns fit here.
    if judged or not any(isinstance(f.difference, PairedImages) for f in networks):
        yield from _gained(networks, lambda f: f.difference)
    if judged:
        yield "    certified at least", _gained_bound
    for name in getattr(networks[0].certificate.score, "others", {}):
        title = metrics.find(name, "the prototype's card").title
        yield title, partial(_other, name)
        yield from _gained(networks, partial(_other_difference, name))


def _other(name: str, network: "Finalist") -> str:
    value = getattr(network.certificate.score, "others", {}).get(name)
    return _NONE if value is None else f"{100 * value:.2f} %"


def _other_difference(name: str, network: "Finalist") -> Difference | None:
    return network.difference.others.get(name) if network.difference else None


def _gained(
    networks: Sequence["Finalist"], found: Callable[["Finalist"], Difference | None]
) -> Iterator[Row]:
    """Yield how many points a network is above its prototype, where that is known of any."""

    def points(network: "Finalist") -> str:
        own = found(network)
        return f"{own.points:+.2f}" if own and own != NONE else ""

    def ends(network: "Finalist") -> str:
        own = found(network)
        return "{:+.2f} to {:+.2f}".format(*own.bounds()) if own and own != NONE else ""

    if any(found(network) for network in networks):
        yield "  points gained", points
        yield "    95 % interval", ends


def _below(network: "Finalist") -> str:
    """Return what stands before a figure of a score that the test images do not tell from 0."""
    score = network.certificate.score
    return "below " if score.value < value_for_utility(score) else ""


def _is_shown(utility: float, network: "Finalist") -> bool:
    """Return whether a utility is a figure that has a row of its own already."""
    shown = (network.certificate.point_pct, network.netscore, network.information_density)
    return any(math.isclose(utility, figure) for figure in shown)


def _verdict_rows(text: str, networks: Sequence["Finalist"]) -> list[Row]:
    """Return the certified verdict, and that of the point values where it differs."""
    paired = all(text in f.by_difference for f in networks)
    label = f"{as_asked(text)}, paired" if paired else text

    def verdict(network: "Finalist") -> str:
        alone = text in network.by_difference and not paired
        return _verdict(network, text) + ", paired" * alone

    if all(f.verdicts[text] == f.point_verdicts[text] for f in networks):
        return [(label, verdict)]
    return [(label, verdict), ("  by point value", lambda f: f.point_verdicts[text].value)]


def _verdict(network: "Finalist", text: str) -> str:
    return network.verdicts[text].value + ", estimated" * (text in network.estimated)


def _limited(prototype: "Finalist") -> list[str]:
    """Return the exact costs without a row of their own that a requirement is on."""
    asked = dict.fromkeys(parse(text).metric for text in prototype.verdicts)
    return [name for name in asked if name in (metrics.SIZE.name, metrics.PEAK.name)]


def _cost(name: str) -> Callable[["Finalist"], str]:
    return lambda f: digits(f.costs[name]) if name in f.costs else _NONE


def _with_unit(name: str, device: str = "") -> str:
    metric = metrics.find(name, "a card")
    return f"{metric.title}{f' on {device}' * bool(device)}, {metric.unit}"


def _keys(networks: Sequence["Finalist"]) -> list[str]:
    return list(dict.fromkeys(key for network in networks for key in network.figures))


def _figure_rows(key: str) -> list[Row]:
    """Return value, interval and origin of what is known on a device, in cells that are short."""

    def cell(show: Callable[[Figure], str]) -> Callable[["Finalist"], str]:
        return lambda f: show(f.figures[key]) if key in f.figures else _NONE

    return [
        (
            _with_unit(*metrics.parts_of(key)),
            cell(_value),
        ),
        ("  95 %, an estimate's 80 % interval", cell(_ends)),
        ("  from", cell(_origin)),
    ]


def _value(figure: Figure) -> str:
    return f"~{rough(figure.value)}" if is_estimate(figure) else digits(figure.value)


def _ends(figure: Figure) -> str:
    if is_estimate(figure):
        return "-".join(map(rough, figure.interval80))
    return "-".join(map(digits, figure.interval95))


def _origin(figure: Figure) -> str:
    if not is_estimate(figure):
        return figure.provenance
    return f"{figure.provenance}, n = {figure.measurements}"


def _bound(network: "Finalist") -> str:
    return f"{network.certificate.lower_bound_pct:.2f} %" if is_by_score(network) else _NONE


def _gained_bound(network: "Finalist") -> str:
    gained = network.certificate.gained
    if gained is None or network.difference == NONE:
        return ""
    return f"{gained[0]:+.2f}" if network.by_difference else _NONE


def _latency(network: "Finalist") -> str:
    found = network.latency
    return f"{found.p50_ms:.{_places(found.p50_ms)}f}" if found else _NONE


def _latency_interval(network: "Finalist") -> str:
    found = network.latency
    if found is None or found.low_ms is None or found.high_ms is None:
        return _NONE
    return interval(found.low_ms, found.high_ms, _places(found.p50_ms))


def _places(latency_ms: float) -> int:
    return min(3, decimals(latency_ms))  # no clock tells less than a microsecond apart


def _density(network: "Finalist") -> str:
    return digits(network.ratios.information_density) if network.ratios else ""


def _speed(network: "Finalist") -> str:
    if network.ratios is None:
        return ""
    return _NONE if network.ratios.latency is None else digits(network.ratios.latency)


def _speed_interval(network: "Finalist") -> str:
    ratios = network.ratios
    if ratios is None:
        return ""
    if ratios.latency is None or ratios.latency_low is None or ratios.latency_high is None:
        return _NONE
    return interval(ratios.latency_low, ratios.latency_high, decimals(ratios.latency))


def _fitting(
    prototype: "Finalist", networks: Sequence["Finalist"], rows: Sequence[Row], width: int
) -> Iterator[Sequence["Finalist"]]:
    """Yield the networks in as few tables as their columns need."""
    start = max(len(label) for label, _ in rows) + _breadth(prototype, rows)
    some: list[Finalist] = []
    room = width - start
    for network in networks:
        breadth = _breadth(network, rows)
        if some and breadth > room:
            yield some
            some, room = [], width - start
        some.append(network)
        room -= breadth
    yield some


def _breadth(network: "Finalist", rows: Sequence[Row]) -> int:
    return len(GAP) + max(len(show(network)) for _, show in rows)


def _next(result: "Result") -> str:
    here = Path.cwd()
    near = result.path.relative_to(here) if result.path.is_relative_to(here) else result.path
    path = shlex.quote(str(near))
    # What was timed has its ONNX file.
    timed = any(network.latency for network in result.finalists)
    file = ONNX_FILE if timed else WEIGHTS_FILE
    lines = [
        ("run folder", path),
        ("networks", f"{path}/finalists/*/{file}"),
        *([("pictures", f"{path}/{PICTURES}/*.png")] if result.pictures else []),
        ("more of them", f"gensynth generate {path} --seeds 0:50"),
        ("this table again", f"gensynth show {path}"),
    ]
    return "\n".join(columns(lines, left=2))
