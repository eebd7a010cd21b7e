"""Whether a device computed what this machine computes from the same inputs.

The reference is ONNX Runtime on the processor, in the file's own precision, values rounded to 8
bits where the file says: the same on every processor. An engine that is
fast and wrong has no latency worth telling, so figures only stand beside outputs that pass.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gensynth.bench.subjects import Subject
from gensynth.errors import DeviceFault, ExportError
from gensynth.export.runtime import open_session

LEAST_COSINE = {"fp32": 0.999, "fp16": 0.99, "int8": 0.98}
REFERENCE = "onnxruntime on the host's processor"


def compare(subject: Subject, outputs: Mapping[str, np.ndarray], precision: str) -> dict[str, Any]:
    """Return how far the device's outputs are from this machine's.

    Args:
        outputs: of the device, by name.
        precision: that the device computed in.

    Returns:
        "cos_min", the least cosine of a floating-point output, "max_abs", the largest
        difference in units of the largest value, "pass"; where this machine cannot run the
        file these are None, with "why_not".
    """
    try:
        reference = _run(subject)
    except ExportError as error:
        return {
            "ref": REFERENCE,
            "cos_min": None,
            "max_abs": None,
            "pass": None,
            "why_not": str(error),
        }
    if reference.keys() != outputs.keys():
        raise DeviceFault(
            "invalid_output",
            f"{subject.name} must give {', '.join(reference)}, got {', '.join(outputs)}",
        )
    cosines, differences = [1.0], [0.0]
    for name, expected in reference.items():
        if not np.issubdtype(expected.dtype, np.floating):
            continue  # a class that two near-equal shares decide may differ
        found = outputs[name]
        if found.shape != expected.shape:
            raise DeviceFault(
                "invalid_output",
                f"output '{name}' of {subject.name} must be {expected.shape}, got {found.shape}",
            )
        one, other = (array.astype(np.float64).reshape(-1) for array in (found, expected))
        cosines.append(_cosine(one, other))
        scale = float(np.abs(other).max(initial=1e-30))
        differences.append(float(np.abs(one - other).max(initial=0.0)) / scale)
    return {
        "ref": REFERENCE,
        "cos_min": min(cosines),
        "max_abs": max(differences),
        "pass": min(cosines) >= LEAST_COSINE[precision],
        "why_not": None,
    }


def array_of(entry: Mapping[str, Any], content: bytes) -> np.ndarray:
    """Return an output of a result.

    Raises:
        DeviceFault: `protocol_error` if its bytes are not those of its type and shape.
    """
    try:
        dtype = np.dtype("uint16" if entry["dtype"] == "bfloat16" else entry["dtype"])
        return np.frombuffer(content, dtype).reshape(entry["shape"])
    except (TypeError, ValueError, KeyError) as error:
        raise DeviceFault("protocol_error", f"an output cannot be read: {error}") from error


def _run(subject: Subject) -> dict[str, np.ndarray]:
    session = open_session(subject.content, rounding="as_written")
    names = [value.name for value in subject.model.graph.output]
    return dict(zip(names, session.run(dict(subject.feed)), strict=True))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    if lengths == 0:
        return 1.0 if not one.any() and not other.any() else 0.0
    return float(one @ other) / lengths
