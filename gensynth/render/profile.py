"""What each kernel of a network takes, in words."""

from collections.abc import Mapping
from typing import Any

from gensynth.render.figures import columns, wrapped


def profile(record: Mapping[str, Any], width: int = 80) -> str:
    """Return the kernels of a record's networks, those that take longest first, and their sum.

    The share is of the whole network's median, so that what the kernels together take beyond it
    (the profiler's own time) or short of it (what lies between kernels) is seen.
    """
    return "\n\n".join(_one(network, width) for network in record["networks"])


def _one(network: Mapping[str, Any], width: int) -> str:
    kernels, whole_ms = network.get("kernels"), network["latency"]["p50_ms"]
    if kernels is None:
        return f"{network['name']}: its runtime does not say what each kernel takes"
    ordered = sorted(kernels, key=lambda kernel: -kernel["ms"])
    rows = [[network["name"], "kernel", "ms", "share"]]
    rows += [
        [k["vertex"], k["kind"], f"{k['ms']:.4f}", f"{100 * k['ms'] / whole_ms:.1f} %"]
        for k in ordered
    ]
    total_ms = sum(kernel["ms"] for kernel in kernels)
    rows.append(
        [
            "together",
            f"{len(kernels)} kernels",
            f"{total_ms:.4f}",
            f"{100 * total_ms / whole_ms:.1f} %",
        ]
    )
    beyond_ms = total_ms - whole_ms
    why = f"{-beyond_ms:.4f} ms more than its kernels together, which lie between them"
    if beyond_ms > 0:
        why = f"{beyond_ms:.4f} ms less than its kernels together, most of it the profiler's own"
    said = f"the whole network takes {whole_ms:.4f} ms without the profiler, {why}"
    return "\n".join([*columns(rows), *wrapped(said, width)])
