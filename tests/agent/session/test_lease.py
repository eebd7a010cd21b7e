"""How long a job may go on: by its limits, and by what a slow board is seen to need."""

import pytest

from gensynth.devices.agent.session import lease
from gensynth.devices.agent.session.lease import Stopwatch
from gensynth.devices.agent.wire.spec import MAX_SECONDS
from gensynth.devices.agent.wire.status import Fault


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


LIMITS = {"build_s": 3600.0, "run_s": 348.0, "lease_s": 60.0}


def test_running_has_its_limit_whatever_building_took(clock: Clock) -> None:
    watch = Stopwatch(LIMITS)
    clock.now_s += 3000
    watch.enter("latency")
    clock.now_s += 347
    assert watch.left_s() == pytest.approx(1)
    clock.now_s += 2
    with pytest.raises(Fault, match="running must end within 348 s here"):
        watch.left_s()


def test_a_slow_board_has_three_times_what_its_first_runs_foretell(clock: Clock) -> None:
    # A run takes 20 s, so eight rounds of three take 480 s: more than the limit for all.
    watch = Stopwatch(LIMITS)
    watch.enter("warm-up")
    clock.now_s += 300
    watch.expect(480.0)
    assert watch.left_s() == pytest.approx(3 * 480)
    assert LIMITS["run_s"] == 348.0


def test_a_fast_board_keeps_its_limit_and_none_has_more_than_a_day(clock: Clock) -> None:
    watch = Stopwatch(LIMITS)
    watch.enter("latency")
    watch.expect(8.0)
    assert watch.left_s() == pytest.approx(348)
    watch.expect(1e9)
    assert watch.left_s() == pytest.approx(MAX_SECONDS)
