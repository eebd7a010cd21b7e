"""The agent's folder on a board, and all that stays there between jobs.

    agent-HASH.pyz      the agent, put there by the link; beside it what `compiled` made of it
    blobs/HASH          what hosts sent: networks and inputs
    engines/            what the runtimes built; only they know the names
    results/ID/         result.json and the job's own blobs
    lock, requests/     who holds the board (see `lock`)
    journal             one line an event, so that an interrupted job is not forgotten

A file is written under a hidden name that says which process writes it, and one rename shows
it; what a dead process left is swept up. Room is asked for before it is used. The oldest
unused blobs, engines and results go first.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from typing import IO, Any, Dict, Iterator, List, Optional

from gensynth.devices.agent.wire import frames, processes
from gensynth.devices.agent.wire.spec import check_id, check_sha256
from gensynth.devices.agent.wire.status import STATUSES, Fault

MIB = 1 << 20
# Never fill a board's disk: others live there too. What has been measured may use the margin, for
# which room was asked before.
MARGIN_MIB = 64
KEPT_RESULTS = 50
KEPT_RESULTS_MIB = 1024
KEPT_BLOBS_MIB = 1024
KEPT_ENGINES_MIB = 4096
RESULT_LIMIT = 16 << 20
JOURNAL_LIMIT = 1 << 18
_CLOCKS_AGREE_S = 60.0
_PARTIAL = re.compile(r"\.partial-(\d{1,9})-(\d{1,18})-")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class Spool:
    """The folder.

    Attributes:
        home: its path.
        engines: path of the folder of engines.
        requests: path of the folder through which sessions speak of the running job.
    """

    def __init__(self, home: str) -> None:
        self.home = home
        self.engines = os.path.join(home, "engines")
        self.requests = os.path.join(home, "requests")
        self._blobs = os.path.join(home, "blobs")
        self._results = os.path.join(home, "results")
        with disk_errors("make the agent's folder {}".format(home)):
            for folder in (self.engines, self.requests, self._blobs, self._results):
                os.makedirs(folder, mode=0o700, exist_ok=True)

    def blob_path(self, sha256: str) -> str:
        """Return the path of a blob that a host sent, whether or not it is there."""
        return os.path.join(self._blobs, check_sha256(sha256))

    def missing(self, hashes: List[str]) -> List[str]:
        """Return those blobs that are not there; the others count as used now."""
        return [sha256 for sha256 in hashes if not _touch(self.blob_path(sha256))]

    def open_blob(self, sha256: str) -> IO[bytes]:
        """Return a blob that is there, sent or made by a job.

        Raises:
            Fault: `protocol_error` if there is none.
        """
        check_sha256(sha256)
        for folder in [self._blobs] + [
            os.path.join(self._results, name) for name in os.listdir(self._results)
        ]:
            with contextlib.suppress(FileNotFoundError):
                return open(os.path.join(folder, sha256), "rb")
        raise Fault(
            "protocol_error", "the board has no blob {}; it was cleared away".format(sha256)
        )

    def put_result_blob(self, job_id: str, content: bytes) -> str:
        """Keep what a job made and return its hash.

        Raises:
            Fault: `build_failed` if the disk is full.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        self.write(os.path.join(self._result_folder(job_id), sha256), content, margin_mib=0)
        return sha256

    def result(self, job_id: str) -> Optional[Dict[str, Any]]:
        """Return the stored result of a job, or None."""
        path = os.path.join(self._results, check_id(job_id), "result.json")
        try:
            with open(path, "rb") as file:
                found = frames.parse(file.read(RESULT_LIMIT + 1))
        except (OSError, Fault):  # absent, or damaged: then the job is done again
            return None
        is_result = isinstance(found, dict) and found.get("id") == job_id
        return found if is_result and found.get("status") in STATUSES else None

    def store_result(self, result: Dict[str, Any]) -> None:
        """Keep a job's result; from now on the same id is answered with it."""
        text = json.dumps(result, allow_nan=False).encode("utf-8")
        path = os.path.join(self._result_folder(result["id"]), "result.json")
        self.write(path, text, margin_mib=0)

    def drop_unfinished(self) -> None:
        """Remove what jobs without a result left; only for who holds the board."""
        for name in os.listdir(self._results):
            folder = os.path.join(self._results, name)
            if not os.path.exists(os.path.join(folder, "result.json")):
                shutil.rmtree(folder, ignore_errors=True)

    def write(self, path: str, content: bytes, margin_mib: Optional[int] = None) -> None:
        """Write a file that is either there whole or not at all, and leave a margin free.

        Raises:
            Fault: `build_failed` if the disk is full.
        """
        self.require(len(content), margin_mib)
        partial = partial_name(path)
        with disk_errors("write {}".format(path)):
            try:
                with open(partial, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(partial, path)
            except OSError:
                _remove(partial)
                raise

    def free_mib(self) -> float:
        """Return how much this user can still write, in MiB."""
        disk = os.statvfs(self.home)
        return disk.f_bavail * disk.f_frsize / MIB

    def require(self, size: int, margin_mib: Optional[int] = None) -> None:
        """Make room for so many bytes beside a margin.

        Raises:
            Fault: `build_failed` with the cause "disk" if there is not enough.
        """
        wanted_mib = size / MIB + (MARGIN_MIB if margin_mib is None else margin_mib)
        if self.free_mib() < wanted_mib:
            self.evict(wanted_mib)
        free_mib = self.free_mib()
        if free_mib < wanted_mib:
            raise Fault(
                "build_failed",
                "the disk with {} must have {} MiB free, got {}; make room, or set "
                "GENSYNTH_AGENT_HOME on the board to a folder on another disk".format(
                    self.home, math.ceil(wanted_mib), int(free_mib)
                ),
                {"cause": "disk", "free_mib": int(free_mib)},
            )

    def evict(self, free_mib: float = 0.0) -> None:
        """Remove the oldest files above the limits, and more until so much is free."""
        for folder, kept, kept_mib in (
            (self._results, KEPT_RESULTS, KEPT_RESULTS_MIB),
            (self._blobs, None, KEPT_BLOBS_MIB),
            (self.engines, None, KEPT_ENGINES_MIB),
        ):
            paths = sorted(_visible(folder), key=_used_s)
            sizes = [_size(path) for path in paths]
            while len(paths) > 1 and (  # the newest may be in use
                (kept is not None and len(paths) > kept)
                or sum(sizes) > kept_mib * MIB
                or self.free_mib() < free_mib
            ):
                _remove(paths.pop(0))
                del sizes[0]

    def sweep(self) -> None:
        """Remove what processes that are gone left half written."""
        for folder, _, files in os.walk(self.home):
            for name in files:
                if name.startswith(".partial-") and not _writer_lives(name):
                    _remove(os.path.join(folder, name))

    def journal(self, event: str, **facts: Any) -> None:
        """Add a line; the older half goes when there are too many."""
        path = os.path.join(self.home, "journal")
        line = json.dumps(dict(facts, event=event), sort_keys=True) + "\n"
        try:
            if os.path.exists(path) and os.path.getsize(path) > JOURNAL_LIMIT:
                with open(path, "rb") as file:
                    lines = file.read().splitlines(True)
                self.write(path, b"".join(lines[len(lines) // 2 :]))
            with open(path, "ab") as file:
                file.write(line.encode("utf-8"))
        except (OSError, Fault):  # a full disk must not keep a job from being ended
            return

    def events(self) -> List[Dict[str, Any]]:
        """Return the journal's events in their order; a line cut by a power loss is left out."""
        path = os.path.join(self.home, "journal")
        try:
            with open(path, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            with contextlib.suppress(ValueError):
                events.append(json.loads(line.decode("utf-8")))
        return events

    def _result_folder(self, job_id: str) -> str:
        folder = os.path.join(self._results, check_id(job_id))
        with disk_errors("make {}".format(folder)):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn a full or read-only disk into a fault, and leave other errors alone.

    Args:
        what: the thing that was tried, such as "write /home/nvidia/x".
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise Fault(
            "build_failed",
            "cannot {}: {}; make room, or set GENSYNTH_AGENT_HOME on the board to a folder that "
            "can be written".format(what, error.strerror),
            {"cause": "disk"},
        ) from error


def partial_name(path: str) -> str:
    """Return a hidden neighbour's name that says which process writes it."""
    folder, name = os.path.split(path)
    pid = os.getpid()
    start = processes.start_time(pid)
    return os.path.join(folder, ".partial-{}-{}-{}".format(pid, start or 0, name))


def _writer_lives(name: str) -> bool:
    found = _PARTIAL.match(name)
    if found is None:
        return False
    return processes.is_alive(int(found.group(1)), int(found.group(2)) or None)


def _visible(folder: str) -> Iterator[str]:
    return (os.path.join(folder, name) for name in os.listdir(folder) if name[0] != ".")


def _touch(path: str) -> bool:
    """Count a file as used now; return whether it is there."""
    try:
        os.utime(path, None)
    except FileNotFoundError:
        return False
    return True


def _used_s(path: str) -> float:
    """Return when a file was last used.

    The oldest are what another session has just removed, and what has a time to come: a board
    whose clock has no battery begins in 1970, and what it is sent then is the newest.
    """
    try:
        used_s = os.stat(path).st_mtime
    except FileNotFoundError:
        return float("-inf")
    return used_s if used_s < time.time() + _CLOCKS_AGREE_S else float("-inf")


def _size(path: str) -> int:
    try:
        if os.path.isdir(path):
            return sum(os.path.getsize(inside) for inside in _visible(path))
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
