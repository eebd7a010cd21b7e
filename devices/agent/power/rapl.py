"""Energy of x86 processors: the RAPL counters of the package and its memory.

`/sys/class/powercap/intel-rapl:N/` is a package, `intel-rapl:N:M/` a part of it; AMD uses the
same names. A counter in `energy_uj` wraps at `max_energy_range_uj`. What it counts is the
package, not the machine. Source: the kernel's Documentation/power/powercap.

Containers hide it, since its counts tell of other programs' secrets (CVE-2020-8694): Docker and
Podman mount nothing over /sys/devices/virtual/powercap, so that the links to it lead nowhere; a
virtual machine may have counters that always say 0.
"""

import os
import time
from typing import Callable, List, Optional

from gensynth.devices.agent.power.meter import Meter, NoMeter
from gensynth.devices.agent.power.rails import integer
from gensynth.devices.agent.wire import sysfs

PERIOD_S = 0.001
ZERO_S = 0.05  # long enough for many counts, even of a machine at rest
_MASKED = "/sys/devices/virtual/powercap"
PLAUSIBLE_W = (0.05, 3000.0)


def open_rapl(root: str) -> Meter:
    """Return a counter of all packages, with their memory where it is counted.

    Raises:
        NoMeter: if there are none, or this user may not read them.
    """
    there = sysfs.matching(root, "/sys/class/powercap/intel-rapl:*")
    zones = [zone for zone in there if _is_counted(sysfs.text(root, zone + "/name") or "")]
    if not zones:
        raise _hidden(root, there)
    paths = [sysfs.locate(root, zone + "/energy_uj") for zone in zones]
    try:
        reads = [_unwrapped(root, zone) for zone in zones]
    except PermissionError as error:
        raise NoMeter(
            "RAPL is there, but this user may not read it; until the next start this mends it, on "
            "the machine itself where this is a container: sudo chmod a+r {}".format(
                " ".join(paths)
            ),
            {"forbidden": paths},
        ) from error
    except (OSError, ValueError) as error:
        raise NoMeter("RAPL cannot be read: {}".format(error)) from error
    names = [sysfs.text(root, zone + "/name") or "" for zone in zones]
    # memory may be switched off or not counted; a package without a count has no energy
    if not all(_moves(path) for path, name in zip(paths, names) if name != "dram"):
        raise NoMeter(
            "RAPL is there, but always says 0, as a virtual machine or a container shows it; "
            "measure on the machine itself",
            {"hidden": paths},
        )
    return Meter(
        read=lambda: sum(read() for read in reads),
        rail="+".join(names),
        scope="package",
        sensor="RAPL",
        kind="counter",
        period_s=PERIOD_S,
        tau_s=0.0,
        plausible_w=PLAUSIBLE_W,
    )


def _hidden(root: str, there: List[str]) -> NoMeter:
    """Return why no package can be read: there is none, or its files are kept from us."""
    kept = [_refusal(sysfs.locate(root, zone + "/name")) for zone in there]
    if any(isinstance(error, PermissionError) for error in kept):
        return NoMeter(
            "RAPL is there, but this user may not read {}".format(" ".join(there)),
            {"forbidden": there},
        )
    empty = not there and os.path.isdir(sysfs.locate(root, _MASKED + "/intel-rapl"))
    if empty or any(error is not None for error in kept):
        return NoMeter(
            "RAPL is there, but its files are masked, as Docker and Podman do in a container; "
            "measure outside, or start the container with "
            "--security-opt systempaths=unconfined (Podman: unmask={})".format(_MASKED),
            {"hidden": there},
        )
    return NoMeter("no RAPL below /sys/class/powercap (a virtual machine has none)")


def _refusal(path: str) -> Optional[OSError]:
    """Return why a file cannot be opened, or None if it can."""
    try:
        with open(path, "rb"):
            return None
    except OSError as error:
        return error


def _moves(path: str) -> bool:
    """Return whether a counter has ever counted; it has since the start of the machine."""
    deadline_s = time.monotonic() + ZERO_S
    while integer(path) == 0:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(PERIOD_S)
    return True


def _is_counted(name: str) -> bool:
    """Cores and graphics are parts of the package; "psys" is the platform beside it."""
    return name.startswith("package") or name == "dram"


def _unwrapped(root: str, zone: str) -> Callable[[], float]:
    """Return what reads a zone in joules since now, through its wraps."""
    path = sysfs.locate(root, zone + "/energy_uj")
    span_uj = sysfs.number(root, zone + "/max_energy_range_uj")
    if not span_uj:
        raise ValueError(
            "{} must say where it wraps".format(os.path.join(zone, "max_energy_range_uj"))
        )
    span = span_uj
    state = [integer(path), 0]  # the last reading, the microjoules since the first

    def read() -> float:
        now = integer(path)
        state[1] += (now - state[0]) % (span + 1)
        state[0] = now
        return state[1] * 1e-6

    return read
