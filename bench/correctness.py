"""Whether a device computed what this machine computes from the same inputs.

The reference is ONNX Runtime on the processor, in the file's own precision, values rounded to 8
bits where the file says: the same on every processor. An engine that is
fast and wrong has no latency worth telling, so figures only stand beside outputs that pass:

    cosine                                   at least LEAST_COSINE, c
    |device - reference| / |reference|       at most sqrt(2 - 2 c)

The second is what the first leaves of two outputs of one length; it holds of outputs that are all
too large as well. A whole number may be a class that two near-equal shares decide, and the place of
a row in the order of scores is decided in the same way: outputs of these alone show nothing.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gensynth.bench.subjects import Subject
from gensynth.errors import DeviceFault, ExportError
from gensynth.export.runtime import open_session

LEAST_COSINE = {"fp32": 0.999, "fp16": 0.99, "int8": 0.98}
_OVERFLOWS = (
    ", which FP16 makes of numbers beyond 65504; gensynth export --precision fp16 finds the layers "
    "that must stay in FP32, and what it writes tells the device of them"
)
REFERENCE = "onnxruntime on the host's processor"


def compare(subject: Subject, outputs: Mapping[str, np.ndarray], precision: str) -> dict[str, Any]:
    """Return how far the device's outputs are from this machine's.

    Args:
        outputs: of the device, by name.
        precision: that the device computed in.

    Returns:
        "cos_min", the least cosine of a floating-point output, "error", the largest relative
        one, "max_abs", the largest difference in units of the largest value, "pass"; where there
        is nothing to compare with these are None, with "why_not".

    Raises:
        DeviceFault: `invalid_output` if the outputs are of other names or shapes, or not finite.
    """
    try:
        reference = _run(subject)
    except ExportError as error:
        return _not_compared(str(error))
    if reference.keys() != outputs.keys():
        raise DeviceFault(
            "invalid_output",
            f"{subject.name} must give {', '.join(reference)}, got {', '.join(outputs)}",
        )
    cosines, errors, differences = [], [], []
    for name, expected in reference.items():
        if not np.issubdtype(expected.dtype, np.floating):
            continue
        found = outputs[name]
        if found.shape != expected.shape:
            raise DeviceFault(
                "invalid_output",
                f"output '{name}' of {subject.name} must be {expected.shape}, got {found.shape}",
            )
        one, other = (array.astype(np.float64).reshape(-1) for array in (found, expected))
        if not np.isfinite(other).all():
            return _not_compared(f"this machine computes values in '{name}' that are not finite")
        if not np.isfinite(one).all():
            raise DeviceFault(
                "invalid_output",
                f"output '{name}' of {subject.name} must be finite, got "
                f"{one[~np.isfinite(one)][0]}{_OVERFLOWS if precision == 'fp16' else ''}",
            )
        if name in subject.ranked:
            continue
        cosines.append(_cosine(one, other))
        errors.append(_relative(float(np.linalg.norm(one - other)), float(np.linalg.norm(other))))
        largest = float(np.abs(other).max(initial=0.0))
        differences.append(_relative(float(np.abs(one - other).max(initial=0.0)), largest))
    if not cosines:
        return _not_compared("its outputs are whole numbers alone")
    least = LEAST_COSINE[precision]
    return {
        "ref": REFERENCE,
        "cos_min": min(cosines),
        "error": max(errors),
        "max_abs": max(differences),
        "pass": min(cosines) >= least and max(errors) <= math.sqrt(2 - 2 * least),
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


def _not_compared(why_not: str) -> dict[str, Any]:
    figures = dict.fromkeys(("cos_min", "error", "max_abs", "pass"))
    return {"ref": REFERENCE, **figures, "why_not": why_not}


def _run(subject: Subject) -> dict[str, np.ndarray]:
    session = open_session(subject.content, rounding="as_written")
    names = [value.name for value in subject.model.graph.output]
    return dict(zip(names, session.run(dict(subject.feed)), strict=True))


def _relative(difference: float, size: float) -> float:
    return difference / max(size, 1e-30)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    if lengths == 0:
        return 1.0 if not one.any() and not other.any() else 0.0
    return float(one @ other) / lengths
