"""Calls of this process timed in turns, by the project's one timing loop.

The loop is that of `gensynth.devices.agent.wire.timing`, which says how turns go; devices run it in
the agent. Here it times what is already loaded, without a process of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gensynth.bench.grades import Warmup
from gensynth.devices.agent.wire.timing import Clock, Stopwatch, in_turns, now_ns, warm_up


@dataclass(frozen=True)
class Timings:
    """What one of them took.

    Attributes:
        rounds_ns: one entry a round, with one entry a timed run, in nanoseconds.
        warmup_runs: runs before the first round.
        steady: whether the warm-up ended because three blocks of runs agreed.
    """

    rounds_ns: tuple[tuple[int, ...], ...]
    warmup_runs: int
    steady: bool


def time_interleaved(
    subjects: Sequence[Callable[[], object]],
    *,
    rounds: int,
    runs: int,
    warmup: Warmup,
    clock: Clock = now_ns,
) -> tuple[Timings, ...]:
    """Time each subject `rounds` times `runs` runs, in turns.

    Args:
        subjects: each call is one run.
        rounds: turns of every subject.
        runs: timed runs of one turn.
        warmup: of each subject.
        clock: in nanoseconds, never going back.

    Raises:
        ValueError: if `rounds` or `runs` is not positive.
    """
    if rounds < 1 or runs < 1:
        raise ValueError(f"rounds and runs must be at least 1, got {rounds} and {runs}")
    watches = [Stopwatch(partial(_run, subject), clock) for subject in subjects]
    warm = [warm_up(watch.block, **vars(warmup), clock=clock) for watch in watches]
    taken = in_turns([partial(watch.turn, runs) for watch in watches], rounds)
    return tuple(
        Timings(tuple(tuple(turn.total_ns) for turn in turns), done.runs, done.steady)
        for turns, done in zip(taken, warm, strict=True)
    )


def _run(subject: Callable[[], object]) -> None:
    """Run, and tell no part of it apart."""
    subject()
