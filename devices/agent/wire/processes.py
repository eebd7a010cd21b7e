"""The agent's processes: how a Python is started, and who a process is.

A board's variables may be meant for another Python: ROS puts the modules of its own, Python 2's
among them, into PYTHONPATH; conda and others set PYTHONHOME; and the working folder may be
anybody's. None of them decides what a child imports for a module that its Python has.
"""

import os
import sys
from typing import List, Optional

_FIRST_WORDS = (
    "import sys; sys.path[:] = [sys.argv.pop(1)] + [p for p in sys.path if p]; "
    "from gensynth.devices.agent.wire import processes; processes.search_further(); "
)


def interpreter() -> List[str]:
    """Return the command of this Python, to be followed by a file or `-c` and a program.

    What is installed for it can be imported, in the user's own folder too, unless
    PYTHONNOUSERSITE forbids that; no other variable of Python's counts.
    """
    own_folder_is_shut = bool(os.environ.get("PYTHONNOUSERSITE"))
    return [sys.executable, "-E"] + ["-s"] * own_folder_is_shut


def command(program: str, *arguments: str) -> List[str]:
    """Return the command of a child that runs a program of the agent's modules.

    Args:
        program: Python's text; `sys` is imported.
        arguments: it finds them from `sys.argv[1]` on.
    """
    return interpreter() + ["-c", _FIRST_WORDS + program, _package_home()] + list(arguments)


def search_further() -> None:
    """Let modules that are found nowhere else come from PYTHONPATH's folders.

    A runtime may be there alone. Behind all others, they stand in for no module of this Python;
    a relative one would be the working folder.
    """
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if os.path.isabs(folder) and folder not in sys.path:
            sys.path.append(folder)


def _package_home() -> str:
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
