"""An engine is built by a board's agent, compared there, and what is known of it is kept.

The agent is the real one, in a subprocess on this machine; its board has NVIDIA's `trtexec`
played by a program (`tests/fakes/fake_trtexec.py`) that computes what the file says.
"""

import io
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gensynth.devices import registry
from gensynth.devices.client import connect
from gensynth.devices.registry import LOCAL, Device
from gensynth.errors import ConfigError, DeviceError, DeviceFault, ExportError
from gensynth.export import engine
from gensynth.export.artefact import Artefact, make, write
from gensynth.export.targets import find_target
from gensynth.export.verify import verify
from gensynth.runs import artefacts
from tests.export.sources import finalists, manifest, source
from tests.fakes.board import Home
from tests.places import FAKES
from tests.runs import toybox

FAKE = FAKES / "fake_trtexec.py"


@pytest.fixture
def trtexec(agent_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board with `trtexec` 8.2.1; returns the file with a line for each of its calls."""
    program = tmp_path / "board/usr/src/tensorrt/bin/trtexec"
    program.parent.mkdir(parents=True)
    command = shlex.join([sys.executable, "-S", str(FAKE), "8.2.1"])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(tmp_path / "board"))
    monkeypatch.setenv("GENSYNTH_TRTEXEC_CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def artefact(precision: str = "fp32", batch: int = 8) -> Artefact:
    """All eight samples in one run: what plays `trtexec` takes a while to start."""
    return make(source(), find_target("jetson-tx2"), precision=precision, batch=batch)


def built(one: Artefact) -> engine.Engine:
    with connect(LOCAL) as connection:
        return engine.build(one, connection, "local")


def calls(file: Path) -> list[list[str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("batch", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_an_engine_is_built_once_and_compared_on_every_sample(
    trtexec: Path, agent_home: Home, batch: int
) -> None:
    one = artefact("fp16", batch)
    found = built(one)
    # trtexec writes six digits, and this one computes in FP32.
    assert found.parity.images == 8
    assert found.parity.relative <= 1e-5
    assert found.simulated
    assert (found.runtime["path"], found.runtime["version"]) == ("trtexec", "8.2.1")
    assert found.facts["bytes"] > len(one.files["network.onnx"])
    assert found.facts["cached"] is False
    assert found.facts["build_s"] > 0
    assert found.facts["precisions"] is found.layers is None  # trtexec does not tell
    assert b"PASSED TensorRT.trtexec" in found.log
    builds = [call for call in calls(trtexec) if any(a.startswith("--onnx=") for a in call)]
    assert len(builds) == 1
    assert "--fp16" in builds[0]
    assert agent_home.leftovers() == []
    assert built(one).facts["cached"] is True


@pytest.mark.slow
def test_an_artefact_tells_of_its_engine_and_holds_none(trtexec: Path, tmp_path: Path) -> None:
    one = artefact()
    whole = engine.with_engine(one, built(one))
    write(whole, tmp_path / "toy")
    verify(tmp_path / "toy")
    found = manifest(tmp_path / "toy")["engine"]
    assert (found["device"], found["simulated"], found["log"]) == ("local", True, "engine.log")
    assert found["parity"]["relative"] <= 1e-5
    assert {*whole.files} - {*one.files} == {"engine.log"}
    assert (tmp_path / "toy" / "engine.log").read_bytes() == whole.files["engine.log"]
    (tmp_path / "toy" / "engine.log").write_bytes(b"all well")
    with pytest.raises(ExportError, match=r"engine\.log has another SHA-256"):
        verify(tmp_path / "toy")


@pytest.mark.slow
def test_an_engine_that_computes_something_else_is_refused(trtexec: Path) -> None:
    one = artefact()
    with np.load(io.BytesIO(one.files["samples.npz"])) as samples:
        images, outputs = samples["images"], samples["outputs"]
    file = io.BytesIO()
    np.savez(file, images=images, outputs=1.1 * outputs)
    wrong = replace(one, files={**one.files, "samples.npz": file.getvalue()})
    with connect(LOCAL) as connection, pytest.raises(ExportError, match="local computes something"):
        engine.build(wrong, connection, "local")


def test_an_artefact_is_verified_on_a_device(
    gensynth: toybox.Command, here: Path, trtexec: Path
) -> None:
    write(artefact(), here / "toy")
    code, out, err = gensynth("verify", "toy", "--device", "local")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("toy for jetson-tx2: ")
    assert second.startswith("local, played by a program, computes the same: difference ")
    assert second.endswith(" on 8 images")


@pytest.mark.parametrize(
    ("precision", "allowed"), [pytest.param("fp32", 1e-5, marks=pytest.mark.slow), ("int8", 0.2)]
)
def test_a_file_for_onnx_runtime_is_run_by_the_agent_as_it_is(
    agent_home: Home, tmp_path: Path, precision: str, allowed: float
) -> None:
    one = source()
    assert one.search is not None
    one = replace(one, calibration=one.search.images)
    write(make(one, find_target("x86-cpu"), precision=precision, batch=None), tmp_path / "toy")
    parity, simulated = engine.verify_on(tmp_path / "toy", "local")
    assert (parity.images, simulated) == (8, False)
    assert parity.relative <= allowed
    assert agent_home.leftovers() == []


@pytest.mark.slow
def test_a_build_that_fails_says_why(trtexec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENSYNTH_TRTEXEC", "killed")
    with pytest.raises(DeviceFault) as fault:
        built(artefact())
    assert fault.value.status == "oom"


@pytest.mark.slow
def test_a_machine_without_tensorrt_says_so(agent_home: Home) -> None:
    with pytest.raises(DeviceFault) as fault:
        built(artefact())
    assert fault.value.status == "runtime_missing"
    assert "trtexec" in fault.value.message


def test_the_command_builds_on_the_device_and_shows_what_came_back(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path, trtexec: Path
) -> None:
    code, out, err = gensynth(
        "export", str(finished[0]), "--trt", "--device", "local", "--target", "jetson-tx2",
        "--precision", "fp16", "--batch", "8", "--out", "out",
    )  # fmt: skip
    names = finalists(finished[0])
    assert (code, err.splitlines()[-1]) == (0, f"engines: {names[-1]}")
    for name in names:
        (line,) = [line for line in out.splitlines() if line.startswith(f"{name}: engine")]
        assert "built on a program that plays a board by TensorRT 8.2.1" in line
        assert "no layers told, difference " in line
        assert manifest(here / "out" / name)["engine"]["runtime"]["version"] == "8.2.1"
    assert "no engine was built" not in out


@pytest.mark.slow
def test_without_a_device_it_is_built_here_where_the_gpu_is_what_the_files_are_for(
    finished: tuple[Path, str, str], tmp_path: Path, trtexec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = finished[0] / "finalists" / "FermiNet-A"
    gpu, tx2 = (artefacts.order(target=name, batch=8) for name in ("nvidia-gpu", "jetson-tx2"))
    monkeypatch.setattr(engine, "is_here", lambda: True)
    (built_here,) = artefacts.export(network, gpu, trt=True, out=tmp_path / "a")
    (for_a_board,) = artefacts.export(network, tx2, trt=True, out=tmp_path / "b")
    assert manifest(built_here.folder)["engine"]["device"] == "local"
    assert manifest(for_a_board.folder)["engine"] == "none; TensorRT builds it on the board"
    monkeypatch.setattr(engine, "is_here", lambda: False)
    (not_here,) = artefacts.export(network, gpu, trt=True, out=tmp_path / "c")
    assert manifest(not_here.folder)["engine"] == "none; TensorRT builds it on the board"


@pytest.mark.slow
def test_a_failed_build_writes_nothing(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path, agent_home: Home
) -> None:
    code, out, err = gensynth(
        "export", str(finished[0]), "--trt", "--device", "local", "--target", "nvidia-gpu",
        "--out", "out",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert "error: no engine of FermiNet-A on local: " in err
    assert not (here / "out").exists()


def device(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Device("board", "nvidia@192.168.55.1", profile)
    monkeypatch.setattr(registry, "_read", lambda: {"board": board})


@pytest.mark.parametrize("profile", artefacts.TARGETS_OF)
def test_a_devices_profile_says_what_it_reads(
    profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device(profile, monkeypatch)
    known = artefacts.TARGETS_OF[profile]
    for target in known:
        assert artefacts.order(device="board", target=target).target.name == target
    if len(known) == 1:
        assert artefacts.order(device="board").target.name == known[0]
        return
    with pytest.raises(ConfigError, match="--target jetson-orin-jp5 or jetson-orin-jp6"):
        artefacts.order(device="board")


def test_a_target_that_the_device_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    device("jetson-tx2", monkeypatch)
    message = "board is Jetson TX2 and reads files for jetson-tx2, not for jetson-nano"
    with pytest.raises(ConfigError, match=message):
        artefacts.order(device="board", target="jetson-nano")
    with pytest.raises(ConfigError, match="no INT8 for jetson-tx2"):
        artefacts.order(device="board", precision="int8")
    with pytest.raises(DeviceError, match="no device named 'bord'"):
        artefacts.order(device="bord")
    device("generic", monkeypatch)
    with pytest.raises(ConfigError, match="does not follow from its profile 'generic'"):
        artefacts.order(device="board")
    assert artefacts.order(device="local").target.name == "x86-cpu"
    assert artefacts.order().target.name == "x86-cpu"


def test_onnx_writes_the_files_alone(
    gensynth: toybox.Command, finished: tuple[Path, str, str], here: Path
) -> None:
    run, names = finished[0], finalists(finished[0])
    code, out, _ = gensynth("export", str(run), "--onnx", "--target", "jetson-tx2", "--out", "a")
    assert code == 0
    assert sorted(path.name for path in (here / "a").iterdir()) == [f"{n}.onnx" for n in names]
    assert f"Jetson TX2, JetPack 4.6: a/{names[0]}.onnx\n" in out
    assert gensynth("export", str(run), "--target", "jetson-tx2", "--out", "b")[0] == 0
    for name in names:
        whole = here / "b" / name / "network.onnx"
        assert (here / "a" / f"{name}.onnx").read_bytes() == whole.read_bytes()
    code, _, err = gensynth("export", str(run), "--onnx", "--trt", "--target", "jetson-tx2")
    assert (code, err.startswith("error: --onnx asks for ONNX files alone")) == (2, True)


def test_a_layers_precisions_come_back(tmp_path: Path) -> None:
    # What TensorRT's inspector tells comes as a file of the artefact's.
    one = artefact()
    facts: dict[str, Any] = {
        "key": "k", "build_s": 1.0, "cached": False, "bytes": 1 << 20, "workspace_mib": 256,
        "precisions": {"FP16": 2, "FP32": 1},
    }  # fmt: skip
    runtime = {"path": "tensorrt-ctypes", "version": "8.2.1"}
    layers = b'[{"name": "conv"}]'
    told = engine.Engine("tx2", False, runtime, facts, one.parity, {}, b"log", layers)
    write(engine.with_engine(one, told), tmp_path / "toy")
    found = manifest(tmp_path / "toy")["engine"]
    assert found["precisions"] == {"FP16": 2, "FP32": 1}
    assert found["layers"] == "engine_layers.json"
    assert json.loads((tmp_path / "toy" / "engine_layers.json").read_text()) == [{"name": "conv"}]
    verify(tmp_path / "toy")
    assert np.isfinite(found["parity"]["relative"])


def test_the_board_is_told_which_layers_stay_in_fp32(trtexec: Path) -> None:
    one = source()
    with torch.no_grad():
        one.network.state_dict()["conv.weight"].mul_(1e2)
        one.network.state_dict()["fc.weight"].mul_(1e4)  # only what fc gives leaves FP16
    made = make(one, find_target("jetson-tx2"), precision="fp16", batch=8)
    assert made.mixed is not None
    assert made.mixed.kept == ("fc",)
    # trtexec 8.2.1 has no option for it, so that it says so shows that it was asked.
    with pytest.raises(DeviceFault, match="1 layers must stay in FP32, and trtexec 8.2.1"):
        built(made)
