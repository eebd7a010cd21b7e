"""The one timing loop, on a clock that the test moves."""

import gc
import itertools
import math
import random
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.devices.agent.wire.timing import (
    Stopwatch,
    Turn,
    Warmup,
    busy_window,
    collector_off,
    idle_window,
    in_turns,
    now_ns,
    order,
    runs_a_turn,
    warm_up,
)

S = 1_000_000_000


class Clock:
    """Time that passes only when something is done."""

    def __init__(self) -> None:
        self.ns = 5 * S

    def __call__(self) -> int:
        return self.ns

    def running(self, durations: Iterable[int]) -> Callable[[], None]:
        """A run that takes the next of these nanoseconds each time."""
        left = iter(durations)

        def run() -> None:
            self.ns += next(left)

        return run


def turn(*total_ns: int) -> Turn:
    return Turn(array("Q", total_ns), None)


def sequence(count: int, rounds: int) -> list[int]:
    return [index for number in range(rounds) for index in order(count, number)]


def test_two_take_turns_as_abbabaab() -> None:
    assert "".join("AB"[index] for index in sequence(2, 4)) == "ABBABAAB"


def test_the_order_of_rounds_is_the_sequence_of_thue_and_morse() -> None:
    # Its first sixteen terms: OEIS A010060.
    flipped = [order(3, number)[0] == 2 for number in range(16)]
    assert [int(flip) for flip in flipped] == [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("count", "rounds", "power"),
    [*((count, rounds, 1) for count in (2, 3, 5) for rounds in (2, 4, 6)), (2, 4, 2), (2, 8, 3)],
)
def test_a_drift_strikes_all_alike(count: int, rounds: int, power: int) -> None:
    drift = [position**power for position in range(count * rounds)]
    sums = [0] * count
    for index, value in zip(sequence(count, rounds), drift, strict=True):
        sums[index] += value
    assert len(set(sums)) == 1


def test_every_turn_of_every_round_is_kept_in_its_place() -> None:
    numbers = itertools.count()
    turns = [lambda: turn(next(numbers)) for _ in range(3)]
    done: list[int] = []
    taken = in_turns(turns, 3, done.append)
    positions = [[number for (number,), _ in taken_by] for taken_by in taken]
    assert positions == [[0, 5, 8], [1, 4, 7], [2, 3, 6]]
    assert done == [1, 2, 3]


def heating(clock: Clock, base_ns: float, random_: random.Random) -> Callable[[], None]:
    """A run on a board that grows 3 % slower with a time constant of 40 s, with 1 % of noise."""
    start = clock.ns

    def run() -> None:
        heat = 1 + 0.03 * (1 - math.exp((start - clock.ns) / (40 * S)))
        clock.ns += round(base_ns * heat * random_.gauss(1, 0.01))

    return run


def measured_ratio(slowdown: float, rounds: int, runs: int, seed: int) -> float:
    clock, random_ = Clock(), random.Random(seed)
    turns = [
        partial(Stopwatch(heating(clock, base, random_), clock).turn, runs)
        for base in (10e6, 10e6 * slowdown)
    ]
    taken = in_turns(turns, rounds)
    first, second = (
        statistics.fmean(value for one in own for value in one.total_ns) for own in taken
    )
    return second / first


@pytest.mark.parametrize("seed", range(5))
def test_a_board_that_warms_up_does_not_favour_one_of_two_equals(seed: int) -> None:
    # Noise of the mean of 1,600 runs: 1 % * sqrt(2 / 1,600) = 0.035 %.
    assert measured_ratio(1.0, rounds=8, runs=200, seed=seed) == pytest.approx(1, abs=0.0015)


@pytest.mark.parametrize("seed", range(5))
def test_one_after_the_other_would_favour_the_first(seed: int) -> None:
    # What the turns are for: the same 1,600 runs of each in one round.
    assert measured_ratio(1.0, rounds=1, runs=1600, seed=seed) > 1.005


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slowdown_is_found_on_a_board_that_warms_up(seed: int) -> None:
    assert measured_ratio(1.05, rounds=8, runs=200, seed=seed) == pytest.approx(1.05, abs=0.0015)


def test_a_turn_is_one_untimed_run_and_then_the_timed_ones() -> None:
    clock = Clock()
    watch = Stopwatch(clock.running([900, 10, 20, 5000, 30]), clock)
    assert list(watch.turn(4).total_ns) == [10, 20, 5000, 30]  # the outlier stays


def test_the_computation_alone_is_kept_beside_the_whole() -> None:
    clock = Clock()

    def run() -> int:
        clock.ns += 50
        return 30

    taken = Stopwatch(run, clock).turn(2)
    assert taken.compute_ns is not None
    assert (list(taken.total_ns), list(taken.compute_ns)) == ([50, 50], [30, 30])
    assert Stopwatch(clock.running([1, 2]), clock).turn(1).compute_ns is None


def test_a_block_lasts_as_long_as_asked_in_whole_runs() -> None:
    clock = Clock()
    watch = Stopwatch(clock.running(itertools.repeat(300_000_000)), clock)
    assert len(watch.block(1.0).total_ns) == 4  # 0.9 s are too few
    assert len(watch.block(0.0).total_ns) == 1


def warmed(
    blocks_ms: list[float], min_s: float = 0, agree_pct: float = 0.5, cap_s: float = 300
) -> Warmup:
    """Warm up with blocks of ten runs; every run of a block takes its milliseconds."""
    clock = Clock()
    left = iter(blocks_ms)

    def block(seconds: float) -> Turn:
        clock.ns += round(seconds * 1e9)
        return turn(*[round(next(left) * 1e6)] * 10)

    return warm_up(block, min_s=min_s, block_s=10, agree_pct=agree_pct, cap_s=cap_s, clock=clock)


def test_a_warm_up_ends_with_three_blocks_that_agree() -> None:
    # 90.4 is 0.44 % above 90.0, and 91.0 was 1.1 %.
    done = warmed([100, 91, 90.4, 90.2, 90.0, 80])
    assert done == Warmup(seconds=50, runs=50, steady=True, typical_ns=90e6)


def test_how_long_turns_become_is_judged_by_the_mean() -> None:
    clock = Clock()

    def block(seconds: float) -> Turn:
        clock.ns += S
        return turn(*[1_000_000] * 9, 91_000_000)  # one run in ten waits for a busy neighbour

    done = warm_up(block, min_s=0, block_s=1, agree_pct=1, cap_s=10, clock=clock)
    assert done.typical_ns == 10_000_000  # 100 runs are one second


def test_a_network_that_grows_slower_is_not_steady_either() -> None:
    assert warmed([90, 91, 92, 93, 93.2, 93.4]).seconds == 60


def test_a_warm_up_has_its_shortest_time() -> None:
    assert warmed([90] * 9, min_s=60).seconds == 60


def test_a_warm_up_that_never_settles_ends_and_says_so() -> None:
    done = warmed([90 + 5 * (n % 2) for n in range(99)], cap_s=300)
    assert (done.seconds, done.steady) == (300, False)


def test_a_run_longer_than_the_cap_may_still_be_steady() -> None:
    # Three runs of 20 s agree; a cap of 15 s that ended after the first would call every slow
    # network unsteady.
    done = warmed([20_000] * 3, cap_s=15)
    assert (done.runs, done.steady) == (30, True)


def test_steadiness_is_judged_by_medians() -> None:
    clock = Clock()

    def block(seconds: float) -> Turn:
        clock.ns += S
        return turn(*[10] * 6, *[10_000] * 4)

    assert warm_up(block, 0, 1, 0.5, 99, clock).steady


def test_a_turn_is_long_enough_to_be_timed() -> None:
    assert runs_a_turn(runs=50, min_round_s=1.0, typical_ns=30e6) == 50
    assert runs_a_turn(runs=10, min_round_s=1.0, typical_ns=30e6) == 34  # 33 are 0.99 s
    assert runs_a_turn(runs=0, min_round_s=0.0, typical_ns=30e6) == 0


@given(runs=st.integers(0, 1000), min_round_s=st.floats(0, 100), typical_ns=st.floats(1e3, 1e12))
def test_a_turn_has_the_fewest_runs_that_are_enough(
    runs: int, min_round_s: float, typical_ns: float
) -> None:
    count = runs_a_turn(runs, min_round_s, typical_ns)
    assert count >= runs
    assert count * typical_ns >= min_round_s * 1e9 * (1 - 1e-12)
    assert count == runs or (count - 1) * typical_ns < min_round_s * 1e9 * (1 + 1e-12)


def test_a_window_is_of_whole_runs_between_two_synchronised_ends() -> None:
    clock = Clock()
    events: list[tuple[str, float]] = []

    def run() -> None:
        clock.ns += 3 * S
        events.append(("run", clock.ns / S - 5))

    def synchronise() -> None:
        clock.ns += S // 2
        events.append(("synchronise", clock.ns / S - 5))

    window = busy_window(run, synchronise, settle_s=4, window_s=10, clock=clock)
    times = [(stamp - 5 * S) / S for stamp in (window.onset_ns, window.start_ns, window.end_ns)]
    # Two runs settle; the device is idle at 6.5 s; four runs last 10 s or more; then 0.5 s to wait.
    assert times == [0, 6.5, 19]
    assert window.runs == 4
    assert [name for name, _ in events] == [
        *["run"] * 2,
        "synchronise",
        *["run"] * 4,
        "synchronise",
    ]


def test_a_window_has_one_run_at_least() -> None:
    clock = Clock()
    window = busy_window(clock.running([70 * S]), lambda: None, 0, 10, clock)
    assert (window.end_ns - window.start_ns, window.runs) == (70 * S, 1)


def test_an_idle_window_settles_first() -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.ns += round(seconds * S)

    window = idle_window(2.5, 20, clock, sleep)
    assert window == (5 * S, 7.5 * S, 27.5 * S, 0)


@pytest.mark.parametrize("was_on", [True, False])
def test_the_garbage_collector_stays_out_and_comes_back(was_on: bool) -> None:
    seen = []

    def take() -> Turn:
        seen.append(gc.isenabled())
        return turn(1)

    try:
        (gc.enable if was_on else gc.disable)()
        in_turns([take], 2)
        with pytest.raises(KeyError), collector_off():
            raise KeyError
        assert gc.isenabled() == was_on
    finally:
        gc.enable()
    assert seen == [False, False]


def test_stamps_of_two_processes_can_be_compared_and_follow_no_wall_clock() -> None:
    # CLOCK_MONOTONIC counts from the start of the system for all; a step of the time of day,
    # which moves time.time alone, does not move it.
    before = now_ns()
    code = "from gensynth.devices.agent.wire.timing import now_ns; print(now_ns())"
    between = int(subprocess.check_output([sys.executable, "-c", code]))
    assert before < between < now_ns()
    assert time.get_clock_info("perf_counter").monotonic
    assert not time.get_clock_info("perf_counter").adjustable
