"""What a run ran on, for its `environment.json`: versions, commit, machine; and its memory.

Versions are read from the installed packages' metadata, so nothing here imports torch.
"""

import ctypes
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import gensynth

PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "safetensors", "pydantic", "pillow")


def environment(**facts: Any) -> dict[str, Any]:
    """Return the versions and the machine, as JSON values.

    Args:
        facts: what only the caller knows, such as compute device, autocast type, threads;
            they stand beside the rest under their own names.

    Returns:
        "gensynth" and each package's version, None where it is not installed; "commit" of
        the checkout that gensynth runs from, with "-dirty" where tracked files differ, None
        outside one; "python", "platform", "processor" and "cores".
    """
    return {
        "gensynth": gensynth.__version__,
        "commit": _commit(Path(gensynth.__file__).parent.parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        **{package: _version(package) for package in PACKAGES},
        "onnxruntime": _version("onnxruntime") or _version("onnxruntime-gpu"),
        **facts,
    }


def memory_bytes() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def give_back_memory() -> None:
    """Give the system what this process has freed.

    glibc keeps what lies between two blocks that are still in use. A training asks for blocks of a
    thousand sizes, so what it keeps grows by a gigabyte an epoch at first (RefineNet, 360 x 480).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(root: Path) -> str | None:
    # An installed package may lie inside a repository of its user, which is not ours.
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return None
    # Git's own hooks set variables that name another repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    describe = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(
            describe, cwd=root, env=own, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
