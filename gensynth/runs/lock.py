"""The lock of a run folder: one process writes, and the folder of a dead one is recognised."""

import contextlib
import os
import shutil
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from gensynth.atomic_files import PARTIAL
from gensynth.errors import RunError
from gensynth.run_files import ENVIRONMENT_FILE, FORMAT_FILE, RUN_FILE

LOCK_FILE = "lock"
_FILES = (RUN_FILE, ENVIRONMENT_FILE, FORMAT_FILE)
_UNBORN = {LOCK_FILE, "state", "finalists", *_FILES, *(PARTIAL + name for name in _FILES)}
"""What there is in a run folder before it has its name."""


def take_lock(folder: Path) -> BaseFileLock:
    """Return a folder's lock, held until it is released or its process ends, however it ends.

    The folder may be renamed meanwhile.

    Raises:
        RunError: if another process holds it, naming that, or there can be none: the folder is
            not to be written in, or its filesystem has no locks that end with their holder.
    """
    path = folder / LOCK_FILE
    lock = FileLock(path, blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        holder = path.read_text().strip() or "unknown"
        raise RunError(f"{folder} is in use by process {holder}") from error
    except OSError as error:
        raise RunError(f"{folder} cannot be locked for writing: {error}") from error
    with contextlib.suppress(OSError):  # the lock holds without the number, on a full disk too
        path.write_text(f"{os.getpid()}\n")
    return lock


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
        take_lock(unborn).release()  # refused if it lives
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
