"""A Jetson TX2 as far as there is one here: its Python, its ssh, its files, its TensorRT's API.

The real agent runs under a real Python 3.6 behind a real sshd, on the files of a TX2 with L4T
R32.7, with TensorRT 8.2.1's calls through ctypes and a libcudart of CUDA 10.2's functions.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gensynth.devices.client import connect
from gensynth.devices.registry import Device
from tests.fakes import boards
from tests.fakes.board import Board
from tests.fakes.pythons import python
from tests.onnx_files import errands
from tests.places import FAKES


@pytest.fixture
def tx2(board: Board, tmp_path: Path, libcudart: Path) -> Device:
    """The device: a command that starts Python 3.6 in its surroundings."""
    packages = tmp_path / "packages"
    packages.mkdir()
    shutil.copy(FAKES / "old_tensorrt.py", packages / "tensorrt.py")
    surroundings = {
        "PYTHONPATH": str(packages),
        "LD_LIBRARY_PATH": str(libcudart.parent),
        "GENSYNTH_AGENT_ROOT": boards.lay(tmp_path / "root", boards.TX2),
    }
    command = tmp_path / "python3"
    exports = "".join(f"export {name}={value}\n" for name, value in surroundings.items())
    command.write_text(f'#!/bin/sh\n{exports}exec {python("3.6")} "$@"\n')
    command.chmod(0o755)
    return replace(board.device, python=str(command))


def test_a_network_is_built_and_measured_on_a_tx2(board: Board, tx2: Device) -> None:
    ladder = ["tensorrt-pycuda", "tensorrt-ctypes", "trtexec", "onnxruntime"]
    first, second = (
        errands.good(name, runtimes=ladder, precision="fp16") for name in ("first", "second")
    )
    with connect(tx2) as connection:
        result = connection.run(first.spec, first.blobs)
        (network,) = result["networks"]
        output = np.frombuffer(connection.blob(network["outputs"][0]["blob"]), "<f4")
        total, compute = (
            np.frombuffer(connection.blob(network["times"][name]), "<u8")
            for name in ("blob", "compute")
        )
        layers = json.loads(connection.blob(network["engine"]["layers"]))
        log = connection.blob(network["engine"]["log"])
    assert result["status"] in ("ok", "not_steady"), result["message"]
    assert result["runtime"]["path"] == "tensorrt-ctypes"
    assert result["runtime"]["version"] == "8.2.1.8"
    assert [entry["path"] for entry in result["runtime"]["tried"]] == ["tensorrt-pycuda"]
    details = result["runtime"]["details"]
    assert (details["cuda"], details["capability"]) == ("10.2", "6.2")
    assert output.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert len(total) == len(compute) == 10
    assert (compute <= total).all()
    assert layers == [{"name": "mul", "precision": "fp16"}]
    assert network["engine"]["precisions"] == {"fp16": 1}
    assert log == b"[INFO] built by Python 3.6"
    assert (result["board"]["l4t"], result["board"]["python"][:4]) == ("32.7.4", "3.6.")
    assert result["simulated"] is True
    with connect(tx2) as connection:
        again = connection.run(second.spec, second.blobs)
    assert again["networks"][0]["engine"] == dict(network["engine"], cached=True)
    assert board.leftovers() == []


def test_an_engine_is_built_on_a_tx2_and_nothing_else(board: Board, tx2: Device) -> None:
    errand = errands.good("build", runtimes=["tensorrt-ctypes"], build_only=True)
    with connect(tx2) as connection:
        result = connection.run(errand.spec, errand.blobs)
    assert result["status"] == "ok"
    (network,) = result["networks"]
    assert network["engine"]["bytes"] == len(b"a plan of 8.2.1")
    assert network["engine"]["build_s"] > 0
    assert (network["outputs"], network["times"]) == (None, None)
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_network_that_tensorrt_does_not_take_has_its_fault(board: Board, tx2: Device) -> None:
    errand = errands.not_a_number("log")  # Log is not Mul
    spec = dict(errand.spec, runtimes=["tensorrt-ctypes", "onnxruntime"])
    with connect(tx2) as connection:
        result = connection.run(spec, errand.blobs)
    assert result["status"] == "build_failed"
    assert "TensorRT 8.2.1.8 must make a parsed network, got none" in result["message"]
    assert result["details"]["network"] == "net"
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_survey_of_a_tx2_names_the_runtime_that_works(board: Board, tx2: Device) -> None:
    with connect(tx2) as connection:
        report = connection.check()
    found = {entry["path"]: entry for entry in report["runtimes"]}
    assert found["tensorrt-ctypes"]["version"] == "8.2.1.8"
    assert "pycuda cannot be imported" in found["tensorrt-pycuda"]["why"]
    assert "there is no trtexec in" in found["trtexec"]["why"]
    assert found["onnxruntime"]["version"] is None
