"""Several things timed in turns, so that what drifts strikes them all alike.

    round 0   A B C      every letter is a turn: one run that is not timed, which brings the
    round 1   C B A      caches back, then `runs` timed ones
    round 2   C B A
    round 3   A B C      the order follows the Thue-Morse sequence: ABBABAAB for two

After one warm-up for all. A linear drift cancels within two rounds, a quadratic one within
four. Nothing here knows what is timed or which clock is read.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Clock = Callable[[], int]

_STEADY_BLOCKS = 3
_STEADY_SHARE = 0.02


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
    warmup_ns: int,
    clock: Clock = time.perf_counter_ns,
) -> tuple[Timings, ...]:
    """Time each subject `rounds` times `runs` runs, in turns.

    The warm-up of a subject ends when the medians of three consecutive blocks of `runs`
    runs lie within 2 % of each other, and at the latest after `warmup_ns`.

    Args:
        subjects: each call is one run.
        rounds: turns of every subject.
        runs: timed runs of one turn.
        warmup_ns: the longest warm-up of one subject.
        clock: in nanoseconds, never going back.

    Raises:
        ValueError: if `rounds` or `runs` is not positive.
    """
    if rounds < 1 or runs < 1:
        raise ValueError(f"rounds and runs must be at least 1, got {rounds} and {runs}")
    warm = [_warm_up(subject, runs, warmup_ns, clock) for subject in subjects]
    taken: list[list[tuple[int, ...]]] = [[] for _ in subjects]
    for number in range(rounds):
        order = range(len(subjects))
        for index in order if number.bit_count() % 2 == 0 else reversed(order):
            subjects[index]()
            taken[index].append(_timed(subjects[index], runs, clock))
    return tuple(
        Timings(tuple(turns), warmup_runs, steady)
        for turns, (warmup_runs, steady) in zip(taken, warm, strict=True)
    )


def _timed(subject: Callable[[], object], runs: int, clock: Clock) -> tuple[int, ...]:
    durations = []
    for _ in range(runs):
        start = clock()
        subject()
        durations.append(clock() - start)
    return tuple(durations)


def _warm_up(
    subject: Callable[[], object], runs: int, limit_ns: int, clock: Clock
) -> tuple[int, bool]:
    """Run until steady; return the number of runs and whether it became so."""
    end = clock() + limit_ns
    medians: list[float] = []
    while True:
        medians.append(statistics.median(_timed(subject, runs, clock)))
        last = medians[-_STEADY_BLOCKS:]
        if len(last) == _STEADY_BLOCKS and max(last) <= (1 + _STEADY_SHARE) * min(last):
            return runs * len(medians), True
        if clock() >= end:
            return runs * len(medians), False
