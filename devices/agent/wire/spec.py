"""What a job may ask for: checked before anything is done, since it comes from outside.

Names are ids and hashes, never file names or paths, and every number has a limit.
"""

import re
from typing import Any, Callable, Dict, List

from gensynth.devices.agent.wire.status import Fault

PROTOCOL = 1
LEASE_S = 60.0
BEAT_S = 5.0
RUNTIMES = ("tensorrt-pycuda", "tensorrt-ctypes", "trtexec", "onnxruntime")
PATIENCE_S = 30.0
MAX_PATIENCE_S = 600.0
PRECISIONS = ("fp32", "fp16", "int8")
MAX_NETWORKS = 64
MAX_SECONDS = 24 * 3600.0

# Runs of a network in all rounds together: their times are 32 MiB. Where a run takes a few
# microseconds, turns are shorter than asked rather than the board's memory full.
MOST_RUNS = 1 << 22

_ID = re.compile(r"[a-z0-9-]{1,64}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

Spec = Dict[str, Any]
Check = Callable[[Any, str], None]


def check_id(value: Any, what: str = "id") -> str:
    """Return an id that is safe as a file's name.

    Raises:
        Fault: `protocol_error` if it is not [a-z0-9-]{1,64}.
    """
    if not isinstance(value, str) or not _ID.match(value):
        raise Fault(
            "protocol_error", "{} must be [a-z0-9-]{{1,64}}, got {!r:.80}".format(what, value)
        )
    return value


def check_sha256(value: Any, what: str = "sha256") -> str:
    """Return a hash in hexadecimal digits, safe as a file's name.

    Raises:
        Fault: `protocol_error` if it is anything else.
    """
    if not isinstance(value, str) or not _SHA256.match(value):
        raise Fault(
            "protocol_error",
            "{} must be 64 lower-case hexadecimal digits, got {!r:.80}".format(what, value),
        )
    return value


def check_patience(value: Any) -> float:
    """Return how long a survey waits for each runtime to open.

    Raises:
        Fault: `protocol_error` if it is no number of seconds up to `MAX_PATIENCE_S`.
    """
    _number(1.0, MAX_PATIENCE_S)(value, "patience_s")
    return float(value)


def survey_s(patience_s: float) -> float:
    """Return how long a survey takes at most: every runtime as long as it may, and the rest."""
    return len(RUNTIMES) * patience_s + 30.0


def check_spec(spec: Any) -> Spec:
    """Return a job's specification, every field of which is what the agent takes it for.

    Raises:
        Fault: `protocol_error`, naming the field.
    """
    if isinstance(spec, dict):
        spec = dict(_ABSENT, **spec)
    _fields(spec, "the job", _JOB)
    if not 0 < len(spec["networks"]) <= MAX_NETWORKS:
        raise Fault("protocol_error", "a job must have 1 to {} networks".format(MAX_NETWORKS))
    names = [network["id"] for network in spec["networks"]]
    if len(set(names)) != len(names):
        raise Fault("protocol_error", "the networks of a job must have different ids")
    if not spec["runtimes"]:
        raise Fault("protocol_error", "a job must name a runtime")
    return dict(spec)


def blobs_of(spec: Spec) -> List[str]:
    """Return the hashes of every blob that a checked specification needs, each once."""
    found: List[str] = []
    asked = spec["networks"] + ([] if spec["reference"] is None else [spec["reference"]])
    for network in asked:
        found += [network["onnx"]] + [given["blob"] for given in network["inputs"]]
    return sorted(set(found))


def _fields(value: Any, what: str, checks: Dict[str, Check]) -> None:
    if not isinstance(value, dict):
        raise Fault("protocol_error", "{} must be an object, got {!r:.80}".format(what, value))
    odd = sorted(set(checks).symmetric_difference(value))
    if odd:
        lack = "lacks" if odd[0] in checks else "has the unknown"
        raise Fault("protocol_error", "{} {} field {!r:.80}".format(what, lack, odd[0]))
    for name, check in checks.items():
        check(value[name], "{} of {}".format(name, what))


def _object(checks: Dict[str, Check]) -> Check:
    return lambda value, what: _fields(value, what, checks)


def _optional(check: Check) -> Check:
    return lambda value, what: None if value is None else check(value, what)


def _list(check: Check) -> Check:
    def check_all(value: Any, what: str) -> None:
        if not isinstance(value, list):
            raise Fault("protocol_error", "{} must be a list, got {!r:.80}".format(what, value))
        for item in value:
            check(item, what)

    return check_all


def _one_of(*allowed: Any) -> Check:
    def check(value: Any, what: str) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise Fault(
                "protocol_error",
                "{} must be one of {}, got {!r:.80}".format(what, ", ".join(allowed), value),
            )

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any, what: str) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise Fault(
                "protocol_error",
                "{} must be a number in [{:g}, {:g}], got {!r:.80}".format(what, low, high, value),
            )

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: Any, what: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Fault(
                "protocol_error",
                "{} must be a whole number in [{}, {}], got {!r:.80}".format(
                    what, low, high, value
                ),
            )

    return check


def _flag(value: Any, what: str) -> None:
    if not isinstance(value, bool):
        raise Fault("protocol_error", "{} must be true or false, got {!r:.80}".format(what, value))


def _tensor_name(value: Any, what: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 1024:
        raise Fault("protocol_error", "{} must be a name, got {!r:.80}".format(what, value))


def _id(value: Any, what: str) -> None:
    check_id(value, what)


def _sha256(value: Any, what: str) -> None:
    check_sha256(value, what)


_SECONDS = _number(0, MAX_SECONDS)
_DTYPES = "float32 float16 int64 int32 int8 uint8 bool".split()
_INPUT = _object(
    {
        "name": _tensor_name,
        "dtype": _one_of(*_DTYPES),
        "shape": _list(_whole(1, 1 << 20)),
        "blob": _sha256,
    }
)
_NETWORK: Dict[str, Check] = {
    "id": _id,
    "onnx": _sha256,
    "inputs": _list(_INPUT),
    "fp32_layers": _list(_tensor_name),
}
_WARMUP = _object(
    {"min_s": _SECONDS, "block_s": _SECONDS, "agree_pct": _number(0, 100), "cap_s": _SECONDS}
)
_JOB: Dict[str, Check] = {
    "id": _id,
    "networks": _list(_object(_NETWORK)),
    "reference": _optional(_object(dict(_NETWORK, turn_s=_SECONDS))),
    "precision": _one_of(*PRECISIONS),
    "runtimes": _list(_one_of(*RUNTIMES)),
    "threads": _whole(1, 1024),
    "build_only": _flag,
    "workspace_mib": _whole(1, 1 << 20),
    "timing": _optional(
        _object(
            {
                "warmup": _WARMUP,
                "rounds": _whole(1, 1 << 20),
                "runs": _whole(0, 1 << 24),
                "min_round_s": _SECONDS,
            }
        )
    ),
    "profile": _flag,
    "energy": _optional(
        _object(
            {
                "idle_s": _SECONDS,
                "settle_s": _SECONDS,
                "windows": _whole(1, 10000),
                "window_s": _SECONDS,
                "rate_hz": _number(0.1, 10000),
                "seed": _whole(0, (1 << 63) - 1),
            }
        )
    ),
    "clocks": _optional(_object({"power_mode": _optional(_whole(0, 255)), "lock": _flag})),
    "limits": _object(
        {
            "build_s": _number(0.01, MAX_SECONDS),
            "run_s": _number(0.01, MAX_SECONDS),
            "lease_s": _number(0.1, LEASE_S),
        }
    ),
}
_ABSENT: Spec = {"profile": False}
