"""Wall time by phase of a run; what earlier sessions took can be added."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Phases:
    """Wall time by phase, over all sessions of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of the body to a phase."""
        self._since[name] = time.perf_counter()
        try:
            yield
        finally:
            self.lap()
            del self._since[name]

    def lap(self) -> dict[str, float]:
        """Return the times so far, of phases that go on too."""
        now = time.perf_counter()
        for name, since in self._since.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + now - since
            self._since[name] = now
        return self.seconds

    def add(self, earlier: Mapping[str, float]) -> None:
        """Add what earlier sessions took."""
        for name, seconds in earlier.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
