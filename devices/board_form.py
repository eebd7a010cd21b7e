"""What a board may say of itself: the form of its facts, and of a report of what works on it.

The rest of what it may answer is in `answers`. What a form does not list is left in and not read.
"""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from gensynth.outside import Finite, Form, Natural

Text = Annotated[str, Field(max_length=1 << 12)]
Long = Annotated[str, Field(max_length=1 << 16)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Some = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class Mode(TypedDict):
    """A power mode."""

    id: Natural
    name: Text


class Clocks(TypedDict):
    """Clocks as they are now."""

    locked: NotRequired[bool | None]


class Facts(TypedDict):
    """What a board says of itself, `gensynth.devices.agent.board.board.facts`."""

    model: Text | None
    serial_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None
    boot_id: Text | None
    l4t: Text | None
    jetpack: Text | None
    cuda: Text | None
    tensorrt: Text | None
    kernel: Text | None
    machine: Text
    python: Text
    power_mode: Mode | None
    clocks: Clocks
    fan: Natural | None
    temperatures_c: dict[Text, Finite]
    throttle: list[Text]
    load: Annotated[list[Some], Field(min_length=3, max_length=3)] | None
    processors: NotRequired[Some | None]
    gpu_load: NotRequired[Some | None]
    uptime_s: Seconds | None
    simulated: NotRequired[bool]


class Surveyed(TypedDict):
    """A runtime that was tried."""

    path: Text
    version: Text | None
    why: Long | None


class Seen(TypedDict):
    """What a meter shows at once."""

    power_w: NotRequired[Finite | None]


class Meter(TypedDict):
    """The meter that a job would use."""

    rail: Text
    scope: Text
    sensor: Text
    syst_pct: Some | None
    seen: Seen


class Power(TypedDict):
    """What power can be measured."""

    meter: Meter | None
    why: Long | None


class Settable(TypedDict):
    """What clocks can be set."""

    power_modes: list[Mode]
    current: Natural | None
    can_set: bool
    can_lock: bool
    why: Long | None
    sudoers: list[Text]


class Report(TypedDict):
    """What works on a board."""

    runtimes: list[Surveyed]
    power: Power
    clocks: Settable
    agent: Text
    python: Text
    home_free_mib: Natural
    facts: Facts


REPORT: Form[Report] = Form(Report)
