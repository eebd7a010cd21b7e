"""The ladder of runtimes with real processes: broken, dying, hanging and working ones."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from gensynth.devices.agent.runtimes import runtimes
from gensynth.devices.agent.wire.spec import RUNTIMES
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.client import connect
from gensynth.devices.registry import LOCAL
from tests.fakes.board import Home
from tests.fakes.pythons import environment
from tests.onnx_files import errands
from tests.onnx_files.small import convolution, image
from tests.places import FAKES

FAKE = FAKES / "fake_trtexec.py"
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"

TENSORRT = """
__version__ = "8.2.1.8"
Builder = OnnxParser = None
class ILogger:
    pass
"""

Put = Callable[[str, str], None]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Install a module for the agent's children: its name and its text."""
    python, folder = environment(tmp_path / "environment")
    monkeypatch.setattr(sys, "executable", str(python))

    def put(name: str, text: str) -> None:
        path = folder.joinpath(*name.split("."), "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return put


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board's root with `trtexec` 8.2.1 in it."""
    program = tmp_path / "root/usr/src/tensorrt/bin/trtexec"
    program.parent.mkdir(parents=True)
    command = shlex.join([sys.executable, "-S", str(FAKE), "8.2.1"])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("GENSYNTH_TRTEXEC_CALLS", str(tmp_path / "calls"))
    return tmp_path / "root"


def surveyed(root: str = "/") -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for entry in runtimes.survey(root)}


@pytest.fixture(autouse=True)
def spare_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENSYNTH_AGENT_HOME", str(tmp_path / "spare"))


def test_a_survey_says_of_each_runtime_its_version_or_why_not(root: Path, put: Put) -> None:
    put("tensorrt", TENSORRT)
    put("pycuda.driver", "raise OSError('libcuda.so.1: cannot open shared object file')")
    found = surveyed(str(root))
    assert tuple(found) == RUNTIMES
    assert found["tensorrt-pycuda"]["version"] is None
    assert "pycuda cannot be imported: libcuda.so.1" in found["tensorrt-pycuda"]["why"]
    assert found["trtexec"] == {"path": "trtexec", "version": "8.2.1", "why": None}
    version = onnxruntime.__version__
    assert found["onnxruntime"] == {"path": "onnxruntime", "version": version, "why": None}


def test_a_runtime_that_ends_the_process_ends_no_survey(put: Put) -> None:
    put("tensorrt", CRASH)  # as TensorRT's Runtime() does without a driver
    put("onnxruntime", "print('hello'); raise SystemExit(3)")
    found = surveyed()
    why = "opening it ends the process (SIGSEGV): "
    assert found["tensorrt-pycuda"] == {"path": "tensorrt-pycuda", "version": None, "why": why}
    assert found["onnxruntime"]["why"].startswith("opening it ends the process (exit code 3): ")


def test_a_runtime_that_does_not_open_ends_no_survey(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "RUNTIMES", ("onnxruntime",))
    put("onnxruntime", "import time; time.sleep(600)")
    began = time.monotonic()
    (entry,) = runtimes.survey(patience_s=1)
    assert entry["why"] == "it did not open within 1 s"
    assert time.monotonic() - began < 600 / 2  # of what it would sleep


def test_words_of_a_library_do_not_disturb_a_survey(put: Put) -> None:
    (real,) = onnxruntime.__path__
    text = "import os\nprint('{}')\nos.write(1, b'{}')\n"
    put("onnxruntime", f"{text}__path__ = [{real!r}]\nexec(open({real!r} + '/__init__.py').read())")
    assert surveyed()["onnxruntime"]["version"] == onnxruntime.__version__


def test_a_runtime_of_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="a runtime must be one of tensorrt-pycuda, ") as refused:
        runtimes.open_runtime("tvm", 1, Spool(str(tmp_path)), "/", "")
    assert refused.value.status == "protocol_error"


def ran(name: str, **changes: Any) -> dict[str, Any]:
    """The result of a job on this machine that tries all runtimes."""
    warmup = {"min_s": 0.02, "block_s": 0.01, "agree_pct": 100.0, "cap_s": 60.0}
    timing = {"warmup": warmup, "rounds": 2, "runs": 5, "min_round_s": 0.0}
    ladder = {"runtimes": list(RUNTIMES), "timing": timing}
    job = errands.errand(name, convolution(), {"x": image()}, **{**ladder, **changes})
    with connect(LOCAL) as connection:
        return connection.run(job.spec, job.blobs)


def test_the_next_runtime_is_tried_when_one_dies_or_is_broken(agent_home: Home, put: Put) -> None:
    put("tensorrt", CRASH)
    result = ran("ladder")
    assert result["status"] == "ok"
    assert result["runtime"]["path"] == "onnxruntime"
    tried = {entry["path"]: entry["why"] for entry in result["runtime"]["tried"]}
    assert tuple(tried) == RUNTIMES[:3]
    assert "the worker died (signal 11)" in tried["tensorrt-pycuda"]
    assert "the worker died (signal 11)" in tried["tensorrt-ctypes"]
    assert agent_home.leftovers() == []


def test_a_board_with_trtexec_alone_is_measured_with_it(agent_home: Home, root: Path) -> None:
    result = ran("program")
    assert result["runtime"]["path"] == "trtexec"
    assert result["runtime"]["version"] == "8.2.1"
    (network,) = result["networks"]
    assert network["engine"]["cached"] is False
    assert result["simulated"] is True
    with connect(LOCAL) as connection:
        times = connection.blob(network["times"]["blob"])
        log = connection.blob(network["engine"]["log"])
    assert times == (5_000_000).to_bytes(8, "little") * 10  # 2 rounds of 5 runs of 5 ms
    assert b"PASSED" in log
    assert agent_home.leftovers() == []


@pytest.mark.parametrize(
    ("machine", "status"), [("hangs-building", "timeout_build"), ("hangs-running", "timeout_run")]
)
def test_a_program_that_hangs_is_ended_with_the_limit(
    agent_home: Home, root: Path, monkeypatch: pytest.MonkeyPatch, machine: str, status: str
) -> None:
    monkeypatch.setenv("GENSYNTH_TRTEXEC", machine)
    limits = {"build_s": 2.0} if machine == "hangs-building" else {"run_s": 1.0}
    began = time.monotonic()
    result = ran(machine, limits=limits, runtimes=["trtexec"])
    assert result["status"] == status
    assert time.monotonic() - began < 3600 / 2  # the program would sleep for an hour
    assert agent_home.leftovers() == []
    assert _sleeping(root) == []


@pytest.mark.slow
def test_a_program_that_is_killed_is_out_of_memory_and_the_next_job_is_well(
    agent_home: Home, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENSYNTH_TRTEXEC", "killed")
    assert ran("killed")["status"] == "oom"
    monkeypatch.delenv("GENSYNTH_TRTEXEC")
    assert ran("well")["status"] == "ok"
    assert agent_home.leftovers() == []


@pytest.mark.slow
def test_no_runtime_at_all_says_why_each_is_not_one(agent_home: Home, put: Put) -> None:
    put("tensorrt", "raise ImportError('libnvinfer.so.8')")
    put("onnxruntime", "raise ImportError('numpy is too old')")
    result = ran("none")
    assert result["status"] == "runtime_missing"
    for why in ("libnvinfer.so.8", "there is no trtexec in", "numpy is too old"):
        assert why in result["message"]
    assert json.dumps(result["details"]["tried"])


def _sleeping(root: Path) -> list[str]:
    """Processes of the fake program that are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            own = os.fsencode(str(root)) in (entry / "environ").read_bytes()
            if own and b"fake_trtexec" in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found
