"""A machine that measures what a test says, at once: what `answer` takes in an agent's place."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gensynth.bench.record import make
from gensynth.bench.request import Request
from gensynth.devices.registry import Device
from gensynth.progress import Listener
from tests.fakes.agent_results import FACTS, AgentResult


class Desk:
    """A quiet machine, until a test changes that.

    Attributes:
        facts: what a look at it shows.
        times_ms: of every network, (rounds, runs).
        reference_ms: what the reference network takes in turns with them.
        change: done to every result before it becomes a record.
        jobs: how many it has measured.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {**FACTS, "runtimes": {"onnxruntime": "1.10.0"}}
        self.times_ms = np.array([[2.0, 2.02], [2.01, 2.0]] * 4)
        self.reference_ms = 5.0
        self.change: Callable[[AgentResult], None] = lambda result: None
        self.jobs = 0

    def look(self, device: Device, listener: Listener) -> Mapping[str, Any]:
        """Return its facts."""
        return self.facts

    def measure(
        self, request: Request, listener: Listener
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return a record of the times that the test chose."""
        self.jobs += 1
        result = AgentResult(request, [self.times_ms] * len(request.jobs))
        board = {key: value for key, value in self.facts.items() if key != "runtimes"}
        result.result.update(id=f"job-{self.jobs}", board=board)
        if request.grade.quiet is not None:
            result.beside(self.reference_ms)
        self.change(result)
        about = {"started_utc": f"2026-11-24T12:00:{self.jobs:02}", "command": "gensynth bench"}
        return make(request, result.result, result.fetch, about)
