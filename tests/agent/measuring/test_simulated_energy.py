"""Joules per image by the real agent, in real time, on a board whose power is known."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gensynth.bench.energy import EnergyEstimate, estimate
from gensynth.bench.integrate import Window
from gensynth.bench.samples import Sensor, believe, decode
from gensynth.devices.client import connect
from gensynth.devices.package import Agent
from gensynth.devices.registry import LOCAL
from tests.fakes import boards
from tests.fakes.board import BRIEF, Home, altered
from tests.fakes.simulated_board import REST_W, WORK_W, SimulatedBoard
from tests.onnx_files import errands
from tests.places import FAKES

pytestmark = pytest.mark.realtime

# The boards without their own rails, which the simulation makes and rewrites.
TX2 = {name: text for name, text in boards.TX2.items() if "/i2c/" not in name}
ORIN_NANO = {name: text for name, text in boards.ORIN_NANO.items() if "/hwmon1/" not in name}


def convolutions(channels: int = 64, layers: int = 3) -> bytes:
    """Some 10 ms of work for one core: 3x3 convolutions on 32x32."""
    draw = np.random.default_rng(0)
    shape = [1, channels, 32, 32]
    nodes, weights = [], []
    for k in range(layers):
        kernel = draw.normal(0, 0.04, (channels, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{k}"))
        nodes.append(helper.make_node("Conv", [f"x{k}", f"w{k}"], [f"x{k + 1}"], pads=[1] * 4))
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"x{layers}", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    content: bytes = model.SerializeToString()
    return content


def measured(
    name: str, windows: int, window_s: float, *,
    idle_s: float = 1.0, settle_s: float = 2.5, agent: Agent | None = None,
) -> tuple[dict[str, Any], EnergyEstimate]:  # fmt: skip
    """The real agent's result in a subprocess, and what its samples say."""
    image = np.random.default_rng(1).normal(0, 1, (1, 64, 32, 32)).astype(np.float32)
    energy = {
        "idle_s": idle_s, "settle_s": settle_s, "windows": windows, "window_s": window_s,
        "rate_hz": 50.0, "seed": 1,
    }  # fmt: skip
    errand = errands.errand(
        name, convolutions(), {"x0": image}, timing=None, energy=energy,
        limits={"build_s": 120.0, "run_s": 600.0},
    )  # fmt: skip
    with connect(LOCAL, agent=agent) as connection:
        result = connection.run(errand.spec, errand.blobs)
        assert result["status"] == "ok", result
        samples = connection.blob(result["power"]["samples"])
    (network,) = result["networks"]
    taken = [
        Window(w["start_ns"], w["end_ns"], w["runs"], w["onset_ns"]) for w in network["windows"]
    ]
    idle_ns = (result["idle"]["start_ns"], result["idle"]["end_ns"])
    believed = believe(*decode(samples), Sensor.from_record(result["power"]))
    return result, estimate(believed, taken, idle_ns=idle_ns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "layout", "averaged"),
    [
        pytest.param(TX2, "iio", 64, id="tx2, iio, averaging"),
        pytest.param(TX2, "iio", 1, id="tx2, iio, triggered"),
        pytest.param(ORIN_NANO, "hwmon", 1, id="orin nano, hwmon, snapshot"),
        pytest.param(ORIN_NANO, "hwmon", 64, id="orin nano, hwmon, averaging"),
    ],
)
def test_joules_per_image_are_the_models_within_2_percent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_home: Home,
    files: boards.Files, layout: str, averaged: int,
) -> None:  # fmt: skip
    with SimulatedBoard(tmp_path, files, layout, averaged) as board:
        monkeypatch.setenv("GENSYNTH_AGENT_ROOT", board.root)
        result, found = measured("energy", windows=6, window_s=5.0)
    truth_j = sum(board.truth_j(w.window.start_ns, w.window.end_ns) for w in found.used)
    images = sum(w.window.images for w in found.used)
    seconds = sum(w.window.seconds for w in found.used)
    assert len(found.used) >= 3, found.rejected  # a busy machine may drop polls
    # The model by hand: 8.5667 W at work.
    assert truth_j / seconds == pytest.approx(WORK_W, rel=0.02)
    assert found.j_per_img == pytest.approx(truth_j / images, rel=0.02)
    assert found.p_idle_w == pytest.approx(REST_W, rel=0.05)
    assert result["simulated"] is True
    assert result["board"]["simulated"] is True
    assert (found.sensor.rail, found.sensor.scope) == ("VDD_IN", "module")
    assert (found.sensor.tau_s > 0.4) == (averaged > 1)
    assert agent_home.leftovers() == []


@pytest.fixture
def stepped_clock(tmp_path: Path) -> Path:
    """A library that makes the wall clock of whoever preloads it step by hours."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and a loader that preloads")
    path = tmp_path / "stepped_clock.so"
    source = FAKES / "stepped_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
    return path


@pytest.mark.slow
def test_a_wall_clock_that_steps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_home: Home, stepped_clock: Path
) -> None:
    look = [sys.executable, "-c", "import time; print(*(time.time() for _ in range(7)))"]
    environment = {**os.environ, "LD_PRELOAD": str(stepped_clock)}
    said = subprocess.run(look, env=environment, capture_output=True, check=True).stdout
    looks = [float(word) for word in said.split()]
    assert max(looks) - min(looks) > 6 * 3600 - 60  # the agent's clock does step

    with SimulatedBoard(tmp_path, TX2, "iio", 1) as board:
        monkeypatch.setenv("GENSYNTH_AGENT_ROOT", board.root)
        monkeypatch.setenv("LD_PRELOAD", str(stepped_clock))
        before_s = time.perf_counter()
        result, found = measured(
            "stepped", windows=2, window_s=0.5, idle_s=0.3, settle_s=0.2, agent=altered(BRIEF)
        )
        took_s = time.perf_counter() - before_s
    assert 0 < result["seconds"]["total"] < took_s
    assert all(0.5 <= window.window.seconds < took_s for window in found.windows)
    assert REST_W < found.p_mean_w < 9.5
    assert agent_home.leftovers() == []
