"""What works on a device, and how to mend what does not: asked of its agent, put in words.

Nothing is measured and nothing is changed there. `gensynth.render.devices` shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gensynth.devices import registry
from gensynth.devices.client import connect
from gensynth.devices.profiles import TENSORRT, Profile, find_profile, recognise
from gensynth.devices.protocol import PATIENCE_S
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault

LEAST_FREE_MIB = 512
BUSY_LOAD = 0.5
_SUDOERS = "on the board, run sudo visudo -f /etc/sudoers.d/gensynth and put in:"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: in a word or two.
        works: whether it does; None where there is nothing of the kind to work.
        said: what was found.
        mend: what to do about it; empty where there is nothing to do.
        lines: to be copied as they stand, after `mend`.
    """

    what: str
    works: bool | None
    said: str
    mend: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What was found on a device.

    Attributes:
        device: as it is registered now.
        profile: of its kind of board.
        findings: in the order in which they matter.
        simulated: whether a model of a board answered.
    """

    device: Device
    profile: Profile
    findings: tuple[Finding, ...]
    simulated: bool

    @property
    def can_measure(self) -> bool:
        """Whether latency can be measured there."""
        return any(f.works for f in self.findings if f.what == "runtime")


@dataclass(frozen=True)
class Recognised:
    """A device after the first look at it.

    Attributes:
        device: with the profile and the serial that its own words tell.
        note: why nothing could be told; empty if something could.
    """

    device: Device
    note: str


def recognised(device: Device, *, keep: bool) -> Recognised:
    """Ask a registered device what it is, and register that.

    Args:
        keep: whether the user has named the profile, which then stays.
    """
    try:
        with connect(device) as connection:
            facts = connection.hello["facts"]
    except DeviceFault as fault:
        return Recognised(device, f"it does not answer yet: {fault}")
    return Recognised(_learned(device, facts, keep=keep), "")


def check(device: Device, patience_s: float = PATIENCE_S) -> Checked:
    """Ask a device what works on it; may take a minute.

    Args:
        device: that is asked.
        patience_s: that each runtime may take to open there.

    Raises:
        DeviceFault: if it cannot be asked, saying what to do.
    """
    with connect(device) as connection:
        report = connection.check(patience_s)
        interrupted = connection.hello.get("interrupted")
    facts = report["facts"]
    device = _learned(device, facts, keep=device.profile != "generic")
    profile = find_profile(device.profile)
    found = findings(profile, report, interrupted)
    return Checked(device, profile, found, bool(facts.get("simulated")))


def findings(
    profile: Profile, report: Mapping[str, Any], interrupted: str | None
) -> tuple[Finding, ...]:
    """Return what a board's report means, in the order in which it matters.

    Args:
        profile: of its kind of board.
        report: as `gensynth.devices.answers.Report` has it.
        interrupted: the job that was cut off there, if one was.
    """
    return (
        _system(report),
        *_runtimes(report["runtimes"], profile),
        _power(report["power"], profile),
        _clocks(report["clocks"]),
        *_surroundings(report, interrupted),
    )


def _learned(device: Device, facts: Mapping[str, Any], *, keep: bool) -> Device:
    """Return a device with what its board says of itself, and register that.

    Args:
        keep: whether the profile stays as it is.
    """
    if device.destination is None:
        return device
    profile = None if keep else recognise(facts.get("model"))
    found = replace(
        device,
        profile=device.profile if profile is None else profile.name,
        serial=device.serial or facts.get("serial_hash"),
    )
    if found != device:
        registry.replace(found)
    return found


def _system(report: Mapping[str, Any]) -> Finding:
    facts = report["facts"]
    parts = [facts.get("model") or facts.get("machine") or "unknown board"]
    for key, word in (("l4t", "L4T"), ("jetpack", "JetPack"), ("cuda", "CUDA")):
        if facts.get(key):
            parts.append(f"{word} {facts[key]}")
    return Finding("system", True, f"{', '.join(parts)}; Python {report['python']}")


def _runtimes(surveyed: list[dict[str, Any]], profile: Profile) -> list[Finding]:
    """Return a finding for each runtime that the board would be asked for, in its order."""
    entries = {entry["path"]: entry for entry in surveyed}
    found: list[Finding] = []
    for path in profile.runtimes:
        entry = entries.get(path, {"version": None, "why": "the agent does not know it"})
        works = entry["version"] is not None
        said = f"{path} {entry['version']}" if works else f"{path}: {_why(entry)}"
        found.append(Finding("runtime", works, said))
    working = {path for path, finding in zip(profile.runtimes, found, strict=True) if finding.works}
    mend = ""
    if profile.tensorrt is not None and not working & set(TENSORRT):
        mend = "for its GPU install TensorRT's Python package: sudo apt install python3-libnvinfer"
    elif not working:
        mend = "install one: pip3 install onnxruntime"
    return [replace(found[0], mend=mend), *found[1:]]


def _why(answer: Mapping[str, Any]) -> str:
    """Return why something does not work, in the board's words."""
    return answer["why"] or "the board does not say why"


def _power(power: Mapping[str, Any], profile: Profile) -> Finding:
    meter = power["meter"]
    if meter is None:
        if profile.no_energy is not None:
            return Finding("energy", None, profile.no_energy)
        return Finding("energy", False, _why(power))
    said = f"rail {meter['rail']} ({meter['scope']}), {meter['sensor']}"
    power_w = meter["seen"].get("power_w")
    if power_w is not None:
        said += f"; {power_w:.2f} W now"
    if meter["syst_pct"] is not None:
        said += f"; right within {meter['syst_pct']:.1f} %"
    return Finding("energy", True, said)


def _clocks(clocks: Mapping[str, Any]) -> Finding:
    modes = [f"{mode['id']} {mode['name']}" for mode in clocks["power_modes"]]
    if not modes and not clocks["can_lock"]:
        return Finding("clocks", None, f"cannot be set: {_why(clocks)}")
    said = f"power modes {', '.join(modes)}; now {clocks['current']}" if modes else "no power modes"
    if clocks["can_set"] and clocks["can_lock"]:
        return Finding("clocks", True, f"{said}; can be set and locked")
    return Finding(
        "clocks",
        False,
        f"{said}; {_why(clocks)}",
        _SUDOERS if clocks["sudoers"] else "",
        tuple(clocks["sudoers"]),
    )


def _surroundings(report: Mapping[str, Any], interrupted: str | None) -> list[Finding]:
    """Return what disturbs a measurement, as far as anything does."""
    facts = report["facts"]
    found = []
    load = facts.get("load")
    if load:
        busy = load[0] > BUSY_LOAD
        mend = "end what else runs there; it slows what is measured" if busy else ""
        found.append(Finding("load", not busy, f"{load[0]:.1f} in the last minute", mend))
    if facts["throttle"]:
        mend = "cool it, or give it a stronger supply"
        found.append(Finding("speed", False, f"slowed down: {'; '.join(facts['throttle'])}", mend))
    free_mib = report["home_free_mib"]
    short = free_mib < LEAST_FREE_MIB
    mend = "make room in the home folder there; engines and results are kept in it" if short else ""
    found.append(Finding("disk", not short, f"{free_mib:,} MiB free", mend))
    if interrupted:
        found.append(Finding("last job", None, f"{interrupted} was cut off; the board is put back"))
    return found
