"""Values for programs: as JSON, and as rows of plain cells for CSV and data frames.

What a table rounds stands here as it is; percentages are in percent, as everywhere.
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensynth.graph.graph import Graph

if TYPE_CHECKING:
    from gensynth.runs.artefacts import Written
    from gensynth.runs.budgets import Budget
    from gensynth.runs.family import Drawn, Family
    from gensynth.runs.result import Finalist

Row = dict[str, Any]
_FEW = 8
_NOT_SAID = ("coupling", "resamples", "journal")
"""Fields that are for computing."""


def to_json(value: Any) -> str:
    """Return a value as JSON of one line for each of its uppermost parts."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=2)


def to_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a head, every column that any of them has; no last line end."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().removesuffix("\n")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, a graph by its name and digest."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Path():
            return str(value)
        case Graph():
            return {"name": value.name, "sha256": value.sha256}
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
    if hasattr(value, "to_document"):
        return plain(value.to_document())
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if f.name not in _NOT_SAID]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Set):
        return [plain(inner) for inner in sorted(value)]
    if isinstance(value, Iterable):
        return [plain(inner) for inner in value]
    return str(value)


def flat(document: Mapping[str, Any], prefix: str = "") -> Row:
    """Return a document as one row: a value within a value has both names, "costs.macs".

    Lists of more than a few, such as all runs of a measurement, are left to JSON.
    """
    row: Row = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            if len(value) > _FEW:
                continue
            row[f"{prefix}{name}"] = " ".join(map(str, value))
        else:
            row[f"{prefix}{name}"] = value
    return row


def networks(some: "Sequence[Finalist]") -> list[Row]:
    """Return a row a network of a run: score with interval and bound, costs, verdicts."""
    rows = []
    for one in some:
        low_pct, high_pct = one.certificate.interval_pct
        row = {
            "name": one.name,
            "seed": one.seed,
            f"{one.certificate.score.metric}_pct": one.certificate.point_pct,
            "low_pct": low_pct,
            "high_pct": high_pct,
            "certified_pct": one.certificate.lower_bound_pct,
            **_gained(one),
            **one.costs,
            "netscore": one.netscore,
            "information_density": one.information_density,
            "utility": one.utility,
            "latency_ms": one.latency and one.latency.p50_ms,
            **{key: figure.value for key, figure in one.figures.items()},
            "verdict": one.verdict.value,
            **{text: verdict.value for text, verdict in one.verdicts.items()},
            "folder": str(one.folder),
        }
        rows.append(row)
    return rows


def _gained(one: "Finalist") -> Row:
    """Return the points above the prototype, and those that are certified, if they are known."""
    gained = one.certificate.gained
    if one.difference is None or gained is None:
        return {}
    return {"points_gained": one.difference.points, "points_certified": gained[0]}


def drawn(family: "Family") -> list[Row]:
    """Return a row a network of a family: what is predicted of it, or certified."""
    return [_drawn(one) for one in family.drawn]


def budgets(found: "Sequence[Budget]") -> list[Row]:
    """Return a row a budget: the best network within it, or why there is none.

    All rows have the same columns: that a network keeps its budget is said by "within" alone.
    """
    rows = []
    for one in found:
        row: Row = {"within": one.requirement, "why": one.why or None}
        best = {} if one.best is None else _drawn(one.best)
        rows.append({**row, **{key: of for key, of in best.items() if key != one.requirement}})
    return rows


def _drawn(one: "Drawn") -> Row:
    low, middle, high = (100 * share for share in one.predicted)
    return {
        "seed": one.seed,
        "predicted_pct": middle,
        "low_pct": low,
        "high_pct": high,
        "tested_pct": one.certificate and one.certificate.point_pct,
        **one.costs,
        "verdict": one.verdict.value,
        **{text: verdict.value for text, verdict in one.verdicts.items()},
        "folder": str(one.folder),
    }


def artefacts(written: "Sequence[Written]") -> list[Row]:
    """Return a row an artefact: what it is for, where it is, and what was shown of it."""
    rows = []
    for one in written:
        made = one.artefact
        row = {
            "name": made.name,
            "target": made.target.name,
            "precision": made.precision,
            "batch": made.batch,
            "bytes": sum(map(len, made.files.values())),
            "parity_relative": made.parity.relative,
            "folder": str(one.folder),
        }
        if made.accuracy is not None:
            metric = made.accuracy.before.metric
            row[f"{metric}_before_pct"] = 100 * made.accuracy.before.value
            row[f"{metric}_after_pct"] = 100 * made.accuracy.after.value
        rows.append(row)
    return rows


def measured(record: Mapping[str, Any]) -> list[Row]:
    """Return a row a network of a bench's record, with what all of them have in common."""
    common = {name: record[name] for name in ("device", "precision", "batch") if name in record}
    return [{**flat(common), **flat(network)} for network in record["networks"]]
