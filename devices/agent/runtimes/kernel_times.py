"""What each kernel of a network takes, as a runtime's own profile says.

A profile's entry is a dictionary:

    name        of the runtime's node or layer
    operator    as the runtime calls it; "" where its profile does not say
    inputs, outputs     their shapes; empty where its profile does not say
    ms          of one run: the mean of the quicker quarter of all runs, since whatever else a board
                does only ever makes a kernel slower
"""

import json
from typing import Any, Dict, Iterable, List

Entry = Dict[str, Any]

MOST_ENTRIES = 1 << 20
_SUFFIX = "_kernel_time"


def of_onnxruntime(text: str, warm_up: int) -> List[Entry]:
    """Return the entries of the file that ONNX Runtime writes, in the order of its run.

    Args:
        text: of the file.
        warm_up: runs that do not count.
    """
    arguments: Dict[str, Dict[str, Any]] = {}
    times: Dict[str, List[float]] = {}
    for event in json.loads(text):
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            name = name[: -len(_SUFFIX)]
            arguments.setdefault(name, event.get("args", {}))
            times.setdefault(name, []).append(float(event["dur"]) / 1e3)
    return [
        {
            "name": name,
            "operator": str(given.get("op_name", "")),
            "inputs": _shapes(given.get("input_type_shape", [])),
            "outputs": _shapes(given.get("output_type_shape", [])),
            "ms": quick(times[name][warm_up:] or times[name]),
        }
        for name, given in arguments.items()
    ]


def of_trtexec(text: str) -> List[Entry]:
    """Return the entries of the file that `trtexec --exportProfile` writes.

    Its first entry says how many runs there were; every other one is a layer's, with the total,
    the average and, in later versions, the median of all runs.
    """
    return [
        {
            "name": str(entry["name"]),
            "operator": "",
            "inputs": [],
            "outputs": [],
            "ms": float(entry.get("medianMs", entry["averageMs"])),
        }
        for entry in json.loads(text)
        if "name" in entry
    ]


def quick(times: Iterable[float]) -> float:
    """Return the mean of the quicker quarter of some times."""
    ordered = sorted(times)
    some = ordered[: max(1, len(ordered) // 4)]
    return sum(some) / len(some)


def _shapes(given: List[Dict[str, List[int]]]) -> List[List[int]]:
    """Return the shapes of [{"float": [1, 3, 32, 32]}, ...]."""
    return [list(shape) for entry in given for shape in entry.values()]
