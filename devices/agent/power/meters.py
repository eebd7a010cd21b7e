"""Which source of energy figures a machine has.

    module_power   the rails of a Jetson, from its INA3221 monitors
    jtop_          the same through jetson-stats, where the rails are for root alone
    raspberry      the power chip of a Raspberry Pi 5
    nvml           an NVIDIA graphics card's energy counter
    rapl           an x86 processor's energy counters

The first that can be read serves. Where there is none the reasons are told, and no constant
takes its place.
"""

import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from gensynth.devices.agent.power import jtop_, nvml, rapl, raspberry
from gensynth.devices.agent.power.examination import examine
from gensynth.devices.agent.power.meter import Meter, NoMeter
from gensynth.devices.agent.power.module_power import open_rails
from gensynth.devices.agent.power.rails import discover
from gensynth.devices.agent.wire.status import Fault

__all__ = ["Meter", "NoMeter", "open_meter", "survey"]

EXAMINE_S = 3.0


def open_meter(
    root: str = "/", processor: Optional[str] = None, examine_s: float = EXAMINE_S
) -> Meter:
    """Return this machine's source of energy figures.

    Args:
        root: the folder below which the system's files are.
        processor: what the work runs on, "gpu" or "cpu": a graphics card's counter does not
            know what the processor draws, nor the reverse. None if the scope does not matter.
        examine_s: how long the self-test takes; 0 leaves it out.

    Raises:
        NoMeter: if there is none; with the reason of each and what to do.
        Fault: `sensor_bad` if there is one that cannot be believed.
    """
    reasons = []
    for source in _sources(root, processor):
        try:
            meter = source()
        except NoMeter as reason:
            reasons.append(reason)
            continue
        except (OSError, ValueError) as error:
            raise Fault(
                "sensor_bad", "the power sensor cannot be read: {}".format(error)
            ) from error
        try:
            if examine_s > 0:
                examine(meter, examine_s)
        except Fault:
            meter.close()
            raise
        return meter
    # what is there and kept from this user is the one thing that the user can mend
    told = [r for r in reasons if "forbidden" in r.details or "hidden" in r.details] or reasons
    raise NoMeter("; ".join(r.message for r in told), {"why": [r.message for r in reasons]})


def _sources(root: str, processor: Optional[str]) -> List[Callable[[], Meter]]:
    found: List[Callable[[], Meter]] = [lambda: open_rails(root), lambda: raspberry.open_pmic(root)]
    real = os.path.abspath(root) == "/"  # libraries and services are the machine's own
    if real:
        found.insert(1, jtop_.open_jtop)
        if processor != "cpu":
            found.append(nvml.open_counter)
    if processor != "gpu":
        found.append(lambda: rapl.open_rapl(root))
    return found


def survey(root: str = "/", examine_s: float = 1.5) -> Dict[str, Any]:
    """Return what power can be measured here, and how to mend what cannot, as JSON values.

    "rails" are all that can be read, "meter" is what `open_meter` takes (None if there is
    none, with the reason and the mend in "why").
    """
    meter, why = _try(root, examine_s)
    rails = [
        {"name": rail.name, "scope": "rail", "sensor": "{}: {}".format(rail.folder, rail.averaging)}
        for _, rail in sorted(discover(root).found.items())
    ]
    return {"rails": rails, "meter": meter, "why": why}


def _try(root: str, examine_s: float) -> Tuple[Optional[Dict[str, Any]], Optional[str]]:
    try:
        meter = open_meter(root, examine_s=examine_s)
    except Fault as fault:
        return None, fault.message
    meter.close()
    return meter.describe(), None
