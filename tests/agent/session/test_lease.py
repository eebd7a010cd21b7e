"""How long a job may go on: while its host is heard, by its limits, by what a slow board needs."""

from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.agent.session import lease, lock
from gensynth.devices.agent.session.lease import Lease, Stopwatch
from gensynth.devices.agent.wire.spec import MAX_SECONDS
from gensynth.devices.agent.wire.spool import Spool
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
    monkeypatch.setattr(lock, "time", clock)
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


class Silent:
    """A host that says nothing, and hears all."""

    source = 0

    def receive(self, timeout_s: float) -> None:
        return None

    def offer(self, header: dict[str, Any]) -> None:
        return None


def leased(folder: Path, job: str = "job") -> tuple[Spool, Lease]:
    spool = Spool(str(folder))
    host: Any = Silent()
    return spool, Lease(host, spool, {"id": job, "limits": LIMITS})


def test_a_host_that_is_silent_for_its_lease_has_its_job_ended(
    tmp_path: Path, clock: Clock
) -> None:
    _, held = leased(tmp_path)
    clock.now_s += 60
    held.check()
    clock.now_s += 1
    with pytest.raises(Fault, match="the host was silent for 61 s") as ended:
        held.check()
    assert (ended.value.status, ended.value.details) == ("cancelled", {"cause": "lease"})


def test_a_host_that_is_heard_by_another_session_of_its_job_prolongs_it(
    tmp_path: Path, clock: Clock
) -> None:
    spool, held = leased(tmp_path)
    clock.now_s += 50
    lock.prolong(spool, "job")
    clock.now_s += 50
    held.check()
    clock.now_s += 11
    with pytest.raises(Fault, match="silent for 61 s"):
        held.check()


def test_a_host_of_another_job_prolongs_nothing(tmp_path: Path, clock: Clock) -> None:
    spool, held = leased(tmp_path)
    clock.now_s += 50
    lock.prolong(spool, "another")
    clock.now_s += 11
    with pytest.raises(Fault, match="silent for 61 s"):
        held.check()


def test_a_cancel_that_another_session_hears_ends_the_job(tmp_path: Path, clock: Clock) -> None:
    spool, held = leased(tmp_path)
    lock.prolong(spool, "job", cancel=True)
    with pytest.raises(Fault) as ended:
        held.check()
    assert ended.value.details == {"cause": "host"}
