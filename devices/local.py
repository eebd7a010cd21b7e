"""What this machine is, as far as it tells: the facts to stand beside a measurement.

A fact that the system does not give is None; nothing here raises, guesses or imports
torch.
"""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "onnx", "onnxruntime", "torch")
_KIB_A_MIB = 1024


def facts(root: Path = Path("/")) -> dict[str, Any]:
    """Return this machine's facts as JSON values.

    Args:
        root: the folder that holds `proc`, `sys` and `etc`.

    Returns:
        "processor", "architecture" and "cores" (that this process may use); "governor" of
        the first core; "frequency_mhz", its limits as [lowest, highest]; "load", the mean
        number of running processes in the last minute; "memory_mib"; "system" and "kernel";
        "python" and the version of each runtime, None where it is not installed.
    """
    frequency = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return {
        "processor": _field(root / "proc/cpuinfo", "model name", ":") or _plain_processor(),
        "architecture": platform.machine() or None,
        "cores": _cores(),
        "governor": _text(frequency / "scaling_governor"),
        "frequency_mhz": _limits_mhz(frequency),
        "load": _first_number(root / "proc/loadavg"),
        "memory_mib": _memory_mib(root / "proc/meminfo"),
        "system": _field(root / "etc/os-release", "PRETTY_NAME", "=") or platform.system() or None,
        "kernel": platform.release() or None,
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _field(path: Path, key: str, separator: str) -> str | None:
    """Return the value of the first line "key separator value"."""
    for line in (_text(path) or "").splitlines():
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip().strip('"') or None
    return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _first_number(path: Path) -> float | None:
    words = (_text(path) or "").split()
    return _number(words[0]) if words else None


def _memory_mib(path: Path) -> int | None:
    words = (_field(path, "MemTotal", ":") or "").split()  # "16393216 kB"
    kib = _number(words[0]) if words else None
    return None if kib is None else int(kib / _KIB_A_MIB)


def _limits_mhz(folder: Path) -> list[int] | None:
    limits_khz = [_number(_text(folder / f"scaling_{end}_freq")) for end in ("min", "max")]
    known = [int(khz / 1000) for khz in limits_khz if khz is not None]
    return known if len(known) == len(limits_khz) else None


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _plain_processor() -> str | None:
    return platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
