"""The tables of `truth.py`, made from its trials: results/truth.md and results/truth.json."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.atomic_files import write_bytes
from gensynth.goals.intervals import wilson

Trial = dict[str, Any]
LOOP_PCT = 3.0
EQUALS_PCT = 90.0
PLANTED_OF_20 = 19
OVERHEAD_S = 1.0
EQUALS_N, PLANTED_N = 200, 20
"""Fewer show nothing."""


def write_report(trials: Sequence[Trial], results: Path) -> None:
    """Write both files."""
    parts: dict[str, Callable[[list[Trial]], tuple[dict[str, Any], list[str]]]] = {
        "overhead": _overhead,
        "loop": _loop,
        "equals": _equals,
        "planted": _planted,
    }
    summary: dict[str, Any] = {}
    lines = [
        "# Are the bench's figures true?",
        "",
        "Made by `python -m experiments.bench.truth` from `truth.jsonl`; where: `machine.json`.",
    ]
    for name, part in parts.items():
        own = [trial for trial in trials if trial["part"] == name]
        if own:
            figures, text = part(own)
            loads = [trial["load"] for trial in own]
            figures |= {"load_median": float(np.median(loads)), "load_most": max(loads)}
            summary[name] = figures
            load = f"median {figures['load_median']:.1f}, at most {figures['load_most']:.1f}"
            lines += ["", *text, "", f"Load at the start of a trial: {load}."]
    write_bytes(results / "truth.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_bytes(results / "truth.md", ("\n".join(lines) + "\n").encode())


def _overhead(trials: list[Trial]) -> tuple[dict[str, Any], list[str]]:
    beside = [trial["beside_s"] for trial in trials]
    figures = {
        "n": len(beside),
        "median_s": float(np.median(beside)),
        "most_s": max(beside),
        "holds": float(np.median(beside)) < OVERHEAD_S,
    }
    return figures, [
        "## A local job beside its warm-up and its measuring",
        "",
        f"{len(beside)} jobs: median {figures['median_s']:.2f} s, most {figures['most_s']:.2f} s.",
        f"Under {OVERHEAD_S:g} s: {_yes(figures['holds'])}.",
    ]


def _loop(trials: list[Trial]) -> tuple[dict[str, Any], list[str]]:
    inside = [abs(trial["ratio"] - 1) * 100 <= LOOP_PCT for trial in trials]
    figures = {
        "files": [
            {
                key: trial[key]
                for key in ("file", "ours_p50_ms", "theirs_p50_ms", "ratio", "paired", "n")
            }
            for trial in trials
        ],
        "holds": all(inside) and len(trials) >= 5,
    }
    table = [
        f"| {t['file']} | {t['ours_p50_ms']:.4g} | {t['theirs_p50_ms']:.4g} | {t['ratio']:.4f} | "
        f"{t['paired'][0]:.4f} to {t['paired'][2]:.4f} | {t['n'][0]:,} and {t['n'][1]:,} |"
        for t in trials
    ]
    return figures, [
        "## p50 beside ONNX Runtime's own timing loop",
        "",
        "Same file, settings and inputs, in turns within one run.",
        f"Within {LOOP_PCT:g} % for all of {len(trials)} files: {_yes(figures['holds'])}.",
        "",
        "| file | bench p50, ms | loop p50, ms | ratio | 95 % interval over pairs | runs |",
        "|---|---|---|---|---|---|",
        *table,
    ]


def _equals(trials: list[Trial]) -> tuple[dict[str, Any], list[str]]:
    holding = sum(trial["ci95"][0] <= 1 <= trial["ci95"][1] for trial in trials)
    low, high = wilson(holding, len(trials))
    half_pct = [50 * (trial["ci95"][1] - trial["ci95"][0]) for trial in trials]
    share_pct = 100 * holding / len(trials)
    figures = {
        "n": len(trials),
        "holding": holding,
        "share_pct": share_pct,
        "share_ci95_pct": [100 * low, 100 * high],
        "half_width_pct_median": float(np.median(half_pct)),
        "holds": share_pct >= EQUALS_PCT and len(trials) >= EQUALS_N,
    }
    return figures, [
        "## A file beside itself, grade quick",
        "",
        f"The 95 % interval of the ratio holds 1 in {holding} of {len(trials)} comparisons:",
        f"{share_pct:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f}).",
        f"At least {EQUALS_PCT:g} % of {EQUALS_N}: {_yes(figures['holds'])}.",
        f"It is +- {figures['half_width_pct_median']:.2f} % wide in the median.",
    ]


def _planted(trials: list[Trial]) -> tuple[dict[str, Any], list[str]]:
    found = sum(trial["ci95"][0] > 1 for trial in trials)
    typical = float(np.median([trial["ratio"] for trial in trials]))
    figures = {
        "n": len(trials),
        "found": found,
        "ratio_median": typical,
        "holds": found * 20 >= PLANTED_OF_20 * len(trials) and len(trials) >= PLANTED_N,
    }
    return figures, [
        "## A planted slowdown of 5 %, grade quick",
        "",
        f"40 equal layers beside 42: found in {found} of {len(trials)} comparisons,",
        f"median ratio {typical:.4f}.",
        f"In at least {PLANTED_OF_20} of {PLANTED_N}: {_yes(figures['holds'])}.",
    ]


def _yes(holds: Any) -> str:
    return "yes" if holds else "no"
