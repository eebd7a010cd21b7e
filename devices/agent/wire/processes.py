"""Who a process is, so that a number used again is not taken for the process that had it."""

import os
from typing import Optional

OF_THE_AGENT_ALONE = "import sys; sys.path[:] = [sys.argv[1]] + [p for p in sys.path if p]; "
"""First words of a child's program: modules come from the agent's file (`package_home`) and the
Python's own folders, never from the working folder, which may be anybody's."""


def package_home() -> str:
    """Return the folder, or the zip file, that holds `gensynth`."""
    here = os.path.abspath(__file__)
    for _ in ("processes.py", "wire", "agent", "devices", "gensynth"):
        here = os.path.dirname(here)
    return here


def start_time(pid: int) -> Optional[int]:
    """Return when a process began, in ticks since the boot; None if it is gone or unknown."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def is_alive(pid: int, start: Optional[int]) -> bool:
    """Return whether the process that began at `start` still runs; a zombie does not.

    Without /proc (`start` is None) any process of that number counts.
    """
    if start is not None:
        return start_time(pid) == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def boot_id(root: str) -> Optional[str]:
    """Return the name of this boot, or None where the system gives none.

    Args:
        root: the folder that holds `proc`.
    """
    try:
        with open(os.path.join(root, "proc/sys/kernel/random/boot_id")) as file:
            return file.read().strip()
    except OSError:
        return None


def signal_group(group: int, number: int) -> bool:
    """Send a signal to every process of a group; return whether there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return True
