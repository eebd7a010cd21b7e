"""A record says what the result says, by hand; nothing simulated, wrong or not finite gets by."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gensynth.bench.grades import find_grade
from gensynth.bench.record import is_usable, make
from gensynth.bench.request import Request
from gensynth.bench.subjects import find, read
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault
from gensynth.render.bench import bench
from tests.fakes.agent_results import AgentResult
from tests.onnx_files.written import convolution

BOARD = Device("board", "user@board")
ABOUT = {
    "command": "gensynth bench small.onnx large.onnx",
    "started_utc": "2026-11-24T12:00:00.000+00:00",
    "gensynth": "0.1.0", "commit": None, "agent": "a" * 64,
}  # fmt: skip

# Six rounds of two runs.
TIMES_MS = np.array([[1.0, 3.0], [2.0, 4.0], [2.0, 4.0], [2.0, 4.0], [1.0, 3.0], [1.0, 3.0]])
Change = Callable[[AgentResult], None]


def two_networks(folder: Path, *, energy: bool = False) -> Request:
    files = [
        convolution(folder / f"{name}.onnx", width=w) for name, w in (("small", 4), ("large", 8))
    ]
    subjects = tuple(read(source) for source in find(files))
    grade = replace(find_grade(None, energy=energy), quiet=None)
    return Request(BOARD, subjects, grade, energy=energy)


def answered(
    request: Request, change: Change = lambda _: None, times_ms: np.ndarray = TIMES_MS
) -> dict[str, Any]:
    """The record of a result in which the second network is always twice as slow."""
    result = AgentResult(request, [times_ms, 2 * times_ms])
    change(result)
    record, raw = make(request, result.result, result.fetch, ABOUT)
    assert all(n["latency"]["raw"] in raw for n in record["networks"])
    return record


def test_the_figures_are_those_of_the_result(tmp_path: Path) -> None:
    record = answered(two_networks(tmp_path))
    small, large = record["networks"]
    assert (small["latency"]["n"], small["latency"]["mean_ms"]) == (12, 2.5)
    assert small["latency"]["p50_ms"] == 2.5
    assert small["latency"]["img_per_s"] == 400
    assert small["ratio"] is None
    assert large["ratio"]["to"] == "small"
    assert large["ratio"]["latency"] == {"value": pytest.approx(2), "ci95": pytest.approx([2, 2])}
    assert (small["params"], small["macs"]) == (4 * 27 + 40, 256 * 108 + 40)
    assert (record["schema"], record["status"]) == ("gensynth.bench/1", "ok")
    assert (record["provenance"], is_usable(record)) == ("measured", True)
    assert record["device"]["serial_hash"] == "0123456789abcdef"
    assert record["command"] == ABOUT["command"]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_energy_is_gross_over_images_with_its_interval_and_rail(tmp_path: Path) -> None:
    # 6 W and 9 W for 10 s and 500 images: 0.12 and 0.18 J an image, a ratio of 1.5.
    request = two_networks(tmp_path, energy=True)
    record = answered(request, lambda result: result.add_energy([6.0, 9.0], runs=500))
    small, large = (network["energy"] for network in record["networks"])
    assert small["j_per_img"] == pytest.approx(0.12, rel=1e-3)
    assert small["img_per_j"] == pytest.approx(1 / 0.12, rel=1e-3)
    assert small["ci95"][0] < 0.12 < small["ci95"][1] or small["ci95"] == pytest.approx(
        [0.12, 0.12], rel=1e-3
    )
    assert (small["rail"], small["scope"], small["windows"]) == ("VDD_IN", "module", 4)
    assert small["p_mean_w"] == pytest.approx(6, rel=1e-3)
    assert small["p_idle_w"] == pytest.approx(2, rel=1e-3)
    assert small["syst_pct"] == pytest.approx(100 * 0.3 / 6 + 0.5, rel=1e-3)  # offset and gain
    assert large["j_per_img"] == pytest.approx(0.18, rel=1e-3)
    ratio = record["networks"][1]["ratio"]["energy"]
    assert ratio["value"] == pytest.approx(1.5, rel=1e-3)
    assert ratio["pairs"] == 4


def test_joules_are_of_an_image_and_not_of_a_batch(tmp_path: Path) -> None:
    # 6 W for 10 s and 125 runs of four images: 0.12 J an image.
    files = find([convolution(tmp_path / "net.onnx")])
    grade = replace(find_grade("standard"), quiet=None)
    request = Request(BOARD, (read(files[0], batch=4),), grade, energy=True)
    result = AgentResult(request, [TIMES_MS])
    result.add_energy([6.0], runs=125)
    record, _ = make(request, result.result, result.fetch, ABOUT)
    (network,) = record["networks"]
    assert network["energy"]["j_per_img"] == pytest.approx(0.12, rel=1e-3)
    assert network["latency"]["img_per_s"] == pytest.approx(1000 * 4 / 2.5)


@pytest.mark.parametrize(("spoilt", "used"), [(2, 2), (6, 4)])
def test_energy_of_few_windows_is_flagged_with_the_reasons(
    tmp_path: Path, spoilt: int, used: int
) -> None:
    # Of four windows two are left, which is fewer than three; of ten four, less than half.
    def spoil(result: AgentResult) -> None:
        result.add_energy([6.0, 9.0], runs=500, windows=spoilt + used)
        for window in result.result["networks"][0]["windows"][:spoilt]:
            window["onset_ns"] = window["start_ns"]

    record = answered(two_networks(tmp_path, energy=True), spoil)
    assert (record["status"], record["flags"]) == ("degraded", ["few_windows"])
    assert record["networks"][0]["energy"]["windows"] == used
    assert record["networks"][1]["energy"]["windows"] == spoilt + used
    text = " ".join(bench(record).split())
    assert f"small: {spoilt} of {spoilt + used} energy windows rejected: opens 0.00 s after" in text
    assert "large: " not in text
    assert "note: joules are of too few windows" in text


def test_energy_of_half_the_windows_is_as_asked(tmp_path: Path) -> None:
    def spoil(result: AgentResult) -> None:
        result.add_energy([6.0, 9.0], runs=500, windows=6)
        for window in result.result["networks"][0]["windows"][:3]:
            window["onset_ns"] = window["start_ns"]

    assert answered(two_networks(tmp_path, energy=True), spoil)["flags"] == []


def test_without_a_sensor_the_reason_stands_where_the_joules_would(tmp_path: Path) -> None:
    def no_sensor(result: AgentResult) -> None:
        result.result.update(
            status="degraded", flags=["sensor_missing"], power={"reason": "no INA3221 monitor"}
        )

    record = answered(two_networks(tmp_path, energy=True), no_sensor)
    assert [network["energy"] for network in record["networks"]] == [None, None]
    assert record["networks"][0]["no_energy_because"] == "no INA3221 monitor"
    assert record["status"] == "degraded"
    assert "no energy: no INA3221 monitor" in bench(record)


def test_a_sensor_that_cannot_be_believed_gives_no_joules(tmp_path: Path) -> None:
    def stuck(result: AgentResult) -> None:
        result.add_energy([6.0, 9.0], runs=500)
        power = result.result["power"]
        pairs = np.frombuffer(result.fetch(power["samples"]), "<u8,<f8").copy()
        pairs["f1"] = 6.0
        power["samples"] = result.put(pairs.tobytes())

    record = answered(two_networks(tmp_path, energy=True), stuck)
    assert (record["status"], record["flags"]) == ("degraded", ["sensor_bad"])
    assert "must change, got 6" in record["networks"][0]["no_energy_because"]
    assert record["networks"][0]["latency"]["mean_ms"] == 2.5


@pytest.mark.parametrize("where", ["result", "board", "board_after"])
def test_what_is_simulated_anywhere_is_simulated_for_good(tmp_path: Path, where: str) -> None:
    def simulated(result: AgentResult) -> None:
        if where == "result":
            result.result["simulated"] = True
        else:
            result.result[where] = {**result.result[where], "simulated": True}

    record = answered(two_networks(tmp_path), simulated)
    assert record["provenance"] == "simulated"
    assert not is_usable(record)
    shown = bench(record)
    assert shown.startswith("SIMULATED")
    assert shown.splitlines()[-1].startswith("SIMULATED")


def test_outputs_unlike_the_hosts_are_no_result(tmp_path: Path) -> None:
    def wrong(result: AgentResult) -> None:
        entry = result.result["networks"][1]
        entry["outputs"] = [result.output("logits", np.ones((1, 10), np.float32))]

    with pytest.raises(DeviceFault, match="large must compute on board what it computes here") as e:
        answered(two_networks(tmp_path), wrong)
    assert e.value.status == "invalid_output"


def test_outputs_of_another_shape_or_name_are_no_result(tmp_path: Path) -> None:
    for name, shape in (("logits", (1, 11)), ("scores", (1, 10))):

        def other(result: AgentResult, name: str = name, shape: tuple[int, int] = shape) -> None:
            array = np.ones(shape, np.float32)
            result.result["networks"][0]["outputs"] = [result.output(name, array)]

        with pytest.raises(DeviceFault, match="small must") as caught:
            answered(two_networks(tmp_path), other)
        assert caught.value.status == "invalid_output"


def test_a_result_that_lacks_something_is_a_protocol_error(tmp_path: Path) -> None:
    for key in ("board", "networks", "seconds", "clocks"):

        def lacking(result: AgentResult, key: str = key) -> None:
            del result.result[key]

        with pytest.raises(DeviceFault) as caught:
            answered(two_networks(tmp_path), lacking)
        assert caught.value.status == "protocol_error"


def test_a_figure_that_is_not_finite_never_gets_into_a_record(tmp_path: Path) -> None:
    def hot(result: AgentResult) -> None:
        after = {**result.result["board_after"], "temperatures_c": {"GPU-therm": float("nan")}}
        result.result["board_after"] = after

    with pytest.raises(DeviceFault) as caught:
        answered(two_networks(tmp_path), hot)
    assert caught.value.status == "protocol_error"


def test_a_throttled_result_has_figures_that_may_not_be_used(tmp_path: Path) -> None:
    def throttled(result: AgentResult) -> None:
        result.result.update(status="throttled", flags=["throttled"])
        signals = ["GPU clock 0.8 of its maximum"]
        result.result["board_after"] = {**result.result["board_after"], "throttle": signals}

    record = answered(two_networks(tmp_path), throttled)
    assert not is_usable(record)
    assert record["networks"][0]["latency"]["mean_ms"] == 2.5
    shown = bench(record)
    assert "THROTTLED: the board slowed itself down" in shown
    assert "GPU clock 0.8 of its maximum" in shown


def test_a_drift_above_two_percent_is_told(tmp_path: Path) -> None:
    request = two_networks(tmp_path, energy=True)  # grade standard

    def no_sensor(result: AgentResult) -> None:
        result.result["power"] = {"reason": "none"}

    drifting = np.array([[1.0, 1.0], [1.01, 1.01], [1.02, 1.02], [1.03, 1.03]])
    record = answered(request, no_sensor, drifting)
    assert record["flags"] == ["drift"]
    assert record["status"] == "degraded"
    assert record["networks"][0]["latency"]["drift_pct"] == pytest.approx(3)


def test_the_whole_table_of_two_networks(tmp_path: Path) -> None:
    request = two_networks(tmp_path, energy=True)
    record = answered(request, lambda result: result.add_energy([6.0, 9.0], runs=500))
    lines = bench(record).splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line[:25].strip(): line[25:].split() for line in lines if line[:1].isalpha()}
    assert rows["latency p50, ms"] == ["2.50", "5.00"]
    assert rows["latency p90, ms"] == ["-", "-"]
    assert rows["timed runs n"] == ["12", "12"]
    assert rows["scatter (CoV), %"] == ["44.7", "44.7"]  # sqrt(1.25) over 2.5
    assert rows["images per second"] == ["400", "200"]
    assert rows["times the first's latency"] == ["2.000"]
    assert rows["MACs"] == ["27.7", "k", "55.4", "k"]
    assert rows["joules per image"] == ["0.120", "0.180"]
    assert rows["images per joule"] == ["8.33", "5.56"]
    assert rows["power, W"] == ["6.00", "9.00"]
    # The power jumps at the ends of a window, where it is interpolated.
    assert float(rows["times the first's joules"][0]) == pytest.approx(1.5, abs=0.002)
    text = " ".join(" ".join(lines).split())
    assert "device board, NVIDIA Jetson TX2, onnxruntime 1.10.0, 1 thread, fp32, batch 1" in text
    assert "power mode 0 MAXN, clocks not locked" in text
    assert "energy: rail VDD_IN (module), ina3221x avg=64; gross, in 4 windows of 10.0 s" in text
    assert "idle 2.00 W; the sensor itself may be wrong by 5.5 %" in text
    assert "did not throttle; hottest GPU-therm, 41 to 57 °C" in text


def test_many_networks_stand_below_each_other_beside_the_first(tmp_path: Path) -> None:
    files = [convolution(tmp_path / f"a-network-with-a-name-{k}.onnx", seed=k) for k in range(5)]
    request = Request(BOARD, tuple(read(s) for s in find(files)), find_grade("quick"))
    times = np.array([[1.0, 3.0], [2.0, 4.0], [1.0, 3.0]])
    result = AgentResult(request, [times] * 5)
    record, _ = make(request, result.result, result.fetch, ABOUT)
    shown = bench(record, 80)
    assert max(map(len, shown.splitlines())) <= 80
    heads = [line.split() for line in shown.splitlines() if "a-network" in line]
    assert [head[0] for head in heads] == ["a-network-with-a-name-0"] * len(heads)
    assert sorted(name for head in heads for name in head[1:]) == [
        f"a-network-with-a-name-{k}" for k in range(1, 5)
    ]
