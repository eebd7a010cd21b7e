"""How much of a run was neither training nor evaluation nor probing nor measuring.

    python experiments/overhead.py RUN

The share of wall time that a finished run spent on everything else: reading and preparing,
generating, learning, writing, exporting. Training, evaluation, probing and the measurements in
the loop are read from the journal and the attempts, the rest of each phase from result.json.
Measuring latency is measuring and counts as work; so does the initialisation, which probes the
prototype and warms up the shared weights. What is measured of a network before it is distilled
stands in the rest of the finalists. Runs that were stopped in between count what their last
sessions kept.

Of a run with devices the last line is what they cost beside their measurements: choosing networks
(those of a cycle, those to measure), estimating (fits and tables), learning on those costs, and
storing every state and measurement.
"""

import argparse
import sys
from pathlib import Path

from gensynth.runs.result import read_result

WORK = ("train", "evaluate", "probe", "devices")
REST = {"choosing": "generate", "estimating": "estimate", "learning": "learn"}
"""Phases of a cycle that are no work, by what they are for."""


def main() -> int:
    """Print the table; the exit code is 1 where the rest exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--limit-pct", type=float, default=5.0, help="largest share of the rest")
    options = parser.parse_args()
    result = read_result(options.run)
    spent = dict(result.seconds)
    finalists = {p: spent.pop(f"finalists {p}") for p in ("train", "evaluate")}
    cycles = [entry["seconds"] for entry in result.journal]
    work_s = sum(of_cycle.get(phase, 0.0) for of_cycle in cycles for phase in WORK)
    rest = {what: sum(one.get(phase, 0.0) for one in cycles) for what, phase in REST.items()}
    early = sum(sum(entry.get("full_seconds", {}).values()) for entry in result.journal)
    rest["storing"] = spent["cycles"] - work_s - early - sum(rest.values())
    total = sum(spent.values())
    rows = {
        "prepare": (spent["prepare"], 0.0),
        "initialise": (spent.get("initialise", 0.0),) * 2,
        "cycles": (spent["cycles"], work_s + early),
        "finalists": (spent["finalists"], sum(finalists.values()) - early),
        "certify": (spent["certify"],) * 2,
        "export": (spent["export"], 0.0),
        "latency": (spent["latency"],) * 2,
        "devices": (spent.get("devices", 0.0),) * 2,
        "cards": (spent["cards"], 0.0),
    }
    print(f"{'phase':<12}{'s':>10}{'work s':>10}{'rest s':>10}")
    for name, (seconds, work) in rows.items():
        print(f"{name:<12}{seconds:>10.2f}{work:>10.2f}{seconds - work:>10.2f}")
    over_s = sum(seconds - work for seconds, work in rows.values())
    print(f"{'total':<12}{total:>10.2f}{total - over_s:>10.2f}{over_s:>10.2f}")
    print("of the cycles' rest: " + ", ".join(f"{what} {s:.2f} s" for what, s in rest.items()))
    told_s = rest["choosing"] + rest["estimating"] + rest["storing"]
    print(f"{100 * told_s / total:.2f} % of the run: choosing, estimating and storing in the loop")
    share_pct = 100 * over_s / total
    print(f"{share_pct:.2f} % of the run, at most {options.limit_pct:g} % is allowed")
    return int(share_pct > options.limit_pct)


if __name__ == "__main__":
    sys.exit(main())
