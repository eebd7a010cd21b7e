"""Are estimates of a Jetson TX2 honest, and what do they say of our own networks?

    python -m experiments.hardware.tx2 [--results FOLDER]

Writes tx2.json and tx2.md: the public measurements of HW-NAS-Bench beside the estimate of each,
made from what is known of the board alone, and with the measurements of others added: of all
other rows, of all other networks, of the other space. Then QuTiBench's, which the board's figures
were read off; then the estimates of our own networks. A few minutes; no board is needed.
"""

import argparse
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from experiments.hardware import networks
from experiments.hardware.report import lines
from gensynth.atomic_files import write_bytes
from gensynth.bench.estimate.boards.board import Board, Known, Setting
from gensynth.bench.estimate.boards.roofline import TORCH2TRT
from gensynth.bench.estimate.boards.tensorrt_plan import plan
from gensynth.bench.estimate.kernels import Kernel
from gensynth.devices.profiles import find_profile
from gensynth.export.onnx import to_onnx
from gensynth.goals.figure import Figure
from gensynth.prototypes import create
from gensynth.runs.load import load
from gensynth.trace import trace

HERE = Path(__file__).parent
CIFAR10 = HERE.parent / "cifar10"
TX2 = find_profile("jetson-tx2")
Row = tuple[str, Known]

# Milliseconds and millijoules of HW-NAS-Bench (README and example.ipynb of
# github.com/GATECH-EIC/HW-NAS-Bench): torch2trt, FP32, batch 1, mean of 50 runs; VDD_IN.
CELLS = {
    (0, 32, 10): (5.807, 24.227), (0, 32, 100): (5.866, 24.471), (0, 16, 120): (5.828, 24.239),
    (1, 32, 10): (6.548, 29.997), (1, 32, 100): (6.495, 28.764), (1, 16, 120): (6.373, 27.730),
    (2, 32, 10): (6.509, 29.402), (2, 32, 100): (6.568, 29.339), (2, 16, 120): (6.557, 28.282),
}  # fmt: skip
"""By number of the architecture, size of the image and classes."""
FBNET = {
    (0, 32): (15.805, 86.981), (0, 224): (16.431, 102.716),
    (1, 32): (16.861, 92.509), (1, 224): (17.092, 106.133),
    (2, 32): (18.127, 99.011), (2, 224): (17.268, 107.064),
}  # fmt: skip
"""By how many of the last blocks have two groups, and size; sums over separately timed parts."""


def main(words: Sequence[str] | None = None) -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    results: Path = parser.parse_args(words).results
    results.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.manual_seed(0)
    record = {
        "public": list(_public()),
        "qutibench": list(_qutibench()),
        "own": list(_own()),
    }
    write_bytes(results / "tx2.json", (json.dumps(record, indent=1) + "\n").encode())
    write_bytes(results / "tx2.md", ("\n".join(lines(record)) + "\n").encode())


# Public measurements


def _public() -> Iterator[dict[str, Any]]:
    rows = list(_rows())
    for name, row in rows:
        others = [other for other, _ in rows]
        known = {
            "no other": [],
            "all other rows": [other for other in others if other != name],
            "all other networks": [o for o in others if _network(o) != _network(name)],
            "the other space": [o for o in others if o.split()[0] != name.split()[0]],
        }
        entry: dict[str, Any] = {
            "row": name,
            "kernels": len(row.kernels),
            "latency_ms": row.latency_ms,
            "joule_per_img": row.joule_per_img,
            "estimates": {},
        }
        for label, names in known.items():
            board = Board(TX2, [one for other, one in rows if other in names])
            figures = board.estimate(row.kernels, 1, row.setting)
            entry["estimates"][label] = {
                metric: _compared(figures[metric], entry[metric])
                for metric in ("latency_ms", "joule_per_img")
            }
        yield entry


def _rows() -> Iterator[Row]:
    once = Setting("fp32", 0, TORCH2TRT)
    for (number, size, classes), (ms, mj) in CELLS.items():
        network = networks.cell_network(networks.CELLS[number], classes)
        kernels = plan(_file(network, (3, size, size)), "fp32")
        yield (
            f"cells no. {number}, {size}x{size}, {classes} classes",
            Known(kernels, 1, once, ms, mj / 1e3),
        )
    for (grouped, size), (ms, mj) in FBNET.items():
        groups = [1] * (22 - grouped) + [2] * grouped
        parts = networks.fbnet_parts(groups, size, 100 if size == 32 else 1000)
        kernels = tuple(k for part, shape in parts for k in _part_kernels(part, shape))
        setting = Setting("fp32", 0, TORCH2TRT, calls=len(parts))
        yield f"FBNet {grouped} grouped, {size}x{size}", Known(kernels, 1, setting, ms, mj / 1e3)


_PARTS: dict[str, tuple[Kernel, ...]] = {}


def _part_kernels(part: nn.Module, shape: tuple[int, ...]) -> tuple[Kernel, ...]:
    """Return the kernels of a part; equal parts are planned once."""
    key = f"{part} {shape}"
    if key not in _PARTS:
        _PARTS[key] = plan(_file(part, shape), "fp32")
    return _PARTS[key]


def _network(name: str) -> str:
    return name.split(",")[0]


def _compared(figure: Figure, measured: float) -> dict[str, Any]:
    low, high = figure.interval95
    return {**figure.to_document(), "inside95": low <= measured <= high}


def _file(network: nn.Module, shape: tuple[int, ...], batch: int = 1) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        images = torch.zeros(batch, *shape)
        torch.onnx.export(network.eval(), (images,), path, dynamo=False, opset_version=13)
        return onnx.load(path)


# What the board's figures were read off


def _qutibench() -> Iterator[dict[str, Any]]:
    table = json.loads((HERE / "qutibench.json").read_text())
    board = Board(TX2)
    for values in table["rows"]:
        row = dict(zip(table["columns"], values, strict=True))
        kernels = _kernels_of(row["network"], row["width"], row["precision"], row["batch"])
        setting = Setting(row["precision"], row["power_mode"])
        figures = board.estimate(kernels, row["batch"], setting)
        yield {**row, "estimate": _compared(figures["latency_ms"], row["ms"])}


@cache
def _kernels_of(name: str, width: int, precision: str, batch: int) -> tuple[Kernel, ...]:
    network, shape = {
        "CNV": (networks.cnv, (3, 32, 32)),
        "MLP": (networks.perceptron, (1, 28, 28)),
        "ResNet-50": (lambda _: networks.resnet50(), (3, 224, 224)),
    }[name]
    return plan(_file(network(width), shape, batch), precision)


# Our own networks


def _own() -> Iterator[dict[str, Any]]:
    board = Board(TX2)
    for name, file in _files():
        for precision, batch in (("fp32", 1), ("fp16", 1), ("fp16", 32)):
            kernels = plan(file, precision, batch)
            figures = board.estimate(kernels, batch, Setting(precision))
            yield {
                "name": name,
                "precision": precision,
                "batch": batch,
                "kernels": len(kernels),
                "macs": sum(kernel.macs for kernel in kernels) // batch,
                "figures": {metric: figure.to_document() for metric, figure in figures.items()},
            }


def _files() -> Iterator[tuple[str, onnx.ModelProto]]:
    images = torch.zeros(1, 3, 32, 32)
    for name in ("resnet20", "mobilenet", "shufflenet"):
        network = create(name, classes=10, channels=3).eval()
        weights = {key: value.numpy() for key, value in network.state_dict().items()}
        graph = trace(network, images, name=name)
        yield name, onnx.load_from_string(to_onnx(graph, weights))
    for folder in sorted((CIFAR10 / "results").glob("**/graph.json")):
        found = load(folder.parent).eval()
        weights = {key: value.numpy() for key, value in found.state_dict().items()}
        where = folder.parent.relative_to(CIFAR10 / "results")
        yield str(where), onnx.load_from_string(to_onnx(found.graph, weights))


if __name__ == "__main__":
    main()
