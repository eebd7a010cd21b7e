"""Several things timed in turns, so that what drifts strikes them all alike.

    warm-up   each by itself, in blocks, until three blocks agree
    round 0   A B C      every letter is a turn: one run that is not timed, which brings the
    round 1   C B A      caches back, then its timed runs
    round 2   C B A
    round 3   A B C      the order follows the Thue-Morse sequence: ABBABAAB for two

A linear drift cancels within two rounds, and for two things a quadratic one within four. No run
is ever left out. This is the one timing loop of the project, for boards and for this machine;
nothing in it knows what is timed, and tests give it their own clock.
"""

import gc
import math
import statistics
import time
from array import array
from contextlib import contextmanager
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence

Clock = Callable[[], int]
Run = Callable[[], Optional[int]]

AGREEING_BLOCKS = 3


def _now_ns() -> int:
    return int(time.perf_counter() * 1e9)


# CLOCK_MONOTONIC on Linux, so the stamps of all processes of a board can be compared.
now_ns: Clock = getattr(time, "perf_counter_ns", _now_ns)


class Turn(NamedTuple):
    """Runs one after the other.

    Attributes:
        total_ns: of each run, in order.
        compute_ns: of each run without moving its inputs and outputs; None where nothing is
            moved.
    """

    total_ns: "array[int]"
    compute_ns: "Optional[array[int]]"


class Warmup(NamedTuple):
    """How a warm-up went.

    Attributes:
        seconds: that it took.
        runs: in it.
        steady: whether the last blocks agreed; if not, what follows may drift.
        typical_ns: the mean run of the last block. On a busy board it is many times the
            median, and a turn of so many medians would last as many times too long.
    """

    seconds: float
    runs: int
    steady: bool
    typical_ns: float


class Window(NamedTuple):
    """Whole runs without a pause, in nanoseconds of `now_ns`.

    Attributes:
        onset_ns: when the work began that fills the window: a sensor that averages still
            reports what was before it.
        start_ns: of the first run that counts.
        end_ns: of the last.
        runs: between the two.
    """

    onset_ns: int
    start_ns: int
    end_ns: int
    runs: int


class Stopwatch:
    """Times something that is called in this process.

    Args:
        run: one run to its end; returns the nanoseconds of its computation alone, or None.
        clock: in nanoseconds, never going back.
    """

    def __init__(self, run: Run, clock: Clock = now_ns) -> None:
        self._run = run
        self._clock = clock

    def turn(self, runs: int) -> Turn:
        """Run once untimed, then `runs` times timed."""
        self._run()
        return self._timed(lambda count: count < runs)

    def block(self, seconds: float) -> Turn:
        """Run, timed, for that long and at least once."""
        end = self._clock() + round(seconds * 1e9)
        return self._timed(lambda count: count == 0 or self._clock() < end)

    def _timed(self, goes_on: Callable[[int], bool]) -> Turn:
        run, clock = self._run, self._clock
        total = array("Q")
        compute = array("Q")
        while goes_on(len(total)):
            start = clock()
            inside = run()
            total.append(clock() - start)
            if inside is not None:
                compute.append(inside)
        return Turn(total, compute if compute else None)


def warm_up(
    block: Callable[[float], Turn],
    min_s: float,
    block_s: float,
    agree_pct: float,
    cap_s: float,
    clock: Clock = now_ns,
) -> Warmup:
    """Run until steady: the medians of three consecutive blocks agree.

    Args:
        block: runs for that many seconds, at least once.
        min_s: the shortest warm-up.
        block_s: length of a block.
        agree_pct: the largest of the three medians may be this much above the smallest.
        cap_s: no block begins after it, but for the first three.
    """
    start = clock()
    medians: List[float] = []
    runs = 0
    with collector_off():
        while True:
            taken = block(block_s).total_ns
            runs += len(taken)
            medians.append(statistics.median(taken))
            seconds = (clock() - start) / 1e9
            last = medians[-AGREEING_BLOCKS:]
            steady = (
                len(last) == AGREEING_BLOCKS
                and seconds >= min_s
                and max(last) <= (1 + agree_pct / 100) * min(last)
            )
            # Fewer blocks than can agree would call every slow network unsteady.
            if steady or (seconds >= cap_s and len(medians) >= AGREEING_BLOCKS):
                return Warmup(seconds, runs, steady, sum(taken) / len(taken))


def runs_a_turn(runs: int, min_round_s: float, typical_ns: float) -> int:
    """Return how many runs a turn has: `runs`, or more where they would be over too soon."""
    return max(runs, math.ceil(min_round_s * 1e9 / max(typical_ns, 1.0)))


def in_turns(
    turns: Sequence[Callable[[], Turn]],
    rounds: int,
    after_round: Callable[[int], None] = lambda done: None,
) -> List[List[Turn]]:
    """Return, for each of `turns`, its turn of every round.

    Args:
        turns: each call is one turn.
        rounds: turns of each.
        after_round: called between rounds, with the number of those done.
    """
    taken: List[List[Turn]] = [[] for _ in turns]
    with collector_off():
        for number in range(rounds):
            for index in order(len(turns), number):
                taken[index].append(turns[index]())
            after_round(number + 1)
    return taken


def order(count: int, number: int) -> Sequence[int]:
    """Return who runs when in a round: forwards where the Thue-Morse sequence has a 0."""
    forwards = range(count)
    return forwards if bin(number).count("1") % 2 == 0 else forwards[::-1]


def busy_window(
    run: Callable[[], object],
    synchronise: Callable[[], object],
    settle_s: float,
    window_s: float,
    clock: Clock = now_ns,
) -> Window:
    """Run without a pause and return the part after the first `settle_s` seconds.

    The window is the shortest of whole runs that lasts `window_s`; nothing is under way at
    either end of it.
    """
    with collector_off():
        onset = clock()
        settled = onset + round(settle_s * 1e9)
        while clock() < settled:
            run()
        synchronise()
        start = clock()
        end = start + round(window_s * 1e9)
        runs = 0
        while runs == 0 or clock() < end:
            run()
            runs += 1
        synchronise()
        return Window(onset, start, clock(), runs)


def idle_window(
    settle_s: float,
    idle_s: float,
    clock: Clock = now_ns,
    sleep: Callable[[float], object] = time.sleep,
) -> Window:
    """Do nothing and return the part after the first `settle_s` seconds."""
    onset = clock()
    sleep(settle_s)
    start = clock()
    sleep(idle_s)
    return Window(onset, start, clock(), 0)


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed, and put it back as it was."""
    was_on = gc.isenabled()
    if was_on:
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
