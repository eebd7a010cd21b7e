"""What a runtime's profile says of a network's kernels, by the vertices whose work they are.

Where the runtime's plan is known (`gensynth.bench.estimate`), each entry of the profile is a kernel
of it; elsewhere it stands under the runtime's own name.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gensynth.bench.estimate import tensorrt_plan
from gensynth.bench.estimate.calibration import write_kernels
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.bench.estimate.profile import KernelTime, match
from gensynth.bench.request import Request
from gensynth.bench.subjects import Subject
from gensynth.errors import ExportError

BLOCKS = (16, 8, None)
"""Channels of a block that processors have."""
PROFILE_BYTES = 16 << 20


def kernels_of(
    subject: Subject, entries: Sequence[Mapping[str, Any]], runtime: str
) -> list[dict[str, Any]]:
    """Return "vertex", "kind" and "ms" of each kernel, in the order of the run.

    Args:
        subject: the network.
        entries: of its profile.
        runtime: the agent's name of what ran it.
    """
    found = _matched(subject, entries) if runtime == "onnxruntime" else None
    if found is None:
        named = [(entry["name"], entry["operator"], entry["ms"]) for entry in entries]
    else:
        named = [(k.vertex, k.kind, ms) for k, ms in zip(*found, strict=True)]
    return [{"vertex": vertex, "kind": kind, "ms": ms} for vertex, kind, ms in named]


def to_keep(request: Request, record: Mapping[str, Any]) -> dict[int, tuple[str, str | None]]:
    """Return what the store keeps of a record's kernels: by place, kernels and their times.

    A network that was not profiled has kernels too where TensorRT ran it, or this machine, whose
    blocks are known. What cannot be planned is left out.
    """
    found = {}
    pairs = zip(request.subjects, record["networks"], strict=True)
    for place, (subject, network) in enumerate(pairs):
        profile = network.get("profile")
        if record["runtime"]["path"] != "onnxruntime":
            matched = _built(subject, request.precision)
        elif profile is not None:
            matched = _matched(subject, profile)
        elif request.device.destination is None:
            matched = _planned(subject)
        else:
            matched = None
        if matched is not None:
            kernels, times = matched
            found[place] = write_kernels(kernels), json.dumps(times) if times else None
    return found


def _matched(
    subject: Subject, entries: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Kernel, ...], tuple[float, ...]] | None:
    times = [KernelTime.of(entry) for entry in entries]
    model = subject.sized
    for block in BLOCKS:
        try:
            kernels = plan(model, block)
        except ExportError:
            return None
        kernel_ms = match(kernels, times, block)
        if kernel_ms is not None:
            return kernels, kernel_ms
    return None


def _built(subject: Subject, precision: str) -> tuple[tuple[Kernel, ...], tuple[float, ...]] | None:
    """Return the kernels of TensorRT's plan; its profile is not matched with them."""
    try:
        return tensorrt_plan.plan(subject.sized, precision, subject.batch), ()
    except ExportError:
        return None


def _planned(subject: Subject) -> tuple[tuple[Kernel, ...], tuple[float, ...]] | None:
    from gensynth.export.runtime import convolution_block

    try:
        return plan(subject.sized, convolution_block()), ()
    except ExportError:
        return None
