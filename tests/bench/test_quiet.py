"""A machine that was not quiet is flagged, and what it measured answers no later question."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gensynth.bench.grades import find_grade
from gensynth.bench.quiet import Usual, disturbances
from gensynth.bench.request import Request
from gensynth.bench.session import answer
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices.registry import LOCAL
from gensynth.errors import StoreError
from gensynth.render.bench import bench
from tests.fakes.agent_results import AgentResult
from tests.fakes.desk import Desk
from tests.onnx_files.written import convolution

QUIET = find_grade("quick").quiet
Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def measure(tmp_path: Path, desk: Desk) -> Measure:
    """Asks the machine for one network, and again for the same."""
    store = Store(tmp_path / "measurements.sqlite")

    def ask(grade: str = "quick", *, width: int = 8, **options: Any) -> dict[str, Any]:
        file = convolution(tmp_path / f"net-{width}.onnx", width=width)
        request = Request(LOCAL, (read(find([file])[0]),), find_grade(grade))
        return answer(request, store=store, device=desk, **options)

    return ask


def flags_of(measure: Measure) -> list[str]:
    """The flags of a first measurement, after which the same question is asked again."""
    record = measure()
    flags: list[str] = record["flags"]
    assert record["status"] == ("degraded" if flags else "ok")
    assert measure()["from_store"] is not bool(flags)
    assert all(f"note: {flag}" not in bench(record) for flag in flags), "a flag without words"
    return flags


def test_a_quiet_machine_has_no_flags_and_its_record_answers(measure: Measure) -> None:
    assert flags_of(measure) == []


@pytest.mark.parametrize(
    "change", [{"serial_hash": "f" * 16}, {"power_mode": {"id": 1, "name": "MAXQ"}}], ids=list
)
def test_a_board_that_was_changed_while_it_measured_answers_nothing(
    desk: Desk, measure: Measure, change: dict[str, Any]
) -> None:
    def another(result: AgentResult) -> None:
        result.result["board"].update(change)

    desk.change = another
    assert not measure()["from_store"]
    assert not measure()["from_store"]
    assert desk.jobs == 2


def test_without_room_for_a_record_nothing_is_measured(
    desk: Desk, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: Store, size: int) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(Store, "require_room", full)
    with pytest.raises(StoreError, match="no room"):
        measure()
    assert desk.jobs == 0


def scattered(cov: float) -> np.ndarray:
    """Runs of a mean of 2 ms by turns that much above it and below."""
    return np.tile([2 * (1 + cov), 2 * (1 - cov)], (8, 2))


@pytest.mark.parametrize("cov", [0.11, 0.35, 9.39 / 10])
def test_runs_that_scatter_are_flagged(desk: Desk, measure: Measure, cov: float) -> None:
    desk.times_ms = scattered(cov)
    assert flags_of(measure) == ["scatter"]


def test_one_network_or_one_whole_that_scatters_is_enough() -> None:
    even, odd = {"cov_pct": 1.0}, {"cov_pct": 35.0}
    for latency, whole, flags in (
        (even, even, []),
        (odd, even, ["scatter"]),
        (even, odd, ["scatter"]),
    ):
        record = {
            "networks": [
                {"latency": even, "end_to_end": None},
                {"latency": latency, "end_to_end": {"latency": whole}},
            ],
            "others": {"processors": 0.0},
            "reference_in_turns": {"p50_ms": 1.0},
        }
        assert disturbances(QUIET, record, {}) == flags


def test_a_longer_grade_allows_less_scatter(desk: Desk, measure: Measure) -> None:
    desk.times_ms = scattered(0.03)  # 2.5 % is the limit where nothing else is said
    assert measure("quick")["flags"] == []
    assert measure("standard")["flags"] == ["scatter"]


def used(processors: float) -> Callable[[AgentResult], None]:
    def change(result: AgentResult) -> None:
        others = {"seconds": 8.0, "processors": processors, "steal": 0.0}
        result.result["others"] = others

    return change


def test_a_machine_that_others_use_is_flagged(desk: Desk, measure: Measure) -> None:
    desk.change = used(0.29)
    assert measure()["flags"] == []
    desk.change = used(1.0)
    assert measure(fresh=True)["flags"] == ["busy"]
    assert "others used 1.00 processors" in bench(measure(fresh=True))


def test_of_many_processors_others_may_use_a_twentieth(desk: Desk, measure: Measure) -> None:
    desk.facts["processors"] = 64
    desk.change = used(3.1)
    assert measure()["flags"] == []
    desk.change = used(3.3)
    assert measure(fresh=True)["flags"] == ["busy"]


def test_where_use_is_not_told_the_load_average_counts(desk: Desk, measure: Measure) -> None:
    desk.facts["load"] = [2.1, 1.0, 0.5]
    assert flags_of(measure) == ["busy"]


def test_a_graphics_unit_that_works_before_the_job_is_busy(desk: Desk, measure: Measure) -> None:
    desk.facts["gpu_load"] = 0.8
    assert flags_of(measure) == ["busy"]


def test_a_job_that_was_slow_for_no_reason_that_shows_is_flagged_by_its_reference(
    desk: Desk, measure: Measure
) -> None:
    assert measure()["flags"] == []
    desk.times_ms, desk.reference_ms = 1.77 * desk.times_ms, 1.77 * desk.reference_ms
    slow = measure(fresh=True)
    assert (slow["status"], slow["flags"]) == ("degraded", ["slow"])
    text = " ".join(bench(slow).split())
    assert "took 8.85 ms in turns with these, 5.00 ms in 1 jobs before" in text
    again = measure()  # the answer is the one of before
    assert (again["from_store"], again["job_id"]) == (True, "job-1")


def test_a_first_job_that_was_slow_answers_nothing_once_a_later_one_shows_it(
    desk: Desk, measure: Measure
) -> None:
    desk.reference_ms = 8.85
    assert measure(width=4)["flags"] == []  # nothing can tell yet
    desk.reference_ms = 5.0
    assert measure(width=16)["flags"] == []
    assert measure(width=16)["from_store"]
    assert not measure(width=4)["from_store"]


def test_a_job_that_others_disturbed_does_not_tell_what_is_usual(
    desk: Desk, measure: Measure
) -> None:
    desk.change = used(2.0)
    desk.reference_ms = 8.85
    assert measure()["flags"] == ["busy"]
    desk.change, desk.reference_ms = used(0.0), 5.0
    record = measure()
    assert (record["flags"], record["reference_in_turns"]["jobs"]) == ([], 0)


def test_what_is_usual_is_the_lower_median_and_a_tenth_more_is_slow() -> None:
    assert QUIET is not None
    usual = Usual(QUIET, [("a", 5.0), ("b", 9.0), ("c", 5.1), ("d", 7.0)])
    assert usual.p50_ms == 5.1
    assert not usual.is_slow(1.1 * 5.1)
    assert usual.is_slow(1.11 * 5.1)
    assert usual.slow_jobs() == ["b", "d"]
    assert not Usual(QUIET, []).is_slow(9.0)


def test_a_machine_too_slow_for_the_reference_network_is_flagged(
    desk: Desk, measure: Measure
) -> None:
    def left_out(result: AgentResult) -> None:
        result.result["reference"] = {"times": None, "why": "one run of it takes 12.0 s here"}

    desk.change = left_out
    assert flags_of(measure) == ["reference_left_out"]
    assert "one run of it takes 12.0 s here" in " ".join(bench(measure()).split())
