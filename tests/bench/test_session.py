"""Networks measured for real by this machine's own agent, in grades of a fraction of a second."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from gensynth.bench import control, grades, measure, reference
from gensynth.bench.dialogue import Agent
from gensynth.bench.grades import Grade, Warmup, Windows
from gensynth.bench.record import is_usable
from gensynth.bench.request import Request
from gensynth.bench.session import answer
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices import registry
from gensynth.devices.registry import LOCAL, Device
from gensynth.errors import ConfigError, DeviceError, DeviceFault
from gensynth.render.bench import bench
from tests.fakes import boards
from tests.fakes.board import Board, Home
from tests.fakes.simulated_board import REST_W, WORK_W, SimulatedBoard
from tests.onnx_files.written import convolution, unary

# Any three blocks agree: how steady this machine is decides no test but one.
WARMUP = Warmup(min_s=0.0, block_s=0.02, agree_pct=100.0, cap_s=2.0)
SHORT = Grade("quick", WARMUP, rounds=8, round_s=0.02, energy=None)

pytestmark = [pytest.mark.realtime, pytest.mark.usefixtures("agent_home")]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(registry, "folder", lambda: tmp_path / "config")
    monkeypatch.setattr(control, "GRADE", SHORT)
    monkeypatch.setattr(reference, "LAYERS", 1)
    return Store(tmp_path / "measurements.sqlite")


def request(*files: Path, device: Device = LOCAL, grade: Grade = SHORT, **options: Any) -> Request:
    return Request(device, tuple(read(s) for s in find(files)), grade, **options)


class Heard:
    """A listener that notes the phases."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.told: list[str] = []

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def cycle(self, entry: Any, total: int) -> None:
        raise AssertionError("a bench has no cycles")

    def progress(self, what: str, share: float, text: str) -> None:
        self.told.append(f"{what} {text}")

    def note(self, text: str) -> None:
        self.told.append(text)


def test_networks_are_measured_in_turns_and_the_larger_is_slower(
    tmp_path: Path, store: Store
) -> None:
    files = [convolution(tmp_path / f"{w}.onnx", width=w, size=w) for w in (8, 96)]
    record = answer(request(*files), store=store, device=Agent("a command"))
    small, large = record["networks"]
    assert record["status"] == "ok"
    assert is_usable(record)
    # 1,728 times the multiplications, beside the fixed cost of a call: no noise hides that.
    assert large["ratio"]["latency"]["ci95"][0] > 2
    for network in (small, large):
        assert network["correctness"]["pass"]
        assert network["latency"]["rounds"] == 8
        assert network["latency"]["n"] >= 16
    assert record["command"] == "a command"
    assert record["runtime"]["path"] == "onnxruntime"
    assert record["device"]["alias"] == "local"
    times = np.frombuffer(store.raw(small["latency"]["raw"]), "<u8") / 1e6
    assert small["latency"]["p50_ms"] == pytest.approx(np.median(times))


@pytest.mark.slow
def test_the_same_request_is_answered_from_the_store_unless_fresh(
    tmp_path: Path, store: Store
) -> None:
    asked = request(convolution(tmp_path / "net.onnx"))
    first = answer(asked, store=store)
    again = answer(asked, store=store)
    assert (first["from_store"], again["from_store"]) == (False, True)
    assert {**again, "from_store": False} == first
    fresh = answer(asked, store=store, fresh=True)
    assert fresh["job_id"] != first["job_id"]
    assert len(store.measured()) == 2


def test_whoever_waits_hears_what_goes_on(tmp_path: Path, store: Store) -> None:
    heard = Heard()
    answer(request(convolution(tmp_path / "net.onnx")), store=store, listener=heard)
    assert heard.phases[:2] == ["reach", "load"]
    assert set(heard.phases[2:]) == {"measure"}
    assert heard.told[-1] == "latency 8 of 8"


@pytest.mark.slow
def test_the_whole_machine_is_a_model_and_says_so(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_text("NVIDIA Jetson TX2\0")
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(root))
    asked = request(convolution(tmp_path / "net.onnx"))
    record = answer(asked, store=store)
    assert record["provenance"] == "simulated"
    assert record["device"]["model"] == "NVIDIA Jetson TX2"
    assert not is_usable(record)
    assert answer(asked, store=store)["from_store"] is False
    assert store.measured() == []


@pytest.mark.slow
def test_a_network_is_also_measured_from_pixels_to_its_class(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "FermiNet-A"
    folder.mkdir()
    convolution(folder / "network.onnx", size=32)
    np.savez(folder / "samples.npz", images=np.zeros((1, 3, 32, 32), np.uint8))
    reads = {"mode": "RGB", "height": 32, "width": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "manifest.json").write_text(json.dumps({"name": "FermiNet-A", "reads": reads}))
    record = answer(request(folder, folder, end_to_end=True), store=store)
    first, second = record["networks"]
    whole = second["end_to_end"]
    # The network is a part of it, in the same turns, and what is around it has no MACs.
    assert whole["latency"]["p50_ms"] > first["latency"]["p50_ms"]
    assert whole["macs"] == first["macs"]
    assert whole["correctness"]["pass"]
    assert whole["ratio"]["to"] == "FermiNet-A end to end"
    assert len(store.measured()) == 4
    shown = bench(record)
    assert shown.count("latency p50, ms") == 2
    assert "end to end: pixels in memory" in shown


def test_no_power_sensor_is_a_reason_and_no_zero(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()  # a machine without any sensor, whatever this one has
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(tmp_path / "root"))
    windows = Windows(idle_s=0.1, settle_s=0.1, windows=3, window_s=0.1)
    grade = Grade("standard", WARMUP, rounds=4, round_s=0.02, energy=windows)
    asked = request(convolution(tmp_path / "net.onnx"), grade=grade, energy=True)
    record = answer(asked, store=store)
    (network,) = record["networks"]
    assert network["energy"] is None
    assert "no INA3221 monitor" in network["no_energy_because"]
    assert "sensor_missing" in record["flags"]
    assert record["status"] == "degraded"
    assert network["latency"]["p50_ms"] > 0


@pytest.mark.slow
def test_a_network_that_computes_no_number_has_no_figures(tmp_path: Path, store: Store) -> None:
    # Half of normal noise is negative, and its logarithm is no number.
    file = unary(tmp_path / "net.onnx", "Log", ["N", 64])
    with pytest.raises(DeviceFault, match="local: the outputs of net must be finite, got NaN") as e:
        answer(request(file), store=store)
    assert e.value.status == "invalid_output"
    assert not store.path.exists()


@pytest.mark.slow
def test_an_operator_that_nobody_knows_is_named(tmp_path: Path, store: Store) -> None:
    file = unary(tmp_path / "net.onnx", "Flub", ["N", 64])
    with pytest.raises(DeviceFault, match="local: .*does not load net: .*Flub") as caught:
        answer(request(file), store=store)
    assert caught.value.status in ("unsupported_op", "build_failed")


@pytest.mark.slow
def test_two_measurements_of_one_device_do_not_disturb_each_other(
    tmp_path: Path, store: Store
) -> None:
    heard = Heard()
    grade = Grade("quick", WARMUP, rounds=8, round_s=0.2, energy=None)
    asked = request(convolution(tmp_path / "net.onnx"), grade=grade)
    first = threading.Thread(
        target=answer, args=(asked,), kwargs={"store": store, "listener": heard}
    )
    first.start()
    deadline = time.monotonic() + 60
    while "measure" not in heard.phases:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(DeviceFault, match="local is busy with another measurement, of ") as caught:
        answer(asked, store=store)
    assert caught.value.status == "device_busy"
    first.join()
    assert len(store.measured()) == 1


@pytest.mark.slow
def test_integers_are_measured_as_well(tmp_path: Path, store: Store) -> None:
    file = unary(tmp_path / "net.onnx", "Abs", ["N", 64], TensorProto.INT64)
    assert answer(request(file), store=store)["networks"][0]["latency"]["p50_ms"] > 0


def test_from_python_one_call_measures_and_wrong_ones_are_refused(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = convolution(tmp_path / "net.onnx")
    with pytest.raises(DeviceError, match="gensynth devices add tx2"):
        measure(file, device="tx2", store=store)
    with pytest.raises(ConfigError, match="there must be a network to measure"):
        measure([], store=store)
    with pytest.raises(ConfigError, match="no network has an input 'image'; did you mean 'images'"):
        measure(file, shapes={"image": (1, 3, 16, 16)}, store=store)
    monkeypatch.setitem(grades._BY_NAME, "quick", SHORT)
    record = measure([file, str(file)], batch=2, store=store)
    assert [network["name"] for network in record["networks"]] == ["net", "net#2"]
    assert record["networks"][0]["latency"]["img_per_s"] == pytest.approx(
        2000 / record["networks"][0]["latency"]["mean_ms"]
    )


@pytest.mark.slow
def test_beside_the_measuring_a_job_takes_little_more_than_starting_the_runtime_does(
    tmp_path: Path, store: Store
) -> None:
    # Processor time of this process and of its children, since the machine may be busy; what is
    # measured are three blocks and eight rounds of 0.02 s.
    file = convolution(tmp_path / "net.onnx")
    asked = request(file)
    answer(asked, store=store, fresh=True)  # the agent's file is there then

    def cpu_s(work: Callable[[], object]) -> float:
        before = os.times()
        work()
        return sum(os.times()[:4]) - sum(before[:4])

    program = f"import onnxruntime; onnxruntime.InferenceSession({str(file)!r})"
    start = [sys.executable, "-c", program]
    starting_s = min(cpu_s(lambda: subprocess.run(start, check=True)) for _ in range(3))
    job_s = min(cpu_s(lambda: answer(asked, store=store, fresh=True)) for _ in range(3))
    assert job_s - 11 * 0.02 < 8 * starting_s


def test_a_board_behind_ssh_measures_the_same_way(
    tmp_path: Path, store: Store, board: Board
) -> None:
    asked = request(convolution(tmp_path / "net.onnx"), device=board.device)
    heard = Heard()
    record = answer(asked, store=store, listener=heard)
    assert record["status"] == "ok"
    assert record["device"]["alias"] == board.device.alias
    assert answer(asked, store=store)["from_store"]
    assert heard.phases[:4] == ["reach", "reference", "reach", "load"]  # a look comes first
    assert "reference network, latency 8 of 8" in heard.told
    assert record["reference"]["points"] == 1
    assert record["reference"]["delta_sigma"] is None
    assert "point 1 of the 5 before its chart has limits" in bench(record, 120)
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_board_that_has_become_slow_is_refused_before_it_measures(
    tmp_path: Path, store: Store, board: Board
) -> None:
    asked = request(convolution(tmp_path / "net.onnx"), device=board.device)
    first = answer(asked, store=store)
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        key, text = database.execute(
            "select request_key, record from jobs where job_id = ?", [first["reference"]["job_id"]]
        ).fetchone()
    # As if it had been a thousand times as fast until now, which no load of this machine undoes.
    for number in range(4 * control.FEWEST):
        point = {**json.loads(text), "job_id": f"fast-{number}"}
        point["networks"][0]["latency"]["p50_ms"] = first["reference"]["p50_ms"] / 1000
        store.keep(key, point, {})
    for number in range(control.EVERY):
        store.keep("another", {**first, "job_id": f"job-{number}"}, {})
    jobs = len(board.journal("begun"))
    with pytest.raises(DeviceFault, match="also when repeated") as refused:
        answer(asked, store=store, fresh=True)
    assert refused.value.status == "quarantined"
    assert refused.value.details["doubted"] == control.EVERY
    assert len(board.journal("begun")) == jobs + 2  # the reference network twice, and no more
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_lost_board_is_asked_again_for_the_same_job(
    tmp_path: Path, store: Store, board: Board
) -> None:
    heard = Cutting(board)
    grade = Grade("quick", WARMUP, rounds=8, round_s=0.1, energy=None)
    asked = request(convolution(tmp_path / "net.onnx"), device=board.device, grade=grade)
    record = answer(asked, store=store, listener=heard)
    assert record["status"] == "ok"
    assert heard.has_cut
    assert any("asking for the same job again" in text for text in heard.told)
    reference = record["reference"]["job_id"]
    assert board.journal("begun") == [reference, record["job_id"]]  # once, for both connections
    assert board.leftovers() == []


@pytest.mark.slow
def test_joules_of_a_board_behind_ssh_are_the_models_and_never_measured(
    tmp_path: Path, store: Store, board: Board
) -> None:
    # The model: 8.5667 W whenever the agent works, so joules go with time.
    tx2 = {name: text for name, text in boards.TX2.items() if "/i2c/" not in name}
    windows = Windows(idle_s=2.0, settle_s=2.5, windows=4, window_s=4.0)
    grade = Grade("standard", WARMUP, rounds=4, round_s=0.5, energy=windows)
    files = [convolution(tmp_path / f"{w}.onnx", width=w, size=64) for w in (16, 64)]
    with SimulatedBoard(tmp_path / "rails", tx2, "iio", 64) as rails:
        board.configure(SetEnv=board.surroundings(rails.root))
        asked = request(*files, device=board.device, grade=grade, energy=True)
        record = answer(asked, store=store)
    assert record["provenance"] == "simulated"
    assert not is_usable(record)
    assert record["device"]["model"] == "quill"
    small, large = record["networks"]
    for network in (small, large):
        energy = network["energy"]
        assert (energy["rail"], energy["scope"]) == ("VDD_IN", "module")
        assert energy["p_mean_w"] == pytest.approx(WORK_W, rel=0.02)
        assert energy["p_idle_w"] == pytest.approx(REST_W, rel=0.05)
    ratio = large["ratio"]
    assert ratio["energy"]["value"] == pytest.approx(ratio["latency"]["value"], rel=0.25)
    assert bench(record).startswith("SIMULATED")
    assert board.leftovers() == []


class Cutting(Heard):
    """Cuts the cable once the first round of the networks is done, after the reference's."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board
        self.has_cut = False

    def progress(self, what: str, share: float, text: str) -> None:
        super().progress(what, share, text)
        if what == "latency" and share > 0 and not self.has_cut:
            self.has_cut = True
            self._board.relay.cut()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_ends_the_job_and_leaves_nothing(
    tmp_path: Path, agent_home: Home, number: signal.Signals, code: int
) -> None:
    file = convolution(tmp_path / "net.onnx")
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gensynth", "bench", str(file)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell that starts the tests in the background hands on an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        assert process.stderr is not None
        while "measuring" not in process.stderr.readline():
            assert time.monotonic() < deadline
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == code
    assert out == ""
    assert errors.splitlines()[-1] == "stopped"
    assert "Traceback" not in errors
    assert agent_home.leftovers(within_s=5.0) == []  # far from the minute that a lease lasts
    assert not (tmp_path / "gensynth" / "measurements.sqlite").exists()
