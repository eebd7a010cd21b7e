"""Every measurement that was ever made here, in one SQLite file that is only appended to.

    jobs       one row a job: its request's key, device and serial, grade, status, provenance,
               and the record as JSON
    networks   one row a network of a job: the file's SHA-256 and its structure's, the whole
               context, and the figures that are asked for most
    raw        times and samples by SHA-256, compressed
    doubts     jobs of a board that was found changed later, by the job that found it
    kernels    of a job's networks: which plan each has, and what its kernels took
    plans      kernels by SHA-256, as `gensynth.bench.estimate.calibration` writes them

Rows are never changed or removed; triggers see to it. `answer` gives back what answers a
request wholly, `measured` what an estimator may learn from; neither ever gives what was
simulated or is in doubt.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from gensynth.bench import tables
from gensynth.bench.kept import RECORD
from gensynth.bench.quiet import DISTURBING, UNTRUE
from gensynth.errors import StoreError

_WAIT_S = 30.0
_MIB = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFERENCES = 20
RAW_BYTES = 1 << 30
"""Of raw times or samples, unpacked."""
_CERTAIN = "provenance = 'measured' and job_id not in (select job_id from doubts)"


class Store:
    """A file of measurements.

    Args:
        path: of the file; it and its folder are made when something is first kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_path() if path is None else path

    def require_room(self, size: int) -> None:
        """Refuse now what could not be kept after an hour of measuring.

        Args:
            size: bytes that are to be kept; whether they fit is tried, since a quota shows
                nowhere else.

        Raises:
            StoreError: if the file or its folder cannot be written, or has no room.
        """
        place = self.path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not os.access(place, os.W_OK):
            raise StoreError(f"cannot write {self.path}: {place} is not writable")
        if place.is_file() and place != self.path:
            raise StoreError(f"cannot write {self.path}: {place} is no folder")
        folder = place if place.is_dir() else place.parent
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                return  # a file system that cannot tell; what is kept later may still fit
            raise StoreError(
                f"{self.path} needs {math.ceil(size / _MIB)} MiB for what is to be measured: "
                f"{error.strerror}; make room in {folder}"
            ) from error

    def keep(
        self,
        key: str,
        record: Mapping[str, Any],
        raw: Mapping[str, bytes],
        kernels: Mapping[int, tuple[str, str | None]] | None = None,
    ) -> None:
        """Append a record under its request's key; a job that is there already stays as it is.

        Args:
            key: of the request.
            record: of the job.
            raw: times and samples by SHA-256.
            kernels: by a network's place in the record: its kernels, and their times as JSON.

        Raises:
            StoreError: if the file cannot be written, is damaged or of another version, or could
                not be read with this record in it.
        """
        try:
            RECORD.check(record)
        except ValueError as error:
            raise StoreError(f"a record without its form is not kept: {error}") from error
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error
        with self._open() as database:
            row = database.execute("select 1 from jobs where job_id = ?", [record["job_id"]])
            if row.fetchone() is not None:
                return
            device = record["device"]
            database.execute(
                f"insert into jobs values ({tables.places(9)})",
                [
                    record["job_id"], key, record["started_utc"], device["alias"],
                    device["serial_hash"], record["request"]["grade"], record["status"],
                    record["provenance"], json.dumps(record, allow_nan=False),
                ],
            )  # fmt: skip
            for place, network in enumerate(tables.networks_of(record)):
                database.execute(
                    f"insert into networks values ({tables.places(20)})",
                    tables.row_of(record, place, network),
                )
            for sha256, content in raw.items():
                database.execute(
                    "insert or ignore into raw values (?, ?)", [sha256, zlib.compress(content)]
                )
            for place, (plan, kernel_ms) in (kernels or {}).items():
                sha256 = hashlib.sha256(plan.encode()).hexdigest()
                database.execute("insert or ignore into plans values (?, ?)", [sha256, plan])
                database.execute(
                    "insert into kernels values (?, ?, ?, ?)",
                    [record["job_id"], place, sha256, kernel_ms],
                )

    def answer(self, key: str) -> dict[str, Any] | None:
        """Return the newest record that answers a request; None if none was measured so far.

        One whose flags say that something was not as asked, such as a power mode that was
        refused, answers another question.

        Raises:
            StoreError: as `keep`.
        """
        if not self.path.exists():
            return None
        with self._open() as database:
            row = database.execute(
                f"select record from jobs where request_key = ? and {_CERTAIN} and "
                "status = 'ok' order by started_utc desc, rowid desc",
                [key],
            ).fetchone()
        return None if row is None else self._record(row[0])

    def measured(self, device: str | None = None) -> list[dict[str, Any]]:
        """Return the row of every network whose figures may be used, the oldest first.

        Those of a machine that was not quiet are left out.

        Args:
            device: an alias; None for all.

        Raises:
            StoreError: as `keep`.
        """
        return self._rows(
            "select networks.*, jobs.started_utc from networks join jobs using (job_id) "
            f"where {_CERTAIN} and status in ('ok', 'degraded') and {tables.without(UNTRUE)} "
            "and (? is null or networks.device = ?) order by jobs.rowid, place",
            [*UNTRUE, device, device],
        )

    def planned(
        self, serial_hash: str | None, runtime: str | None, most: int
    ) -> list[dict[str, Any]]:
        """Return the newest networks of a machine and runtime whose kernels are known.

        Args:
            serial_hash: of the machine.
            runtime: None for any.
            most: rows.

        Columns are those of `measured` and "kernels", "kernel_ms"; what may not be used is left
        out, as there.

        Raises:
            StoreError: as `keep`.
        """
        return self._rows(
            "select networks.*, plans.kernels, kernels.kernel_ms from networks "
            "join jobs using (job_id) join kernels using (job_id, place) "
            "join plans on plans.sha256 = kernels.plan "
            f"where {_CERTAIN} and jobs.status in ('ok', 'degraded') and {tables.without(UNTRUE)} "
            "and networks.serial_hash is ? and (? is null or networks.runtime = ?) "
            "order by networks.rowid desc limit ?",
            [*UNTRUE, serial_hash, runtime, runtime, most],
        )

    def of_file(self, onnx_sha256: str) -> list[dict[str, Any]]:
        """Return every row of a file, the oldest first, with "ci95_ms" of its mean as JSON.

        Raises:
            StoreError: as `keep`.
        """
        return self._rows(
            "select networks.*, json_extract(record, "
            "'$.networks[' || networks.place || '].latency.ci95_ms') as ci95_ms "
            f"from networks join jobs using (job_id) where {_CERTAIN} "
            f"and jobs.status in ('ok', 'degraded') and {tables.without(UNTRUE)} "
            "and networks.onnx_sha256 = ? order by networks.rowid",
            [*UNTRUE, onnx_sha256],
        )

    def _rows(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what a query finds, by columns; nothing where there is no file."""
        if not self.path.exists():
            return []
        with self._open() as database:
            rows = database.execute(query, values)
            names = [column[0] for column in rows.description]
            return [dict(zip(names, row, strict=True)) for row in rows]

    def references(self, key: str) -> list[tuple[str, float]]:
        """Return jobs and what the reference network took in turns with them, the newest first.

        Those that were disturbed say nothing of how fast a machine uses to be, and are left out.

        Args:
            key: of the device and its settings, which its jobs name.

        Raises:
            StoreError: as `keep`.
        """
        if not self.path.exists():
            return []
        with self._open() as database:
            rows = database.execute(
                "select job_id, json_extract(record, '$.reference_in_turns.p50_ms') from jobs "
                "where json_extract(record, '$.reference_in_turns.key') = ? "
                "and provenance = 'measured' and status in ('ok', 'degraded') "
                f"and {tables.without(DISTURBING)} order by rowid desc limit {_REFERENCES}",
                [key, *DISTURBING],
            ).fetchall()
        return [(str(job), float(ms)) for job, ms in rows]

    def doubt_jobs(self, jobs: Sequence[str], *, found_by: str) -> None:
        """Doubt jobs of a machine that was slower than it uses to be.

        Raises:
            StoreError: as `keep`.
        """
        if jobs:
            with self._open() as database:
                database.executemany(
                    "insert or ignore into doubts values (?, ?)", [(job, found_by) for job in jobs]
                )

    def under(self, key: str) -> list[dict[str, Any]]:
        """Return every record of a request, the oldest first, whatever became of it.

        Raises:
            StoreError: as `keep`.
        """
        if not self.path.exists():
            return []
        with self._open() as database:
            rows = database.execute(
                "select record from jobs where request_key = ? order by rowid", [key]
            ).fetchall()
        return [self._record(row[0]) for row in rows]

    def jobs_since(self, job_id: str) -> int:
        """Return how many jobs of the same device were kept after a job.

        Raises:
            StoreError: as `keep`.
        """
        with self._open() as database:
            (found,) = database.execute(
                "select count(*) from jobs as later, jobs as one where one.job_id = ? "
                "and later.device = one.device and later.rowid > one.rowid",
                [job_id],
            ).fetchone()
        return int(found)

    def doubt(self, chart: str, *, after: str, found_by: str) -> int:
        """Doubt what was kept under a control chart, and its points, since one of its points.

        Args:
            chart: the key of its points, which its jobs name.
            after: the last good point's job.
            found_by: the job that found the board changed.

        Returns:
            How many jobs that are no points are in doubt.

        Raises:
            StoreError: as `keep`.
        """
        since = "from jobs where rowid > (select rowid from jobs where job_id = ?) and "
        its_jobs = "json_extract(record, '$.reference.chart') = ?"
        with self._open() as database:
            database.execute(
                f"insert or ignore into doubts select job_id, ? {since} "
                f"(request_key = ? or {its_jobs})",
                [found_by, after, chart, chart],
            )
            row = database.execute(f"select count(*) {since} {its_jobs}", [after, chart])
            return int(row.fetchone()[0])

    def raw(self, sha256: str) -> bytes:
        """Return raw times or samples of a record.

        Raises:
            StoreError: if they are not there, or as `keep`.
        """
        if self.path.exists():
            with self._open() as database:
                row = database.execute("select content from raw where sha256 = ?", [sha256])
                found = row.fetchone()
            if found is not None:
                return self._unpacked(sha256, found[0])
        raise StoreError(f"{self.path} has no raw samples {sha256:.12}")

    def _record(self, text: object) -> dict[str, Any]:
        """Return a record that the file holds, once it is seen to be one."""
        try:
            if not isinstance(text, str):
                raise ValueError("it is no text")
            RECORD.read(text)
            record: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise self._damaged(f"a record of it cannot be read: {error}") from error
        return record

    def _unpacked(self, sha256: str, content: object) -> bytes:
        """Return raw samples, whose hash is their name."""
        try:
            found = zlib.decompressobj()
            raw = found.decompress(memoryview(content), RAW_BYTES)  # type: ignore[arg-type]
        except (zlib.error, TypeError) as error:
            raise self._damaged(f"raw samples of it cannot be unpacked: {error}") from error
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise self._damaged(f"its raw samples {sha256:.12} have another hash")
        return raw

    def _damaged(self, what: str) -> StoreError:
        return StoreError(f"{self.path} cannot be used: {what}; move it away")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        try:
            _keep_private(self.path)
            with contextlib.closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as database:
                database.isolation_level = None  # `begin` below, not where the module likes
                database.execute("begin immediate")
                tables.bring_up(database, self.path)
                try:
                    yield database
                except BaseException:
                    database.execute("rollback")
                    raise
                database.execute("commit")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self.path} cannot be used: {error}; {tables.mend(error)}"
            ) from error


def default_path() -> Path:
    """Return where the user's measurements stand, whether or not they are there."""
    return platformdirs.user_data_path("gensynth") / "measurements.sqlite"


def _keep_private(path: Path) -> None:
    """Make the file if it is absent, for its user alone: it tells of boards and of commands."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
