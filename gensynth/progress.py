"""How a run is followed: what it tells whoever started it, and nothing about how it is shown.

The run calls a `Listener` and never prints; the command line brings one that draws tables and
bars, a program may bring its own, `LOGGED` hands on to `logging` under "gensynth", and `SILENT`
hears nothing.
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol


class Listener(Protocol):
    """What hears of a run's progress."""

    def phase(self, name: str) -> None:
        """A part of the run begins: "prepare", "cycles", "finalists", "certify", ..."""

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        """A cycle is kept; `entry` is its line of the journal, `total` how many there will be."""

    def progress(self, what: str, share: float, text: str) -> None:
        """Work on `what` has come to `share`, in [0, 1]; `text` is a word about it."""

    def note(self, text: str) -> None:
        """Something worth one sentence."""


class Silent:
    """A listener that hears nothing."""

    def phase(self, name: str) -> None:
        """Hear nothing."""

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        """Hear nothing."""

    def progress(self, what: str, share: float, text: str) -> None:
        """Hear nothing."""

    def note(self, text: str) -> None:
        """Hear nothing."""


class Logged(Silent):
    """A listener that logs: phases and cycles as information, sentences as warnings."""

    _logger = logging.getLogger("gensynth")

    def phase(self, name: str) -> None:
        """Log which part of the run begins."""
        self._logger.info("%s", name)

    def cycle(self, entry: Mapping[str, Any], total: int) -> None:
        """Log what a cycle has come to."""
        self._logger.info("cycle %d of %d: %s", entry["cycle"], total, entry.get("verdict", ""))

    def note(self, text: str) -> None:
        """Log a sentence."""
        self._logger.warning("%s", text)


SILENT = Silent()
LOGGED = Logged()
