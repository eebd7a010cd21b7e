"""Make the table of INT8: the CIFAR-10 prototype, written for boards and processors.

    python -m experiments.export.int8 --data FOLDER

writes experiments/export/int8.json (the record) and int8.md. FOLDER holds CIFAR-10's official
binary files; ranges are of 512 training images, accuracy is of the search split, whose images
nothing here has learned from. The prototype is taken with nothing required of it; with what
`experiments/cifar10` requires; and with what it just reaches, which shows what layers stay in
FP32 then. Files for the other targets with INT8 differ from these in their opset alone.

The processor's file is also timed beside the FP32 file, in turns, one image on one thread.
"""

import argparse
import io
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from gensynth.bench.compare import paired_ratio
from gensynth.bench.latency import GRADE
from gensynth.bench.timing import time_interleaved
from gensynth.data import cifar10
from gensynth.data.dataset import Dataset
from gensynth.environment import environment
from gensynth.errors import ExportError
from gensynth.export.artefact import Artefact, make
from gensynth.export.metadata import Reading
from gensynth.export.precisions import CALIBRATION_IMAGES
from gensynth.export.runtime import open_session
from gensynth.export.source import Source
from gensynth.export.targets import find_target
from gensynth.goals.requirements import parse_all
from gensynth.goals.score import Score
from gensynth.network.module import build
from gensynth.prototypes import create
from gensynth.randomness import stream
from gensynth.tasks.classification import Classification
from gensynth.trace import trace

HERE = Path(__file__).resolve().parent
RECORD, TABLE = HERE / "int8.json", HERE / "int8.md"
PROTOTYPE = HERE.parent / "cifar10" / "prototype" / "resnet20-cifar10.safetensors"
VERSIONS = ("gensynth", "torch", "onnx", "onnxruntime", "processor")
ROUNDS = 40
TARGETS = ("jetson-xavier", "x86-cpu")
REQUIREMENTS = ((), ("top1 >= 89%",), ("top1 >= 90.8%",))


def source(data: Dataset, requirements: tuple[str, ...]) -> Source:
    """Return ResNet-20 as it was trained, and what to measure it on."""
    weights = load_file(PROTOTYPE)
    module = create("resnet20", classes=10, channels=3).eval()
    module.load_state_dict(weights, strict=False)
    graph = trace(module, torch.zeros(2, 3, 32, 32), name="resnet20")
    chosen = stream(0, "int8-ranges").choice(len(data.train), CALIBRATION_IMAGES, replace=False)
    return Source(
        name="resnet20-cifar10",
        network=build(graph, module.state_dict(), {}).eval(),
        reading=Reading(data.shape, data.mean, data.std, "rgb", data.classes),
        task=Classification(),
        search=data.search,
        why_not=None,
        calibration=data.train.images[np.sort(chosen)],
        requirements=parse_all(requirements),
    )


def row(data: Dataset, target: str, requirements: tuple[str, ...]) -> dict[str, Any]:
    """Return what comes of writing it in INT8 for a target."""
    try:
        found = find_target(target)
        made = make(source(data, requirements), found, precision="int8", batch=None)
    except ExportError as error:
        return {"refused": str(error)}
    assert made.mixed is not None
    assert made.accuracy is not None
    fp32 = make(source(data, ()), found, precision="fp32", batch=1)
    return {
        "before": correct(made.accuracy.before),
        "after": correct(made.accuracy.after),
        "n": made.accuracy.after.n,
        "bytes": [len(one.files["network.onnx"]) for one in (fp32, made)],
        "latency": None if found.tensorrt else latency(fp32, made),
        "difference": made.parity.relative,
        "layers": len(made.mixed.layers),
        "kept": list(made.mixed.kept),
        "fallen": list(made.mixed.fallen),
        "damage": {layer: float(f"{value:.3g}") for layer, value in made.mixed.damage.items()},
        "tried": [[kept, correct(score)] for kept, score in made.mixed.tried if score is not None],
    }


def correct(score: Score) -> int:
    """Return how many images are right."""
    return int(score.to_document()["correct"])


def latency(fp32: Artefact, made: Artefact) -> dict[str, Any]:
    """Time both files in turns; the median of each round, and the ratio with its interval."""
    with np.load(io.BytesIO(made.files["samples.npz"]), allow_pickle=False) as samples:
        manifest = json.loads(made.files["manifest.json"])
        image = Reading.of(manifest)(samples["images"])[:1]
    sessions = [open_session(one.files["network.onnx"]) for one in (fp32, made)]
    runs = [lambda s=s: s.run({"images": image}) for s in sessions]
    timings = time_interleaved(runs, rounds=ROUNDS, runs=10, warmup=GRADE.warmup)
    medians = [[statistics.median(turn) / 1e6 for turn in one.rounds_ns] for one in timings]
    ratio = paired_ratio([[ms] for ms in medians[1]], [[ms] for ms in medians[0]])
    return {
        "fp32_ms": [round(ms, 5) for ms in medians[0]],
        "int8_ms": [round(ms, 5) for ms in medians[1]],
        "ratio": [round(r, 4) for r in (ratio.value, *(ratio.interval or ()))],
    }


def markdown(document: dict[str, Any]) -> str:
    """Return the table for people."""
    setting = document["versions"]
    lines = [
        "# ResNet-20 for CIFAR-10 in INT8",
        "",
        (
            f"gensynth {setting['gensynth']}, onnxruntime {setting['onnxruntime']}. Made by "
            "`python -m experiments.export.int8 --data FOLDER` from `int8.json`. Ranges of "
            f"{CALIBRATION_IMAGES} training images; top-1 on the search split, by ONNX Runtime on "
            f"{setting['processor']}. No board has run these files; jetson-tx2 and jetson-nano "
            "have no INT8 units and are refused."
        ),
        "",
        "Latency is the INT8 file's median over the FP32 file's, one image on one thread, timed in",
        f"turns, with the 95 % interval of {ROUNDS} rounds; size is of the files.",
        "",
        "| target | required | top-1 before | after | images | size | latency | layers in FP32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in document["rows"]:
        start = f"| {found['target']} | {', '.join(found['required']) or '-'} |"
        if "refused" in found:
            lines.append(f"{start} | | | | | refused: {found['refused']} |")
            continue
        before, after = (f"{100 * found[key] / found['n']:.2f} %" for key in ("before", "after"))
        kept = f"{len(found['kept'])} of {found['layers']}"
        names = f": {', '.join(found['kept'])}" if found["kept"] else ""
        large, small = found["bytes"]
        size = f"{small / large:.2f}"
        timed = found["latency"]
        ratio = "-" if timed is None else "{:.2f} ({:.2f} to {:.2f})".format(*timed["ratio"])
        cells = [before, after, str(found["n"]), size, ratio, f"{kept}{names}"]
        lines.append(f"{start} {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the record and the table; rows that are there are not made again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10's binary files")
    data = cifar10.load(parser.parse_args().data)
    known = environment()
    versions = {name: known[name] for name in VERSIONS}
    rows = json.loads(RECORD.read_text())["rows"] if RECORD.exists() else []
    done = {(one["target"], tuple(one["required"])) for one in rows}
    wanted = [(name, required) for name in TARGETS for required in REQUIREMENTS]
    for name, required in wanted:
        if (name, required) not in done:
            found = row(data, name, required)
            rows.append({"target": name, "required": list(required), **found})
            order = [(one["target"], tuple(one["required"])) for one in rows]
            rows = [rows[order.index(key)] for key in wanted if key in order]
            document = {"versions": versions, "rows": rows}
            RECORD.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
            TABLE.write_text(markdown(document))
            print(name, required, found.get("after"), found.get("kept"), flush=True)


if __name__ == "__main__":
    main()
