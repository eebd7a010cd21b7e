"""One job with one runtime: what is done in which order, and what its result says."""

import hashlib
import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from gensynth.devices.agent.measuring.work import work
from gensynth.devices.agent.runtimes.tensorrt_log import LOG_LIMIT
from gensynth.devices.agent.wire import frames
from gensynth.devices.agent.wire.spec import check_spec
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from tests.fakes import boards
from tests.fakes.fake_pycuda import FakePycuda
from tests.fakes.fake_tensorrt import fake_tensorrt
from tests.fakes.simulated_tensorrt import Machine
from tests.fakes.tensorrt_contracts import VERSIONS
from tests.onnx_files.small import convolution, entry, image, quotient

WARMUP = {"min_s": 0.02, "block_s": 0.01, "agree_pct": 100.0, "cap_s": 60.0}
TIMING = {"warmup": WARMUP, "rounds": 4, "runs": 5, "min_round_s": 0.0}
ENERGY = {
    "idle_s": 0.1, "settle_s": 0.0, "windows": 1, "window_s": 0.1, "rate_hz": 20.0, "seed": 1,
}  # fmt: skip


class Bench:
    """A spool, and jobs in it.

    Attributes:
        messages: of progress, from all jobs.
    """

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(str(folder))
        self.messages: list[dict[str, Any]] = []

    def do(self, *networks: dict[str, Any], runtime: str = "onnxruntime", **changes: Any) -> Any:
        spec = {
            "id": "job", "networks": list(networks), "precision": "fp32", "runtimes": [runtime],
            "threads": 1, "build_only": False, "workspace_mib": 64, "timing": TIMING,
            "reference": None, "energy": None, "clocks": None,
            "limits": {"build_s": 60.0, "run_s": 60.0, "lease_s": 60.0},
        }  # fmt: skip
        return work(check_spec({**spec, **changes}), runtime, self.spool, self.messages.append)

    def net(self, content: bytes, name: str = "net", dtype: str = "float32") -> dict[str, Any]:
        return entry(self.spool, content, name, x=image(dtype=dtype))

    def blob(self, sha256: str) -> bytes:
        content = (Path(self.spool.home) / "results/job" / sha256).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
        return content


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "agent")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Install a version of TensorRT, and say on what machine."""

    def install(version: str, **kind: Any) -> Machine:
        cuda: Any = FakePycuda()
        machine = Machine(size_at=cuda.size_at, **kind)
        package: Any = types.ModuleType("pycuda")
        package.driver = cuda
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", cuda)
        monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version, machine))
        machine.cuda = cuda  # type: ignore[attr-defined]
        return machine

    return install


Install = Callable[..., Any]


def test_every_run_of_every_network_is_in_the_result(bench: Bench) -> None:
    result = bench.do(bench.net(convolution(), "a"), bench.net(convolution(scale=2), "b"))
    assert (result["status"], result["flags"], result["message"]) == ("ok", [], "")
    assert [network["id"] for network in result["networks"]] == ["a", "b"]
    for network in result["networks"]:
        times = network["times"]
        assert (times["rounds"], times["runs"], times["compute"]) == (4, 5, None)
        nanoseconds = np.frombuffer(bench.blob(times["blob"]), "<u8")
        assert len(nanoseconds) == 4 * 5
        assert (nanoseconds > 0).all()
        assert network["warmup"]["steady"] is True
        assert network["warmup"]["runs"] >= 3
        assert (network["engine"], network["file_precision"]) == (None, "fp32")
        assert network["windows"] is None
    assert result["runtime"]["path"] == "onnxruntime"
    assert result["runtime"]["version"] == onnxruntime.__version__
    assert set(result["seconds"]) == {"outputs", "latency"}
    assert (result["idle"], result["power"]) == (None, None)


def test_a_network_of_microseconds_does_not_fill_the_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gensynth.devices.agent.measuring.work.MOST_RUNS", 400)
    endless = dict(TIMING, min_round_s=3600.0, runs=5)
    (network,) = bench.do(bench.net(convolution()), timing=endless)["networks"]
    assert (network["times"]["rounds"], network["times"]["runs"]) == (4, 100)
    slow = dict(TIMING, min_round_s=3600.0, runs=500)  # what is asked for is done
    (network,) = bench.do(bench.net(convolution()), timing=slow)["networks"]
    assert network["times"]["runs"] == 500


def test_outputs_are_those_of_the_networks(bench: Bench) -> None:
    contents = {"a": convolution(), "b": convolution(scale=2)}
    result = bench.do(*(bench.net(content, name) for name, content in contents.items()))
    for network in result["networks"]:
        (output,) = network["outputs"]
        actual = np.frombuffer(bench.blob(output["blob"]), output["dtype"])
        session = onnxruntime.InferenceSession(
            contents[network["id"]], providers=["CPUExecutionProvider"]
        )
        expected = session.run(None, {"x": image()})[0]
        assert tuple(output["shape"]) == expected.shape
        np.testing.assert_allclose(actual, expected.ravel(), rtol=1e-6)


def test_progress_begins_when_the_runtime_is_open(bench: Bench) -> None:
    bench.do(bench.net(convolution(), "a"), bench.net(convolution(scale=2), "b"))
    phases = [(message["phase"], message["done"]) for message in bench.messages]
    assert phases == [
        ("build", 0), ("build", 1), ("loaded", 2),
        ("outputs", 0), ("latency", 0), ("warm-up", 0), ("warm-up", 1),
        ("latency", 0), ("latency", 1), ("latency", 2), ("latency", 3), ("latency", 4),
    ]  # fmt: skip


def test_outputs_that_are_no_numbers_end_the_job_before_anything_is_timed(bench: Bench) -> None:
    with pytest.raises(Fault) as refused:
        bench.do(bench.net(convolution(), "good"), bench.net(quotient(), "bad"))
    fault = refused.value
    assert fault.status == "invalid_output"
    value = "Infinity" if image().flat[0] > 0 else "-Infinity"
    assert fault.message == f"the outputs of bad must be finite, got {value} in 'y' at position 0"
    assert fault.details == {"tensor": "y", "position": 0, "value": value, "network": "bad"}
    assert "warm-up" not in [message["phase"] for message in bench.messages]


def test_a_half_that_overflows_is_no_output(bench: Bench) -> None:
    # Unscaled, the largest output is 2.2; half precision ends at 65,504.
    content, x = convolution(half=True, scale=10_000), 10 * image(dtype="float16")
    with pytest.raises(Fault, match="must be finite, got Infinity in 'y'") as refused:
        bench.do(entry(bench.spool, content, x=x), precision="fp16")
    assert refused.value.status == "invalid_output"


def test_a_fault_says_of_which_network_it_is(bench: Bench) -> None:
    with pytest.raises(Fault) as refused:
        bench.do(bench.net(convolution(), "good"), bench.net(convolution("Nothing"), "odd"))
    assert refused.value.status == "unsupported_op"
    assert refused.value.details["network"] == "odd"


def test_a_warm_up_that_does_not_settle_is_the_status(bench: Bench) -> None:
    impossible = dict(WARMUP, agree_pct=0.0, min_s=0.0, block_s=0.001, cap_s=0.05)
    result = bench.do(bench.net(convolution()), timing=dict(TIMING, warmup=impossible))
    assert (result["status"], result["flags"]) == ("not_steady", ["not_steady"])
    assert result["networks"][0]["warmup"]["steady"] is False
    assert len(bench.blob(result["networks"][0]["times"]["blob"])) == 8 * 20


def test_a_board_that_slows_itself_down_is_the_status(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = boards.lay(tmp_path / "root", boards.TX2, boards.cooling(1, "gpu-balanced", 2))
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", root)
    result = bench.do(bench.net(convolution()))
    assert (result["status"], result["flags"]) == ("throttled", ["throttled"])
    assert result["networks"][0]["times"] is not None  # throttled, and with its number


def test_without_a_sensor_the_latency_stands_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare").mkdir()
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(tmp_path / "bare"))
    result = bench.do(bench.net(convolution()), energy=ENERGY)
    assert (result["status"], result["flags"]) == ("degraded", ["sensor_missing"])
    assert set(result["power"]) == {"reason"}
    assert result["networks"][0]["windows"] is None
    assert result["networks"][0]["times"] is not None
    with pytest.raises(Fault) as refused:
        bench.do(bench.net(convolution()), energy=ENERGY, timing=None)
    assert refused.value.status == "sensor_missing"


def test_the_reference_network_takes_a_turn_in_every_round(bench: Bench) -> None:
    reference = {**bench.net(convolution(scale=3), "reference"), "turn_s": 0.002}
    result = bench.do(bench.net(convolution()), reference=reference)
    assert [network["id"] for network in result["networks"]] == ["net"]
    times = result["reference"]["times"]
    assert times["rounds"] == TIMING["rounds"]
    assert times["runs"] >= 2
    assert len(bench.blob(times["blob"])) == 8 * times["rounds"] * times["runs"]
    assert result["status"] == "ok"
    assert bench.do(bench.net(convolution()))["reference"] is None


def test_a_reference_network_that_cannot_run_harms_no_other(bench: Bench) -> None:
    reference = {**bench.net(convolution("Nothing"), "reference"), "turn_s": 0.002}
    result = bench.do(bench.net(convolution()), reference=reference)
    assert (result["status"], result["reference"]["times"]) == ("ok", None)
    assert "Nothing" in result["reference"]["why"]


def test_a_reference_network_that_would_hold_up_the_others_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gensynth.devices.agent.measuring.reference.RUN_AT_MOST_S", 0.0)
    reference = {**bench.net(convolution(scale=3), "reference"), "turn_s": 0.002}
    result = bench.do(bench.net(convolution()), reference=reference)
    assert result["reference"]["times"] is None
    assert "one run of it takes" in result["reference"]["why"]
    assert result["networks"][0]["times"]["rounds"] == TIMING["rounds"]


def test_more_threads_than_processors_are_flagged(bench: Bench, tmp_path: Path) -> None:
    here = len(os.sched_getaffinity(0))
    assert bench.do(bench.net(convolution()), threads=here)["flags"] == []
    result = bench.do(bench.net(convolution()), threads=here + 1)
    assert (result["status"], result["flags"]) == ("degraded", ["threads"])


def test_what_it_expects_to_need_goes_by_the_runs_that_were_seen(bench: Bench) -> None:
    slow = dict(TIMING, min_round_s=0.05)
    bench.do(bench.net(convolution()), timing=slow)
    said = [
        m["expected_s"] for m in bench.messages if m["phase"] == "latency" and "expected_s" in m
    ]
    # Four rounds of at least 0.05 s, and a run more in each.
    assert 0.2 <= said[-1] < 2.0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_alone_gives_size_seconds_precisions_layers_and_log(
    bench: Bench, machine: Install, version: str
) -> None:
    installed = machine(version)
    typed = version == "11.0.0"
    net = bench.net(convolution(half=typed), dtype="float16" if typed else "float32")
    start_s = time.perf_counter()
    result = bench.do(net, runtime="tensorrt-pycuda", precision="fp16", build_only=True)
    took_s = time.perf_counter() - start_s
    (network,) = result["networks"]
    engine = network["engine"]
    (plan,) = Path(bench.spool.engines).glob("*.plan")
    assert engine["bytes"] == plan.stat().st_size
    assert 0 < engine["build_s"] < took_s
    assert (engine["cached"], engine["workspace_mib"]) == (False, 64)
    if version.startswith("8.0"):  # it cannot tell
        assert (engine["layers"], engine["precisions"]) == (None, None)
    else:
        layers = json.loads(bench.blob(engine["layers"]))
        assert [layer["name"] for layer in layers] == ["stem/conv", "stem/act", "pool"]
        # The fake computes convolutions alone in half precision, where a flag lets it.
        assert engine["precisions"] == ({"fp32": 3} if typed else {"fp16": 1, "fp32": 2})
    assert bench.blob(engine["log"]) == b"[INFO] Engine generation completed in 0.1 seconds."
    assert (network["outputs"], network["times"], network["warmup"]) == (None, None, None)
    assert result["status"] == "ok"
    assert result["seconds"] == {}
    assert installed.runs == 0
    again = bench.do(net, runtime="tensorrt-pycuda", precision="fp16", build_only=True)
    assert again["networks"][0]["engine"] == dict(engine, cached=True)
    assert len(installed.builds) == 1


def test_a_whole_job_runs_on_tensorrt(bench: Bench, machine: Install) -> None:
    installed = machine("8.2.1.8")
    result = bench.do(
        bench.net(convolution(), "a"), bench.net(convolution(scale=2), "b"),
        runtime="tensorrt-pycuda",
    )  # fmt: skip
    assert result["status"] == "ok"
    assert result["runtime"]["path"] == "tensorrt-pycuda"
    for network in result["networks"]:
        total, compute = (
            np.frombuffer(bench.blob(network["times"][name]), "<u8") for name in ("blob", "compute")
        )
        assert len(total) == len(compute) == 20
        assert (compute <= total).all()
    assert installed.cuda._stack == []  # the device was let go
    assert not installed.contexts


def test_a_smaller_workspace_is_said(bench: Bench, machine: Install) -> None:
    machine("8.2.1.8", free_mib=100)
    result = bench.do(
        bench.net(convolution()), runtime="tensorrt-pycuda", workspace_mib=256, timing=None
    )
    assert (result["status"], result["flags"]) == ("degraded", ["smaller_workspace"])
    assert result["networks"][0]["engine"]["workspace_mib"] == 64


@pytest.mark.parametrize(
    ("kind", "status"),
    [({"free_mib": 1}, "oom"), ({"needs_mib": 999}, "build_failed"), ({"fails": "lost"}, None)],
)
def test_the_device_is_let_go_whatever_happens(
    bench: Bench, machine: Install, kind: dict[str, Any], status: str | None
) -> None:
    installed = machine("8.2.1.8", **kind)
    with pytest.raises(Fault) as failed:
        bench.do(bench.net(convolution()), runtime="tensorrt-pycuda")
    assert failed.value.status == (status or "device_lost")
    assert failed.value.details["network"] == "net"
    assert installed.cuda._stack == []


def test_the_result_of_many_talkative_builds_fits_a_message(bench: Bench, machine: Install) -> None:
    machine("8.2.1.8", chatter=40 * LOG_LIMIT)
    networks = [bench.net(convolution(scale=n), f"n{n}") for n in range(1, 65)]
    result = bench.do(*networks, runtime="tensorrt-pycuda", build_only=True)
    header = json.dumps({"type": "result", "result": result}).encode()
    assert len(header) < frames.HEADER_LIMIT
    logs = [bench.blob(network["engine"]["log"]) for network in result["networks"]]
    assert LOG_LIMIT // 2 < max(map(len, logs)) <= LOG_LIMIT


def test_a_runtime_that_is_not_there_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for runtime in ("tensorrt-pycuda", "tensorrt-ctypes"):
        with pytest.raises(Fault, match="tensorrt cannot be imported") as refused:
            bench.do(bench.net(convolution()), runtime=runtime)
        assert refused.value.status == "runtime_missing"
