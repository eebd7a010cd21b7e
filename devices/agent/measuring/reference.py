"""The reference network that takes a short turn in every round of the networks' own.

It is always the same file, in FP32, so that what it takes tells of the board and of nothing else:
a board that is slower than it uses to be, for whatever reason, is slower with it as well. It is
left out, with the reason, where it does not load or one run of it would hold up the networks.
"""

from typing import Any, Dict, Optional

from gensynth.devices.agent.runtimes.networks import Loaded, open_network
from gensynth.devices.agent.runtimes.runtimes import Runtime
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.timing import Turn, collector_off, runs_a_turn

PRECISION = "fp32"
RUN_AT_MOST_S = 1.0
WARM_UP_TURNS = 3
_RUNS_AT_LEAST = 2


class Reference:
    """The reference network of a job.

    Attributes:
        result: "times", as of a network, once they are there; and "why" there are none.
        runs: timed in each turn.
        turn_s: how long a turn takes.
    """

    def __init__(self, loaded: Optional[Loaded], turn_s: float, why: Optional[str]) -> None:
        self._loaded = loaded
        self.result: Dict[str, Any] = {"times": None, "why": why}
        self.runs = _RUNS_AT_LEAST
        self.turn_s = turn_s

    def warm_up(self) -> bool:
        """Run it for a few turns; return whether it is to be timed."""
        if self._loaded is None:
            return False
        try:
            self._loaded.block(0.0)  # a first run loads what the later ones find
            run_s = max(self._loaded.block(0.0).total_ns) / 1e9
            if run_s > RUN_AT_MOST_S:
                self.result["why"] = "one run of it takes {:.1f} s here, at most {:g} s".format(
                    run_s, RUN_AT_MOST_S
                )
                return False
            with collector_off():
                taken = self._loaded.block(WARM_UP_TURNS * self.turn_s).total_ns
        except Fault as fault:
            self.result["why"] = fault.message
            return False
        typical_ns = sum(taken) / len(taken)
        self.runs = runs_a_turn(_RUNS_AT_LEAST, self.turn_s, typical_ns)
        self.turn_s = (self.runs + 1) * typical_ns / 1e9
        return True

    def turn(self) -> Turn:
        """Take one turn."""
        assert self._loaded is not None
        return self._loaded.turn(self.runs)


def open_reference(
    asked: Dict[str, Any], runtime: Runtime, spool: Spool, workspace_mib: int
) -> Reference:
    """Load the "reference" of a job's specification, or say why it cannot be."""
    loaded, why = None, None
    try:
        loaded = runtime.load(open_network(asked, spool), PRECISION, workspace_mib)
    except Fault as fault:
        why = fault.message
    return Reference(loaded, asked["turn_s"], why)
