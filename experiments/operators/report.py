"""Make the table of operators on against off from the recorded pairs.

    python -m experiments.operators.report

reads results/pairs.jsonl and writes results/operators.md. Nothing is computed that is not in
the records; a pair that is not whole is left out.
"""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

from experiments.learning.setting import Record
from experiments.operators.run import CANDIDATES, COST_SHARE, PAIRS, SCHEDULE

SETTING = (
    f"CIFAR-10, networks of the trained ResNet-20 with at most {100 * COST_SHARE:.1f} % of its "
    "MACs; top-1 on the search split (n = 5,000 a network). Each arm takes the best of "
    f"{CANDIDATES} untrained networks of its first generator; both are distilled on the same "
    "images. Latency: ONNX Runtime, one image, one thread, both networks in turns."
)

Pair = dict[str, dict[str, Any]]
"""The lines of one pair: "off", "on", "latency"."""


def pairs(record: Record, images: int) -> dict[int, Pair]:
    """Return the whole pairs of one budget by their seed."""
    found: dict[int, Pair] = {}
    for line in record.lines:
        if line.get("images") == images:
            found.setdefault(line["seed"], {})[line["arm"]] = line
    return {seed: pair for seed, pair in found.items() if len(pair) == 3}


def top1_pct(line: dict[str, Any], key: str = "correct") -> float:
    """Return top-1 on the search split in percent."""
    return float(100 * line[key] / line["n"])


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (low, mean, high) at 95 %, by Student's t; infinite bounds for one value."""
    centre, count = mean(values), len(values)
    if count < 2:
        return -math.inf, centre, math.inf
    low, high = t.interval(0.95, count - 1, centre, stdev(values) / math.sqrt(count))
    return float(low), centre, float(high)


def points(values: Sequence[float]) -> str:
    """Return a mean difference in points with its interval and its signs."""
    low, centre, high = interval(values)
    bounds = f"[{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else "one pair, no interval"
    return f"{centre:+.2f}, {bounds}, {sum(v > 0 for v in values)} of {len(values)} > 0"


def factor(values: Sequence[float]) -> str:
    """Return a geometric mean of ratios with its interval."""
    low, centre, high = interval([math.log(value) for value in values])
    bounds = "one pair, no interval"
    if math.isfinite(low):
        bounds = f"[{math.exp(low):.3f}, {math.exp(high):.3f}]"
    return f"{math.exp(centre):.3f}, {bounds}, {sum(v < 1 for v in values)} of {len(values)} < 1"


def budget(found: dict[int, Pair], images: int) -> list[str]:
    """Return the lines on the pairs of one budget."""
    lines = [f"## {images:,} images of distillation, {len(found)} of the pairs", ""]
    lines += [
        "| seed | top-1 off | top-1 on | MACs off | MACs on | parameters off | on | latency |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for seed, pair in sorted(found.items()):
        off, on = pair["off"], pair["on"]
        low, value, high = pair["latency"]["ratio"]
        lines.append(
            f"| {seed} | {top1_pct(off):.2f} | {top1_pct(on):.2f} | {off['macs']:,} | "
            f"{on['macs']:,} | {off['params']:,} | {on['params']:,} | "
            f"{value:.3f} [{low:.3f}, {high:.3f}] |"
        )
    whole = list(found.values())
    lines += ["", "| on against off, paired over seeds | mean, 95 % interval, signs |", "|---|---|"]
    for what, key in (("after distillation", "correct"), ("before any training", "untrained")):
        differences = [top1_pct(p["on"], key) - top1_pct(p["off"], key) for p in whole]
        lines.append(f"| top-1 {what}, points | {points(differences)} |")
    for what, ratios in (
        ("latency", [p["latency"]["ratio"][1] for p in whole]),
        ("MACs", [p["on"]["macs"] / p["off"]["macs"] for p in whole]),
        ("parameters", [p["on"]["params"] / p["off"]["params"] for p in whole]),
    ):
        lines.append(f"| {what}, ratio on / off | {factor(ratios)} |")
    counted = Counter(word for p in whole for word in p["on"]["operators"].values())
    chosen = ", ".join(f"{word} {number}" for word, number in counted.most_common())
    return [
        *lines,
        "",
        f'Other operators in the networks of the arm "on": {chosen}.',
    ]


def report(record: Record) -> str:
    """Return the whole report."""
    budgets = dict.fromkeys(images for _, images in SCHEDULE)
    planned = {images: sum(other == images for _, other in SCHEDULE) for images in budgets}
    environment = record.of("environment")
    lines = [
        "# Does it pay to let convolutions have other operators?",
        "",
        SETTING,
        "",
        "Made by `python -m experiments.operators.report` from the records beside it.",
    ]
    for images in budgets:
        found = pairs(record, images)
        if found:
            lines += ["", *budget(found, images)]
        missing = planned[images] - len(found)
        if missing:
            lines += [
                "",
                f"{missing} of {planned[images]} pairs at {images:,} images have not run.",
            ]
    if environment:
        known = environment[0]
        lines += [
            "",
            f"{known['processor']}, torch {known['torch']}, commit {known['commit'][:7]}.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the report beside the records."""
    PAIRS.with_name("operators.md").write_text(report(Record(PAIRS)))


if __name__ == "__main__":
    main()
