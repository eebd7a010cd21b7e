"""Temperatures, fans, cooling and the alarms of power monitors, from sysfs."""

import os
from typing import Dict, List, Optional

from gensynth.devices.agent.wire import sysfs

NEAR_TRIP_C = 5.0
_ZONES = "/sys/class/thermal/thermal_zone*"
_COOLING = "/sys/class/thermal/cooling_device*"
# Cooling devices whose level slows nothing down: fans, a laptop's screen, the distance that Intel
# keeps from its limit, and voltages that Tegra X1 sets by the temperature.
_HARMLESS = ("fan", "lcd", "backlight", "tcc offset", "_scaling", "_cold")
# Trip points are also used for other things. What lies above is not set; what lies below is the
# skin of a laptop, which a daemon weighs.
_TRIPS_C = (70.0, 200.0)
_FANS = (
    "/sys/devices/pwm-fan/target_pwm",
    "/sys/class/hwmon/hwmon*/pwm1",
    "/sys/devices/platform/pwm-fan/hwmon/hwmon*/pwm1",
)


def temperatures_c(root: str) -> Dict[str, float]:
    """Return the temperature of every thermal zone by its name."""
    found = {}
    for zone in sysfs.matching(root, _ZONES):
        reading = sysfs.number(root, zone + "/temp")
        name = sysfs.text(root, zone + "/type") or os.path.basename(zone)
        if reading is not None:
            # two zones may have one name
            found[name if name not in found else os.path.basename(zone)] = reading / 1e3
    return found


def fan(root: str) -> Optional[int]:
    """Return the fan's drive, 0 to 255; None without a fan."""
    for pattern in _FANS:
        for name in sysfs.matching(root, pattern):
            reading = sysfs.number(root, name)
            if reading is not None:
                return reading
    return None


def signals(root: str) -> List[str]:
    """Return what cools the board at the cost of its speed, and what is about to."""
    return _cooling(root) + _near_trips(root) + _alarms(root)


def _cooling(root: str) -> List[str]:
    active = []
    for device in sysfs.matching(root, _COOLING):
        kind = sysfs.text(root, device + "/type") or os.path.basename(device)
        level = sysfs.number(root, device + "/cur_state")
        if level is not None and level > 0 and not any(word in kind.lower() for word in _HARMLESS):
            active.append("cooling {} at {}".format(kind, level))
    return active


def _near_trips(root: str) -> List[str]:
    near = []
    for zone in sysfs.matching(root, _ZONES):
        reading = sysfs.number(root, zone + "/temp")
        trips = [
            trip / 1e3
            for trip in (
                sysfs.number(root, name)
                for name in sysfs.matching(root, zone + "/trip_point_*_temp")
                if sysfs.text(root, name.replace("_temp", "_type")) != "active"  # turns a fan on
            )
            if trip is not None and _TRIPS_C[0] <= trip / 1e3 <= _TRIPS_C[1]
        ]
        if reading is not None and trips and reading / 1e3 >= min(trips) - NEAR_TRIP_C:
            name = sysfs.text(root, zone + "/type") or os.path.basename(zone)
            near.append(
                "{} at {:.1f} C, its limit is {:.1f} C".format(name, reading / 1e3, min(trips))
            )
    return near


def _alarms(root: str) -> List[str]:
    """Return the alarms of hwmon's INA3221, and currents above the limits of the iio driver."""
    raised = []
    for folder in sysfs.matching(root, "/sys/class/hwmon/hwmon*"):
        if sysfs.text(root, folder + "/name") != "ina3221":
            continue
        for kind in ("crit", "max"):
            for name in sysfs.matching(root, folder + "/curr[0-9]_{}_alarm".format(kind)):
                if sysfs.number(root, name) == 1:
                    channel = os.path.basename(name)[4]
                    label = sysfs.text(root, "{}/in{}_label".format(folder, channel)) or channel
                    raised.append("{} current alarm on {}".format(kind, label))
    for name in sysfs.matching(root, "/sys/bus/i2c/devices/*/iio*/crit_current_limit_[0-2]"):
        folder, channel = os.path.dirname(name), name[-1]
        limit = sysfs.number(root, name)
        current = sysfs.number(root, "{}/in_current{}_input".format(folder, channel))
        if limit and current is not None and current > limit:
            rail = sysfs.text(root, "{}/rail_name_{}".format(folder, channel))
            raised.append("{} at {} mA, its limit is {} mA".format(rail, current, limit))
    return raised
