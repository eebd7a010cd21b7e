"""The lock of a run folder: one process writes, and the folder of a dead one is recognised."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from gensynth.atomic_files import PARTIAL
from gensynth.errors import RunError
from gensynth.run_files import ENVIRONMENT_FILE, FORMAT_FILE, RUN_FILE

LOCK_FILE = "lock"
_FILES = (RUN_FILE, ENVIRONMENT_FILE, FORMAT_FILE)
_UNBORN = {LOCK_FILE, "state", "finalists", *_FILES, *(PARTIAL + name for name in _FILES)}
"""What there is in a run folder before it has its name."""


def take_lock(folder: Path) -> int:
    """Return the descriptor that holds a folder's lock; closing it gives the lock back.

    Raises:
        RunError: if another process holds it, naming that, or there can be none.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
    except BlockingIOError as error:
        holder = path.read_text().strip() or "unknown"
        raise RunError(f"{folder} is in use by process {holder}") from error
    except OSError as error:
        raise RunError(f"{folder} cannot be locked for writing: {error}") from error
    os.ftruncate(descriptor, 0)
    with contextlib.suppress(OSError):  # the lock holds without the number, on a full disk too
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def sweep_unborn(folder: Path) -> None:
    """Remove run folders that were being made in a folder when their process was killed.

    Its number ends their names; while it lives they are locked, or about to be.
    """
    for unborn in folder.glob(f"{PARTIAL}*-*[0-9]"):
        with contextlib.suppress(OSError, RunError):  # somebody else's, or alive
            number = unborn.name.rpartition("-")[2]
            foreign = {path.name for path in unborn.iterdir()} - _UNBORN
            if number.isdecimal() and not foreign and _is_dead(unborn, int(number)):
                shutil.rmtree(unborn)


def _is_dead(unborn: Path, process: int) -> bool:
    if (unborn / LOCK_FILE).exists():
        os.close(take_lock(unborn))  # refused if it lives
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
