"""Estimates in words: never a bare number, and below them all that they rest on."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gensynth.render.figures import count, digits, wrapped

METRICS = (
    ("latency_ms", "latency", "ms", 1.0),
    ("throughput", "throughput", "images/s", 1.0),
    ("joule_per_img", "energy", "mJ/image", 1e3),
    ("img_per_joule", "images", "images/J", 1.0),
    ("power_w", "power", "W", 1.0),
)


def estimates(record: Mapping[str, Any], width: int = 80) -> str:
    """Return the figures of a record's networks, the assumptions, and the way to measurements."""
    device, request = record["device"], record["request"]
    there = device["alias"] if device["registered"] else f"{device['title']}, not attached"
    head = f"ESTIMATES for {there}: {request['precision']}, batch {request['batch']}"
    parts = [wrapped(head, width)]
    for network in record["networks"]:
        macs = "MACs not counted" if network["macs"] is None else f"{count(network['macs'])} MACs"
        lines = [f"{network['name']}: {macs}, {network['kernels']} kernels"]
        lines += [
            f"  {label:<10}  {figure(network['figures'][metric], unit, scale)}"
            for metric, label, unit, scale in METRICS
            if metric in network["figures"]
        ]
        parts.append("\n".join(lines))
    parts.append("\n".join(_listed("assumed", record["assumptions"], width)))
    parts.append("\n".join(["to measure instead:", *(f"  {c}" for c in record["measure_with"])]))
    return "\n\n".join(parts)


def figure(document: Mapping[str, Any], unit: str, scale: float = 1.0) -> str:
    """Return a figure with its interval and where it comes from.

    Example:
        >>> known = {"value": 4.13, "interval80": [3.3, 5.2], "provenance": "estimate"}
        >>> figure({**known, "measurements": 0}, "ms")
        '~4.13 ms, 80 %: 3.30 to 5.20, estimate, 0 measurements'
        >>> figure({**known, "measurements": 0, "unknown": ["Mish"]}, "ms")
        'unknown: nothing is known of Mish'
    """
    if document.get("unknown"):
        return f"unknown: nothing is known of {', '.join(document['unknown'])}"
    low, high = (scale * limit for limit in document["interval80"])
    number = document["measurements"]
    if document["provenance"] == "measured":
        value = digits(scale * document["value"])
        return f"{value} {unit}, 80 %: {digits(low)} to {digits(high)}, measured"
    return (
        f"~{digits(scale * document['value'])} {unit}, 80 %: {digits(low)} to {digits(high)}, "
        f"{document['provenance']}, {number} measurement{'' if number == 1 else 's'}"
    )


def _listed(head: str, sentences: Sequence[str], width: int) -> list[str]:
    wrap = partial(
        textwrap.fill, width=width, initial_indent="  - ", subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [f"{head}:", *map(wrap, sentences)]
