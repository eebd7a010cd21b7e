"""Artefacts in words: what was written and shown of it, and the way on to an engine."""

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensynth.goals import metrics
from gensynth.render.figures import columns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gensynth.export.artefact import Artefact
    from gensynth.export.parity import Parity
    from gensynth.export.sensitivity import Mixed
    from gensynth.export.verify import Verified
    from gensynth.runs.artefacts import Written


def artefacts(written: "Sequence[Written]", *, trt: bool) -> str:
    """Return the table of written artefacts; with `trt` the operators and how to go on.

    Difference is the largest between the ONNX file's and the network's outputs, in units of
    the largest output. The score is measured on the search split, of the network and of the
    file; where no data set could be opened, none is told.
    """
    measured = [one.artefact.accuracy for one in written if one.artefact.accuracy is not None]
    head = ["network", "opset", "batch", "nodes", "difference"]
    if measured:
        head += [metrics.find(measured[0].before.metric, "the artefact").title, "of the file"]
    rows = [head, *(_row(one)[: len(head)] for one in written)]
    target = written[0].artefact.target
    lines = [*columns(rows, left=0), ""]
    rewritten = sum(one.artefact.rewritten for one in written)
    if rewritten:
        lines.append(f"{rewritten} vertices are spelled out, exactly; the manifests list them")
    lines += [_layers(one.artefact, one.artefact.mixed) for one in written if one.artefact.mixed]
    lines += [f"{target.title}: {shlex.quote(str(one.folder))}" for one in written]
    if trt:
        lines += ["", *_engine(written)]
    return "\n".join(lines)


def verified(found: "Verified") -> str:
    """Return the line on an artefact in which nothing was found wrong."""
    return (
        f"{found.name} for {found.target}: {found.files} files whole, {found.nodes} nodes of opset "
        f"{found.opset} taken, difference {found.parity.relative:.1e} on {found.parity.images} "
        "images"
    )


def verified_on(device: str, parity: "Parity", simulated: bool) -> str:
    """Return the line on an artefact that a device ran."""
    where = f"{device}, played by a program," if simulated else device
    return f"{where} computes the same: difference {parity.relative:.1e} on {parity.images} images"


def _row(one: "Written") -> list[str]:
    made = one.artefact
    accuracy = made.accuracy
    shares = ["-", "-"]
    if accuracy is not None:
        shares = [f"{100 * s.value:.2f} %" for s in (accuracy.before, accuracy.after)]
    return [
        made.name,
        f"{made.report.opset}",
        "free" if made.batch is None else f"{made.batch}",
        f"{sum(made.report.operators.values())}",
        f"{made.parity.relative:.1e}",
        *shares,
    ]


def _layers(made: "Artefact", mixed: "Mixed") -> str:
    """Return which layers are in the lower precision; FP16 has all nodes, INT8 those of weights."""
    whose = " with weights" if made.precision == "int8" else ""
    if not mixed.kept:
        return f"{made.name}: all {len(mixed.layers)} layers{whose} in {made.precision.upper()}"
    return (
        f"{made.name}: {len(mixed.kept)} of {len(mixed.layers)} layers{whose} stay in FP32 for "
        f"{' and '.join(mixed.fallen)}: {', '.join(mixed.kept)}"
    )


def _engine(written: "Sequence[Written]") -> list[str]:
    built = [json.loads(one.artefact.files["manifest.json"])["engine"] for one in written]
    if isinstance(built[0], dict):
        return [_built(one.artefact.name, e) for one, e in zip(written, built, strict=True)]
    target = written[0].artefact.target
    lines = ["no engine was built: TensorRT builds it on the board itself"]
    for one in written:
        operators = one.artefact.report.operators
        counts = ", ".join(f"{count} {name}" for name, count in operators.items())
        lines.append(f"{one.artefact.name}: {one.artefact.report.table} has all of {counts}")
    folder = written[0].folder
    name = shlex.quote(folder.name)
    where = "on the board" if target.jetson else "on the machine with the GPU"
    lines.append(f"copy {shlex.quote(str(folder))} there, then build and run it {where}:")
    lines.append(f"cd {name} && python3 example_trt.py sample.png")
    return lines


def _built(name: str, engine: "Mapping[str, Any]") -> str:
    what = "a program that plays a board" if engine["simulated"] else engine["device"]
    layers = engine["precisions"]
    told = "no layers told" if layers is None else ", ".join(f"{n} {p}" for p, n in layers.items())
    kept = ", kept from before" if engine["cached"] else ""
    return (
        f"{name}: engine built on {what} by TensorRT {engine['runtime']['version']} in "
        f"{engine['build_s']:.1f} s{kept}: {engine['bytes'] / 2**20:.2f} MiB, {told}, difference "
        f"{engine['parity']['relative']:.1e}"
    )
