"""The tables of `tx2.py`, made from its record."""

from collections.abc import Iterator, Sequence
from typing import Any

from gensynth.bench.estimate.boards.known import ROOFLINES

ASSUMED = """\
power mode 0 (MAXN): HW-NAS-Bench's repository does not tell it
driven by torch2trt: its factors of call and launch are quantities of their own, whose medians and \
wide spreads were chosen with these rows in sight; the board's own were not
architectures, widths and strides as in HW-NAS-Bench's code; equal ReLUs are computed once
the `0 +` that Python's sum begins with is no kernel
FBNet: 26 engines (stem, 22 blocks, head, mean, classifier), each called by itself
a network's own factor has a spread of 0.15, which these rows led to: with 0.10 all latencies were \
inside too, and of the energies 13 of 15 with all other rows known
""".splitlines()


def lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of tx2.md from what is in tx2.json."""
    yield "# A Jetson TX2 that is not attached"
    yield ""
    yield "Made by `python -m experiments.hardware.tx2`; every number is in `tx2.json`. Nothing"
    yield "here was measured by us: the measurements are others', the rest is estimated."
    yield ""
    yield "## HW-NAS-Bench: public measurements beside estimates"
    yield ""
    yield "Estimates with their 95 % interval, from what is known of the board alone, and with the"
    yield "measurements of all other rows known. A * is outside."
    yield ""
    yield "| row | kernels | ms | no other known | all others known | mJ | no other | all others |"
    yield "|---|---|---|---|---|---|---|---|"
    for entry in record["public"]:
        alone, rest = (entry["estimates"][key] for key in ("no other", "all other rows"))
        yield (
            f"| {entry['row']} | {entry['kernels']} | {entry['latency_ms']:.2f} "
            f"| {_95(alone['latency_ms'])} | {_95(rest['latency_ms'])} "
            f"| {1e3 * entry['joule_per_img']:.1f} | {_95(alone['joule_per_img'], 1e3)} "
            f"| {_95(rest['joule_per_img'], 1e3)} |"
        )
    yield ""
    yield "Inside the 95 % interval, and the median width of that interval as high / low:"
    yield ""
    yield "| known | ms inside | high / low | median error | mJ inside | high / low |"
    yield "|---|---|---|---|---|---|"
    entries = record["public"]
    for key in entries[0]["estimates"]:
        of = {
            metric: [entry["estimates"][key][metric] for entry in entries]
            for metric in ("latency_ms", "joule_per_img")
        }
        errors = sorted(
            abs(entry["estimates"][key]["latency_ms"]["value"] / entry["latency_ms"] - 1)
            for entry in entries
        )
        yield (
            f"| {key} | {_inside(of['latency_ms'])} | {_width(of['latency_ms']):.1f} "
            f"| {errors[len(errors) // 2]:.0%} | {_inside(of['joule_per_img'])} "
            f"| {_width(of['joule_per_img']):.1f} |"
        )
    yield ""
    yield from (f"- {sentence}" for sentence in ASSUMED)
    yield ""
    yield from _quti_report(record["qutibench"])
    yield ""
    yield from _own_report(record["own"])


def _quti_report(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## QuTiBench: what the board's figures were read off"
    yield ""
    yield "Not independent: launch, call, efficiencies and power of the roofline were rounded from"
    yield "these rows. Inside the 95 % interval, by network and batch:"
    yield ""
    yield "| network | batch 1 | batch 16 | batch 128 |"
    yield "|---|---|---|---|"
    for name, width in dict.fromkeys((row["network"], row["width"]) for row in rows):
        cells = []
        for batch in (1, 16, 128):
            some = [
                row["estimate"]
                for row in rows
                if (row["network"], row["width"], row["batch"]) == (name, width, batch)
            ]
            cells.append(_inside(some) if some else "-")
        title = f"{name}, width {width}" if width else name
        yield f"| {title} | {' | '.join(cells)} |"
    outside = [row for row in rows if not row["estimate"]["inside95"]]
    yield ""
    yield "Outside: " + (
        "; ".join(
            f"{row['network']} {row['width']} {row['precision']} mode {row['power_mode']} batch "
            f"{row['batch']}: {row['ms']:.2f} ms, estimate {row['estimate']['value']:.2f}"
            for row in outside
        )
        or "none"
    )


def _own_report(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Our networks on a TX2, 32x32, estimated"
    yield ""
    yield "Median and 80 % interval; 0 measurements; power mode 0 (MAXN), the agent's loop."
    yield ""
    yield "| network | MACs | precision, batch | kernels | ms a run | images/J | W |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        figures = row["figures"]
        yield (
            f"| {row['name']} | {row['macs'] / 1e6:.1f} M | {row['precision']}, {row['batch']} "
            f"| {row['kernels']} | {_80(figures['latency_ms'])} "
            f"| {_80(figures['img_per_joule'])} | {_80(figures['power_w'])} |"
        )
    yield ""
    yield "Assumed:"
    yield ""
    roofline = ROOFLINES["jetson-tx2"]
    at = roofline.modes[0]
    yield f"- GPU {at.gpu:g} MHz, processor {at.cpu:g} MHz, memory {at.memory:g} MHz, locked"
    yield from (f"- {source}" for source in roofline.sources)
    for name, belief in {**roofline.timing, **roofline.power}.items():
        yield f"- {name}: {belief.median:g}, spread {belief.spread:g} ({belief.source})"
    yield ""
    yield "With a board, measurements replace this table:"
    yield ""
    yield "    gensynth devices add tx2 USER@ADDRESS"
    yield "    gensynth export RUN --target jetson-tx2"
    yield "    gensynth bench ARTEFACTS --device tx2 --precision fp16 --energy"


def _95(document: dict[str, Any], scale: float = 1.0) -> str:
    low, high = (scale * limit for limit in document["interval95"])
    mark = "" if document["inside95"] else " *"
    return f"{scale * document['value']:.1f} ({low:.1f}-{high:.1f}){mark}"


def _80(document: dict[str, Any]) -> str:
    low, high = document["interval80"]
    digits = 0 if high >= 100 else 2 if high < 10 else 1
    return f"{document['value']:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _inside(documents: Sequence[dict[str, Any]]) -> str:
    return f"{sum(one['inside95'] for one in documents)} of {len(documents)}"


def _width(documents: Sequence[dict[str, Any]]) -> float:
    ratios = sorted(one["interval95"][1] / one["interval95"][0] for one in documents)
    return float(ratios[len(ratios) // 2])
