"""The windows of a job: in turns, under a real sampler, on a board that lives."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gensynth.bench.samples import decode
from gensynth.devices.agent.measuring import windows
from gensynth.devices.agent.power import meters, sampler
from gensynth.devices.agent.runtimes.networks import Loaded
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor
from gensynth.devices.agent.wire.timing import Turn
from tests.fakes import boards
from tests.fakes.simulated_board import SimulatedBoard

pytestmark = pytest.mark.realtime

TX2 = {name: text for name, text in boards.TX2.items() if "/i2c/" not in name}
ASKED = {
    "idle_s": 0.1, "settle_s": 0.05, "windows": 3, "window_s": 0.2, "rate_hz": 100.0, "seed": 1,
}  # fmt: skip


class Network(Loaded):
    """Does nothing for two milliseconds, and notes that it was run."""

    def __init__(self, name: str, turns: list[str], then: Callable[[], None] | None = None) -> None:
        self._name = name
        self._turns = turns
        self._then = then

    def outputs(self) -> list[Tensor]:
        raise NotImplementedError

    def turn(self, runs: int) -> Turn:
        raise NotImplementedError

    def block(self, seconds: float) -> Turn:
        raise NotImplementedError

    def run(self) -> int | None:
        if self._turns[-1:] != [self._name]:
            self._turns.append(self._name)
        if self._then is not None:
            self._then()
        time.sleep(0.002)
        return None

    def synchronise(self) -> None:
        self._turns.append("synchronise")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-test of 0.6 s, which is enough for snapshots every 6.6 ms."""
    monkeypatch.setattr(meters.open_meter, "__defaults__", ("/", None, 0.6))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path, TX2, "iio", 1) as living:
        monkeypatch.setenv("GENSYNTH_AGENT_ROOT", living.root)  # of the self-test's load
        yield living


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "home"))


def measure(board: SimulatedBoard, spool: Spool, *networks: Loaded, **of: Any) -> windows.Energy:
    return windows.measure(networks, {**ASKED, **of}, "cpu", spool, "job", board.root)


def test_networks_take_turns_in_whole_runs_that_the_samples_cover(
    board: SimulatedBoard, spool: Spool
) -> None:
    turns: list[str] = []
    taken = measure(board, spool, Network("a", turns), Network("b", turns))
    # ABBABA, each with its settling before the window, and nothing under way at either end.
    assert turns == [entry for name in "abbaba" for entry in (name, "synchronise") * 2]
    assert [len(kept) for kept in taken.windows] == [3, 3]
    assert taken.rejected == [[], []]
    assert not taken.throttled
    assert (taken.power["rail"], taken.power["rate_hz"]) == ("VDD_IN", 100.0)
    sha256 = taken.power["samples"]
    t_ns, _ = decode((Path(spool.home) / "results" / "job" / sha256).read_bytes())
    every = [window for kept in taken.windows for window in kept]
    assert t_ns[0] <= taken.idle["start_ns"]
    assert t_ns[-1] >= max(window["end_ns"] for window in every)
    for window in every:
        assert window["onset_ns"] < window["start_ns"] < window["end_ns"]
        assert window["runs"] >= 1
        assert window["end_ns"] - window["start_ns"] >= 0.2e9
    assert list(Path(spool.home).glob("*samples*")) == []
    assert list(Path(spool.home).glob(".*")) == []


@pytest.mark.slow
def test_a_sensor_that_averages_settles_for_five_time_constants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spool: Spool
) -> None:
    with SimulatedBoard(tmp_path, TX2, "iio", 64) as living:
        monkeypatch.setenv("GENSYNTH_AGENT_ROOT", living.root)
        monkeypatch.setattr(meters.open_meter, "__defaults__", ("/", None, 2.4))
        taken = measure(living, spool, Network("a", []), windows=1)
    (window,) = taken.windows[0]
    assert (window["start_ns"] - window["onset_ns"]) * 1e-9 >= 5 * 0.42  # not the 0.05 s asked
    # the self-test sees the chip's averaging in the step: 64 conversions of 6.6 ms
    assert taken.power["seen"]["tau_s"] == pytest.approx(0.42, rel=0.4)


LEVEL = "sys/class/thermal/cooling_device1/cur_state"  # gpu-balanced


def test_a_window_in_which_the_board_throttled_is_repeated(
    board: SimulatedBoard, spool: Spool
) -> None:
    level = Path(board.root, LEVEL)
    level.write_text("4\n")

    def cool_down() -> None:
        level.write_text("0\n")

    taken = measure(board, spool, Network("a", [], cool_down), windows=2)
    assert [window["throttle"] for window in taken.windows[0]] == [[], []]
    assert [window["throttle"] for window in taken.rejected[0]] == [["cooling gpu-balanced at 4"]]
    assert not taken.throttled


def test_a_board_that_goes_on_throttling_is_repeated_three_times_and_labelled(
    board: SimulatedBoard, spool: Spool
) -> None:
    Path(board.root, LEVEL).write_text("4\n")
    taken = measure(board, spool, Network("a", []), windows=1, window_s=0.05)
    assert len(taken.rejected[0]) == 3
    assert [window["throttle"] for window in taken.windows[0]] == [["cooling gpu-balanced at 4"]]
    assert taken.throttled


def test_a_sampler_that_dies_ends_the_windows_and_leaves_no_file(
    board: SimulatedBoard, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[sampler.Sampler] = []
    real = sampler.start

    def start(*arguments: Any) -> sampler.Sampler:
        started.append(real(*arguments))
        return started[0]

    monkeypatch.setattr(sampler, "start", start)

    def kill() -> None:
        os.kill(started[0]._process.pid, signal.SIGKILL)

    with pytest.raises(Fault, match="the sampler ended by itself") as caught:
        measure(board, spool, Network("a", [], kill), window_s=5.0)
    assert caught.value.status == "sensor_bad"
    assert list(Path(spool.home).rglob("*samples*")) == []


def test_without_a_sensor_there_are_no_windows(tmp_path: Path, spool: Spool) -> None:
    turns: list[str] = []
    with pytest.raises(Fault) as caught:
        windows.measure([Network("a", turns)], ASKED, "cpu", spool, "job", str(tmp_path))
    assert caught.value.status == "sensor_missing"
    assert turns == []


def test_a_runtime_that_can_run_no_windows_says_so(tmp_path: Path, spool: Spool) -> None:
    network = Network("a", [])
    network.no_windows = "trtexec cannot be synchronised"
    with pytest.raises(Fault, match="trtexec cannot be synchronised") as caught:
        windows.measure([network], ASKED, "gpu", spool, "job", str(tmp_path))
    assert caught.value.status == "sensor_missing"
