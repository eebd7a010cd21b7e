"""The real agent on boards with faulty sensors, and with clocks that a job asks to be set."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.client import connect
from gensynth.devices.package import Agent
from gensynth.devices.registry import LOCAL
from gensynth.errors import DeviceFault
from tests.fakes import boards, jetson_tools
from tests.fakes.board import BRIEF, Home, altered
from tests.onnx_files import errands

ENERGY = {
    "idle_s": 0.1, "settle_s": 0.1, "windows": 1, "window_s": 0.1, "rate_hz": 50.0, "seed": 1,
}  # fmt: skip
LOCK = {"power_mode": 0, "lock": True}


def run(agent: Agent | None = None, **changes: Any) -> dict[str, Any]:
    errand = errands.good("job", **changes)
    with connect(LOCAL, agent=agent) as connection:
        return connection.run(errand.spec, errand.blobs)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_home: Home) -> str:
    folder = jetson_tools.lay(tmp_path / "root")
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", folder)
    return folder


def test_a_board_without_a_sensor_keeps_its_latency(root: str) -> None:
    result = run(energy=ENERGY)
    assert (result["status"], result["flags"]) == ("degraded", ["sensor_missing"])
    assert "no INA3221 monitor" in result["power"]["reason"]
    assert set(result["power"]) == {"reason"}  # no figure, and no constant in its place
    assert result["networks"][0]["windows"] is None
    assert result["networks"][0]["times"]["runs"] >= 5
    assert result["idle"] is None
    assert result["simulated"] is True


def test_a_stuck_sensor_keeps_the_latency(root: str) -> None:
    boards.lay(Path(root), boards.TX2_RAILS)
    result = run(altered(BRIEF), energy=ENERGY)
    assert (result["status"], result["flags"]) == ("degraded", ["sensor_bad"])
    assert "must change with the load, got 4.135 always" in result["power"]["reason"]
    assert result["networks"][0]["times"]["runs"] >= 5


@pytest.mark.slow
def test_energy_alone_without_a_sensor_is_a_fault(root: str) -> None:
    result = run(energy=ENERGY, timing=None)
    assert result["status"] == "sensor_missing"
    assert "no INA3221 monitor" in result["message"]
    assert result["networks"] == []


def test_a_job_that_asks_for_clocks_has_them_and_gives_them_back(root: str) -> None:
    result = run(clocks=LOCK)
    assert (result["status"], result["flags"]) == ("ok", [])
    assert result["clocks"]["during"]["power_mode"] == {"id": 0, "name": "MAXN"}
    assert result["clocks"]["locked"] is True
    assert result["clocks"]["restored"] is True
    assert result["board_after"]["power_mode"]["id"] == 3
    assert result["board_after"]["clocks"]["locked"] is False


@pytest.mark.slow
def test_a_job_that_does_not_ask_touches_nothing(root: str) -> None:
    assert run()["clocks"] is None
    assert jetson_tools.calls(root) == []


def test_clocks_that_are_not_permitted_degrade_a_job(root: str) -> None:
    for tool in ("nvpmodel", "jetson_clocks"):
        Path(root, tool + ".does").write_text("refuse")
    result = run(clocks=LOCK)
    assert result["status"] == "degraded"
    assert result["flags"] == ["clocks_unlocked", "power_mode_refused"]
    assert result["clocks"]["locked"] is False


def test_a_mode_that_needs_a_restart_ends_the_job(root: str) -> None:
    result = run(clocks={"power_mode": 2, "lock": False})
    assert result["status"] == "needs_reboot"
    assert not Path(root, "rebooted").exists()


def agents(home: Home, role: bytes) -> list[int]:
    """The processes of an agent's role."""
    found = []
    for pid, _ in home.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if role in words:
            found.append(pid)
    return found


def await_mode(root: str, number: int) -> None:
    deadline_s = time.monotonic() + 60
    while Path(root, "mode").read_text().strip() != str(number):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_an_agent_that_is_killed_while_it_holds_the_clocks_leaves_them_as_before(
    root: str, agent_home: Home
) -> None:
    errand = errands.endless("job", clocks=LOCK)

    def kill(progress: dict[str, Any]) -> None:
        if progress["phase"] == "outputs":
            assert Path(root, "mode").read_text().strip() == "0"
            for pid in agents(agent_home, b"serve"):
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(DeviceFault) as caught, connect(LOCAL) as connection:
        connection.run(errand.spec, errand.blobs, kill)
    assert caught.value.status == "device_lost"
    await_mode(root, 3)
    # and the next job finds a board that is free
    result = run(clocks=LOCK)
    assert (result["status"], result["clocks"]["restored"]) == ("ok", True)
    assert agent_home.leftovers() == []
