"""A fault is blamed on the network that has it, and what was measured is read back as it was."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gensynth.config import DeviceConfig
from gensynth.devices.run_device import run_device
from gensynth.errors import DeviceFault, RunError
from gensynth.goals.figure import Figure
from gensynth.goals.readings import of_interval
from gensynth.goals.requirements import parse_all
from gensynth.progress import SILENT
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware.board import Board
from gensynth.runs.hardware.documents import outcome_of, point_of, to_document
from gensynth.runs.hardware.first import COUNT, diverse
from gensynth.runs.hardware.hardware import AT_ONCE, ATTEMPTS, Hardware
from gensynth.runs.hardware.measuring import Outcome, measured
from gensynth.runs.hardware.turns import recall_end
from gensynth.space.coupling import couple
from gensynth.space.points import Point
from gensynth.space.space import Space
from gensynth.trace import trace
from tests.runs import tiny
from tests.runs.stopping import Heard


@pytest.fixture(scope="module")
def space() -> Space:
    graph = trace(tiny.net(3, 1).eval(), torch.zeros(1, 1, 12, 12), name="tiny")
    return Space(couple(graph), 1, ("separable",))


def refuses(bad: bytes, status: str, *flags: str) -> Any:
    """A bench that cannot run one file."""

    def measure(files: Any, **_: Any) -> dict[str, Any]:
        contents = [file.read_bytes() for file in files]
        if bad in contents:
            raise DeviceFault(status, "no")
        latency = {"p50_ms": 2.0, "p50_ci95_ms": [1.9, 2.1]}
        networks = [{"latency": latency, "energy": None} for _ in contents]
        return {
            "status": "ok", "provenance": "measured", "job_id": "j", "networks": networks,
            "flags": list(flags),
        }  # fmt: skip

    return measure


@pytest.mark.parametrize("bad", [b"prototype", b"one", b"two"])
def test_only_the_network_that_cannot_run_is_infeasible(
    monkeypatch: pytest.MonkeyPatch, bad: bytes
) -> None:
    monkeypatch.setattr("gensynth.runs.hardware.measuring.measure", refuses(bad, "oom"))
    files = [b"prototype", b"one", b"two"]
    device = run_device("local", DeviceConfig())
    found = measured(device, ["latency_ms"], files[0], files[1:], listener=SILENT)
    assert [one.is_infeasible for one in found] == [file == bad for file in files]
    assert [bool(one.figures) for one in found] == [file != bad for file in files]


def test_a_device_that_is_away_makes_no_network_infeasible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gensynth.runs.hardware.measuring.measure", refuses(b"a", "device_lost"))
    found = measured(run_device("local", DeviceConfig()), ["latency_ms"], b"a", [b"b"])
    assert [(one.status, one.is_infeasible) for one in found] == [("device_lost", False)] * 2


def test_what_a_busy_device_takes_is_no_figure_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, heard = run_device("local", DeviceConfig()), Heard()
    for flag in ("busy", "threads", "scatter", "slow"):
        busy = refuses(b"", "oom", "reference_left_out", flag)
        monkeypatch.setattr("gensynth.runs.hardware.measuring.measure", busy)
        for grade, counts in (("quick", False), ("loop", True)):
            found = measured(device, ["latency_ms"], b"a", [b"b"], grade=grade, listener=heard)
            assert [bool(one.figures) for one in found] == [counts] * 2
        assert f"local was not quiet ({flag}), so that" in heard.notes[-1]
    assert len(heard.notes) == 4


class Rough:
    """Estimates that say two milliseconds of every network, at most three in four of five."""

    def kernels(self, model: object) -> tuple[()]:
        return ()

    def learned(self, samples: object, watts: object) -> "Rough":
        return self

    def figures(self, kernels: object) -> dict[str, Figure]:
        return {"latency_ms": Figure(2.0, (1.5, 3.0), (1.0, 4.0), "estimate")}


def hardware(space: Space, *requirements: str) -> Hardware:
    rough: Any = Rough()
    board = Board(run_device("local", DeviceConfig()), ("latency_ms",), rough, rough)
    return Hardware([board], space, parse_all(requirements))


def test_who_computes_in_fp16_is_known(space: Space) -> None:
    rough: Any = Rough()
    devices = [
        run_device("local", DeviceConfig()),
        run_device("jetson-tx2", DeviceConfig(precision="fp16")),
    ]
    boards = [Board(device, ("latency_ms",), rough, rough) for device in devices]
    assert Hardware(boards, space, ()).in_fp16 == ("jetson-tx2",)


def test_what_a_search_allows_is_kept_by_the_upper_end_of_an_estimate(space: Space) -> None:
    # The 99th percentile is a tenth above the median, as long as nothing was measured.
    devices = hardware(space, "p99_ms@local <= 5.5", "latency_ms@local <= 6")
    assert devices.asked() == {"latency_ms@local": pytest.approx(5.5 / 1.1)}
    assert devices.limits() == {"latency_ms@local": pytest.approx(5 / (3 / 2))}


def test_a_device_that_was_lost_is_asked_again_later_and_not_for_ever(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def measure(device: object, names: object, first: bytes, others: Any, **_: Any) -> Any:
        asked.append(len(others))
        return [Outcome("device_lost")] * (1 + len(others))

    monkeypatch.setattr("gensynth.runs.hardware.hardware.measured", measure)
    devices, points = hardware(space), diverse(space, 0)
    some = space.points([points[n] for n in range(6)])
    for attempt in range(1, ATTEMPTS + 1):
        documents = devices.measure(b"", some, [b""] * 6, ["again"] * 6, SILENT)
        assert [one["status"] for one in documents] == ["device_lost"] * 6
        assert asked == [AT_ONCE] * attempt  # and not for the other two
        assert devices.owed() == ([] if attempt == ATTEMPTS else [some[n] for n in range(6)])


def test_what_was_measured_is_read_back_as_it_was(space: Space) -> None:
    point = Point((3, 5), (True,), (0,) * len(space.sites))
    profile = [{"name": "a", "operator": "Conv", "inputs": [[1, 3]], "outputs": [[1]], "ms": 0.1}]
    outcome = Outcome("ok", {"latency_ms": of_interval(2.0, (1.9, 2.2))}, 3.0, profile, "", "j")
    document = to_document("tx2", point, outcome)
    assert (point_of(document, space), outcome_of(document)) == (point, outcome)


def test_a_network_of_another_prototype_is_refused(space: Space) -> None:
    for widths in ([1], [0, 5], [3, 999]):  # of too few groups, too narrow and too wide
        document = {"widths": widths, "kept_blocks": [True], "substitutes": [0] * len(space.sites)}
        with pytest.raises(ValueError, match="none of this prototype's"):
            point_of(document, space)


@pytest.mark.parametrize("content", ["", "[1]", '{"device": "tx2"}', '[{"device": "tx2"}]', None])
def test_damaged_measurements_of_a_run_are_refused(
    space: Space, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "measured.json"
    os.mkfifo(file) if content is None else file.write_text(content)
    run, job = RunFolder(tmp_path, None), SimpleNamespace(hardware=Hardware((), space, ()))
    with pytest.raises(RunError, match="measured.json"):
        recall_end(run, job)  # type: ignore[arg-type]


def test_the_first_networks_are_spread_over_the_whole_space(space: Space) -> None:
    points = diverse(space, seed=3)
    assert (points.widths >= space.floors).all()
    assert (points.widths <= space.sizes).all()
    shares = np.sort((points.widths / space.sizes).mean(axis=1))
    assert shares[0] < 0.35
    assert shares[-1] > 0.75
    assert len({points[index] for index in range(len(points))}) >= COUNT - 2
    space.costs(points)  # every substitute is one that may stand there
    again = diverse(space, seed=3)
    assert [again[index] for index in range(COUNT)] == [points[index] for index in range(COUNT)]
