"""Facts of a board: what a figure from it must carry, and what slows it down.

Whatever a system does not tell is None. Nothing is imported that could start a driver:
versions are read from the files that the packages install.
"""

import hashlib
import os
import platform
import re
from typing import Any, Dict, List, Optional

from gensynth.devices.agent.board import heat, nvpmodel, others, speeds
from gensynth.devices.agent.power import nvml, raspberry
from gensynth.devices.agent.wire import sysfs
from gensynth.devices.agent.wire.processes import boot_id

_L4T = re.compile(r"R(\d+)\D+REVISION:\s*([\d.]+)")
_TENSORRT = ("MAJOR", "MINOR", "PATCH")


def facts(root: str = "/") -> Dict[str, Any]:
    """Return what is known of the board, as JSON values.

    "simulated" is there, and true, when the root is not the machine's own.
    """
    mode = nvpmodel.current_mode(root)
    found = {
        "model": _model(root),
        "serial_hash": _serial_hash(root),
        "boot_id": boot_id(root),
        "l4t": _l4t(root),
        "jetpack": _package_version(root, "nvidia-jetpack"),
        "cuda": _cuda(root),
        "tensorrt": _tensorrt(root),
        "kernel": sysfs.text(root, "/proc/sys/kernel/osrelease"),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "power_mode": None if mode is None else dict(mode._asdict()),
        "clocks": speeds.clocks(root),
        "fan": heat.fan(root),
        "temperatures_c": heat.temperatures_c(root),
        "throttle": throttle(root),
        "throttled_since_boot": raspberry.throttled_since_boot(root),
        "load": _load(root),
        "processors": others.processors(root),
        "gpu_load": speeds.gpu_load(root),
        "uptime_s": _uptime_s(root),
    }  # type: Dict[str, Any]
    if not _is_real(root):
        found["simulated"] = True
    return found


def throttle(root: str = "/") -> List[str]:
    """Return what slows the board down now, or is about to; nothing if it runs as it should.

    A pinned clock below 0.97 of its frequency, a cooling device other than a fan at work, an
    alarm of a power monitor, a zone within 5 degrees of a trip point, and what a graphics card
    or a Raspberry Pi says of itself.
    """
    signals = speeds.slow(root) + heat.signals(root)
    signals += ["raspberry: " + text for text in raspberry.throttled(root) or []]
    if _is_real(root):
        signals += nvml.throttle()
    return signals


def _is_real(root: str) -> bool:
    return os.path.abspath(root) == "/"


def _model(root: str) -> Optional[str]:
    return (
        sysfs.text(root, "/proc/device-tree/model")
        or sysfs.text(root, "/sys/devices/virtual/dmi/id/product_name")
        or None
    )


def _serial_hash(root: str) -> Optional[str]:
    """Tell two boards apart without telling the number: 16 digits of its SHA-256."""
    serial = sysfs.text(root, "/proc/device-tree/serial-number") or sysfs.text(
        root, "/etc/machine-id"
    )
    if not serial:
        return None
    return hashlib.sha256(b"gensynth serial " + serial.encode()).hexdigest()[:16]


def _l4t(root: str) -> Optional[str]:
    found = _L4T.search(sysfs.text(root, "/etc/nv_tegra_release") or "")
    return "{}.{}".format(*found.groups()) if found else None


def _cuda(root: str) -> Optional[str]:
    for name, pattern in (
        ("/usr/local/cuda/version.json", r'"cuda"\s*:\s*{[^}]*"version"\s*:\s*"([\d.]+)"'),
        ("/usr/local/cuda/version.txt", r"CUDA Version ([\d.]+)"),
    ):
        found = re.search(pattern, sysfs.text(root, name) or "")
        if found:
            return found.group(1)
    return None


def _tensorrt(root: str) -> Optional[str]:
    for name in sysfs.matching(root, "/usr/include/*/NvInferVersion.h"):
        text = sysfs.text(root, name) or ""
        parts = [
            re.search(r"#define\s+(?:NV|TRT)_(?:TENSORRT_)?{}\w*\s+(\d+)".format(part), text)
            for part in _TENSORRT
        ]
        if all(parts):
            return ".".join(part.group(1) for part in parts if part)
    version = _package_version(root, "libnvinfer8") or _package_version(root, "libnvinfer10")
    return version.partition("-")[0] if version else None


def _package_version(root: str, package: str) -> Optional[str]:
    """Return the version of an installed Debian package, from dpkg's own record."""
    record = sysfs.text(root, "/var/lib/dpkg/status") or ""
    found = re.search(
        r"^Package: {}\n(?:.+\n)*?Version: (\S+)$".format(re.escape(package)), record, re.M
    )
    return found.group(1) if found else None


def _load(root: str) -> Optional[List[float]]:
    """Return the load averages of 1, 5 and 15 minutes."""
    return _numbers(root, "/proc/loadavg", 3)


def _uptime_s(root: str) -> Optional[float]:
    found = _numbers(root, "/proc/uptime", 1)
    return found[0] if found else None


def _numbers(root: str, name: str, count: int) -> Optional[List[float]]:
    """Return the numbers that a file begins with, or None if there are not so many."""
    words = (sysfs.text(root, name) or "").split()[:count]
    try:
        return [float(word) for word in words] if len(words) == count else None
    except ValueError:
        return None
