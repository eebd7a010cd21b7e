"""What stands around the agent, its folder and its variables, decides nothing of what it does."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gensynth.devices import package
from gensynth.devices.client import connect
from gensynth.devices.registry import LOCAL
from gensynth.errors import DeviceFault
from tests.fakes import boards, jetson_tools
from tests.fakes.board import Board, Home, start_file
from tests.fakes.pythons import python
from tests.fakes.simulated_board import SimulatedBoard
from tests.onnx_files import errands

pytestmark = pytest.mark.realtime

NAMES = (
    "import pkgutil, sys; print(*sys.builtin_module_names, *(m[1] for m in pkgutil.iter_modules()))"
)
ENERGY = {
    "idle_s": 0.1, "settle_s": 0.1, "windows": 1, "window_s": 0.5, "rate_hz": 50.0, "seed": 1,
}  # fmt: skip


class Traps:
    """A folder as if of another Python: modules of all names that a Python has, each of them wrong.

    Attributes:
        folder: of the modules.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self._ran = folder.with_name("ran")
        folder.mkdir()
        said = subprocess.run([python, "-c", NAMES], capture_output=True, text=True, check=True)
        text = f"open({str(self._ran)!r}, 'a').write(__name__ + ' ')\nraise ImportError('trap')\n"
        for name in (*said.stdout.split(), "sitecustomize", "usercustomize"):
            (folder / f"{name}.py").write_text(text)
        assert (folder / "enum.py").exists()

    @property
    def ran(self) -> list[str]:
        """The modules that were run."""
        return self._ran.read_text().split() if self._ran.exists() else []


def variables(traps: Path) -> dict[str, str]:
    """As start files of ROS, of conda and of people who look for a fault leave them."""
    return {
        "PYTHONPATH": f":.:{traps}",
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": str(traps / "os.py"),
        "PYTHONWARNINGS": "error",
        "PYTHONINSPECT": "1",
        "PYTHONOPTIMIZE": "2",
        "PYTHONEXECUTABLE": "/nowhere",
        "__PYVENV_LAUNCHER__": "/nowhere",
    }


def test_every_child_of_the_agent_imports_its_own_pythons_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_home: Home
) -> None:
    traps = Traps(tmp_path / "traps", sys.executable)
    energy_clocks = {"energy": ENERGY, "clocks": {"power_mode": 0, "lock": True}}
    errand = errands.good("job", **energy_clocks)
    with SimulatedBoard(tmp_path, {}, "iio", 1) as simulated:
        monkeypatch.setenv("GENSYNTH_AGENT_ROOT", jetson_tools.lay(Path(simulated.root)))
        monkeypatch.chdir(traps.folder)
        for name, value in variables(traps.folder).items():
            monkeypatch.setenv(name, value)
        with connect(LOCAL) as connection:
            report = connection.check()  # probes of the runtimes, and a core kept busy
            result = connection.run(errand.spec, errand.blobs)  # a worker, a sampler, a watchdog
    runtimes = {entry["path"]: entry for entry in report["runtimes"]}
    assert runtimes["onnxruntime"]["version"] is not None, runtimes["onnxruntime"]
    assert report["power"]["meter"]["rail"] == "VDD_IN"
    assert result["status"] in ("ok", "not_steady"), result
    assert result["networks"][0]["windows"]
    assert result["clocks"]["restored"] is True
    assert traps.ran == []
    assert agent_home.leftovers() == []


@pytest.mark.slow
def test_an_old_python_imports_its_own_modules_too(board: Board, tmp_path: Path) -> None:
    # Newer ones have os and others built in, whatever lies in the folder.
    traps = Traps(tmp_path / "traps", python("3.6"))
    root = boards.lay(tmp_path / "root", boards.TX2_RAILS)
    exports = {**variables(traps.folder), "GENSYNTH_AGENT_ROOT": root}
    lines = [f"export {name}={value}\n" for name, value in exports.items()]
    board.configure(**start_file(f"cd {traps.folder}\n{''.join(lines)}", board.folder))
    with connect(replace(board.device, python=python("3.6"))) as connection:
        report = connection.check()
    assert report["python"].startswith("3.6.")
    assert "got 4.135 always" in report["power"]["why"]  # it was watched while a core was busy
    assert traps.ran == []
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_check_waits_for_a_runtime_as_long_as_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_home: Home
) -> None:
    (tmp_path / "tensorrt.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with connect(LOCAL) as connection:
        report = connection.check(patience_s=2)
        with pytest.raises(DeviceFault, match="patience_s must be a number in"):
            connection.check(patience_s=601)
    surveyed = {entry["path"]: entry["why"] for entry in report["runtimes"]}
    assert surveyed["tensorrt-ctypes"] == "it did not open within 2 s"


def test_a_runtime_that_is_in_pythonpath_alone_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_home: Home
) -> None:
    (tmp_path / "tensorrt.py").write_text("__version__ = '8.2.1.8'\nraise OSError('libnvinfer')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    errand = errands.good("job", runtimes=["tensorrt-ctypes"])
    with connect(LOCAL) as connection:
        report = connection.check()
        result = connection.run(errand.spec, errand.blobs)
    surveyed = {entry["path"]: entry["why"] for entry in report["runtimes"]}
    assert "libnvinfer" in surveyed["tensorrt-ctypes"]
    assert "libnvinfer" in result["message"]


def test_an_agents_folder_that_is_named_from_the_working_folder_is_one_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENSYNTH_AGENT_HOME", "agent")
    monkeypatch.setenv("GENSYNTH_AGENT_BOARD", str(tmp_path))
    errand = errands.good("job")
    with connect(LOCAL) as connection:
        assert connection.run(errand.spec, errand.blobs)["status"] == "ok"
    assert [path.name for path in (tmp_path / "agent" / "results").iterdir()] == ["job"]


def test_no_process_of_the_agent_is_in_the_working_folder(agent_home: Home) -> None:
    # An empty entry of LD_LIBRARY_PATH, which a line such as A=$A:/b leaves, is that folder.
    errand = errands.good("job")
    folders: set[str] = set()
    with connect(LOCAL) as connection:
        connection.run(
            errand.spec,
            errand.blobs,
            lambda _: folders.update(
                str(Path(f"/proc/{pid}/cwd").readlink()) for pid, _ in agent_home.processes()
            ),
        )
    assert folders == {"/"}


@pytest.mark.parametrize("shell", ["dash", "fish", "ksh", "tcsh", "zsh"])
def test_any_shell_starts_the_agent(board: Board, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    board.configure(ForceCommand=f'{program} -c "$SSH_ORIGINAL_COMMAND"')
    with connect(board.device) as connection:
        assert connection.hello["type"] == "hello"


@pytest.mark.slow
def test_a_folder_beyond_ascii_serves_where_no_language_is_set(
    board: Board, tmp_path: Path
) -> None:
    home = tmp_path / "mémoire"
    own = f"HOME={board.folder} GENSYNTH_AGENT_HOME={home} GENSYNTH_AGENT_BOARD={home}"
    board.configure(SetEnv=f"{own} LC_ALL=C")
    errand = errands.good("job")
    with connect(board.device) as connection:
        assert connection.run(errand.spec, errand.blobs)["status"] == "ok"
    assert (home / "results/job/result.json").exists()


def test_a_python_is_started_in_one_place_of_the_agent() -> None:
    places = {name for name, text in package.sources().items() if b"sys.executable" in text}
    assert places == {
        "gensynth/devices/agent/wire/bootstrap.py",  # stands alone
        "gensynth/devices/agent/wire/processes.py",
    }
