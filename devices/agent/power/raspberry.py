"""Power of a Raspberry Pi 5, and why older ones have none, from `vcgencmd`.

The Pi 5's power chip measures voltage and current of the rails it makes; their products add up
to the board without its 5 V USB ports and losses, so the scope is `sum_of_rails`. Earlier
boards measure nothing. `get_throttled` has the conditions of now in bits 0 to 3 and those
since the last start in bits 16 to 19.
Source: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
"""

import re
import subprocess
from typing import Dict, List, Optional

from gensynth.devices.agent.power.meter import Meter, NoMeter
from gensynth.devices.agent.wire import sysfs

PLAUSIBLE_W = (0.3, 30.0)
_VALUE = re.compile(r"^\s*(\S+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.M)
_CONDITIONS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")


def open_pmic(root: str) -> Meter:
    """Return the sum of the rails of a Raspberry Pi 5.

    Raises:
        NoMeter: if this is no Raspberry Pi, or one that measures no power.
    """
    program = _program(root)
    if program is None:
        raise NoMeter("no vcgencmd: not a Raspberry Pi")

    def read() -> float:
        return _sum_w(_answer(program, "pmic_read_adc"))

    try:
        read()
    except OSError as error:
        if "5" in (sysfs.text(root, "/proc/device-tree/model") or "").split():
            raise NoMeter(
                "this Raspberry Pi's power chip does not answer this user, who must be in the "
                "group video: {}".format(error),
                {"forbidden": [program]},
            ) from error
        raise NoMeter(
            "this Raspberry Pi measures no power (a Pi 5 does): {}".format(error)
        ) from error
    return Meter(
        read=read,
        rail="PMIC rails without 5 V USB",
        scope="sum_of_rails",
        sensor="vcgencmd pmic_read_adc",
        kind="power",
        period_s=0.05,
        tau_s=0.0,
        plausible_w=PLAUSIBLE_W,
    )


def throttled(root: str) -> Optional[List[str]]:
    """Return what limits the board at this moment; None if this is no Raspberry Pi."""
    return _conditions(root, 0)


def throttled_since_boot(root: str) -> Optional[List[str]]:
    """Return what has limited the board since it was started; None if it is no Raspberry Pi."""
    return _conditions(root, 16)


def _conditions(root: str, first_bit: int) -> Optional[List[str]]:
    program = _program(root)
    if program is None:
        return None
    try:
        bits = int(_answer(program, "get_throttled").strip().partition("=")[2], 16)
    except (OSError, ValueError):
        return None
    return [name for k, name in enumerate(_CONDITIONS) if bits >> (first_bit + k) & 1]


def _program(root: str) -> Optional[str]:
    return sysfs.executable(root, "vcgencmd")


def _sum_w(answer: str) -> float:
    """Add up volts times amperes of the rails that have both."""
    values: Dict[str, Dict[str, float]] = {"A": {}, "V": {}}
    for rail, unit, value in _VALUE.findall(answer):
        values[unit][rail] = float(value)
    both = set(values["A"]) & set(values["V"])
    if not both:
        raise OSError("vcgencmd pmic_read_adc gave no rail: {!r}".format(answer[:80]))
    return sum(values["A"][rail] * values["V"][rail] for rail in both)


def _answer(program: str, command: str) -> str:
    try:
        done = subprocess.run(
            [program, command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=2,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError("vcgencmd {} did not answer within 2 s".format(command)) from error
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise OSError("vcgencmd {}: {}".format(command, text.strip()[:80]))
    return text
