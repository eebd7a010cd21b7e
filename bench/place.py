"""What a device is and runs, as a look at it shows: the part of an answer's key that nobody asks.

The same board in another power mode, with other clocks, another runtime or fewer processors
gives other figures, so a figure of before answers nothing there. What a request sets by itself
(power mode, clocks) is no part of it: the board is put there first.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gensynth
from gensynth.bench.request import Request

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
"""Of ONNX Runtime; each brings the module `onnxruntime`."""

_FACTS = ("model", "serial_hash", "l4t", "cuda", "tensorrt", "kernel", "machine", "processors")


def place(request: Request, facts: Mapping[str, Any]) -> str:
    """Return what tells a device in its present state from every other, as JSON.

    Args:
        request: whose device.
        facts: what the device says of itself, with "runtimes".
    """
    device = request.device
    found: dict[str, Any] = {name: facts.get(name) for name in _FACTS}
    found["runtimes"] = facts.get("runtimes")
    if request.power_mode is None:
        found["power_mode"] = facts.get("power_mode")
        if not request.lock_clocks:
            found["clocks"] = settings(facts.get("clocks") or {})
    where = [gensynth.__version__, device.destination, device.python, device.added_utc]
    return json.dumps([*where, found], sort_keys=True)


def local_runtimes() -> dict[str, str | None]:
    """Return the versions of what measures on this machine, whatever it is distributed as."""
    found: dict[str, str | None] = {}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name.replace("-", "_")] = version(name)
    return found or {"onnxruntime": None}


def settings(clocks: Mapping[str, Any]) -> dict[str, Any]:
    """Return what governors may choose; what they have chosen does not matter."""
    ranges = {
        name: list(range_mhz[:2]) for name, range_mhz in (clocks.get("ranges_mhz") or {}).items()
    }
    return {"governor": clocks.get("governor"), "ranges_mhz": ranges}
