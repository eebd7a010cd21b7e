"""How fast the processor, the graphics unit and the memory of a board run.

Frequencies in MHz: what the governor may choose between, and what it has chosen. A board is
locked when it may not choose: least, most and present frequency are one.
"""

import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from gensynth.devices.agent.wire import sysfs

LOCKED_WITHIN = 0.03
_GPU = re.compile(r"gp10b|gv11b|gm20b|ga10b|gb10b|\.gpu$|/gpu")
# In thousandths; the first two of L4T R32 and R35, the last of JetPack 6.
_GPU_LOAD = (
    "/sys/devices/gpu.0/load",
    "/sys/devices/platform/gpu.0/load",
    "/sys/devices/platform/bus@0/*.gpu/load",
)
_EMC = (
    "/sys/kernel/debug/bpmp/debug/clk/emc/{}",
    "/sys/class/devfreq/emc/{}",
)


class Speed(NamedTuple):
    """One clock; None what the system does not tell."""

    least_mhz: Optional[float]
    most_mhz: Optional[float]
    now_mhz: Optional[float]

    @property
    def is_pinned(self) -> bool:
        """Whether the governor has nothing to choose."""
        return self.least_mhz is not None and self.least_mhz == self.most_mhz

    @property
    def is_slow(self) -> bool:
        """Whether it runs below 0.97 of what it is pinned to."""
        return (
            self.is_pinned
            and self.most_mhz is not None
            and self.now_mhz is not None
            and self.now_mhz < (1 - LOCKED_WITHIN) * self.most_mhz
        )


def speeds(root: str) -> Dict[str, Speed]:
    """Return the clocks that can be read: "cpu0" and so on, "gpu", "emc" (memory)."""
    found = {}
    for folder in sysfs.matching(root, "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
        if sysfs.text(root, os.path.dirname(folder) + "/online") != "0":
            found[folder.split("/")[-2]] = _speed(
                root, folder + "/scaling_{}_freq", ("min", "max", "cur"), 1e-3
            )
    gpu = _gpu(root)
    if gpu is not None:
        found["gpu"] = _speed(root, gpu + "/{}_freq", ("min", "max", "cur"), 1e-6)
    for pattern, names in zip(_EMC, (("min_rate", "max_rate", "rate"), _DEVFREQ)):
        speed = _speed(root, pattern, names, 1e-6)
        if speed.now_mhz is not None:
            found.setdefault("emc", speed)
    return {name: speed for name, speed in found.items() if speed.now_mhz is not None}


_DEVFREQ = ("min_freq", "max_freq", "cur_freq")


def is_locked(found: Dict[str, Speed]) -> Optional[bool]:
    """Return whether nothing can change its speed; None if no speed is known."""
    if not found:
        return None
    return all(speed.is_pinned and not speed.is_slow for speed in found.values())


def clocks(root: str) -> Dict[str, Any]:
    """Return the clocks as JSON values: the state of the lock, present and possible speeds."""
    found = speeds(root)
    cores = [found[name] for name in sorted(found) if name.startswith("cpu")]
    present = [core.now_mhz for core in cores if core.now_mhz is not None]
    return {
        "locked": is_locked(found),
        "cpu_mhz": max(present) if present else None,
        "gpu_mhz": found["gpu"].now_mhz if "gpu" in found else None,
        "emc_mhz": found["emc"].now_mhz if "emc" in found else None,
        "governor": governor(root),
        "ranges_mhz": {name: list(speed) for name, speed in sorted(found.items())},
    }


def governor(root: str) -> Optional[str]:
    """Return the governor of the processor, or all if the cores differ."""
    names: List[str] = []
    for name in sysfs.matching(root, "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"):
        text = sysfs.text(root, name)
        if text and text not in names:
            names.append(text)
    return "+".join(names) or None


def gpu_load(root: str) -> Optional[float]:
    """Return the share of the last moments in which the graphics unit worked; None if untold."""
    for pattern in _GPU_LOAD:
        for name in sysfs.matching(root, pattern):
            load = sysfs.number(root, name)
            if load is not None and 0 <= load <= 1000:
                return load / 1000
    return None


def slow(root: str) -> List[str]:
    """Return what runs below 0.97 of the frequency that it is pinned to.

    A clock whose governor may choose is not judged: that it wanders is no throttling, and the
    flag `clocks_unlocked` says it.
    """
    return [
        "{} at {:.0f} of {:.0f} MHz".format(name, speed.now_mhz or 0, speed.most_mhz or 0)
        for name, speed in sorted(speeds(root).items())
        if speed.is_slow
    ]


def _gpu(root: str) -> Optional[str]:
    """Return the folder of the graphics unit's clock; its name has the chip's or the address."""
    patterns = ("/sys/devices/gpu.0/devfreq/*", "/sys/class/devfreq/*")
    for folder in (name for pattern in patterns for name in sysfs.matching(root, pattern)):
        node = sysfs.text(root, folder + "/device/of_node/name") or ""
        if _GPU.search(folder) or node in ("gpu", "gp10b", "gv11b", "ga10b"):
            return folder
    return None


def _speed(root: str, pattern: str, names: "tuple[str, str, str]", to_mhz: float) -> Speed:
    values = [sysfs.number(root, pattern.format(name)) for name in names]
    least, most, now = [None if value is None else value * to_mhz for value in values]
    return Speed(least, most, now)
