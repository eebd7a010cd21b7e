"""Make the table of families: what can be changed in each, how fast, and beside a rival.

    pip install -e .[dev] && pip install --no-deps torch-pruning==1.6.1
    python -m experiments.families.table

writes experiments/families/families.json (the record, with every sample) and families.md.
Without Torch-Pruning its columns stay empty. Times are processor time, so that a busy
machine does not lengthen them, of one thread; the table has the least of the runs.

Ours is judged harder than the rival: half of every group is cut out at random, and what is
left must compute what the prototype computes with exactly these channels masked to zero at
the input of every layer that mixes channels, to 1e-9 of the largest output, in float64.
"""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import Tensor

from experiments.families import rival
from experiments.families.networks import NAMES, network
from gensynth.environment import environment
from gensynth.graph.cost import cost
from gensynth.graph.graph import Selection
from gensynth.network.module import build, opaque_modules
from gensynth.render.figures import count
from gensynth.space.coupling import Coupling, couple
from gensynth.space.inspection import inspection
from gensynth.trace import trace
from tests.networks.compositions import masking_gates, outputs

HERE = Path(__file__).parent
RUNS = 5
LIMIT_S = 60
"""Processor time that the rival gets for one network."""
TOLERANCE = 1e-9
LEAST_SHIFT = 0.01
"""How far masking must move a network's outputs, else agreeing with it shows nothing."""


def halved(coupling: Coupling) -> Selection:
    """Return half of every group, at random."""
    random = np.random.default_rng(0)
    return Selection(
        {
            group.name: tuple(sorted(random.permutation(group.size)[: group.size // 2].tolist()))
            for group in coupling.groups
        }
    )


def cpu_ms(work: Callable[[], object]) -> list[float]:
    """Return the processor time of some runs."""
    taken = []
    for _ in range(RUNS):
        start = time.thread_time()
        work()
        taken.append(1e3 * (time.thread_time() - start))
    return taken


def measure(name: str) -> dict[str, Any]:
    """Return one row of the record."""
    module, images = network(name)
    coupling = couple(trace(module, images, name=name))
    graph, selection = coupling.graph, halved(coupling)
    found = inspection(coupling)
    weights, opaque = module.state_dict(), opaque_modules(graph, module)

    def cut() -> object:
        part = coupling.apply(selection)
        return build(part, weights, coupling.slices(selection), opaque=opaque)

    return {
        "family": name,
        "vertices": len(graph.vertices),
        "groups": len(coupling.groups),
        "blocks": len(coupling.blocks),
        "params": found.cost.params,
        "macs": found.cost.macs,
        "changeable_macs_share": found.changeable_macs_share,
        "opaque": [vertex.name for vertex in found.opaque],
        "held_by": sorted(
            {why for part in found.frozen for why in part.reasons} - {"input", "output"}
        ),
        "trace_couple_cpu_ms": cpu_ms(lambda: couple(trace(module, images, name=name))),
        "build_cpu_ms": cpu_ms(cut),
        "half": {
            "macs_left": cost(coupling.apply(selection)).macs / found.cost.macs,
            **mask_error(name, selection),
        },
        "torch_pruning": run_rival(name) if rival.installed() else None,
    }


def mask_error(name: str, selection: Selection) -> dict[str, float]:
    """Return how far a rebuilt network is from the masked one, relative to its outputs.

    Returns:
        "error"; and "shift", how far the masked one is from the prototype, so that a mask
        that does nothing is seen.
    """
    module, images = network(name)
    module, images = module.double(), tuple(x.double() for x in images)
    coupling = couple(trace(module, images, name=name))
    weights, opaque = module.state_dict(), opaque_modules(coupling.graph, module)
    gates = masking_gates(coupling, selection, len(images[0]))
    prototype = build(coupling.graph, weights, opaque=opaque)
    whole, masked = outputs(prototype, images), outputs(prototype, images, gates=gates)
    part = coupling.apply(selection)
    cut = outputs(build(part, weights, coupling.slices(selection), opaque=opaque), images)
    return {"error": _apart(cut, masked), "shift": _apart(whole, masked)}


def _apart(values: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    return max(
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(values, wanted, strict=True)
    )


def run_rival(name: str) -> dict[str, Any]:
    """Run the rival in a process of its own, which may not end."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S))

    command = [sys.executable, "-m", "experiments.families.rival", name]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"fault": f"no end in {LIMIT_S} s", "message": ""}
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")
    return dict(json.loads(done.stdout))


def table(record: dict[str, Any]) -> str:
    """Return the record as a table."""
    head = "family vertices groups blocks params MACs".split()
    head += ["can change", "trace+couple ms", "build ms", "half", "Torch-Pruning half", "its ms"]
    rows = [head, *(_row(row) for row in record["rows"])]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = [
        "-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)
    ]
    return "\n".join(_line(row, widths) for row in (rows[0], rule, *rows[1:]))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(cells)} |"


def _row(row: dict[str, Any]) -> list[str]:
    other = row["torch_pruning"]
    half, exact = row["half"], row["half"]["error"] <= TOLERANCE
    theirs, their_ms = "", ""
    if other is not None:
        theirs = f"no: {other['fault']}" if other["fault"] else f"{_pct(other['macs_left'])} MACs"
        their_ms = "" if other["fault"] else f"{min(other['cpu_ms']):.1f}"
    return [
        row["family"],
        f"{row['vertices']}",
        f"{row['groups']}",
        f"{row['blocks']}",
        count(row["params"]),
        count(row["macs"]),
        _pct(row["changeable_macs_share"]),
        f"{min(row['trace_couple_cpu_ms']):.1f}",
        f"{min(row['build_cpu_ms']):.1f}",
        _ours(row, half["macs_left"], exact=exact),
        theirs,
        their_ms,
    ]


def _ours(row: dict[str, Any], left: float, *, exact: bool) -> str:
    if not row["groups"]:
        return "no: frozen"
    return f"{_pct(left)} MACs" if exact else "no: inexact"


def _pct(share: float) -> str:
    return f"{100 * share:.1f} %"


def page(record: dict[str, Any]) -> str:
    """Return the table with what it must not be read without."""
    machine = record["environment"]
    rows = record["rows"]
    ours = sum(1 for row in rows if row["groups"] and row["half"]["error"] <= TOLERANCE)
    assert all(row["half"]["shift"] > LEAST_SHIFT for row in rows if row["groups"])
    worst = max(row["half"]["error"] for row in rows)
    least = min(row["half"]["shift"] for row in rows if row["groups"])
    judged = [row["torch_pruning"] for row in rows if row["torch_pruning"]]
    theirs = sum(1 for other in judged if not other["fault"])
    against = f", Torch-Pruning {rival.VERSION} {theirs} of {len(judged)}" if judged else ""
    frozen = "; ".join(
        f"`{row['family']}` ({', '.join(row['held_by'])})" for row in rows if not row["groups"]
    )
    return f"""# Families

Made by `python -m experiments.families.table` from `families.json`; do not edit.

{table(record)}

- Half: of every group of coupled channels, cut out; the share of the MACs that is left. gensynth
  halves {ours} of {len(rows)}{against}. What gensynth leaves whole, and the reason that it gives:
  {frozen}.
- gensynth's cuts are exact: what is left computes what the masked prototype does (largest error
  {worst:.1e} of the largest output, float64, limit {TOLERANCE:.0e}; masking moves the outputs by
  {100 * least:.0f} % of it or more). Of Torch-Pruning's it is only asked that they run and give
  outputs of the right shape; it is told which layers make the outputs, and gets {LIMIT_S} s for
  each network.
- Can change: share of the MACs in vertices that a generated network may lack, or may have fewer
  channels of.
- Times: processor time of one thread, least of {RUNS} runs (Torch-Pruning: {rival.RUNS}, dependency
  graph and cut together; gensynth: the sum of its two columns). torch {machine["torch"]}, Python
  {machine["python"]}, {machine["processor"]}.
"""


def main() -> None:
    """Measure all networks and write families.json and families.md, in some minutes."""
    torch.set_num_threads(1)
    rows = []
    for name in NAMES:
        rows.append(measure(name))
        print(json.dumps(rows[-1]))
    record = {"environment": environment(threads=1, torch_pruning=rival.VERSION), "rows": rows}
    (HERE / "families.json").write_text(json.dumps(record, indent=1) + "\n")
    (HERE / "families.md").write_text(page(record))


if __name__ == "__main__":
    typer.run(main)
