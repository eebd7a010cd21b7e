"""A search under milliseconds and images per joule of a board that a program plays.

    python -m experiments.hardware.simulated_board run undisturbed   (some two minutes each)
    python -m experiments.hardware.simulated_board run again         the same, measured anew
    python -m experiments.hardware.simulated_board run faults        5 % of networks have a fault
    python -m experiments.hardware.simulated_board run unplugged     the cable is out for two cycles
    python -m experiments.hardware.simulated_board run killed        kill -9, then gone on with
    python -m experiments.hardware.simulated_board report            (from results/*.json)

Nothing here was measured on a board: ssh, the agent, its jobs and the sensor's driver files are the
real ones, and below them a program waits and draws power by a formula
(`board/modelled_work.py`). All figures are marked simulated. What is shown is the loop: that a
search whose estimates are wrong at first ends in networks that meet both requirements, since it
measures, corrects and steers, and that faults do not change where it ends.

The prototype and its images are the tests' own (`tests/runs/tiny.py`), which train in seconds; the
rounds and the energy windows are shorter than a board's, since this one heats nothing and its
sensor takes snapshots. What is certified may scatter as in the loop: the machine that plays the
board does other things beside.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.hardware.board.modelled_tx2 import ALIAS, modelled_tx2
from gensynth.bench import control, grades
from gensynth.bench.grades import Warmup, Windows, find_grade
from gensynth.bench.store import Store
from gensynth.config import DeviceConfig, RunConfig, SearchConfig
from gensynth.progress import Silent
from gensynth.runs.family import open_generator
from gensynth.runs.result import read_result
from gensynth.runs.run import resume, synth
from tests.fakes.relay import Relay
from tests.runs import tiny

RESULTS = Path(__file__).parent / "results"
ARMS = ("undisturbed", "again", "faults", "unplugged", "killed")
FAMILY = 32
"""Seeds whose networks stand for a generator's."""
LIMIT_MS, LEAST_IMAGES_PER_JOULE, BATCH, CYCLES = 0.8, 130_000.0, 512, 4
REQUIREMENTS = (
    "top1 >= 40%",
    f"latency_ms@{ALIAS} <= {LIMIT_MS}ms",
    f"img_per_joule@{ALIAS} >= {LEAST_IMAGES_PER_JOULE:g}",
)
_WINDOWS = Windows(idle_s=0.3, settle_s=0.2, windows=4, window_s=0.5)
_BRIEF = Warmup(0.2, 0.1, 10.0, 3.0)
_SHORT = {
    "loop": replace(find_grade("loop"), warmup=_BRIEF, rounds=8, round_s=0.05, energy=_WINDOWS),
    "standard": replace(
        find_grade("standard"), warmup=_BRIEF, rounds=8, round_s=0.2,
        energy=replace(_WINDOWS, windows=8), quiet=find_grade("loop").quiet,
    ),
}  # fmt: skip


def begin(out: Path, cycles: int = CYCLES) -> RunConfig:
    """Shorten the grades and return the run."""
    grades._BY_NAME |= _SHORT
    control.GRADE = replace(control.GRADE, warmup=_BRIEF, round_s=0.1)
    weights = out.parent / "tiny.safetensors"
    return tiny.config(
        weights if weights.exists() else tiny.trained(out.parent),
        out,
        requirements=REQUIREMENTS,
        utility=f"netscore + 10*log10(img_per_joule@{ALIAS})",
        devices={ALIAS: DeviceConfig(precision="fp16", batch=BATCH)},
        search=SearchConfig(
            cycles=cycles, warmup_images=512, images=512, probe_images=60, candidates=48, round_to=1
        ),
    )


class Told(Silent):
    """Writes down what is said; with a cable, it is out for the second and the third cycle."""

    def __init__(self, relay: Relay | None = None) -> None:
        self._relay = relay

    def cycle(self, entry: Mapping[str, Any], of: int) -> None:
        """Say so, and pull the cable or plug it back."""
        sys.stderr.write(f"cycle {entry['cycle']} of {of}\n")
        if self._relay is not None and entry["cycle"] == 1:
            self._relay.unplug()
        if self._relay is not None and entry["cycle"] == 3:
            self._relay.plug_in()

    def note(self, text: str) -> None:
        """Write it down."""
        sys.stderr.write(f"{text}\n")


def run(arm: str, cycles: int = CYCLES) -> dict[str, Any]:
    """Run one arm and return its record."""
    with tempfile.TemporaryDirectory(prefix="simulated-") as folder:
        out = Path(folder) / "run"
        faults = 0.05 if arm == "faults" else 0.0
        start = time.perf_counter()
        asked = begin(out, cycles)
        with modelled_tx2(Path(folder) / "board", faults) as board:
            if arm == "killed":
                _killed(out)
                resume(out, listener=Told())
            else:
                synth(asked, listener=Told(board.relay if arm == "unplugged" else None))
            seconds = time.perf_counter() - start
            kept = {
                "connections": board.relay.connections,
                "jobs": len(board.journal("begun")),
                "befallen": dict(Counter(board.befallen)),
                "leftovers": board.leftovers(),
                "flags": _flags(),
            }
        return {"arm": arm, "seconds": round(seconds), **kept, **record_of(out)}


def _flags() -> dict[str, int]:
    """Return how often the bench's records have each flag, and each reason for no joules."""
    found: Counter[str] = Counter()
    with sqlite3.connect(Store().path) as database:
        for (text,) in database.execute("select record from jobs"):
            record = json.loads(text)
            found.update([record["status"], *record["flags"]])
            found.update(n["no_energy_because"] for n in record["networks"] if n["energy"] is None)
    return dict(found)


def _killed(out: Path) -> None:
    """Begin the run in a process of its own, and end that with kill -9 while it measures."""
    command = [sys.executable, "-m", "experiments.hardware.simulated_board", "begin", str(out)]
    process, journal = subprocess.Popen(command), out / "journal.jsonl"
    try:
        while not (journal.exists() and len(journal.read_text().splitlines()) > 2):
            time.sleep(0.1)
            assert process.poll() is None
        time.sleep(4.0)  # within a cycle
    finally:
        process.kill()
        process.wait()


def record_of(path: Path) -> dict[str, Any]:
    """Return what a run's journal and cards say."""
    result = read_result(path)
    journal = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]
    measured = [one for entry in journal for one in entry.get("measured", ())]
    after = path / "measured.json"
    finally_measured = json.loads(after.read_text()) if after.exists() else []
    measured += finally_measured
    shapes = Counter((*one["widths"], *one["kept_blocks"]) for one in measured if one["figures"])
    return {
        "requirements": list(REQUIREMENTS),
        "prototype": _card(path / "prototype"),
        "finalists": [_card(folder) for folder in sorted((path / "finalists").iterdir())],
        "family": family_of(path),
        "statuses": dict(Counter(one["status"] for one in measured)),
        "why": dict(Counter(one["why"] for one in measured)),
        "measured_twice": sum(count > 1 for count in shapes.values()),
        "cycles": [
            {
                "cycle": entry["cycle"],
                "limits": {k: v for k, v in entry.get("limits", {}).items() if "@" in k},
                "figures": entry.get("figures"),
                "measured": _values(entry.get("measured", ())),
                "seconds": entry["seconds"],
            }
            for entry in journal
        ],
        "after": _values(finally_measured),
        "seconds_of": result.seconds,
    }


def _values(measured: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what was measured beside what was estimated before."""
    return [
        {
            "why": one["why"],
            "status": one["status"],
            "estimated": {n: f["value"] for n, f in one["estimated"].items()},
            "figures": {n: f["value"] for n, f in one["figures"].items()},
        }
        for one in measured
    ]


def family_of(path: Path) -> dict[str, Any]:
    """Return means over a generator's networks: costs, as estimated, and relative widths."""
    generator, _ = open_generator(path)
    points = generator.points(range(FAMILY))
    costs = dict(zip(generator.space.names, generator.space.costs(points).T, strict=True))
    widths = generator.space.relative(points).mean(axis=0)
    return {
        "costs": {name: float(np.exp(np.log(each).mean())) for name, each in costs.items()},
        "widths": widths.tolist(),
    }


def _beside(record: dict[str, Any], kept: Mapping[str, dict[str, Any]]) -> str:
    """Return cells of an arm's family, and how far it is from the undisturbed one's."""
    costs, other = record["family"]["costs"], kept.get("undisturbed", record)
    apart = np.abs(np.subtract(record["family"]["widths"], other["family"]["widths"])).mean()
    return f"{costs[f'latency_ms@{ALIAS}']:.2f} | {costs['macs']:.0f} | {apart:.3f}"


def _card(folder: Path) -> dict[str, Any]:
    card = json.loads((folder / "card.json").read_text())
    return {name: card.get(name) for name in ("name", "figures", "macs", "verdicts", "verdict")}


def report() -> str:
    """Return the table of all records."""
    required = ", ".join(f"`{one}`" for one in REQUIREMENTS)
    lines = f"""# A search against a simulated Jetson TX2

Simulated throughout: a program plays the board (`board/modelled_work.py`). Required:
{required}, FP16, batch {BATCH}; {CYCLES} cycles.

| arm | finalists: ms | images per joule | both met | certified | measured, failed \
| faults | logins | twice | family: ms | MACs | widths off |
|---|---|---|---|---|---|---|---|---|---|---|---|
""".splitlines()
    found = [(arm, RESULTS / f"simulated_board-{arm}.json") for arm in ARMS]
    kept = {arm: json.loads(path.read_text()) for arm, path in found if path.exists()}
    for arm, record in kept.items():
        ms, rate = (
            [one["figures"][f"{name}@{ALIAS}"]["value"] for one in record["finalists"]]
            for name in ("latency_ms", "img_per_joule")
        )
        met = all(a <= LIMIT_MS for a in ms) and all(b >= LEAST_IMAGES_PER_JOULE for b in rate)
        first = [one["figures"][f"latency_ms@{ALIAS}"] for one in record["finalists"]]
        certified = sum(one["provenance"] == "simulated" for one in first)
        statuses = Counter(record["statuses"])
        good = statuses["ok"] + statuses["degraded"]
        lines.append(
            f"| {arm} | {', '.join(f'{one:.2f}' for one in ms)} | "
            f"{', '.join(f'{one:.0f}' for one in rate)} | {'yes' if met else 'no'} | "
            f"{certified} of {len(first)} | "
            f"{good}, {statuses.total() - good} | "
            f"{', '.join(f'{n} {what}' for what, n in record['befallen'].items()) or '-'} | "
            f"{record['connections']} | {record['measured_twice']} | {_beside(record, kept)} |"
        )
    lines += [
        "",
        (
            "Certified: finalists that were measured at the end, at the grade that counts. "
            "Twice: networks of which two measurements count. Family: geometric means over "
            f"{FAMILY} networks of the learned generator, by its own estimates, and the mean "
            "distance of their relative widths from those of the undisturbed arm's."
        ),
    ]
    if "undisturbed" in kept:
        lines += """
## How the estimate is corrected (undisturbed)

Limit: what the estimate of a network may be at most, so that its upper end is within 0.8 ms.

| after cycle | networks | measured / estimated before, ms | the same, joules | limit, ms |
|---|---|---|---|---|
""".splitlines()
        for entry in kept["undisturbed"]["cycles"]:
            off = {
                name: [
                    one["figures"][name] / one["estimated"][name]
                    for one in entry["measured"]
                    if name in one["figures"]
                ]
                for name in ("latency_ms", "joule_per_img")
            }
            limit = entry["limits"].get(f"latency_ms@{ALIAS}")
            cells = [f"{min(v):.2f} to {max(v):.2f}" if v else "-" for v in off.values()]
            lines.append(
                f"| {entry['cycle']} | {len(entry['measured'])} | {' | '.join(cells)} | "
                f"{'-' if limit is None else f'{limit:.3f}'} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run an arm, or write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("arm", choices=ARMS)
    commands.add_parser("begin").add_argument("out", type=Path)
    commands.add_parser("report")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if asked.command == "run":
        text = json.dumps(run(asked.arm), indent=1) + "\n"
        (RESULTS / f"simulated_board-{asked.arm}.json").write_text(text)
    elif asked.command == "begin":
        synth(begin(asked.out), listener=Told())
    else:
        (RESULTS / "simulated_board.md").write_text(report())


if __name__ == "__main__":
    main()
