"""Our files beside those of torch's exporters with onnxslim: nodes, and latency in turns.

    pip install onnxslim onnxscript
    python -m experiments.export.peers [--loads N] [NETWORK ...]

writes experiments/export/peers.json (the record) and peers.md. The networks are those of
experiments/families; every one is exported for one image by three ways that must compute the
same, to 1e-4 of the largest output:

    ours      gensynth.export.onnx, opset 17
    script    torch.onnx.export(dynamo=False), opset 17, then onnxslim
    dynamo    torch.onnx.export(dynamo=True), opset 18, then onnxslim

and once more by the first two at opset 13, where only nodes are counted.

Where a session's weights lie in memory makes a few percent of a latency, and stays as long as
the session does. So every file is loaded anew `LOADS` times, all of them are timed in turns
after each, and what is resampled for an interval is a load. Where an interval is too wide to
say on which side of the bound a ratio lies, more loads tell (--loads). Our file is also timed
as "again", loaded a second time: how far that ratio is from 1 is what the machine's noise does.

A network whose files are as they were is not timed again, so that an interrupted run goes on,
unless it is named. Times are only worth keeping from a machine that does nothing else.
"""

import argparse
import hashlib
import io
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from experiments.families.networks import NAMES, network
from gensynth.bench.compare import Ratio, paired_ratio
from gensynth.environment import environment
from gensynth.errors import ExportError
from gensynth.export.onnx import to_onnx
from gensynth.export.parity import check_network
from gensynth.export.runtime import Session, open_session
from gensynth.trace import trace

HERE = Path(__file__).resolve().parent
RECORD, TABLE = HERE / "peers.json", HERE / "peers.md"
WAYS = ("ours", "again", "script", "dynamo")
PEERS = ("script", "dynamo")
LOADS, QUICK_LOADS = 60, 8
ROUNDS = 4
TURN_NS = 3_000_000
BOUND = 1.03
VERSIONS = ("gensynth", "python", "torch", "onnx", "onnxruntime", "processor", "cores")


def ours(module: nn.Module, images: tuple[Tensor, ...], opset: int) -> bytes:
    """Return our file for one image."""
    graph = trace(module, images if len(images) > 1 else images[0], name="network")
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    return to_onnx(graph, weights, opset=opset, batch=1)


def theirs(module: nn.Module, images: tuple[Tensor, ...], opset: int, *, dynamo: bool) -> bytes:
    """Return the file of one of torch's exporters, made smaller by onnxslim."""
    import onnxslim

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, images, opset_version=opset, verbose=False)
            assert program is not None
            model = program.model_proto
        else:
            torch.onnx.export(
                module,
                images,
                file,  # type: ignore[arg-type]  # the exporter by scripting takes files too
                opset_version=opset,
                dynamo=False,
            )
            model = onnx.load_from_string(file.getvalue())
        slim = onnxslim.slim(model)
    content: bytes = slim.SerializeToString()
    return content


def files(module: nn.Module, images: tuple[Tensor, ...]) -> dict[str, bytes]:
    """Return the three files, each shown to compute what the network computes."""
    made = {
        "ours": ours(module, images, 17),
        "script": theirs(module, images, 17, dynamo=False),
        "dynamo": theirs(module, images, 18, dynamo=True),
    }
    for content in made.values():
        check_network(content, _Listed(module), images)
    return made


def nodes(content: bytes) -> int:
    """Count a file's nodes; constants are no nodes, wherever a file keeps them."""
    graph = onnx.load_from_string(content).graph
    return sum(node.op_type != "Constant" for node in graph.node)


def medians_ms(made: dict[str, bytes], images: tuple[Tensor, ...], loads: int) -> dict[str, Any]:
    """Time the files in turns, loaded anew each time; one median a load and a way."""
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for load in range(loads):
        order = WAYS if load % 2 == 0 else tuple(reversed(WAYS))
        calls = [_Call(open_session(made[_file(way)]), images) for way in order]
        runs = min(200, max(1, TURN_NS // min(_turn(calls[0], 3))))
        turns: list[list[int]] = [[] for _ in calls]
        for number in range(ROUNDS + 1):
            for call, found in list(zip(calls, turns, strict=True))[:: 1 - 2 * (number % 2)]:
                found += _turn(call, runs)
        for way, found in zip(order, turns, strict=True):
            settled = found[runs:]  # without the first round, which warms up
            taken[way].append(round(statistics.median(settled) / 1e6, 6))
    return taken


def _turn(call: Callable[[], object], runs: int) -> list[int]:
    """Nanoseconds of each of some runs, after one that is not timed."""
    call()
    found = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        call()
        found.append(time.perf_counter_ns() - start)
    return found


def _file(way: str) -> str:
    return "ours" if way == "again" else way


class _Listed(nn.Module):
    """A network whose outputs are a list, by whatever names it returns them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *images: Tensor) -> Any:
        found = self.module(*images)
        return list(found.values()) if isinstance(found, dict) else found


class _Call:
    """One run of a file on the images."""

    def __init__(self, session: Session, images: tuple[Tensor, ...]) -> None:
        names = [entry.name for entry in session.inputs]
        self._feed = {name: x.numpy() for name, x in zip(names, images, strict=True)}
        self._session = session

    def __call__(self) -> list[np.ndarray]:
        return self._session.run(self._feed)


def row(name: str, known: dict[str, Any], loads: int) -> dict[str, Any]:
    """Return a network's row; the one that is known, if its files are the same."""
    module, images = network(name)
    try:
        made = files(module, images)
    except ExportError as error:
        return {"refused": str(error).replace(f"{HERE.parent.parent}/", "")}
    counted = {
        "nodes": {way: nodes(content) for way, content in made.items()},
        "nodes_13": {
            "ours": nodes(ours(module, images, 13)),
            "script": nodes(theirs(module, images, 13, dynamo=False)),
        },
        "bytes": {way: len(content) for way, content in made.items()},
        "sha256": hashlib.sha256(made["ours"]).hexdigest(),
    }
    if (
        all(known.get(key) == value for key, value in counted.items())
        and len(known["medians_ms"]["ours"]) >= loads
    ):
        return known
    return {**counted, "medians_ms": medians_ms(made, images, loads)}


def ratio(found: dict[str, Any], way: str) -> Ratio:
    """Return how many times our median is that of another way, with its 95 % interval."""
    taken = found["medians_ms"]
    return paired_ratio([[ms] for ms in taken["ours"]], [[ms] for ms in taken[way]])


def markdown(document: dict[str, Any]) -> str:
    """Return the table for people."""
    setting, rows = document["versions"], document["rows"]
    timed = {name: found for name, found in rows.items() if "refused" not in found}
    loads = min(len(found["medians_ms"]["ours"]) for found in timed.values())
    lines = [
        "# Our files beside those of torch's exporters with onnxslim",
        "",
        (
            f"gensynth {setting['gensynth']}, torch {setting['torch']}, onnxslim "
            f"{setting['onnxslim']}, onnxruntime {setting['onnxruntime']}, one thread of "
            f"{setting['processor']} ({setting['cores']} cores), one image. Made by "
            "`python -m experiments.export.peers`; what each column is stands at the head of "
            "`peers.py`."
        ),
        (
            "Latency: our median over theirs, timed in turns, with the 95 % interval of "
            f"{loads} loads or more."
        ),
        "*again* is our own file loaded a second time.",
        "",
        (
            "| network | nodes: ours | script | dynamo | at opset 13: ours | script "
            "| latency / script | / dynamo | / again |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in timed.items():
        counts = [str(found["nodes"][way]) for way in ("ours", *PEERS)]
        counts += [str(found["nodes_13"][way]) for way in ("ours", "script")]
        ratios = [ratio(found, way) for way in (*PEERS, "again")]
        shown = [f"{r.value:.3f} ({r.low or 0:.3f} to {r.high or 0:.3f})" for r in ratios]
        lines.append(f"| {name} | {' | '.join([*counts, *shown])} |")
    more = [
        name
        for name, found in timed.items()
        if found["nodes"]["ours"] > min(found["nodes"][way] for way in PEERS)
        or found["nodes_13"]["ours"] > found["nodes_13"]["script"]
    ]
    slower = [
        f"{name} ({way})"
        for name, found in timed.items()
        for way in PEERS
        if (ratio(found, way).high or 0) > BOUND
    ]
    refused = [f"{name} ({found['refused']})" for name, found in rows.items() if "refused" in found]
    lines += [
        "",
        f"More nodes than a peer: {', '.join(more) or 'none'}.",
        f"Upper bound of a latency ratio above {BOUND}: {', '.join(slower) or 'none'}.",
        f"Not ours to write: {'; '.join(refused) or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fill in what is missing of the record, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--loads",
        type=int,
        default=LOADS,
        help=f"more for a narrower interval, {QUICK_LOADS} for a try",
    )
    parser.add_argument("names", nargs="*", help="only these, timed anew")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # of the exporters
    torch.set_num_threads(1)
    document = json.loads(RECORD.read_text()) if RECORD.exists() else {"rows": {}}
    known, setting = environment(), document.get("versions", {})
    import onnxslim

    versions = {name: known[name] for name in VERSIONS} | {"onnxslim": onnxslim.__version__}
    kept = document["rows"] if setting == versions else {}
    rows = dict(kept)
    for name in options.names or NAMES:
        before = {} if options.names else kept.get(name, {})
        rows[name] = row(name, before, options.loads)
        ordered = {name: rows[name] for name in NAMES if name in rows}
        made = {"versions": versions, "rows": ordered}
        RECORD.write_text(json.dumps(made, allow_nan=False, indent=1) + "\n")
        TABLE.write_text(markdown(made))
        print(name, rows[name].get("nodes", "refused"), flush=True)


if __name__ == "__main__":
    main()
