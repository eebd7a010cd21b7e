"""Whether the machine was quiet while it measured: what says no becomes a flag.

    scatter             the runs of a network vary more than those of a quiet machine
    busy                others used its processors, or its graphics unit before the job
    slow                the reference network took longer than it uses to there
    reference_left_out  there is no reference network to tell that

A load average tells of what ran before, and neither it nor stolen time shows a machine that
is slow for another reason: hence the reference network, in turns with the others. What it uses to
take is the lower median of the last jobs on the same machine with the same settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from gensynth.bench.grades import Quiet

GPU_LOAD_AT_MOST = 0.3
DISTURBING = ("busy", "threads")
"""Flags of jobs that do not tell how fast a machine uses to be."""
UNTRUE = (*DISTURBING, "scatter", "slow")
"""Flags of figures that are those of a disturbance as well."""


def disturbances(
    quiet: Quiet | None, record: Mapping[str, Any], board: Mapping[str, Any]
) -> list[str]:
    """Return the flags of a record that is whole but for them.

    Args:
        quiet: what the grade demands.
        record: with "networks", "others" and "reference_in_turns".
        board: its facts before the job.
    """
    if quiet is None:
        return []
    flags = []
    wholes = [n["end_to_end"] for n in record["networks"] if n["end_to_end"] is not None]
    scatters = [n["latency"]["cov_pct"] for n in [*record["networks"], *wholes]]
    if max(scatters) > quiet.cov_pct:
        flags.append("scatter")
    if _is_busy(quiet, record["others"], board):
        flags.append("busy")
    if record["reference_in_turns"]["p50_ms"] is None:
        flags.append("reference_left_out")
    return flags


def _is_busy(quiet: Quiet, others: Mapping[str, Any] | None, board: Mapping[str, Any]) -> bool:
    """Judge by what others used meanwhile; where that is not told, by the load before."""
    if (board.get("gpu_load") or 0.0) > GPU_LOAD_AT_MOST:
        return True
    used = None if others is None else others["processors"]
    if used is None:
        used = (board.get("load") or [0.0])[0]
    return bool(used > quiet.load_of(board.get("processors")))


@dataclass(frozen=True)
class Usual:
    """What the reference network takes in jobs on one machine.

    Attributes:
        quiet: what the grade demands.
        times: (job, milliseconds), the newest first.
    """

    quiet: Quiet
    times: Sequence[tuple[str, float]]

    @property
    def p50_ms(self) -> float | None:
        """What it uses to take; None before there is a job."""
        return median_low(ms for _, ms in self.times) if self.times else None

    def is_slow(self, p50_ms: float) -> bool:
        """Return whether that is longer than it uses to be."""
        usual = self.p50_ms
        return usual is not None and p50_ms > (1 + self.quiet.slower_pct / 100) * usual

    def slow_jobs(self) -> list[str]:
        """Return the jobs that were slower than what is usual by now."""
        return [job for job, ms in self.times if self.is_slow(ms)]
