"""A board that changes is found, one that does not is left alone, and doubt reaches its jobs."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gensynth.bench.control import EVERY, FEWEST, Chart, keep_watch
from gensynth.bench.grades import find_grade
from gensynth.bench.record import make
from gensynth.bench.reference import reference
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices.registry import LOCAL, Device
from gensynth.errors import DeviceFault
from gensynth.progress import SILENT, Listener
from tests.fakes.agent_results import AgentResult
from tests.onnx_files.written import convolution

TX2 = Device("tx2", "nvidia@tx2", profile="jetson-tx2", added_utc="2026-11-24T12:00:00.000")


def test_centre_and_sigma_are_those_of_a_hand_calculation() -> None:
    logs = [0.0, 0.01, 0.0, 0.01, 0.0]  # mean 0.004, sd sqrt(1.2e-4 / 4) = 0.005477
    limit = 6.6201 * 0.005477 * 1.09545  # t of 99.73 % and 4, by scipy; sqrt(1 + 1/5)
    chart = Chart.of(np.exp([*logs, 0.004 + 1.01 * limit]).tolist())
    assert np.log(chart.p50_ms) == pytest.approx(0.004)
    assert chart.sigma == pytest.approx(limit / 3, rel=1e-3)
    assert chart.deltas[:5] == (None,) * 5
    assert chart.deltas[5] == pytest.approx(3.03, rel=1e-3)
    assert chart.beyond == 1
    assert Chart.of(np.exp([*logs, 0.004 + 0.99 * limit]).tolist()).beyond == 0


def test_a_board_that_never_scatters_is_allowed_half_a_percent() -> None:
    assert Chart.of([2.0] * 8).sigma == 0.005
    assert Chart.of([*[2.0] * 8, 2.029]).beyond == 0
    assert Chart.of([*[2.0] * 8, 2.031]).beyond == 1


def test_points_beyond_the_limits_do_not_move_them() -> None:
    settled = Chart.of([1.0, 1.01] * 5)
    drifted = Chart.of([1.0, 1.01] * 5 + [1.2] * 30)
    assert (drifted.p50_ms, drifted.sigma) == (settled.p50_ms, settled.sigma)
    assert drifted.beyond == 30
    assert Chart.of([1.0, 1.01] * 5 + [1.2] * 30 + [1.0]).beyond == 0


def test_a_creeping_board_does_not_take_its_limits_along() -> None:
    creeping = np.exp(0.002 * np.sin(np.arange(60)) + np.linspace(0.0, 0.06, 60))
    assert Chart.of(creeping.tolist()).beyond > 0


@pytest.mark.parametrize(
    "scatter", [0.01, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.002, 0.03))]
)
def test_false_alarms_are_rare_and_a_change_is_found(scatter: float) -> None:
    draws = np.random.default_rng(0)
    beyond = points = confirmed = found = 0
    charts = 60
    for _ in range(charts):
        noise = scatter * draws.normal(size=60)
        deltas = Chart.of(np.exp(noise).tolist()).deltas[FEWEST:]
        out = [delta is not None and abs(delta) > 3 for delta in deltas]
        beyond, points = beyond + sum(out), points + len(out)
        confirmed += any(a and b for a, b in pairwise(out))
        noise[-2:] += max(0.03, 7 * scatter)
        found += Chart.of(np.exp(noise).tolist()).beyond >= 2
    assert beyond / points < 0.005  # 0.27 % of a normal variable whose limits are known
    assert confirmed <= 0.03 * charts
    assert found >= 0.95 * charts


def test_one_point_beyond_that_is_not_confirmed_is_a_part_of_the_scatter() -> None:
    quiet = [1.0, 1.004, 0.997, 1.002, 0.998, 1.001]
    once = Chart.of([*quiet, 1.06, 1.0])
    assert once.sigma is not None
    assert once.sigma > 2 * (Chart.of([*quiet, 1.0]).sigma or 0)
    twice = Chart.of([*quiet, 1.06, 1.06, 1.0])
    assert twice.sigma == pytest.approx(Chart.of([*quiet, 1.0]).sigma)


class Desk:
    """A board that takes what a test says for its reference network, and a store."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "measurements.sqlite")
        self.file = convolution(folder / "net.onnx")
        self.takes_ms = 2.0
        self.status = "ok"
        self.measured: list[Request] = []
        self.jobs = 0
        self._noise: Iterator[float] = iter(np.random.default_rng(1).normal(1, 0.001, 10_000))

    def request(self, **options: Any) -> Request:
        subjects = tuple(read(source) for source in find([self.file]))
        return Request(options.pop("device", TX2), subjects, find_grade("quick"), **options)

    def measure(
        self, asked: Request, listener: Listener
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        self.measured.append(asked)
        return self._record(asked, f"reference-{len(self.measured)}", self.takes_ms, self.status)

    def bench(self, **options: Any) -> dict[str, Any] | None:
        """What `answer` does with a request; the point that goes with it."""
        request = self.request(**options)
        point, _ = keep_watch(request, self.store, self.measure, SILENT)
        self.jobs += 1
        record, raw = self._record(request, f"job-{self.jobs}", 1.0, "ok")
        self.store.keep(f"key-{self.jobs}", {**record, "reference": point}, raw)
        return point

    def settle(self) -> None:
        """Bench until the chart has limits."""
        for _ in range(FEWEST):
            self.bench()

    def _record(
        self, asked: Request, job_id: str, p50_ms: float, status: str
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        result = AgentResult(asked, [np.full((8, 3), p50_ms * next(self._noise))])
        about = {"started_utc": "2026-11-24T12:00:00.000", "command": "gensynth bench"}
        answer = {**result.result, "id": job_id, "status": status}
        return make(asked, answer, result.fetch, about)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_measured_five_times_and_then_before_every_twentieth_job(desk: Desk) -> None:
    points = [desk.bench() for _ in range(FEWEST + 2 * EVERY)]
    assert len(desk.measured) == FEWEST + 2
    assert [point["points"] for point in points[:FEWEST] if point] == [1, 2, 3, 4, 5]
    assert points[0] is not None
    assert points[-1] is not None
    assert points[0]["delta_sigma"] is None
    assert abs(points[-1]["delta_sigma"]) < 3
    (asked,) = {one.subjects[0].sha256 for one in desk.measured}
    assert asked == reference().sha256


def test_a_changed_board_is_in_quarantine_and_its_last_jobs_are_in_doubt(desk: Desk) -> None:
    desk.settle()
    before = len(desk.store.measured()) - 1  # the last job came after the last point
    for _ in range(EVERY - 1):
        desk.bench()
    suspect = [row["job_id"] for row in desk.store.measured()[before:]]
    desk.takes_ms *= 1.05
    with pytest.raises(DeviceFault) as refused:
        desk.bench()
    assert refused.value.status == "quarantined"
    assert refused.value.details["doubted"] == len(suspect) == EVERY
    assert "also when repeated" in refused.value.message
    assert "gensynth devices check tx2" in refused.value.message
    assert len(desk.measured) == FEWEST + 2  # the point, and the one that confirmed it
    left = {row["job_id"] for row in desk.store.measured()}
    assert left.isdisjoint(suspect)
    assert len(left) == before
    assert desk.store.answer(f"key-{FEWEST + 5}") is None
    assert desk.store.answer("key-1") is not None

    with pytest.raises(DeviceFault):  # it is looked at again, and refused again
        desk.bench()
    desk.takes_ms /= 1.05
    point = desk.bench()  # and is free when it is what it was
    assert point is not None
    assert abs(point["delta_sigma"]) < 3
    assert len({row["job_id"] for row in desk.store.measured()}) == before + 2


def test_one_slow_point_that_a_repeat_does_not_confirm_changes_nothing(desk: Desk) -> None:
    desk.settle()
    for _ in range(EVERY - 1):
        desk.bench()
    count = len(desk.store.measured())
    once = iter([2.2, 2.0])
    measure = desk.measure

    def hiccup(asked: Request, listener: Listener) -> tuple[dict[str, Any], dict[str, bytes]]:
        desk.takes_ms = next(once)
        return measure(asked, listener)

    desk.measure = hiccup  # type: ignore[method-assign]
    assert desk.bench() is not None
    assert len(desk.store.measured()) == count + 3


def test_a_board_that_is_registered_anew_begins_a_new_chart(desk: Desk) -> None:
    desk.settle()
    desk.takes_ms = 3.0
    again = Device("tx2", "nvidia@tx2", profile="jetson-tx2", added_utc="2026-11-25T08:00:00.000")
    point = desk.bench(device=again)
    assert point is not None
    assert (point["points"], point["delta_sigma"]) == (1, None)


@pytest.mark.parametrize("options", [{"power_mode": 1}, {"lock_clocks": True}])
def test_each_power_mode_has_a_chart_of_its_own(desk: Desk, options: dict[str, Any]) -> None:
    desk.settle()
    desk.takes_ms = 4.0
    point = desk.bench(**options)
    assert point is not None
    assert point["points"] == 1
    assert {key: getattr(desk.measured[-1], key) for key in options} == options


@pytest.mark.slow
def test_a_point_of_a_board_that_slowed_itself_down_is_none(desk: Desk) -> None:
    desk.settle()
    desk.status, desk.takes_ms = "throttled", 9.0
    for _ in range(EVERY - 1):
        desk.bench()
    point = desk.bench()
    assert point is not None
    assert point["p50_ms"] == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    "status", ["throttled", pytest.param("not_steady", marks=pytest.mark.slow)]
)
def test_a_board_in_quarantine_measures_nothing_until_a_point_is_good(
    desk: Desk, status: str
) -> None:
    desk.settle()
    for _ in range(EVERY - 1):
        desk.bench()
    desk.takes_ms = 2.2
    with pytest.raises(DeviceFault):
        desk.bench()
    desk.status = status
    with pytest.raises(DeviceFault, match="also when repeated") as refused:
        desk.bench()
    assert refused.value.status == "quarantined"


def test_a_repeat_that_cannot_be_used_confirms_nothing_and_lets_nothing_through(
    desk: Desk,
) -> None:
    desk.settle()
    for _ in range(EVERY - 1):
        desk.bench()
    before = len(desk.store.measured())
    measure, ends = desk.measure, iter(["ok", "throttled"])
    desk.takes_ms = 2.2

    def then_throttled(
        asked: Request, listener: Listener
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        desk.status = next(ends)
        return measure(asked, listener)

    desk.measure = then_throttled  # type: ignore[method-assign]
    with pytest.raises(DeviceFault, match="let it cool") as refused:
        desk.bench()
    assert refused.value.status == "throttled"
    assert len(desk.store.measured()) == before + 1  # nothing is in doubt yet


@pytest.mark.slow
def test_a_change_in_one_power_mode_says_nothing_of_another(desk: Desk) -> None:
    for _ in range(FEWEST):
        desk.bench(power_mode=1)
    desk.settle()
    for _ in range(EVERY):
        desk.bench()
    desk.takes_ms = 2.2
    with pytest.raises(DeviceFault) as refused:
        desk.bench(power_mode=1)
    assert refused.value.details["doubted"] == 1  # the one after the last point in that mode
    left = {row["job_id"] for row in desk.store.measured()}
    assert {f"job-{number}" for number in range(1, 2 * FEWEST + EVERY + 1)} - left == {
        f"job-{FEWEST}"
    }


def test_a_reference_that_cannot_be_measured_says_that_it_is_not_yours(desk: Desk) -> None:
    def fails(asked: Request, listener: Listener) -> tuple[dict[str, Any], dict[str, bytes]]:
        raise DeviceFault("oom", "memory ran out")

    desk.measure = fails  # type: ignore[method-assign]
    with pytest.raises(DeviceFault, match="the reference network: memory ran out") as refused:
        desk.bench()
    assert refused.value.status == "oom"


@pytest.mark.parametrize("status", ["timeout_build", "timeout_run"])
def test_a_board_too_slow_for_the_reference_network_measures_without_it(
    desk: Desk, status: str
) -> None:
    def endless(asked: Request, listener: Listener) -> tuple[dict[str, Any], dict[str, bytes]]:
        raise DeviceFault(status, "running must end within 348 s here")

    found = keep_watch(desk.request(), desk.store, endless, SILENT)
    assert found == (
        None, "before your networks, the reference network: running must end within 348 s here",
    )  # fmt: skip


def test_this_machine_has_no_chart(desk: Desk) -> None:
    found = keep_watch(desk.request(device=LOCAL), desk.store, desk.measure, SILENT)
    assert found == (None, None)
    assert desk.measured == []


def test_the_reference_network_is_always_the_same_file() -> None:
    assert reference().cost.macs == 64 * 64 * 9 * 32 * (3 + 7 * 32) + 32 * 10
    assert reference().sha256 == reference().sha256
    assert reference().sha256.startswith("1d99e9ff1c365b1c")
