"""Make the tables and curves of the learning experiment from its recorded evaluations.

    python experiments/learning/report.py

reads results/*.jsonl and writes results/learning.md, results/learning.json and, where
matplotlib is installed (the `report` extra), results/learning.svg. Nothing is computed that
is not in the records.
"""

import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from setting import EVALUATIONS, FAMILY, FIXED, HERE, Record, requirement

STUDENT_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571}
"""Student's t at 97.5 % by degrees of freedom."""

BESIDE = "W learns family"
"""Of one seed, and no arm of the comparison."""

ARMS = ("G0", "GK", "best of G0", "random", "permuted family", "family", BESIDE)

CLAIMS = {
    "GK - G0, mean top-1 of 8 held-out seeds, points": ("GK", "G0"),
    "family - random search's best 8 of 24, points": ("family", "random"),
    "family - best 8 of 24 seeds of G0, points": ("family", "best of G0"),
    "family - G0, points": ("family", "G0"),
    "family - permuted loop's family, points": ("family", "permuted family"),
}

Curves = dict[str, list[float]]
"""One value a cycle, by what was measured."""


def accuracy(line: dict[str, Any], part: str = "both") -> float:
    """Return top-1 in percent on one half of the search split, or on both."""
    right = line["decide"] + line["score"] if part == "both" else line[part]
    return 100 * right / (line["n"] * (2 if part == "both" else 1))


def family(record: Record, arm: str) -> list[float]:
    """Return the scored top-1 of what an arm delivers; those that only search, their best."""
    lines = record.of("G0" if arm == "best of G0" else arm)
    if arm in ("random", "best of G0"):
        lines = sorted(lines, key=lambda line: -line["decide"])
    return [accuracy(line, "score") for line in lines[:FAMILY]]


def summary(record: Record, arm: str, limit: float) -> dict[str, float]:
    """Return mean top-1, the share that meets the requirement, and the mean of those."""
    scores = family(record, arm)
    met = [score for score in scores if score >= limit]
    return {
        "mean": mean(scores),
        "share": len(met) / len(scores),
        "mean_of_those": mean(met) if met else math.nan,
    }


def prediction_curves(record: Record, arm: str) -> Curves:
    """Return RMSE (points) and rank correlation on the fixed or far networks after every cycle."""
    unseen = Record(FIXED).of(arm)
    truth = np.array([accuracy(line) for line in unseen])
    unseen_macs = np.log([line["macs"] for line in unseen])
    curves: Curves = {
        name: [] for name in ("rmse", "rank", "constant_rmse", "macs_rmse", "macs_rank")
    }
    seen: list[float] = []
    macs: list[float] = []
    for line in record.of("loop"):
        seen.append(accuracy(line, "decide"))
        macs.append(math.log(line["macs"]))
        predicted = 100 / (1 + np.exp(-np.array(line[arm])))
        curves["rmse"].append(_rmse(predicted, truth))
        curves["rank"].append(_rank_correlation(predicted, truth))
        curves["constant_rmse"].append(_rmse(np.full(len(truth), mean(seen)), truth))
        slope, level = (0.0, mean(seen)) if len(seen) < 3 else np.polyfit(macs, seen, 1)
        by_macs = level + slope * unseen_macs
        curves["macs_rmse"].append(_rmse(by_macs, truth))
        curves["macs_rank"].append(_rank_correlation(unseen_macs, truth))
    return curves


def paired(differences: list[float]) -> str:
    """Return mean, 95 % interval (Student) and sign count of paired differences."""
    count = len(differences)
    if count < 2:
        return f"{differences[0]:+.2f} (one seed, no interval)"
    half = STUDENT_975[count - 1] * stdev(differences) / math.sqrt(count)
    positive = sum(d > 0 for d in differences)
    centre = mean(differences)
    return f"{centre:+.2f} [{centre - half:+.2f}, {centre + half:+.2f}], {positive} of {count} > 0"


def claims(complete: list[Record], limit: float, curves: list[Curves]) -> dict[str, list[float]]:
    """Return the paired differences of each claim, one a seed; positive is better."""
    found = {
        name: [mean(family(r, better)) - mean(family(r, worse)) for r in complete]
        for name, (better, worse) in CLAIMS.items()
    }
    for name, figure in (
        ("GK - G0, share that meets 1_r", "share"),
        ("GK - G0, mean top-1 of those that meet 1_r, points", "mean_of_those"),
    ):
        found[name] = [
            summary(r, "GK", limit)[figure] - summary(r, "G0", limit)[figure] for r in complete
        ]
    for other, words in (("constant_rmse", "a constant"), ("macs_rmse", "MACs only")):
        name = f"RMSE on the fixed networks after all cycles, {words} - inquisitor, points"
        found[name] = [curve[other][-1] - curve["rmse"][-1] for curve in curves]
    return found


def family_table(complete: list[Record], limit: float) -> list[str]:
    """Return what each seed's arms delivered, as lines of a table."""
    lines = [
        "| seed | arm | mean top-1 | share meeting 1_r | mean of those |",
        "|---|---|---|---|---|",
    ]
    for record in complete:
        for arm in ARMS:
            if arm == BESIDE and not record.of(arm):
                continue
            s = summary(record, arm, limit)
            lines.append(
                f"| {record.path.stem} | {arm} | {s['mean']:.2f} | {s['share']:.2f} | "
                f"{s['mean_of_those']:.2f} |"
            )
    return [*lines, "", f'"{BESIDE}" has learned its shared weights as well and begins from them.']


def prediction_table(curves: list[Curves]) -> list[str]:
    """Return the mean curves over seeds at some cycles, as lines of a table."""
    lines = ["| k | RMSE, points | constant | MACs only | rank correlation | MACs only |"]
    lines += ["|---|---|---|---|---|---|"]
    for k in (1, 3, 6, 12, 18, 24):
        at = {name: mean(c[name][k - 1] for c in curves) for name in curves[0]}
        lines.append(
            f"| {k} | {at['rmse']:.2f} | {at['constant_rmse']:.2f} | {at['macs_rmse']:.2f} | "
            f"{at['rank']:.2f} | {at['macs_rank']:.2f} |"
        )
    return lines


def main() -> None:
    """Write tables, figures and curves."""
    limit = 100 * (requirement() or math.nan)
    records = [Record(path) for path in sorted((HERE / "results").glob("seed-?.jsonl"))]
    complete = [
        r
        for r in records
        if (len(r.of("permuted family")), len(r.of("G0"))) == (FAMILY, EVALUATIONS)
    ]
    if not complete:
        raise SystemExit("no seed is complete yet; see run.py")
    curves = {
        arm: [prediction_curves(record, arm) for record in complete] for arm in ("fixed", "far")
    }
    differences = claims(complete, limit, curves["fixed"])
    introduction = (
        "CIFAR-10, slices of one frozen ResNet-20, 8,000 images of distillation an evaluation, "
        f"{EVALUATIONS} evaluations an arm, {len(complete)} of 5 search seeds complete. Top-1 in "
        "percent on the scoring half of the search split (n = 2,500 a network). Requirement: "
        f"top-1 >= {limit:.2f} %, the upper quartile of the {EVALUATIONS} fixed networks."
    )
    lines = [
        "# Does it learn?",
        "",
        introduction,
        "",
        "Made by `python experiments/learning/report.py` from the records beside it.",
        "",
        "| paired difference over seeds | mean, 95 % interval, signs |",
        "|---|---|",
        *(f"| {name} | {paired(values)} |" for name, values in differences.items()),
        "",
        *family_table(complete, limit),
        "",
        "On the fixed networks, after k cycles (mean over seeds):",
        "",
        *prediction_table(curves["fixed"]),
        "",
        "On the far ones, whose shapes no generator gives:",
        "",
        *prediction_table(curves["far"]),
    ]
    figures = {
        "requirement_pct": limit,
        "seeds": [record.path.stem for record in complete],
        "paired": differences,
        "curves": curves,
    }
    (HERE / "results" / "learning.md").write_text("\n".join(lines) + "\n")
    (HERE / "results" / "learning.json").write_text(json.dumps(figures, indent=1) + "\n")
    _draw(complete, curves["fixed"], HERE / "results" / "learning.svg")


def _draw(records: list[Record], curves: list[Curves], path: Path) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("svg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(12, 3.5))
    for record, curve in zip(records, curves, strict=True):
        cycles = range(1, len(curve["rmse"]) + 1)
        left.plot(cycles, [accuracy(line) for line in record.of("loop")], alpha=0.6)
        middle.plot(cycles, curve["rmse"], "C0", alpha=0.5)
        middle.plot(cycles, curve["macs_rmse"], "C1", alpha=0.5)
        middle.plot(cycles, curve["constant_rmse"], "C2", alpha=0.5)
        right.plot(cycles, curve["rank"], "C0", alpha=0.5)
        right.plot(cycles, curve["macs_rank"], "C1", alpha=0.5)
    left.set(title="top-1 of the cycle's network, %", xlabel="cycle")
    middle.set(title="RMSE on fixed networks, points", xlabel="cycle")
    right.set(title="rank correlation on fixed networks", xlabel="cycle")
    middle.legend(["inquisitor", "MACs only", "constant"])
    figure.tight_layout()
    figure.savefig(path)


def _rmse(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.square(predicted - truth).mean()))


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation."""
    ranks = [values.argsort().argsort() for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
