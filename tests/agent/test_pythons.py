"""The agent runs on every Python that a board may have: its grammar, its library, and in fact."""

import ast
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import vermin

from gensynth.devices import package
from gensynth.devices.client import connect
from gensynth.errors import DeviceFault
from tests.fakes.board import MISBEHAVING, Board
from tests.fakes.pythons import python
from tests.onnx_files import errands

FOLDER = Path(package.__file__).parent / "agent"
AGENT = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("path", AGENT, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_agent_is_in_the_grammar_of_python_3_6(path: Path) -> None:
    ast.parse(path.read_text(), path.name, feature_version=(3, 6))


@pytest.mark.parametrize("path", AGENT, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_agent_uses_nothing_that_came_after_python_3_6(path: Path) -> None:
    # It sees modules, functions and arguments that the grammar does not.
    config = vermin.Config()
    config.set_eval_annotations(True)
    visitor = vermin.visit(path.read_text(), config)
    _, python_3 = visitor.minimum_versions()
    assert python_3 is not None
    assert python_3 <= (3, 6), visitor.output_text()


@pytest.mark.parametrize(
    "version", ["3.6", "3.13", *(pytest.param(v, marks=pytest.mark.slow) for v in ("3.8", "3.12"))]
)
def test_every_module_of_the_agent_can_be_imported(version: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.pyz"
    file.write_bytes(package.agent().content)
    parts = [path.relative_to(FOLDER).with_suffix("").parts for path in AGENT]
    names = [".".join(("gensynth.devices.agent", *part)) for part in parts]
    code = f"import sys; sys.path.insert(0, {str(file)!r}); import {', '.join(names)}"
    command = [python(version), "-E", "-s", "-S", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "version", ["3.6", "3.13", *(pytest.param(v, marks=pytest.mark.slow) for v in ("3.8", "3.12"))]
)
def test_a_board_with_that_python_does_its_jobs(board: Board, version: str) -> None:
    device = replace(board.device, python=python(version))
    with connect(device, agent=MISBEHAVING) as connection:
        assert connection.hello["python"].startswith(f"{version}.")
        for number, (how, status) in enumerate(
            [("good", "ok"), ("raises", "device_lost"), ("remembers", "oom"), ("prints", "ok")]
        ):
            errand = errands.good(f"job-{number}", network_id=how)
            result = connection.run(errand.spec, errand.blobs)
            assert result["status"] == status
    assert list(board.path.glob(f"agent-*-cpython-{version.replace('.', '')}-*.pyz"))
    assert board.leftovers() == []


def test_a_board_with_python_3_6_says_what_it_lacks(board: Board) -> None:
    device = replace(board.device, python=python("3.6"))
    errand = errands.good("job", runtimes=["tensorrt-pycuda", "tensorrt-ctypes", "trtexec"])
    with connect(device) as connection:
        report = connection.check()
        result = connection.run(errand.spec, errand.blobs)
    assert report["python"].startswith("3.6.")
    assert result["status"] == "runtime_missing"
    assert board.leftovers() == []


def test_a_board_with_python_2_is_told_what_it_needs(board: Board) -> None:
    with pytest.raises(DeviceFault) as fault, connect(replace(board.device, python=python("2.7"))):
        pass
    assert fault.value.status == "version_mismatch"
    assert "got 2.7" in fault.value.message
