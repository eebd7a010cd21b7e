"""The running table of a synthesis: a row a cycle, from the journal's line.

*Predicted* was said before the network was trained, *observed* measured on the search split
after the cycle's short distillation, *distilled* is what the inquisitor promises after a
finalist's full one. All are the task's score in percent with a 95 % interval. The requirement is
judged on the promise and on the exact costs.
"""

from collections.abc import Mapping
from typing import Any

from gensynth.goals import metrics
from gensynth.render.figures import GAP, count, estimate

_COLUMNS = {
    "cycle": 5,
    "U": 6,
    "predicted": 17,
    "observed": 17,
    "distilled": 17,
    "MACs": 7,
    "params": 7,
    "require": 9,
}
_WIDE = 99
"""The width of all columns; a narrower terminal goes without what the verdict sums up."""


def cycle_header(width: int) -> str:
    """Return the head of the table."""
    return _line({name: name for name in _COLUMNS}, width)


def cycle_row(entry: Mapping[str, Any], total: int, width: int) -> str:
    """Return a cycle's row.

    Args:
        entry: its line of the journal.
        total: cycles of the run.
        width: of the terminal.
    """
    low, high = entry["interval_pct"]
    metric = entry.get("metric", metrics.TOP1.name)  # version 0.1 knew no other
    place = f"{entry['cycle']}/{total}"
    cells = {
        "cycle": place if len(f"{total}") < 3 else place.partition("/")[0],
        "U": f"{entry['utility']:#.4g}",
        "predicted": estimate(*entry[f"predicted_{metric}_pct"]),
        "observed": estimate(low, entry[f"{metric}_pct"], high),
        "distilled": estimate(*entry[f"promised_{metric}_pct"]),
        "MACs": count(entry["macs"]),
        "params": count(entry["params"]),
        "require": entry["verdict"],
    }
    return _line(cells, width)


def _line(cells: Mapping[str, str], width: int) -> str:
    shown = [n for n in _COLUMNS if n != "distilled" or width >= _WIDE]
    return GAP.join(cells[name].rjust(_COLUMNS[name]) for name in shown)
