"""What a board may answer: the form of every message that the host reads anything from.

A board's agent is ours, and what answers may still be another: its words are held against these
forms where they arrive (`gensynth.devices.client`), so that figures, tables and checks behind that
door meet nothing that they do not know. What a form does not list is left in and not read.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from gensynth.devices.agent.wire.spec import MAX_SECONDS, MOST_RUNS
from gensynth.devices.agent.wire.status import STATUSES
from gensynth.devices.agent.wire.tensors import SIZES
from gensynth.devices.board_form import Facts, Long, Mode, Report, Seconds, Some, Text
from gensynth.outside import ELEMENTS, Finite, Form, Natural


def _status(word: str) -> str:
    if word not in STATUSES:
        raise ValueError(f"there is no such status: {word!r:.40}")
    return word


def _dtype(word: str) -> str:
    if word not in SIZES:
        raise ValueError(f"there is no such type of numbers: {word!r:.40}")
    return word


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Nanoseconds = Annotated[int, Field(ge=0, lt=1 << 62)]
Status = Annotated[str, AfterValidator(_status)]
Dtype = Annotated[str, AfterValidator(_dtype)]


class Tried(TypedDict):
    """A runtime that did not work."""

    path: Text
    why: Long


class Owner(TypedDict):
    """Who holds a board; nothing of it where that is not known."""

    id: NotRequired[Text | None]
    host: NotRequired[Text]


class Details(TypedDict):
    """What a fault says beside its message."""

    owner: NotRequired[Owner | None]
    tried: NotRequired[list[Tried]]
    cause: NotRequired[Text]


class Fault(TypedDict):
    """A request that cannot be met."""

    status: Status
    message: Long
    details: Details


class Greeting(TypedDict):
    """The first message, as every version's agent says it."""

    agent: Text


class Hello(Greeting):
    """The same of our own agent."""

    protocol: Natural
    python: Text
    pid: Natural
    facts: Facts
    home_free_mib: Natural
    interrupted: Text | None


class Missing(TypedDict):
    """Blobs that are not there."""

    sha256s: list[Sha256]


class Stored(TypedDict):
    """A part has come."""

    blob: Sha256


class Blob(TypedDict):
    """A part of a blob."""

    size: Natural


class Told(TypedDict):
    """How far a job is."""

    phase: NotRequired[Text]
    done: NotRequired[Some]
    total: NotRequired[Some]
    expected_s: NotRequired[Annotated[float, Field(ge=0, le=MAX_SECONDS)]]


Sizes = Annotated[
    list[Annotated[int, Field(ge=0, le=ELEMENTS)]], Field(max_length=16)
]  # of a tensor


class Output(TypedDict):
    """One output of a network."""

    name: Text
    dtype: Dtype
    shape: Sizes
    blob: Sha256


class Warmup(TypedDict):
    """A network's warm-up."""

    seconds: Seconds
    runs: Natural
    steady: bool


class Times(TypedDict):
    """Where a network's times are."""

    blob: Sha256
    compute: Sha256 | None
    rounds: Annotated[int, Field(ge=1, le=MOST_RUNS)]
    runs: Annotated[int, Field(ge=1, le=MOST_RUNS)]


class Idle(TypedDict):
    """The window without work."""

    start_ns: Nanoseconds
    end_ns: Nanoseconds


class Window(Idle):
    """A window of energy."""

    onset_ns: Nanoseconds
    runs: Annotated[int, Field(ge=1, lt=1 << 40)]
    throttle: list[Text]


def _in_order(window: Any) -> Any:
    if not window.get("onset_ns", 0) <= window["start_ns"] < window["end_ns"]:
        raise ValueError("a window must begin after its load and before it ends")
    return window


class Engine(TypedDict):
    """An engine, for a figure: how many layers compute in each precision."""

    precisions: NotRequired[dict[Text, Natural] | None]


class Built(TypedDict):
    """An engine that was built or found, for a manifest."""

    key: Text
    build_s: Seconds | None
    cached: bool
    bytes: Natural
    workspace_mib: Natural | None
    precisions: dict[Text, Natural] | None
    layers: Sha256 | None
    log: Sha256


class Measured(TypedDict):
    """What became of one network."""

    id: Text
    engine: Engine | None
    file_precision: Literal["fp32", "fp16", "int8"]
    outputs: list[Output] | None
    warmup: Warmup | None
    times: Times | None
    windows: list[Annotated[Window, AfterValidator(_in_order)]] | None
    windows_rejected: list[Any] | None
    profile: NotRequired[Sha256 | None]


class KernelEntry(TypedDict):
    """What one kernel takes."""

    name: Text
    operator: Text
    inputs: Annotated[list[Sizes], Field(max_length=64)]
    outputs: Annotated[list[Sizes], Field(max_length=64)]
    ms: Annotated[float, Field(ge=0, le=1e6)]


class RuntimeDetails(TypedDict):
    """How it computed."""

    scope: NotRequired[Text]


class Runtime(TypedDict):
    """What computed, and what did not."""

    path: Text | None
    version: Text | None
    details: RuntimeDetails
    tried: NotRequired[list[Tried]]


class Sensor(TypedDict):
    """Where power was read."""

    rail: Text
    scope: Text
    sensor: Text
    kind: Literal["power", "counter"]
    rate_hz: Annotated[float, Field(gt=0, le=1e6)]
    period_s: Annotated[float, Field(gt=0, le=1e6)]
    tau_s: Annotated[float, Field(ge=0, le=1e6)]
    plausible_w: NotRequired[Annotated[list[Finite], Field(min_length=2, max_length=2)] | None]
    offset_w: NotRequired[Some | None]
    gain_pct: NotRequired[Some | None]
    samples: Sha256


class NoPower(TypedDict):
    """Why none was."""

    reason: Long


class During(TypedDict):
    """Power mode and lock while a job ran."""

    power_mode: NotRequired[Mode | None]
    locked: NotRequired[bool | None]


class Held(TypedDict):
    """What became of a request for clocks."""

    asked: dict[str, Any] | None
    during: During
    flags: list[Text]
    why: list[Long]


class Beside(TypedDict):
    """The reference network in turns with the others, or why it had none."""

    times: Times | None
    why: Long | None


class Others(TypedDict):
    """What others used of the processors meanwhile."""

    seconds: NotRequired[Some]
    processors: Some | None
    steal: Some | None


def _has_total(seconds: dict[str, float]) -> dict[str, float]:
    if "total" not in seconds:
        raise ValueError("must have a total")
    return seconds


class Outcome(TypedDict):
    """What became of a job."""

    id: Text
    status: Status
    message: Long
    details: Details


class Result(Outcome):
    """A job's result, with figures."""

    flags: list[Text]
    runtime: Runtime
    board: Facts
    board_after: Facts
    networks: list[Measured]
    reference: Beside | None
    others: Others | None
    idle: Annotated[Idle, AfterValidator(_in_order)] | None
    power: NoPower | Sensor | None
    clocks: Held | None
    simulated: bool
    seconds: Annotated[dict[Text, Seconds], AfterValidator(_has_total)]


class _Facts(TypedDict):
    facts: Facts


class _Report(TypedDict):
    report: Report


FAULT: Form[Fault] = Form(Fault)
HELLO: Form[Hello] = Form(Hello)
BUILT: Form[Built] = Form(Built)
OUTCOME: Form[Outcome] = Form(Outcome)
RESULT: Form[Result] = Form(Result)
TOLD: Form[Told] = Form(Told)
PROFILE: Form[list[KernelEntry]] = Form(list[KernelEntry])

ANSWERS: dict[str, tuple[str, Form[Any]]] = {
    "hello": ("hello", Form(Greeting)),
    "have": ("missing", Form(Missing)),
    "put": ("stored", Form(Stored)),
    "get": ("blob", Form(Blob)),
    "facts": ("facts", Form(_Facts)),
    "check": ("check", Form(_Report)),
}
"""What answers a message: its type, and what it must say."""
