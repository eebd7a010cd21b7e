"""A run folder: what a run did, so that it can go on after `kill -9` and be read years later.

    FORMAT              "gensynth run 1"
    run.toml            the run file with every default and override resolved
    environment.json    versions, commit and machine
    journal.jsonl       one JSON object a completed cycle, see `history`
    state/0007/         everything the run needs to go on after cycle 7
    finalists/NAME/     a network's files
    ledger.jsonl        every touch of the test split
    lock                held by the process that writes; its process id

At most the cycle in flight is lost. One process writes; any number may read meanwhile.
"""

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import BaseFileLock

from gensynth import atomic_files
from gensynth.errors import RunError
from gensynth.outside import read_bytes
from gensynth.run_files import ENVIRONMENT_FILE, FORMAT_FILE, LEDGER_FILE, RUN_FILE
from gensynth.runs.journal import History
from gensynth.runs.lock import sweep_unborn, take_lock

FORMAT = "gensynth run 1"


class RunFolder:
    """One run's folder, open for writing (and locked) or for reading.

    Use it as a context manager; leaving it gives the lock back, and so does the end of the
    process, however it ends.

    Example:
        >>> with RunFolder.create(path, run_toml, environment()) as run:  # doctest: +SKIP
        ...     run.commit_state(0, {"generator.json": b"..."}, {"utility": 42.0})
    """

    def __init__(self, path: Path, lock: BaseFileLock | None) -> None:
        self.path = path
        self._lock = lock
        self._history = History(path)

    @classmethod
    def create(cls, path: Path, run_toml: str, environment: Mapping[str, Any]) -> Self:
        """Make a new run folder and open it for writing.

        Args:
            path: absent, or an empty folder.
            run_toml: the resolved run file.
            environment: JSON values, see `gensynth.environment`.

        Raises:
            RunError: if the path is taken or cannot be written; then nothing is left there.
        """
        cls.check_free(path)
        new = path.resolve()
        sweep_unborn(new.parent)
        building = new.with_name(f"{atomic_files.PARTIAL}{new.name}-{os.getpid()}")
        lock = None
        try:
            building.mkdir(parents=True)
            lock = take_lock(building)
            atomic_files.write_bytes(building / RUN_FILE, run_toml.encode())
            atomic_files.write_json(building / ENVIRONMENT_FILE, dict(environment))
            (building / "state").mkdir()
            (building / "finalists").mkdir()
            atomic_files.write_bytes(building / FORMAT_FILE, f"{FORMAT}\n".encode())
            building.rename(new)
            atomic_files.sync_folder(new.parent)
        except BaseException as error:
            if lock is not None:
                lock.release()
            shutil.rmtree(building, ignore_errors=True)
            if isinstance(error, OSError):
                raise RunError(
                    f"the run folder {path} cannot be made: {atomic_files.reason(error)}"
                ) from error
            raise
        return cls(path, lock)

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a path that `create` could not take.

        Raises:
            RunError: if it is there and no empty folder.
        """
        taken = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
        if taken is not None:
            raise RunError(f"a run is kept in a folder, and {taken} is a file; name another place")
        if path.exists() and any(path.iterdir()):
            raise RunError(
                f"{path} is not empty; go on with a run that is there by --resume, "
                "or name another folder"
            )

    @classmethod
    def open(cls, path: Path, *, lock: bool = True) -> Self:
        """Open a run folder, for writing unless `lock` is False.

        Raises:
            RunError: if there is none, it has another format, another process writes to it,
                or what it holds is damaged beyond the last good state.
        """
        try:
            found = read_bytes(path / FORMAT_FILE).decode(errors="replace").strip()
        except OSError as error:
            what = "is not a run folder: it has no FORMAT file" if path.exists() else "is absent"
            raise RunError(f"the run folder {path} {what}") from error
        if found != FORMAT:
            raise RunError(
                f"{path} has the format {found!r}, this version of gensynth reads {FORMAT!r}; "
                "open it with the version that its environment.json names"
            )
        if not lock:
            return cls(path, None)
        run = cls(path, take_lock(path))
        try:
            with run._writing("journal.jsonl"):
                run._repair()
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Give the lock back; closing twice does nothing more."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def ledger(self) -> Path:
        """Where every touch of the test split is recorded."""
        return self.path / LEDGER_FILE

    def commit_state(
        self, cycle: int, files: Mapping[str, bytes], journal_entry: Mapping[str, Any]
    ) -> None:
        """Complete a cycle: its state first, then its line of the journal.

        Committing the last cycle once more with the same content completes what an error
        (a full disk, say) left undone, and otherwise does nothing.

        Args:
            cycle: greater than any committed one.
            files: what the run needs to go on, by plain file name.
            journal_entry: JSON values; "cycle" is added.

        Raises:
            RunError: if it cannot be written; the last good state is as it was.
            ValueError: if the cycle is not a new one, a value is not JSON (NaN is not), or a
                file is named "entry.json".
        """
        if "entry.json" in files:
            raise ValueError("a state's file must not be named 'entry.json'")
        entry = {"cycle": cycle, **journal_entry}
        if cycle < 0 or entry["cycle"] != cycle:
            raise ValueError(f"cycle must be 0 or more and the entry's own, got {cycle}, {entry}")
        with self._writing(f"state/{cycle:04d}"):
            self._history.commit(cycle, files, entry)

    def latest_state(self) -> tuple[int, Path] | None:
        """Return cycle and folder of the last good state, or None before the first.

        A state whose files do not have the SHA-256 of its entry is passed over.

        Raises:
            RunError: if there are states and none of them is good.
        """
        return self._history.latest()

    def read_journal(self) -> list[dict[str, Any]]:
        """Return the completed cycles' entries, in order, as the last good state has them.

        Raises:
            RunError: if a line other than an unfinished last one is damaged.
        """
        return self._history.entries()

    def journal_change(self, changes: Mapping[str, Any]) -> None:
        """Journal that from here on something else is asked of the run.

        Args:
            changes: JSON values, [before, now] by key.

        Raises:
            RunError: if it cannot be written.
        """
        with self._writing("journal.jsonl"):
            self._history.note(changes)

    def put_aside(self, relative: str) -> Path | None:
        """Rename a folder to the first free of NAME.1, NAME.2, ...; None if it is not there.

        Raises:
            RunError: if it cannot be renamed.
        """
        path = self._inside(relative)
        if not path.exists():
            return None
        names = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        with self._writing(relative):
            path.rename(aside)
            atomic_files.sync_folder(path.parent)
        return aside

    def remove(self, relative: str) -> None:
        """Remove a file.

        Raises:
            RunError: if it cannot be removed.
        """
        path = self._inside(relative)
        with self._writing(relative):
            path.unlink()
            atomic_files.sync_folder(path.parent)

    def write_folder(self, relative: str, files: Mapping[str, bytes]) -> Path:
        """Write or replace a folder such as "finalists/a" whole; return its path.

        Raises:
            RunError: if it cannot be written; what stood there before still does.
            ValueError: if it does not lie inside the run folder.
        """
        path = self._inside(relative)
        with self._writing(relative):
            atomic_files.write_folder(path, files)
        return path

    def write_bytes(self, relative: str, content: bytes) -> Path:
        """Write or replace a file whole; return its path.

        Raises:
            RunError: if it cannot be written; what stood there before still does.
            ValueError: if it does not lie inside the run folder.
        """
        path = self._inside(relative)
        with self._writing(relative):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_files.write_bytes(path, content)
        return path

    def write_text(self, relative: str, text: str) -> Path:
        """Write or replace a UTF-8 file whole; return its path. See `write_bytes`."""
        return self.write_bytes(relative, text.encode())

    def _inside(self, relative: str) -> Path:
        parts = Path(relative).parts
        if not parts or any(part.startswith((".", "/")) for part in parts):
            raise ValueError(f"a place in the run folder must be relative, got {relative!r}")
        return self.path.joinpath(*parts)

    @contextlib.contextmanager
    def _writing(self, relative: str) -> Iterator[None]:
        if self._lock is None:
            raise ValueError(f"{self.path} is open for reading only")
        try:
            yield
        except OSError as error:
            path = self.path / relative
            raise RunError(
                f"{path} could not be written, {atomic_files.reason(error)}; {self._way_on()}"
            ) from error

    def _way_on(self) -> str:
        try:
            last = self.latest_state()
        except RunError as error:
            return str(error)
        done = f"the last good state is cycle {last[0]}" if last else "no cycle was completed"
        return f"{done}: make room and go on with: gensynth synth --resume {self.path}"

    def _repair(self) -> None:
        self._history.latest()  # refuses before anything is changed
        for folder, _, _ in list(os.walk(self.path)):
            atomic_files.recover(Path(folder))
        self._history.mend()
