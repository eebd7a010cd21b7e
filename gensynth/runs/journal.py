"""The completed cycles of a run: states on disk, and the journal that tells of them.

    journal.jsonl       one JSON object a completed cycle, and one a change of what is asked
    state/0007/         everything the run needs to go on after cycle 7; the last two are kept
        entry.json      cycle, its journal entry, and the SHA-256 of each file beside it

A cycle is committed by the rename that makes its state visible; the journal follows. When a
run is opened for writing the journal is made to agree with the last good state: lines beyond
it are cut off, missing ones are taken from the states' entries. A change stays wherever it stands.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from gensynth import atomic_files
from gensynth.errors import RunError
from gensynth.outside import WEIGHTS_BYTES, FileName, Form, Natural, read_bytes

KEPT_STATES = 2


class _Cycle(TypedDict):
    cycle: Natural


class _Change(TypedDict):
    changed: dict[str, Any]
    after_cycle: Natural | None


class _State(TypedDict):
    entry: dict[str, Any]
    files: dict[FileName, str]


_ENTRY: Form[_Cycle | _Change] = Form(_Cycle | _Change)
_STATE: Form[_State] = Form(_State)


class History:
    """States and journal of the run in a folder.

    Reading takes no lock: a state is there whole or not at all. Only the process that holds the
    run's lock calls `commit` and `mend`.
    """

    def __init__(self, folder: Path) -> None:
        self._states = folder / "state"
        self._journal = folder / "journal.jsonl"

    def commit(self, cycle: int, files: Mapping[str, bytes], entry: Mapping[str, Any]) -> None:
        """Complete a cycle: its state first, then its line of the journal.

        Args:
            cycle: its number.
            files: what the run needs to go on, by plain file name; none is "entry.json".
            entry: JSON values, its "cycle" among them.

        Raises:
            OSError: if it cannot be written; the last good state is as it was.
            RunError: if what is there already is damaged.
            ValueError: if the cycle is not a new one, nor the last with the same content.
        """
        record = _entry_file(entry, files)
        last = self.latest()
        if last is not None and cycle <= last[0]:
            if cycle < last[0] or (last[1] / "entry.json").read_bytes() != record:
                raise ValueError(f"cycle {cycle} is not new, cycle {last[0]} is committed")
        else:
            atomic_files.write_folder(self._state(cycle), {**files, "entry.json": record})
        self._mend_journal()
        self._drop_superseded()

    def latest(self) -> tuple[int, Path] | None:
        """Return the last good state, or None before the first.

        A state whose files do not have the SHA-256 of its entry is passed over.

        Raises:
            RunError: if there are states and none of them is good.
        """
        cycles = self._cycles()
        while cycles:
            for cycle in cycles:
                folder = self._state(cycle)
                if _read_entry(folder) is not None:
                    return cycle, folder
            seen, cycles = cycles, self._cycles()  # a writer may have moved on meanwhile
            if cycles == seen:
                raise RunError(
                    f"every state in {self._states} is damaged; start again in another folder"
                )
        return None

    def entries(self) -> list[dict[str, Any]]:
        """Return the completed cycles' entries, in order, as the last good state has them.

        Raises:
            RunError: if a line other than an unfinished last one is damaged.
        """
        last = self.latest()
        if last is None:
            return []
        written = {
            entry["cycle"]: entry for entry in self._cycle_lines() if entry["cycle"] <= last[0]
        }
        for cycle in self._cycles():
            entry = _read_entry(self._state(cycle))
            if entry is not None and cycle <= last[0]:
                written[cycle] = entry
        return [written[cycle] for cycle in sorted(written)]

    def note(self, changes: Mapping[str, Any]) -> None:
        """Journal a change of what is asked, after the last completed cycle.

        Raises:
            OSError: if it cannot be written.
        """
        last = self.latest()
        note = {"after_cycle": None if last is None else last[0], "changed": changes}
        self._mend_journal()
        atomic_files.append(self._journal, _text([note]))

    def mend(self) -> None:
        """Remove states beyond the last good one and superseded ones; make the journal agree.

        Raises:
            OSError: if it cannot be written.
            RunError: if no state is good, or a line of the journal is damaged.
        """
        last = self.latest()
        for cycle in self._cycles():
            if last is not None and cycle > last[0]:
                atomic_files.remove_folder(self._state(cycle))
        self._mend_journal()
        self._drop_superseded()

    def _drop_superseded(self) -> None:
        for old in self._cycles()[KEPT_STATES:]:
            atomic_files.remove_folder(self._state(old))

    def _mend_journal(self) -> None:
        """Write what the journal lacks of the committed cycles, cut off what it has beyond."""
        present, wanted = self._journal_bytes(), _text(self._lines())
        if wanted.startswith(present):
            atomic_files.append(self._journal, wanted[len(present) :])
        else:
            atomic_files.write_bytes(self._journal, wanted)

    def _lines(self) -> list[dict[str, Any]]:
        """Return what the journal should hold: cycles, each with the changes after it."""
        placed = [(entry["cycle"], entry) for entry in self.entries()]
        for entry in self._journal_lines():
            if "changed" in entry:
                after = entry["after_cycle"]
                placed.append((-1 if after is None else after, entry))
        return [entry for _, entry in sorted(placed, key=lambda place: place[0])]

    def _cycle_lines(self) -> Iterator[dict[str, Any]]:
        return (entry for entry in self._journal_lines() if "changed" not in entry)

    def _state(self, cycle: int) -> Path:
        return self._states / f"{cycle:04d}"

    def _cycles(self) -> list[int]:
        """Every cycle with a state, good or not, the last first."""
        names = (path.name for path in self._states.glob("[0-9]*"))
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def _journal_bytes(self) -> bytes:
        try:
            return read_bytes(self._journal) if self._journal.exists() else b""
        except OSError as error:
            raise RunError(f"{self._journal} cannot be read: {error.strerror}") from error

    def _journal_lines(self) -> Iterator[dict[str, Any]]:
        whole, _, _ = self._journal_bytes().rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                _ENTRY.read(line)
                entry = json.loads(line)
            except ValueError as error:
                raise RunError(
                    f"{self._journal} is damaged in line {number}; mend the line "
                    "or remove the file to go on without the earlier cycles' entries"
                ) from error
            yield entry


def _entry_file(entry: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    content = {
        "entry": entry,
        "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }
    text = _json(content)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (_json({**content, "sha256": digest}) + "\n").encode()


def _read_entry(state: Path) -> dict[str, Any] | None:
    """Return a state's journal entry if the state is whole, else None."""
    try:
        record = read_bytes(state / "entry.json")
        content = _STATE.read(record)
        files = {name: read_bytes(state / name, WEIGHTS_BYTES) for name in content["files"]}
        entry = content["entry"]
        return entry if _entry_file(entry, files) == record else None
    except (OSError, ValueError):
        return None


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _text(entries: list[dict[str, Any]]) -> bytes:
    return "".join(_json(entry) + "\n" for entry in entries).encode()
