"""Power rails of Jetson boards: the INA3221 monitors, found through sysfs.

    L4T R32     /sys/bus/i2c/devices/0-0041/iio:device1/rail_name_0, in_voltage0_input (mV),
                in_current0_input (mA), in_power0_input (mW); the same below
                drivers/ina3221x/, in older releases in a folder iio_device
    JetPack 5+  /sys/class/hwmon/hwmon3/in1_label, in1_input (mV), curr1_input (mA); no power

Numbers of buses, devices and channels change between boots and images, so rails are found by
name every time. Which of them are all of a board's power is in `module_power`.
"""

import os
from typing import Dict, Iterator, List, NamedTuple, Optional

from gensynth.devices.agent.wire import sysfs

SHUNT_OHM = 0.005  # on NVIDIA's boards, where the driver does not say it
# Voltage and current of three channels in turns.
CONVERSION_S = 0.0011
CYCLE_S = 6 * CONVERSION_S
# The iio driver of L4T averages 64 conversions when it runs continuously.
AVERAGING_TAU_S = 0.42

_IIO = (
    "/sys/bus/i2c/devices/*/iio:device*",
    "/sys/bus/i2c/devices/*/iio_device*",
    "/sys/bus/i2c/drivers/ina3221x/*/iio:device*",
    "/sys/bus/i2c/drivers/ina3221x/*/iio_device*",
)
_HWMON = ("/sys/class/hwmon/hwmon*", "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")


class Rail(NamedTuple):
    """One channel of a monitor.

    Attributes:
        name: as the board's device tree has it.
        folder: where its files are, absolute below the root.
        label: name of the file with the name.
        millivolts: name of the file.
        milliamperes: name of the file.
        power: name of the file; None where the driver gives none.
        period_s: between two conversions.
        tau_s: of the averaging.
        averaging: in words.
        averaging_known: whether the driver says it; if not, it is its default.
        shunt_ohm: the resistor that the current goes through.
    """

    name: str
    folder: str
    label: str
    millivolts: str
    milliamperes: str
    power: Optional[str]
    period_s: float
    tau_s: float
    averaging: str
    averaging_known: bool
    shunt_ohm: float


class Rails(NamedTuple):
    """What monitors there are.

    Attributes:
        found: the rails that can be read, by name.
        forbidden: the files that this user may not read.
        broken: the rails that cannot be read, by name, and why.
    """

    found: Dict[str, Rail]
    forbidden: List[str]
    broken: Dict[str, str]


def discover(root: str) -> Rails:
    """Return the rails of a machine; channels that are not connected are left out."""
    rails = Rails({}, [], {})
    for pattern in _IIO:
        for folder in sysfs.matching(root, pattern):
            for rail in _iio_rails(root, folder):
                _add(root, rail, rails)
    for pattern in _HWMON:
        for folder in sysfs.matching(root, pattern):
            if sysfs.text(root, folder + "/name") == "ina3221":
                for rail in _hwmon_rails(root, folder):
                    _add(root, rail, rails)
    return Rails(
        rails.found,
        sorted(set(rails.forbidden)),
        {name: why for name, why in rails.broken.items() if name not in rails.found},
    )


def _iio_rails(root: str, folder: str) -> Iterator[Rail]:
    mode = sysfs.number(root, folder + "/running_mode")
    if mode == 0:
        period_s, tau_s, averaging = CONVERSION_S, 0.0, "triggered: one conversion a reading"
    else:
        period_s, tau_s = CYCLE_S, AVERAGING_TAU_S
        averaging = "continuous: 64 conversions averaged, tau 0.42 s"
    for label in sysfs.matching(root, folder + "/rail_name_[0-2]"):
        channel = label[-1]
        power = "in_power{}_input".format(channel)
        yield Rail(
            sysfs.text(root, label) or "",
            folder,
            os.path.basename(label),
            "in_voltage{}_input".format(channel),
            "in_current{}_input".format(channel),
            power if os.path.exists(sysfs.locate(root, folder + "/" + power)) else None,
            period_s,
            tau_s,
            "iio, " + averaging,
            mode == 0,  # of how many a continuous average is, stands in the device tree
            SHUNT_OHM,
        )


def _hwmon_rails(root: str, folder: str) -> Iterator[Rail]:
    samples = sysfs.number(root, folder + "/samples")
    interval_ms = sysfs.number(root, folder + "/update_interval")
    averaged = samples or 1
    interval_s = interval_ms / 1e3 if interval_ms else CYCLE_S * averaged
    for label in sysfs.matching(root, folder + "/in[1-3]_label"):  # 7 is the sum of the shunts
        channel = os.path.basename(label)[2]
        ohm = sysfs.number(root, "{}/shunt{}_resistor".format(folder, channel))  # in µOhm
        yield Rail(
            sysfs.text(root, label) or "",
            folder,
            os.path.basename(label),
            "in{}_input".format(channel),
            "curr{}_input".format(channel),
            None,
            interval_s / averaged,
            interval_s if averaged > 1 else 0.0,
            "hwmon, {} averaged, {:.1f} ms".format(averaged, interval_s * 1e3),
            samples is not None,
            ohm * 1e-6 if ohm else SHUNT_OHM,
        )


def _add(root: str, rail: Rail, rails: Rails) -> None:
    """Keep a rail that is connected and can be read; note what cannot be."""
    if rail.name.upper() == "NC" or rail.name in rails.found:
        return
    names = [rail.label, rail.millivolts, rail.milliamperes]
    if not rail.name:
        rails.broken[rail.folder + "/" + rail.label] = "it has no name"
        return
    paths = [
        sysfs.locate(root, rail.folder + "/" + name)
        for name in (names if rail.power is None else names + [rail.power])
    ]
    try:
        with open(paths[0], "rb"):
            pass
        for path in paths[1:]:
            integer(path)
    except PermissionError:
        rails.forbidden.extend(paths)
    except (OSError, ValueError) as error:  # many a channel is not wired, and answers with EIO
        rails.broken[rail.name] = str(error)
    else:
        rails.found[rail.name] = rail


def integer(path: str) -> int:
    """Return the integer in a file; OSError or ValueError where there is none."""
    with open(path, "rb") as file:
        return int(file.read())
