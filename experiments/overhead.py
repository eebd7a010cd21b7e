"""How much of a run was neither training nor evaluation nor probing.

    python experiments/overhead.py RUN

The share of wall time that a finished run spent on everything else: reading and preparing,
generating, learning, writing, exporting. Training, evaluation and probing are read from the
journal and the attempts, the rest of each phase from result.json. Measuring latency is
measuring and counts as evaluation; so does the initialisation, which probes the prototype
and warms up the shared weights. Runs that were stopped in between count what their last
sessions kept.
"""

import argparse
import sys
from pathlib import Path

from gensynth.runs.result import read_result

WORK = ("train", "evaluate", "probe")


def main() -> int:
    """Print the table; the exit code is 1 where the rest exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--limit-pct", type=float, default=5.0, help="largest share of the rest")
    options = parser.parse_args()
    result = read_result(options.run)
    spent = dict(result.seconds)
    finalists = {p: spent.pop(f"finalists {p}") for p in ("train", "evaluate")}
    cycles = {
        p: sum(entry["seconds"].get(p, 0.0) for entry in result.journal)
        for p in (*WORK, "generate", "learn")
    }
    early = sum(sum(entry.get("full_seconds", {}).values()) for entry in result.journal)
    total = sum(spent.values())
    rows = {
        "prepare": (spent["prepare"], 0.0),
        "initialise": (spent.get("initialise", 0.0),) * 2,
        "cycles": (spent["cycles"], sum(cycles[p] for p in WORK) + early),
        "finalists": (spent["finalists"], sum(finalists.values()) - early),
        "certify": (spent["certify"],) * 2,
        "export": (spent["export"], 0.0),
        "latency": (spent["latency"],) * 2,
        "cards": (spent["cards"], 0.0),
    }
    print(f"{'phase':<12}{'s':>10}{'work s':>10}{'rest s':>10}")
    for name, (seconds, work) in rows.items():
        print(f"{name:<12}{seconds:>10.2f}{work:>10.2f}{seconds - work:>10.2f}")
    rest = sum(seconds - work for seconds, work in rows.values())
    share_pct = 100 * rest / total
    print(f"{'total':<12}{total:>10.2f}{total - rest:>10.2f}{rest:>10.2f}")
    print(
        f"of the cycles' rest: generate {cycles['generate']:.2f} s, learn {cycles['learn']:.2f} s"
    )
    print(f"{share_pct:.2f} % of the run, at most {options.limit_pct:g} % is allowed")
    return int(share_pct > options.limit_pct)


if __name__ == "__main__":
    sys.exit(main())
