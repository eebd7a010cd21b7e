"""MACs against milliseconds: what does a search gain that is told what the device takes?

    python -m experiments.hardware.steering search FOLDER/SPACE     # goes on where it was stopped
    python -m experiments.hardware.steering measure FOLDER/SPACE    # a seed's networks in a session
    python -m experiments.hardware.steering report                  # the tables

Four ways to smaller networks of the quickstart's prototype, at the same requirement on accuracy and
without a limit on any cost, three seeds each, in two spaces, `widths` (and blocks) alone,
and `substitutes`, with separable convolutions and bottlenecks for dense ones beside them.

    macs-2         U = -10 log10(macs), widths in steps of 2
    macs-block     the same, widths in the blocks that this processor computes convolutions in
    milliseconds   U = -10 log10(latency_ms@local), measured in the loop, widths in steps of 2
    table          as HALP (Shen et al. 2022): saliency of the prototype's channels, a table of
                   milliseconds from networks measured once, and a knapsack under a limit

The first three learn for as many cycles on as many images, and each ends in two networks. The
table's limit is found by bisection, and every limit costs a full distillation, as many as another
arm's finalists do. FOLDER/SPACE keeps the runs. Searches in milliseconds and `measure` need a quiet
machine.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import gensynth
from gensynth.atomic_files import write_json
from gensynth.bench import measure
from gensynth.config import DeviceConfig, FinalistsConfig, RunConfig, SearchConfig
from gensynth.environment import environment
from gensynth.export.from_torch import from_network
from gensynth.goals.metrics import LATENCY, key_of
from gensynth.goals.student import quantile
from gensynth.graph.files import CARD_FILE, ONNX_FILE
from gensynth.network.files import save_network
from gensynth.progress import SILENT
from gensynth.run_files import is_finished
from gensynth.runs.hardware.turns import before_cycles
from gensynth.runs.prepare import Job, prepare
from gensynth.runs.result import read_result
from gensynth.search.generator import Generator
from gensynth.search.synthesis import initialise

RESULTS = Path(__file__).parent / "results"
RECORD = RESULTS / "steering.json"
SEEDS = (0, 1, 2)
REQUIRED = "top1 >= 85%"
MS = key_of(LATENCY.name, "local")
SEARCH = SearchConfig(cycles=12, warmup_images=2_500, images=2_500)
FINALISTS = FinalistsConfig(count=2, epochs=4)
"""Small cycles, so that nine searches take an hour on one core."""
SPACES: dict[str, tuple[str, ...]] = {
    "widths": (),
    "substitutes": ("separable", "bottleneck_4"),
}
"""What may stand for a dense convolution in each."""
ARMS: dict[str, dict[str, Any]] = {
    "macs-2": {"utility": "-10*log10(macs)", "search": replace(SEARCH, round_to=2)},
    "macs-block": {"utility": "-10*log10(macs)", "search": SEARCH},
    "milliseconds": {
        "utility": f"-10*log10({MS})",
        "search": replace(SEARCH, round_to=2),
        "devices": {"local": DeviceConfig()},
    },
}
TABLE = "table"
BISECTIONS = 3


def config_of(arm: str, seed: int, folder: Path) -> RunConfig:
    """Return an arm's run file in the space of its folder; the table's is that of milliseconds."""
    settings = ARMS["milliseconds" if arm == TABLE else arm]
    search = replace(settings["search"], substitutes=SPACES[folder.name])
    return RunConfig(
        requirements=(REQUIRED,),
        seed=seed,
        out=folder / f"{arm}-{seed}",
        finalists=FINALISTS,
        **{**settings, "search": search},
    )


def search(folder: Path) -> None:
    """Run what is not there yet in the space that the folder is named by."""
    for seed in SEEDS:
        for arm in ARMS:
            config = config_of(arm, seed, folder)
            if config.out is not None and config.out.exists():
                if not is_finished(config.out):
                    gensynth.resume(config.out)
            else:
                gensynth.synth(config)
            print(f"{arm}, seed {seed}: {config.out}", flush=True)
        by_table(seed, folder)
        print(f"{TABLE}, seed {seed}", flush=True)


def by_table(seed: int, folder: Path) -> None:
    """Find the fastest network by a table that reaches what is required, and keep it."""
    out = folder / f"{TABLE}-{seed}"
    if (out / CARD_FILE).exists():
        return
    start = time.perf_counter()
    job = prepare(replace(config_of(TABLE, seed, folder), out=None))
    before_cycles(job, SILENT)
    space = job.hardware.space
    state = initialise(
        replace(job.settings, warmup=0, free_budget=False), job.evaluator, job.probe, space
    )
    theta = state.generator.theta
    theta = replace(theta, directions=np.zeros_like(theta.directions))  # a seed tilts nothing
    low, high = (space.named_costs(point)[MS] for point in (space.smallest(), space.whole(1)))
    tries: list[dict[str, Any]] = []
    for _ in range(BISECTIONS):
        limit = (low * high) ** 0.5
        graph = Generator(space, theta, {MS: limit}).generate(seed)
        network = job.evaluator.inherit(graph, job.prototype.weights)
        job.evaluator.distil(network, job.recipe)
        score = job.evaluator.score(network, job.dataset.search)
        reached = 100 * score.value >= _sought_pct(job)
        low, high = (low, limit) if reached else (limit, high)
        if reached or not any(one["reached"] for one in tries):
            kept = network  # the fastest that reached it, or what came nearest
        tries.append({"limit_ms": limit, "search_pct": 100 * score.value, "reached": reached})
    test = job.evaluator.score(kept, job.dataset.test)
    save_network(kept, out)
    (out / ONNX_FILE).write_bytes(from_network(kept))
    point = job.space.point(kept.graph.selection)
    card = {
        "pct": 100 * test.value,
        "n": len(job.dataset.test),
        **job.space.named_costs(job.space.points([point])),
        "tries": tries,
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_json(out / CARD_FILE, card)


def _sought_pct(job: Job) -> float:
    return next(r.limit for r in job.search_requirements if r.metric == job.task.metric)


def networks_of(seed: int, folder: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield (arm, quality and costs; ONNX file) of a seed's networks, the prototype first."""
    for arm in ARMS:
        result = read_result(folder / f"{arm}-{seed}")
        prototype = [result.prototype] if arm == next(iter(ARMS)) else []
        for one in [*prototype, *result.finalists]:
            certificate = one.certificate
            known = {"pct": certificate.point_pct, "n": certificate.score.n, **one.costs}
            name = arm if one.seed is not None else "prototype"
            yield {"arm": name, **known}, one.folder / ONNX_FILE
    out = folder / f"{TABLE}-{seed}"
    card = json.loads((out / CARD_FILE).read_text())
    known = {key: card[key] for key in ("pct", "n", "params", "macs")}
    yield {"arm": TABLE, **known}, out / ONNX_FILE


def measured(folder: Path, grade: str) -> dict[str, Any]:
    """Return the record: each seed's networks, measured in turns in one session."""
    seeds = []
    for seed in SEEDS:
        known, files = zip(*networks_of(seed, folder), strict=True)
        record = measure(list(files), device="local", grade=grade, fresh=True)
        networks = []
        for one, entry in zip(known, record["networks"], strict=True):
            ratio = entry["ratio"]["latency"] if entry["ratio"] else {"value": 1.0, "ci95": None}
            ms = entry["latency"]["p50_ms"]
            networks.append({**one, "latency_ms": ms, "of_prototype": ratio})
        seconds = {arm: read_result(folder / f"{arm}-{seed}").seconds for arm in ARMS}
        status = {"status": record["status"], "flags": record["flags"]}
        seeds.append({"seed": seed, **status, "networks": networks, "search_s": seconds})
    return {"grade": grade, "required": REQUIRED, "seeds": seeds, "environment": environment()}


def family(entry: dict[str, Any], arm: str) -> dict[str, float]:
    """Return the means of an arm's networks of one seed: times and costs relative to the prototype.

    Times faster and times fewer MACs are geometric means, top-1 the arithmetic one.
    """
    own = [network for network in entry["networks"] if network["arm"] == arm]
    whole = next(network for network in entry["networks"] if network["arm"] == "prototype")
    faster = np.exp(-np.log([network["of_prototype"]["value"] for network in own]).mean())
    fewer = whole["macs"] / np.exp(np.log([network["macs"] for network in own]).mean())
    pct = np.mean([network["pct"] for network in own])
    return {"faster": float(faster), "fewer_macs": float(fewer), "pct": float(pct)}


def report(records: dict[str, dict[str, Any]]) -> str:
    """Return the tables of the spaces that were measured."""
    of_spaces = [_of_space(space, records[space]) for space in SPACES if space in records]
    return "\n".join(["# MACs against milliseconds", "", *of_spaces])


def _of_space(space: str, record: dict[str, Any]) -> str:
    seeds = record["seeds"]
    families = {arm: [family(entry, arm) for entry in seeds] for arm in (*ARMS, TABLE)}
    images = seeds[0]["networks"][0]["n"]
    about = (
        f"By `python -m experiments.hardware.steering`: {record['required']}, no limit on costs. "
        f"Top-1 on {images:,} test images; grade {record['grade']}, one thread, "
        f"{record['environment']['processor']}; a seed's networks in turns in one session; "
        f"gensynth at {record['environment']['commit'][:7]}."
    )
    heading = "Widths and blocks" + "".join(f", {one}" for one in SPACES[space])
    head = "| arm | seed | times faster | times fewer MACs | speed a MAC saved | top-1, % |"
    lines = [f"## {heading}", "", about, "", head, "|---|---|---|---|---|---|"]
    for arm, of_seeds in families.items():
        for entry, one in zip(seeds, of_seeds, strict=True):
            gain = one["faster"] / one["fewer_macs"]
            lines.append(
                f"| {arm} | {entry['seed']} | {one['faster']:.2f} | {one['fewer_macs']:.2f} "
                f"| {gain:.2f} | {one['pct']:.2f} |"
            )
    lines += ["", "Milliseconds beside another arm, paired by seed (95 %, Student's t):", ""]
    for arm in families:
        if arm != "milliseconds":
            lines.append(f"- {_beside(families['milliseconds'], families[arm], arm)}")
    states = ", ".join(f"seed {e['seed']} {e['status']} {e['flags'] or ''}".strip() for e in seeds)
    return "\n".join([*lines, "", f"Sessions: {states}.", ""])


def _beside(ours: Sequence[dict[str, float]], others: Sequence[dict[str, float]], name: str) -> str:
    pairs = list(zip(ours, others, strict=True))
    logs = np.array([np.log(a["faster"] / b["faster"]) for a, b in pairs])
    points = np.array([a["pct"] - b["pct"] for a, b in pairs])
    half = quantile(len(pairs) - 1) * logs.std(ddof=1) / len(pairs) ** 0.5
    low, middle, high = (float(np.exp(logs.mean() + by)) for by in (-half, 0.0, half))
    each = ", ".join(f"{np.exp(log):.2f}" for log in logs)
    return (
        f"{name}: {middle:.2f} times faster ({low:.2f} to {high:.2f}; seeds {each}), "
        f"top-1 {points.mean():+.2f} points ({', '.join(f'{p:+.2f}' for p in points)})"
    )


def main() -> None:
    """Search, measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("search", "measure", "report"))
    parser.add_argument("folder", nargs="?", type=Path, help=f"named {' or '.join(SPACES)}")
    parser.add_argument("--grade", default="quick", help="of `measure`")
    given = parser.parse_args()
    if given.what != "report" and given.folder is None:
        parser.error(f"{given.what} needs the folder of the runs")
    if given.what != "report" and given.folder.name not in SPACES:
        parser.error(f"the folder's name is one of {', '.join(SPACES)}; got {given.folder.name!r}")
    if given.what == "search":
        search(given.folder)
        return
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if given.what == "measure":
        records[given.folder.name] = measured(given.folder, given.grade)
        write_json(RECORD, records)
    text = report(records)
    (RESULTS / "steering.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
