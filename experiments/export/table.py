"""Make the table of targets: a random sub-network of every family and what runs made, for each.

    pip install -e .[dev,rtx]
    python -m experiments.export.table [RUN ...]

writes experiments/export/targets.json (the record) and targets.md. A cell is

    pass        the target takes the file, and the file computes what the network computes
    rewritten   the same, with so many vertices spelled out because the target lacks an operator
    refused     no file, and the reason

The rows are the families of tests/networks/families.py and networks composed at random of all
operators (tests/networks/compositions.py), each cut down at random; the trained prototype of
experiments/cifar10; and the finalists of each finished run that is named, on 64 images of its
search split. Runs that are not named again stay in the record. With tensorrt-rtx installed,
TensorRT's own parser reads every file for a TensorRT target too, and what it says against one is
recorded.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from gensynth.environment import environment
from gensynth.errors import ExportError
from gensynth.export.acceptance import inspect
from gensynth.export.from_torch import from_network
from gensynth.export.parity import check_network
from gensynth.export.rewrites import rewrites
from gensynth.export.targets import Target, find_target, names
from gensynth.network.module import Network, build, opaque_modules
from gensynth.prototypes import create
from gensynth.runs import networks
from gensynth.space.coupling import couple
from gensynth.trace import trace
from tests.networks.compositions import compose, random_selection, random_weights
from tests.networks.families import FAMILIES, make

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECORD = HERE / "targets.json"
PROTOTYPE = HERE.parent / "cifar10" / "prototype" / "resnet20-cifar10.safetensors"
CIFAR10 = "cifar10 prototype"
RUN_IMAGES = 64
SEED = 4
COMPOSED = 12
VERSIONS = ("gensynth", "python", "torch", "numpy", "onnx", "onnxruntime")
ROWS = (*FAMILIES, *(f"composed {seed}" for seed in range(COMPOSED)))


def sub_network(row: str) -> tuple[Network, tuple[Tensor, ...]]:
    """Return a row's network, cut down at random, and images for it."""
    if row.startswith("composed "):
        seed = int(row.removeprefix("composed "))
        graph, opaque = compose(seed), {}
        weights = {key: tensor.float() for key, tensor in random_weights(graph, seed).items()}
        images: tuple[Tensor, ...] = (
            torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(seed)),
        )
    else:
        module, images = make(row)
        graph = trace(module, images, name=row)
        weights, opaque = module.state_dict(), opaque_modules(graph, module)
    coupling = couple(graph)
    selection = random_selection(coupling, SEED)
    smaller = coupling.apply(selection)
    return build(smaller, weights, coupling.slices(selection), opaque=opaque).eval(), images


def prototype() -> tuple[Network, tuple[Tensor, ...]]:
    """Return the trained ResNet-20 of the CIFAR-10 experiments, and images for it."""
    module = create("resnet20", classes=10, channels=3).eval()
    module.load_state_dict(load_file(PROTOTYPE), strict=False)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(SEED))
    graph = trace(module, images, name="resnet20")
    return build(graph, module.state_dict(), {}).eval(), (images,)


def finalists(run: Path) -> dict[str, tuple[Network, tuple[Tensor, ...]]]:
    """Return the finalists of a run, and images for each, by name."""
    found: dict[str, tuple[Network, tuple[Tensor, ...]]] = {}
    for source in networks.sources(run):
        if source.search is None:
            raise SystemExit(f"{run} is compared on its own data: {source.why_not}")
        read = source.reading(source.search.images[:RUN_IMAGES])
        found[source.name] = (source.network.eval(), (torch.from_numpy(read),))
    return found


def cells(network: Network, images: tuple[Tensor, ...]) -> dict[str, Any]:
    """Return a network's row: what comes of writing it, by target."""
    return {name: cell(network, images, find_target(name)) for name in names()}


def cell(network: Network, images: tuple[Tensor, ...], target: Target) -> dict[str, Any]:
    """Return what comes of writing a network for a target."""
    batch = 1 if target.batch == "fixed" else None
    try:
        model = from_network(network, opset=target.opset, batch=batch, operators=target.operators)
        report = inspect(model, target)
        report.require()
        parity = check_network(model, network, images)
    except ExportError as error:
        return {"verdict": "refused", "reason": str(error).replace(f"{ROOT}/", "")}
    spelled = rewrites(network.graph, model, target)
    return {
        "verdict": "rewritten" if spelled else "pass",
        "opset": report.opset,
        "ir": report.ir,
        "nodes": sum(report.operators.values()),
        "relative_difference": parity.relative,
        "rewritten": [[r.vertex, r.word, list(r.operators), r.reason] for r in spelled],
        "parser": parser_errors(model) if target.tensorrt else None,
    }


def parser_errors(content: bytes) -> list[str] | None:
    """Return what TensorRT for RTX says against a file; None where it is not installed."""
    try:
        import tensorrt_rtx as rtx
    except ImportError:
        return None
    logger = rtx.Logger(rtx.Logger.INTERNAL_ERROR)
    network = rtx.Builder(logger).create_network(0)
    parser = rtx.OnnxParser(network, logger)
    parser.parse(content)
    return [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]


def record(runs: dict[str, Any]) -> dict[str, Any]:
    """Return the whole table.

    Args:
        runs: rows of runs that are already made, by the run's name.
    """
    rows = {row: cells(*sub_network(row)) for row in ROWS}
    rows[CIFAR10] = cells(*prototype())
    known = environment()
    versions = {name: known[name] for name in VERSIONS}
    versions["tensorrt_rtx"] = rtx_version()
    return {"seed": SEED, "rows": rows, "runs": runs, "versions": versions}


def rtx_version() -> str | None:
    """Return the version of TensorRT for RTX; None where it is not installed."""
    try:
        import tensorrt_rtx as rtx
    except ImportError:
        return None
    return str(rtx.__version__)


def markdown(document: dict[str, Any]) -> str:
    """Return the table for people."""
    targets, setting = names(), document["versions"]
    rows = dict(document["rows"])
    for run, found in document["runs"].items():
        rows |= {f"{run}: {name}": row for name, row in found.items()}
    lines = [
        "# Networks written for every target",
        "",
        (
            f"gensynth {setting['gensynth']}, onnxruntime {setting['onnxruntime']}, torch "
            f"{setting['torch']}. Made by `python -m experiments.export.table` from `targets.json`."
        ),
        "*pass*: the target's operator table has every operator of the file, and the file computes",
        "what the network computes, to 1e-4 of the largest output (ONNX Runtime). *rewritten (n)*:",
        "the same, n vertices spelled out because the target has no operator for them. *refused*:",
        "no file; the reason is below. No board has run these files.",
        "",
        f"| network | {' | '.join(targets)} |",
        f"|---|{'---|' * len(targets)}",
    ]
    reasons: dict[str, list[str]] = {}
    for row, cells in rows.items():
        shown = []
        for name in targets:
            found = cells[name]
            spelled = len(found.get("rewritten", ()))
            shown.append(f"rewritten ({spelled})" if spelled else found["verdict"])
            if found["verdict"] == "refused":
                reasons.setdefault(found["reason"], []).append(row)
        lines.append(f"| {row} | {' | '.join(shown)} |")
    cells = [cell for row in rows.values() for cell in row.values()]
    worst = max(c["relative_difference"] for c in cells if c["verdict"] != "refused")
    lines += ["", f"Largest difference of any file: {worst:.1e} of its network's largest output."]
    if reasons:
        lines += ["", "Refused:", ""]
        lines += [f"- {', '.join(dict.fromkeys(r))}: {why}" for why, r in reasons.items()]
    version = setting["tensorrt_rtx"]
    if version is not None:
        read = [c for c in cells if c.get("parser") is not None]
        against = [error for c in read for error in c["parser"]]
        lines += [
            "",
            (
                f"TensorRT for RTX {version} (a modern parser, no proof for 8.2) reads "
                f"{sum(not c['parser'] for c in read)} of the {len(read)} files for TensorRT "
                "targets."
            ),
            *(f"- {error}" for error in dict.fromkeys(against)),
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the record and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path, help="finished run folders")
    runs = json.loads(RECORD.read_text())["runs"] if RECORD.exists() else {}
    for run in parser.parse_args().runs:
        runs[run.name] = {name: cells(*found) for name, found in finalists(run).items()}
    made = record(runs)
    RECORD.write_text(json.dumps(made, indent=1, allow_nan=False) + "\n")
    (HERE / "targets.md").write_text(markdown(made))


if __name__ == "__main__":
    main()
