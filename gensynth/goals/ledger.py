"""The record of every touch of a test split, one JSON object a line.

A test split that is looked at again and again until a network passes certifies nothing.
The ledger therefore answers a repeated question from the record, without touching the
images. Nothing here runs a network: the caller measures.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict

from gensynth import atomic_files
from gensynth.errors import RunError
from gensynth.goals.score import Score, read_score, to_record
from gensynth.outside import Form, Natural, read_bytes


class _Entry(TypedDict):
    event: Literal["touch", "result"]
    network: str
    split: str
    n: Natural


FORM: Form[_Entry] = Form(_Entry)


class Ledger:
    """The touches of a test split, append-only, on disk before and after each.

    A touch is two lines, "touch" before the images are looked at and "result" with the
    score after. A process killed in between leaves a touch without a result: nobody saw
    one, so the same network may be counted again, and the record shows both touches.

    Example:
        >>> ledger = Ledger(path)  # doctest: +SKIP
        >>> ledger.score(network, split, look, metric="top1", n=len(test))  # doctest: +SKIP
        Proportion(metric='top1', correct=2871, n=3200)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def recorded(self, network: str, split: str, metric: str) -> Score | None:
        """Return the score on record for a network and a split, by their SHA-256.

        Raises:
            RunError: if the ledger cannot be read or a line of it is damaged.
        """
        for entry in self.entries():
            if (entry["event"], entry["network"], entry["split"]) == ("result", network, split):
                return read_score(entry, metric)
        return None

    def judged(self, split: str) -> set[str]:
        """Return the networks with a result on a split, by their SHA-256.

        Raises:
            RunError: as `entries`.
        """
        return {
            entry["network"]
            for entry in self.entries()
            if entry["event"] == "result" and entry["split"] == split
        }

    def score(
        self, network: str, split: str, measured: Callable[[], Score], *, metric: str, n: int
    ) -> Score:
        """Return a network's score on a split, looking at most once.

        Args:
            network: SHA-256 of its weights file.
            split: SHA-256 of the split.
            measured: looks at the images and returns the score; called only if there is no
                result on record.
            metric: that is measured.
            n: images of the split.

        Raises:
            RunError: if the ledger cannot be read or written, or is damaged; the images are
                not touched then.
            ValueError: if `n` is not the recorded one, or not that of the score.
        """
        known = self.recorded(network, split, metric)
        if known is not None:
            if known.n != n:
                raise ValueError(f"n must be the recorded {known.n}, got {n}")
            return known
        self._append({"event": "touch", "network": network, "split": split, "n": n})
        score = measured()
        if score.n != n:
            raise ValueError(f"the score must be of all {n} images, got one of {score.n}")
        self._append({"event": "result", "network": network, "split": split, **to_record(score)})
        return score

    def entries(self) -> list[dict[str, Any]]:
        """Return all lines; a last one without its end, torn by a kill, is left out.

        Raises:
            RunError: if the ledger cannot be read or another line is damaged.
        """
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(self._whole_lines().splitlines(), start=1):
            try:
                entries.append(_entry(line))
            except ValueError as error:
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
            return read_bytes(self.path) if self.path.exists() else b""
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
                f"{self.path} cannot be written: {atomic_files.reason(error)}; the test split is "
                "only looked at where that can be recorded"
            ) from error


def _entry(line: bytes) -> dict[str, Any]:
    FORM.read(line)
    entry: dict[str, Any] = json.loads(line)
    if entry["event"] == "result":
        read_score(entry)
    return entry
