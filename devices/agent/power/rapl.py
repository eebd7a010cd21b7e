"""Energy of x86 processors: the RAPL counters of the package and its memory.

`/sys/class/powercap/intel-rapl:N/` is a package, `intel-rapl:N:M/` a part of it; AMD uses the
same names. A counter in `energy_uj` wraps at `max_energy_range_uj`. What it counts is the
package, not the machine. Source: the kernel's Documentation/power/powercap.
"""

import os
from typing import Callable

from gensynth.devices.agent.power.meter import Meter, NoMeter
from gensynth.devices.agent.power.rails import integer
from gensynth.devices.agent.wire import sysfs

PERIOD_S = 0.001
PLAUSIBLE_W = (0.05, 3000.0)


def open_rapl(root: str) -> Meter:
    """Return a counter of all packages, with their memory where it is counted.

    Raises:
        NoMeter: if there are none, or this user may not read them.
    """
    zones = [
        zone
        for zone in sysfs.matching(root, "/sys/class/powercap/intel-rapl:*")
        if _is_counted(sysfs.text(root, zone + "/name") or "")
    ]
    if not zones:
        raise NoMeter("no RAPL below /sys/class/powercap (a virtual machine has none)")
    paths = [sysfs.locate(root, zone + "/energy_uj") for zone in zones]
    try:
        reads = [_unwrapped(root, zone) for zone in zones]
    except PermissionError as error:
        raise NoMeter(
            "RAPL is there, but this user may not read it; until the next start this mends it: "
            "sudo chmod a+r {}".format(" ".join(paths)),
            {"forbidden": paths},
        ) from error
    except (OSError, ValueError) as error:
        raise NoMeter("RAPL cannot be read: {}".format(error)) from error
    names = [sysfs.text(root, zone + "/name") or "" for zone in zones]
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
