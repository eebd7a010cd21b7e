"""Make the tables and curves of the learning experiment from its recorded evaluations.

    python -m experiments.learning.report

reads results/*.jsonl and writes results/learning.md, results/learning.json and, where
matplotlib is installed (the `report` extra), results/learning.svg. Nothing is computed that
is not in the records.
"""

import json
import math
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import spearmanr, t

from experiments.learning.setting import (
    ABSORB,
    EVALUATIONS,
    FAMILY,
    FIXED,
    HERE,
    WARMUP,
    Record,
    requirement,
)
from gensynth.goals.score import Proportion
from gensynth.search.regression import fit, sigmoid

BESIDE = "W learns family"
"""Of one seed, and no arm of the comparison."""

BESIDE_NOTE = f"""\
"{BESIDE}" stands beside the comparison and is of one seed: its shared weights took over
{ABSORB:g} of every fine-tuning, {WARMUP} before the first cycle and {EVALUATIONS} in the cycles,
so its networks begin from slices that were trained on; their training is not equal to the others'.
"""

ARMS = ("G0", "GK", "best of G0", "random", "permuted family", "family", BESIDE)

FAMILY_CLAIMS = {
    "GK - G0, 8 held-out seeds": ("GK", "G0"),
    "family - best 8 of 24 seeds of G0": ("family", "best of G0"),
    "family - best 8 of 24 of random search": ("family", "random"),
    "family - 8 seeds of G0 as they come": ("family", "G0"),
    "family - permuted loop's family": ("family", "permuted family"),
}
"""Differences of mean top-1, in points."""

MACS_PRIOR = np.array([[1.0, 2.0], [0.2, 0.5]])
"""Mean and standard deviation of level and slope: the inquisitor's own for these two."""

PROTOTYPE_MACS = 40_813_184

NOTES = """\
- Beside its 24 evaluations a loop probes 162 untrained networks, by forward passes alone; those
  that only search probe none.
- The permuted loop permutes the prototype's responses too, so it begins with channels ranked at
  random: it lacks this ranking, and all that responses add to it later.
- The share that meets 1_r is counted on the half that decided nothing; "those" are the networks
  that meet it on the half that decides, and their mean is taken on the other.
- All arms have the same limits, a third of the prototype's MACs and parameters, and use them
  differently, as their table says. Random search draws widths and blocks without any response.
- Where none of eight seeds of G0 is among "those", their mean is undefined; so it is also taken
  over all 24 of G0, which makes it surer and not greater.
- GK's networks are also more alike than G0's: the generator learns its own spread.
- The requirement and the fixed networks are not the first ones: with the upper quartile of random
  shapes (57 %) all of G0 met it. They were changed after one seed had been seen, and random
  search, whose ranking by magnitude had been drowned in noise, after three; so was "MACs only",
  which had no prior. All recorded figures are of the present definitions."""

Curves = dict[str, list[float]]
"""One value a cycle, by what was measured."""


def accuracy(line: dict[str, Any], part: str = "both") -> float:
    """Return top-1 in percent on one half of the search split, or on both."""
    right = line["decide"] + line["score"] if part == "both" else line[part]
    return 100 * right / (line["n"] * (2 if part == "both" else 1))


def delivered(record: Record, arm: str) -> list[dict[str, Any]]:
    """Return the lines of what an arm delivers; those that only search deliver their best.

    Raises:
        ValueError: if there are not as many as every arm delivers.
    """
    lines = record.of("G0" if arm == "best of G0" else arm)
    if arm in ("random", "best of G0"):
        lines = sorted(lines, key=lambda line: -line["decide"])
    if len(lines) < FAMILY:
        raise ValueError(f"{record.path.name} has {len(lines)} networks of {arm!r}")
    return lines[:FAMILY]


def summary(record: Record, arm: str, limit: float) -> dict[str, float]:
    """Return mean costs and top-1, the share that meets the requirement, and the mean of those.

    The last is NaN where none does.
    """
    lines = delivered(record, arm)
    scores = [accuracy(line, "score") for line in lines]
    return {
        "macs_m": fmean(line["macs"] for line in lines) / 1e6,
        "params_k": fmean(line["params"] for line in lines) / 1e3,
        "mean": fmean(scores),
        "share": fmean(score >= limit for score in scores),
        "mean_of_those": mean_of_those(lines, limit),
    }


def mean_of_those(lines: list[dict[str, Any]], limit: float) -> float:
    """Return mean top-1 of those that meet the requirement on the half that decides, or NaN."""
    met = [accuracy(line, "score") for line in lines if accuracy(line, "decide") >= limit]
    return fmean(met) if met else math.nan


def prediction_curves(record: Record, arm: str) -> Curves:
    """Return RMSE (points) and rank correlation on the fixed or far networks after every cycle.

    Their truth is top-1 on both halves, n = 5,000 a network; the rivals of the inquisitor see
    what it sees of the loop's networks, the half that decides.
    """
    unseen = Record(FIXED).of(arm)
    truth = np.array([accuracy(line) for line in unseen])
    unseen_macs = _macs(unseen)
    curves: Curves = {
        name: [] for name in ("rmse", "rank", "constant_rmse", "macs_rmse", "macs_rank")
    }
    seen: list[dict[str, Any]] = []
    for line in record.of("loop"):
        seen.append(line)
        predicted = 100 * sigmoid(np.array(line[arm]))
        constant = fmean(accuracy(one, "decide") for one in seen)
        by_macs = 100 * sigmoid(unseen_macs @ _fitted(seen))
        curves["rmse"].append(_rmse(predicted, truth))
        curves["rank"].append(_rank_correlation(predicted, truth))
        curves["constant_rmse"].append(_rmse(np.full(len(truth), constant), truth))
        curves["macs_rmse"].append(_rmse(by_macs, truth))
        curves["macs_rank"].append(_rank_correlation(by_macs, truth))
    return curves


def _macs(lines: list[dict[str, Any]]) -> np.ndarray:
    logs = [math.log(line["macs"] / PROTOTYPE_MACS) for line in lines]
    return np.column_stack([np.ones(len(logs)), logs])


def _fitted(seen: list[dict[str, Any]]) -> np.ndarray:
    """Return level and slope of logit accuracy over log MACs, with the inquisitor's regression."""
    right = np.array([line["decide"] for line in seen], dtype=float)
    counts = zip(right, (line["n"] for line in seen), strict=True)
    pairs = [Proportion("top1", int(count), n).logit() for count, n in counts]
    logits, variances = np.array(pairs).T
    mean, sd = MACS_PRIOR.T
    return fit(
        _macs(seen), logits, variances, prior_mean=mean, prior_sd=sd, small=np.zeros(2, bool)
    ).mean


def claims(complete: list[Record], limit: float, curves: list[Curves]) -> dict[str, list[float]]:
    """Return the paired differences of each claim, one a seed; positive is better."""
    tables = [{arm: summary(r, arm, limit) for arm in ARMS[:-1]} for r in complete]
    found = {
        f"{name}, points": [one[better]["mean"] - one[worse]["mean"] for one in tables]
        for name, (better, worse) in FAMILY_CLAIMS.items()
    }
    for name, figure in (
        ("GK - G0, share that meets 1_r", "share"),
        ("GK - G0, mean of those that meet 1_r, points", "mean_of_those"),
    ):
        found[name] = [one["GK"][figure] - one["G0"][figure] for one in tables]
    found["the same, G0's of its 24 seeds, points"] = [
        one["GK"]["mean_of_those"] - mean_of_those(record.of("G0"), limit)
        for one, record in zip(tables, complete, strict=True)
    ]
    last = [{name: values[-1] for name, values in curve.items()} for curve in curves]
    first = [{name: values[0] for name, values in curve.items()} for curve in curves]
    found |= {
        "RMSE, constant - inquisitor, points": [k["constant_rmse"] - k["rmse"] for k in last],
        "RMSE, MACs only - inquisitor, points": [k["macs_rmse"] - k["rmse"] for k in last],
        "rank correlation, inquisitor - MACs only": [k["rank"] - k["macs_rank"] for k in last],
        "RMSE, after 1 cycle - after all, points": [
            one["rmse"] - k["rmse"] for one, k in zip(first, last, strict=True)
        ],
        "rank correlation, after all - after 1 cycle": [
            k["rank"] - one["rank"] for one, k in zip(first, last, strict=True)
        ],
    }
    return found


def paired(differences: list[float]) -> str:
    """Return mean, 95 % interval (Student) and sign count of paired differences."""
    defined = [d for d in differences if math.isfinite(d)]
    count, lost = len(defined), len(differences) - len(defined)
    without = f"; undefined in {lost} of {len(differences)}" if lost else ""
    if count < 2:
        return f"{defined[0]:+.2f}, no interval{without}" if defined else "undefined"
    centre = fmean(defined)
    low, high = t.interval(0.95, count - 1, centre, stdev(defined) / math.sqrt(count))
    positive = sum(d > 0 for d in defined)
    return f"{centre:+.2f} [{low:+.2f}, {high:+.2f}], {positive} of {count} > 0{without}"


def family_table(complete: list[Record], limit: float) -> list[str]:
    """Return what each seed's arms delivered, as lines of a table."""
    lines = [
        "| seed | arm | MACs, M | parameters, k | mean top-1 | share meeting 1_r | mean of those |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for record in complete:
        for arm in ARMS:
            if arm == BESIDE and len(record.of(arm)) < FAMILY:
                continue
            s = summary(record, arm, limit)
            those = "-" if math.isnan(s["mean_of_those"]) else f"{s['mean_of_those']:.2f}"
            lines.append(
                f"| {record.path.stem} | {arm} | {s['macs_m']:.2f} | {s['params_k']:.1f} | "
                f"{s['mean']:.2f} | {s['share']:.2f} | {those} |"
            )
    return [*lines, "", BESIDE_NOTE.rstrip()]


def prediction_table(what: str, arm: str, curves: list[Curves]) -> list[str]:
    """Return the mean curves over seeds at some cycles, as lines of text and table."""
    truth = [accuracy(line) for line in Record(FIXED).of(arm)]
    lines = [
        f"{what}. Their top-1: {fmean(truth):.1f} %, standard deviation {stdev(truth):.2f} points,",
        "which is the RMSE of the best of all constants.",
        "",
        "| k | RMSE, points | constant | MACs only | rank correlation | MACs only |",
        "|---|---|---|---|---|---|",
    ]
    for k in (1, 3, 6, 12, 18, 24):
        at = {name: fmean(c[name][k - 1] for c in curves) for name in curves[0]}
        lines.append(
            f"| {k} | {at['rmse']:.2f} | {at['constant_rmse']:.2f} | {at['macs_rmse']:.2f} | "
            f"{at['rank']:.2f} | {at['macs_rank']:.2f} |"
        )
    return lines


def is_complete(record: Record) -> bool:
    """Return whether all arms of a seed are recorded."""
    whole = all(len(record.of(arm)) == EVALUATIONS for arm in ("loop", "permuted", "random", "G0"))
    families = ("GK", "family", "permuted family")
    return whole and all(len(record.of(arm)) == FAMILY for arm in families)


def main() -> None:
    """Write tables, figures and curves."""
    limit = 100 * (requirement() or math.nan)
    records = [Record(path) for path in sorted((HERE / "results").glob("seed-?.jsonl"))]
    complete = [record for record in records if is_complete(record)]
    if not complete:
        raise SystemExit("no seed is complete yet; see run.py")
    under_way = [record.path.stem for record in records if record not in complete]
    curves = {
        arm: [prediction_curves(record, arm) for record in complete] for arm in ("fixed", "far")
    }
    fixed, far = curves.items()
    differences = claims(complete, limit, curves["fixed"])
    introduction = (
        "CIFAR-10, slices of one frozen ResNet-20, 8,000 images of distillation an evaluation, "
        f"{EVALUATIONS} evaluations an arm, {len(complete)} of 5 search seeds complete"
        f"{' (under way: ' + ', '.join(under_way) + ')' if under_way else ''}. Top-1 of what the "
        f"arms deliver, {FAMILY} networks each, is in percent on the half of the search split that "
        "decided nothing (n = 2,500 a network). Requirement 1_r: "
        f"top-1 >= {limit:.2f} %, the upper quartile of the {EVALUATIONS} fixed networks."
    )
    lines = [
        "# Does it learn?",
        "",
        introduction,
        "",
        "Made by `python -m experiments.learning.report` from the records beside it.",
        "",
        "| paired difference over seeds, positive is better | mean, 95 % interval, signs |",
        "|---|---|",
        *(f"| {name} | {paired(values)} |" for name, values in differences.items()),
        "",
        NOTES,
        "",
        *family_table(complete, limit),
        "",
        "## Predictions of networks that no inquisitor was trained on",
        "",
        *prediction_table("Fixed networks, after k cycles (mean over seeds)", *fixed),
        "",
        *prediction_table("Far networks, whose shapes no generator gives", *far),
    ]
    figures = {
        "requirement_pct": limit,
        "seeds": [record.path.stem for record in complete],
        "paired": {
            name: [d if math.isfinite(d) else None for d in values]
            for name, values in differences.items()
        },
        "curves": curves,
    }
    (HERE / "results" / "learning.md").write_text("\n".join(lines) + "\n")
    text = json.dumps(figures, indent=1, allow_nan=False) + "\n"
    (HERE / "results" / "learning.json").write_text(text)
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
    return float(spearmanr(one, other).statistic)


if __name__ == "__main__":
    main()
