"""A record as the store has it: the form that everything which reads one may count on.

`record` makes records; this is for those that come back from a file, which may be damaged, or
another program's.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from gensynth.devices.answers import During, Others, Status, Tried
from gensynth.devices.board_form import Long, Mode, Seconds, Some, Text
from gensynth.devices.profiles import is_profile
from gensynth.outside import Finite, Form, Natural, Positive

Above0 = Annotated[float, Field(gt=0, le=1e15)]
Limits = Annotated[list[Some], Field(min_length=2, max_length=2)]
Around = Annotated[list[Finite], Field(min_length=2, max_length=2)]
"""Student's interval of a few scattered rounds may begin below zero."""


def _profile(name: str) -> str:
    if not is_profile(name):
        raise ValueError(f"there is no profile {name!r:.40}")
    return name


class Latency(TypedDict):
    """Times of one network."""

    scope: Text
    n: Positive
    rounds: Positive
    mean_ms: Above0
    p50_ms: Above0
    p90_ms: Above0 | None
    p99_ms: Above0 | None
    ci95_ms: Around | None
    p50_ci95_ms: NotRequired[Around | None]
    p99_ci95_ms: NotRequired[Around | None]
    img_per_s: Above0
    img_per_s_ci95: NotRequired[Around | None]
    cov_pct: Some
    compute_only: dict[str, Any] | None


class Rejected(TypedDict):
    """A window that does not count."""

    why: Long


class Energy(TypedDict):
    """Joules of one network."""

    windows_rejected: list[Rejected]

    rail: Text
    scope: Text
    sensor: Text
    windows: Positive
    window_s: Above0
    j_per_img: Above0
    img_per_j: Above0
    ci95: Limits | None
    img_per_j_ci95: Limits | None
    p_mean_w: Above0
    p_mean_ci95_w: NotRequired[Limits | None]
    p_idle_w: Finite | None
    syst_pct: Some | None


class OneRatio(TypedDict):
    """A figure over the first network's."""

    value: Some
    ci95: Limits | None


class Ratio(TypedDict):
    """Both."""

    latency: OneRatio | None
    energy: OneRatio | None


class Correctness(TypedDict):
    """What its outputs were compared with."""

    why_not: Long | None


class EndToEnd(TypedDict):
    """A network with what comes before and after it."""

    name: Text
    onnx_sha256: Text
    structure_sha256: Text
    precision: Text
    batch: Positive
    latency: Latency
    energy: Energy | None
    ratio: Ratio | None


class Network(EndToEnd):
    """A network that was measured."""

    params: Natural
    macs: Natural | None
    no_macs_because: Long | None
    no_energy_because: Long | None
    correctness: NotRequired[Correctness]
    end_to_end: EndToEnd | None


class Device(TypedDict):
    """Where it ran."""

    alias: Text
    profile: Annotated[str, AfterValidator(_profile)]
    model: Text | None
    serial_hash: Text | None
    l4t: Text | None
    power_mode: Mode | None
    processors: NotRequired[Some | None]


class Runtime(TypedDict):
    """What ran it."""

    path: Text
    version: Text | None
    tried: NotRequired[list[Tried] | None]


class Asked(TypedDict):
    """What was asked for."""

    grade: Text
    precision: Text
    batch: Positive
    threads: Positive
    energy: bool
    end_to_end: bool


class Clocks(TypedDict):
    """Clocks asked for, and found."""

    asked: dict[str, Any] | None
    during: During


class Throttle(TypedDict):
    """Whether it slowed down."""

    verdict: bool
    signals: list[Text]


class Thermal(TypedDict):
    """Temperatures."""

    start_c: dict[str, Finite]
    end_c: dict[str, Finite]
    throttle: Throttle


class Reference(TypedDict):
    """The board's last point in its chart."""

    p50_ms: Above0
    delta_sigma: Finite | None
    points: Natural


class Beside(TypedDict):
    """The reference network in turns with the others."""

    p50_ms: Above0 | None
    why: Long | None
    usual_p50_ms: NotRequired[Above0 | None]
    jobs: NotRequired[Natural]


class _Seconds(TypedDict):
    total: Seconds


class Record(TypedDict):
    """All of it."""

    job_id: Text
    status: Status
    flags: list[Text]
    provenance: Literal["measured", "simulated"]
    started_utc: Text
    request: Asked
    device: Device
    runtime: Runtime
    clocks: Clocks
    thermal: Thermal
    networks: Annotated[list[Network], Field(min_length=1)]
    seconds: _Seconds
    reference: NotRequired[Reference | None]
    reference_in_turns: NotRequired[Beside]
    others: NotRequired[Others | None]


def _explains_its_flags(record: Any) -> Any:
    """Let a record pass whose flags have their figures; one of version 0.1 has neither."""
    if record["flags"] and not {"reference_in_turns", "others"} <= record.keys():
        raise ValueError("flags must stand with reference_in_turns and others")
    beside, flags = record.get("reference_in_turns", {}), record["flags"]
    if "slow" in flags and not (
        beside["p50_ms"] and beside.get("usual_p50_ms") and "jobs" in beside
    ):
        raise ValueError("the flag slow must stand with what is usual")
    if "threads" in flags and record["device"].get("processors") is None:
        raise ValueError("the flag threads must stand with the device's processors")
    return record


RECORD: Form[Record] = Form(Annotated[Record, AfterValidator(_explains_its_flags)])
