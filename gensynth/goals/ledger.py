"""The record of every touch of a test split, one JSON object a line.

A test split that is looked at again and again until a network passes certifies nothing.
The ledger therefore answers a repeated question from the record, without touching the
images. Nothing here runs a network: the caller counts.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gensynth import atomic_files
from gensynth.data.dataset import Split
from gensynth.errors import RunError


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of a weights file: the key of a network in the ledger."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_sha256(split: Split) -> str:
    """Return the SHA-256 of a split's shape, images and labels: its key in the ledger."""
    digest = hashlib.sha256(repr(split.images.shape).encode())
    digest.update(split.images.tobytes())
    digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()


class Ledger:
    """The touches of a test split, append-only, on disk before and after each.

    A touch is two lines, "touch" before the images are looked at and "result" with the
    counts after. A process killed in between leaves a touch without a result: nobody saw
    one, so the same network may be counted again, and the record shows both touches.

    Example:
        >>> ledger = Ledger(path)  # doctest: +SKIP
        >>> ledger.count(network, split, look, n=len(test))  # doctest: +SKIP
        2871
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def recorded(self, network: str, split: str) -> tuple[int, int] | None:
        """Return the (correct, n) on record for a network and a split, by their SHA-256.

        Raises:
            RunError: if the ledger cannot be read or a line of it is damaged.
        """
        for entry in self.entries():
            if (entry["event"], entry["network"], entry["split"]) == ("result", network, split):
                return entry["correct"], entry["n"]
        return None

    def count(self, network: str, split: str, counted: Callable[[], int], *, n: int) -> int:
        """Return how many images of a split a network gets right, looking at most once.

        Args:
            network: SHA-256 of its weights file.
            split: SHA-256 of the split.
            counted: looks at the images and returns how many are right; called only if
                there is no result on record.
            n: images of the split.

        Raises:
            RunError: if the ledger cannot be read or written, or is damaged; the images are
                not touched then.
            ValueError: if `counted` returns what cannot be, or `n` is not the recorded one.
        """
        known = self.recorded(network, split)
        if known is not None:
            if known[1] != n:
                raise ValueError(f"n must be the recorded {known[1]}, got {n}")
            return known[0]
        self._append({"event": "touch", "network": network, "split": split, "n": n})
        correct = counted()
        if not 0 <= correct <= n:
            raise ValueError(f"correct must be in [0, {n}], got {correct}")
        self._append(
            {"event": "result", "network": network, "split": split, "n": n, "correct": correct}
        )
        return correct

    def entries(self) -> list[dict[str, Any]]:
        """Return all lines; a last one without its end, torn by a kill, is left out.

        Raises:
            RunError: if the ledger cannot be read or another line is damaged.
        """
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(self._whole_lines().splitlines(), start=1):
            try:
                entries.append(_entry(line))
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{self.path} is damaged in line {number}; the record of the test split "
                    "is not complete without it: put the file back from a copy"
                ) from error
        return entries

    def _whole_lines(self) -> bytes:
        content = self._content()
        return content[: content.rfind(b"\n") + 1]

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror}") from error

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, sort_keys=True).encode() + b"\n"
        try:
            whole = self._whole_lines()
            if whole != self._content():  # a torn last line, which the next would join
                atomic_files.write_bytes(self.path, whole)
            atomic_files.append(self.path, line)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror}; the test split is only "
                "looked at where that can be recorded"
            ) from error


def _entry(line: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(line)
    needed = {"network", "split", "n"} | ({"correct"} if entry["event"] == "result" else set())
    if not needed <= entry.keys():
        raise KeyError(", ".join(needed - entry.keys()))
    return entry
