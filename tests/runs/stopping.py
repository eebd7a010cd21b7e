"""A run that is stopped at a word, and what must be the same however often it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gensynth.progress import Silent


def networks(path: Path) -> dict[str, bytes]:
    """Everything of a run that must be the same however often it was stopped."""
    names = ("graph.json", "weights.safetensors")
    files = [path / "generator.json", path / "inquisitor.json"]
    files += [
        f for folder in sorted((path / "finalists").iterdir()) for f in map(folder.joinpath, names)
    ]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def ledger(path: Path) -> list[dict[str, Any]]:
    """Every look at the test images."""
    return [json.loads(line) for line in (path / "ledger.jsonl").read_text().splitlines()]


def timeless(journal: tuple[Mapping[str, Any], ...]) -> list[dict[str, Any]]:
    """A journal without its seconds."""
    return [{k: v for k, v in e.items() if not k.endswith("seconds")} for e in journal]


class Stop(Silent):
    """Presses Ctrl-C when it hears a word."""

    def __init__(self, phase: str = "", cycle: int = 0, progress: str = "") -> None:
        self._phase, self._cycle, self._progress = phase, cycle, progress

    def phase(self, name: str) -> None:
        if name == self._phase:
            raise KeyboardInterrupt

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        if entry["cycle"] == self._cycle:
            raise KeyboardInterrupt

    def progress(self, what: str, share: float, text: str) -> None:
        if what == self._progress and share > 0.5:
            raise KeyboardInterrupt


class Heard(Silent):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
