"""The running table of a synthesis: a row a cycle, from the journal's line.

*Predicted* was said before the network was trained, *observed* counted on the search split
after the cycle's short distillation, *distilled* is what the inquisitor promises after a
finalist's full one. All are top-1 in percent with a 95 % interval. The requirement is
judged on the promise and on the exact costs.
"""

from collections.abc import Mapping
from typing import Any

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
    place = f"{entry['cycle']}/{total}"
    cells = {
        "cycle": place if len(f"{total}") < 3 else place.partition("/")[0],
        "U": f"{entry['utility']:#.4g}",
        "predicted": estimate(*entry["predicted_top1_pct"]),
        "observed": estimate(low, entry["top1_pct"], high),
        "distilled": estimate(*entry["promised_top1_pct"]),
        "MACs": count(entry["macs"]),
        "params": count(entry["params"]),
        "require": entry["verdict"],
    }
    return _line(cells, width)


def _line(cells: Mapping[str, str], width: int) -> str:
    shown = [n for n in _COLUMNS if n != "distilled" or width >= _WIDE]
    return GAP.join(cells[name].rjust(_COLUMNS[name]) for name in shown)
