"""One job a board: who holds it, who waits for the same job, and who left without a word.

The lock is the kernel's (flock), held by the session *and* its worker, so that it is free
exactly when both are gone; what stands in the file only says who. It is a user's own; what
keeps two users apart is `claim`, held likewise. Hosts that ask for a job
that another session runs prolong that session's lease, or cancel it, through requests/ID.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from typing import Any, Dict, Optional, Tuple

from gensynth.devices.agent.session import claim
from gensynth.devices.agent.wire import frames, processes
from gensynth.devices.agent.wire.spec import check_id
from gensynth.devices.agent.wire.spool import Spool, disk_errors
from gensynth.devices.agent.wire.status import Fault


class BoardLock:
    """The right to use the board, for one job.

    Attributes:
        descriptor: of the file.
    """

    def __init__(self, spool: Spool, root: str, job_id: Optional[str]) -> None:
        pid = os.getpid()
        self._spool = spool
        self._root = root
        self._claim: Optional[socket.socket] = None
        self._owner: Dict[str, Any] = {
            "id": job_id,
            "pid": pid,
            "start": processes.start_time(pid),
            "boot_id": processes.boot_id(root),
            "host": os.environ.get("SSH_CONNECTION", "").partition(" ")[0] or "this machine",
        }
        self.descriptor = -1

    def acquire(self) -> Optional[Dict[str, Any]]:
        """Take the lock if it is free; else return who holds it, {} if that is not known."""
        with disk_errors("open the board's lock"):
            path = os.path.join(self._spool.home, "lock")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        owner = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return _end_orphan(owner)
        self.descriptor = descriptor
        self._spool.drop_unfinished()
        # Nobody runs a job now, so no request is meant for the one that follows.
        _drop_requests(self._spool)
        return None

    def claim(self) -> Optional[Dict[str, Any]]:
        """Keep other users off the board as well, or return who of them uses it."""
        self._claim = claim.claim(self._root)
        return claim.holder(self._root) if self._claim is None else None

    @property
    def descriptors(self) -> Tuple[int, ...]:
        """All that holds the board, for the worker to inherit."""
        own = (self.descriptor,)
        return own if self._claim is None else own + (self._claim.fileno(),)

    def interrupted(self) -> Optional[str]:
        """Return the job that the last holder did not end, having noted it in the journal."""
        previous = _read(self.descriptor)
        if not previous:
            return None
        same_boot = previous["boot_id"] == self._owner["boot_id"]
        cause = "killed" if same_boot else "restarted"
        self._spool.journal("interrupted", id=previous["id"], cause=cause)
        os.ftruncate(self.descriptor, 0)
        return str(previous["id"])

    def begin(self) -> None:
        """Note that the job runs."""
        self._spool.journal("begun", id=self._owner["id"], boot_id=self._owner["boot_id"])
        self._write()

    def record_worker(self, pid: int) -> None:
        """Note the worker's group, so that the next session can end it if we cannot."""
        self._owner["worker"] = {"pid": pid, "start": processes.start_time(pid)}
        self._write()

    def end(self, status: str) -> None:
        """Note how the job ended."""
        self._spool.journal("ended", id=self._owner["id"], status=status)
        _drop_requests(self._spool)
        os.ftruncate(self.descriptor, 0)

    def release(self) -> None:
        """Give the board back."""
        os.close(self.descriptor)
        self.descriptor = -1
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _write(self) -> None:
        text = json.dumps(self._owner).encode("utf-8")
        with disk_errors("note who holds the board"):
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, text, 0)


def _end_orphan(owner: Dict[str, Any]) -> Dict[str, Any]:
    """End a worker whose session is gone; return the owner, {} if it is gone."""
    if not owner or processes.is_alive(owner["pid"], owner["start"]):
        return owner
    worker = owner.get("worker")
    if worker and processes.is_alive(worker["pid"], worker["start"]):
        processes.signal_group(worker["pid"], signal.SIGKILL)
    return {}


def prolong(spool: Spool, job_id: str, cancel: bool = False) -> None:
    """Tell the session that runs a job that a host still wants it, or does not any more."""
    request = {"heard_s": time.monotonic(), "cancel": cancel}
    spool.write(_request_path(spool, job_id), json.dumps(request).encode("utf-8"))


def request(spool: Spool, job_id: str) -> Dict[str, Any]:
    """Return when another session was last asked for this job ("heard_s"), and "cancel"."""
    nothing = {"heard_s": float("-inf"), "cancel": False}
    try:
        with open(_request_path(spool, job_id), "rb") as file:
            found = frames.parse(file.read(1 << 12))
        is_request = isinstance(found["heard_s"], (int, float)) and isinstance(
            found["cancel"], bool
        )
        return dict(found) if is_request else nothing
    except (OSError, Fault, KeyError, TypeError):  # absent, or damaged
        return nothing


def _drop_requests(spool: Spool) -> None:
    for name in os.listdir(spool.requests):
        if not name.startswith("."):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(spool.requests, name))


def _request_path(spool: Spool, job_id: str) -> str:
    return os.path.join(spool.requests, job_id)


def _read(descriptor: int) -> Dict[str, Any]:
    """Return what the lock's file says; {} if it was just taken or given back, or is damaged.

    A damaged file only hides who held the board: the lock itself is the kernel's.
    """
    try:
        found = frames.parse(os.pread(descriptor, 1 << 16, 0))
        worker = found.get("worker")
        is_owner = (
            check_id(found["id"])
            and _is_process(found, 1)
            and (not worker or _is_process(worker, 2))
        )
        boot_id = found["boot_id"]
        texts = ["" if boot_id is None else boot_id, found["host"]]
        return dict(found) if is_owner and all(isinstance(t, str) for t in texts) else {}
    except (Fault, KeyError, TypeError, AttributeError):
        return {}


def _is_process(found: Any, least: int) -> bool:
    """Return whether a number and a time of beginning can be those of a process of ours."""
    pid, start = found["pid"], found["start"]
    whole = isinstance(pid, int) and not isinstance(pid, bool) and least <= pid < 1 << 31
    return whole and (start is None or isinstance(start, int))
