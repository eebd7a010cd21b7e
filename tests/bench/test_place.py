"""An answer of the store is of the same device in the same state, and stands under its new name."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from gensynth.bench.grades import find_grade
from gensynth.bench.place import local_runtimes, place
from gensynth.bench.request import Request
from gensynth.bench.session import answer
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices.registry import Device
from gensynth.errors import ConfigError
from gensynth.render.bench import bench
from tests.fakes.agent_results import AgentResult
from tests.fakes.desk import Desk
from tests.onnx_files.written import convolution

TX2 = Device("tx2", "nvidia@tx2", profile="jetson-tx2", added_utc="2026-11-24T12:00:00.000")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "measurements.sqlite")


def request(*files: Path, device: Device = TX2, **options: Any) -> Request:
    subjects = tuple(read(source) for source in find(files))
    return Request(device, subjects, find_grade("quick"), **options)


CHANGES: dict[str, Any] = {
    "another power mode": {"power_mode": {"id": 1, "name": "MAXQ"}},
    "another runtime": {"runtimes": {"onnxruntime": "1.11.0"}},
    "another TensorRT": {"tensorrt": "8.5.2"},
    "another board in its place": {"serial_hash": "fedcba9876543210"},
    "other clocks": {"clocks": {"governor": "powersave", "ranges_mhz": {"cpu0": [1, 2, 2]}}},
    "fewer processors": {"processors": 1},
    "another system": {"l4t": "35.1"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_figure_of_before_does_not_answer_for_a_device_that_has_changed(
    tmp_path: Path, store: Store, change: str
) -> None:
    desk, asked = Desk(), request(convolution(tmp_path / "net.onnx"))
    first = answer(asked, store=store, device=desk)
    assert answer(asked, store=store, device=desk)["from_store"]
    before = dict(desk.facts)
    desk.facts.update(CHANGES[change])
    changed = answer(asked, store=store, device=desk)
    assert not changed["from_store"]
    desk.facts = before  # and back
    assert answer(asked, store=store, device=desk)["job_id"] == first["job_id"]


def test_a_clock_that_a_governor_has_just_chosen_is_no_change() -> None:
    facts = {"clocks": {"governor": "schedutil", "ranges_mhz": {"cpu0": [345, 2035, 345]}}}
    later = {"clocks": {"governor": "schedutil", "ranges_mhz": {"cpu0": [345, 2035, 2035]}}}
    asked = _Asked(TX2)
    assert place(asked, facts) == place(asked, later)  # type: ignore[arg-type]


def test_the_mode_of_before_does_not_matter_where_the_job_sets_its_own() -> None:
    modes = [{"power_mode": {"id": number, "name": "M"}} for number in (0, 1)]
    one, other = (place(_Asked(TX2, power_mode=2), facts) for facts in modes)  # type: ignore[arg-type]
    assert one == other
    one, other = (place(_Asked(TX2), facts) for facts in modes)  # type: ignore[arg-type]
    assert one != other


class _Asked:
    """What `place` reads of a request."""

    def __init__(self, device: Device, power_mode: int | None = None) -> None:
        self.device = device
        self.power_mode = power_mode
        self.lock_clocks = False


def test_a_board_registered_anew_is_another() -> None:
    again = replace(TX2, added_utc="2026-11-25T08:00:00.000")
    assert place(_Asked(TX2), {}) != place(_Asked(again), {})  # type: ignore[arg-type]


def test_a_mode_that_changes_between_the_look_and_the_job_answers_nothing(
    tmp_path: Path, store: Store
) -> None:
    def changed(result: AgentResult) -> None:
        board = {**result.result["board"], "power_mode": {"id": 1, "name": "MAXQ"}}
        result.result["board"] = board

    desk, asked = Desk(), request(convolution(tmp_path / "net.onnx"))
    desk.change = changed
    assert not answer(asked, store=store, device=desk)["from_store"]
    desk.change = lambda result: None
    assert not answer(asked, store=store, device=desk)["from_store"]


def test_an_answer_stands_under_the_names_of_the_files_that_were_asked_for(
    tmp_path: Path, store: Store
) -> None:
    desk = Desk()
    one, other = (convolution(tmp_path / f"{name}.onnx", seed=k) for k, name in enumerate("ab"))
    answer(request(one, other), store=store, device=desk)
    renamed = [file.rename(tmp_path / f"new-{file.name}") for file in (one, other)]
    record = answer(request(*renamed), store=store, device=desk)
    assert record["from_store"]
    assert [network["name"] for network in record["networks"]] == ["new-a", "new-b"]
    assert record["networks"][1]["ratio"]["to"] == "new-a"


def test_a_jetson_that_measured_on_its_processor_says_so_and_why(
    tmp_path: Path, store: Store
) -> None:
    def fell(result: AgentResult) -> None:
        tried = [{"path": "tensorrt-pycuda", "why": "tensorrt cannot be imported"}]
        result.result["runtime"].update(path="onnxruntime", tried=tried)

    desk, file = Desk(), convolution(tmp_path / "net.onnx")
    desk.change = fell
    record = answer(request(file), store=store, device=desk)
    assert record["flags"] == ["on_the_processor"]
    assert "tensorrt cannot be imported" in " ".join(bench(record).split())
    # Where the processor is what was asked for, it is as asked.
    asked = request(file, runtime="onnxruntime")
    assert asked.runtimes == ("onnxruntime",)
    assert answer(asked, store=store, device=desk)["flags"] == []


@pytest.mark.parametrize(
    ("runtime", "paths"),
    [
        ("tensorrt", ("tensorrt-pycuda", "tensorrt-ctypes")),
        ("trtexec", ("trtexec",)),
        (None, ("tensorrt-pycuda", "tensorrt-ctypes", "trtexec", "onnxruntime")),
    ],
)
def test_a_runtime_that_is_demanded_is_the_only_one_tried(
    tmp_path: Path, runtime: str | None, paths: tuple[str, ...]
) -> None:
    asked = request(convolution(tmp_path / "net.onnx"), runtime=runtime)
    spec, _ = asked.job()
    assert tuple(spec["runtimes"]) == paths


@pytest.mark.parametrize(
    ("runtime", "why"),
    [
        ("tensort", "there is no runtime 'tensort'; did you mean 'tensorrt'?"),
        ("trtexec", "a Raspberry Pi 5|Raspberry Pi 5 is measured with onnxruntime, got trtexec"),
    ],
)
def test_a_runtime_that_cannot_be_is_refused(tmp_path: Path, runtime: str, why: str) -> None:
    pi = Device("pi", "pi@pi", profile="raspberry-pi-5")
    with pytest.raises(ConfigError, match=why):
        request(convolution(tmp_path / "net.onnx"), device=pi, runtime=runtime)


def test_an_engine_that_mostly_computes_in_another_precision_says_so(
    tmp_path: Path, store: Store
) -> None:
    def engine(counts: dict[str, int]) -> dict[str, Any]:
        def built(result: AgentResult) -> None:
            result.result["networks"][0]["engine"] = {"precisions": counts}

        desk.change = built
        asked = request(convolution(tmp_path / "net.onnx"), precision="fp16")
        return answer(asked, store=store, device=desk, fresh=True)

    desk = Desk()
    assert engine({"fp16": 9, "fp32": 3})["flags"] == []
    assert engine({"fp16": 3, "fp32": 9})["flags"] == ["other_precision"]
    assert engine({"fp16": 3, "other": 9})["flags"] == []  # of integers


def test_what_could_not_be_kept_is_there_all_the_same(tmp_path: Path, store: Store) -> None:
    class Emptied(Desk):
        """While it measures, the place of the store is taken."""

        def measure(self, *args: Any) -> Any:
            (tmp_path / "data").write_text("")
            return super().measure(*args)

    full = Store(tmp_path / "data" / "measurements.sqlite")
    local = Device("local", None, profile="local")
    asked = request(convolution(tmp_path / "net.onnx"), device=local)
    record = answer(asked, store=full, device=Emptied())
    assert record["networks"][0]["latency"]["p50_ms"] == pytest.approx(2.005, abs=0.01)
    assert "cannot write" in record["not_kept"]
    assert "NOT KEPT: cannot write" in bench(record)


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        ({"onnxruntime": "1.20.0"}, {"onnxruntime": "1.20.0"}),
        ({"onnxruntime-gpu": "1.20.1"}, {"onnxruntime_gpu": "1.20.1"}),
        ({}, {"onnxruntime": None}),
    ],
)
def test_this_machines_runtime_is_known_by_each_of_its_distributions(
    installed: dict[str, str], found: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr("gensynth.bench.place.version", version)
    assert local_runtimes() == found
