"""Power mode and clocks around a job of the agent: put back however the job ends.

The board's tools are those of `tests.fakes.jetson_tools`.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices import client
from gensynth.devices.agent.board import clocks
from gensynth.devices.client import connect
from gensynth.devices.package import Agent
from gensynth.devices.registry import LOCAL
from gensynth.errors import DeviceFault
from tests.fakes import jetson_tools
from tests.fakes.board import MISBEHAVING, WORKER, Home, altered
from tests.onnx_files import errands

MAXN_AND_LOCK = {"power_mode": 0, "lock": True}


@pytest.fixture
def root(tmp_path: Path, agent_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A board, which is as it was after the test."""
    root = jetson_tools.lay(tmp_path / "root")
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", root)
    before = clocks.state(root)
    yield root
    assert agent_home.leftovers() == []
    after = clocks.state(root)
    assert after["power_mode"] == before["power_mode"]
    for name, (least, most, _) in before["ranges_mhz"].items():
        assert after["ranges_mhz"][name][:2] == [least, most]


def run(how: str, agent: Agent = MISBEHAVING, **changes: Any) -> dict[str, Any]:
    """The result of a job with clocks."""
    errand = errands.good("job", network_id=how, **{"clocks": MAXN_AND_LOCK, **changes})
    with connect(LOCAL, agent=agent) as connection:
        return connection.run(errand.spec, errand.blobs)


def test_clocks_are_held_for_the_job_alone(root: str) -> None:
    modes = set()
    errand = errands.good("job", network_id="sleep-100", clocks=MAXN_AND_LOCK)
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        result = connection.run(
            errand.spec, errand.blobs, lambda _: modes.add(Path(root, "mode").read_text())
        )
    assert modes == {"0\n"}
    assert (result["status"], result["simulated"]) == ("ok", True)
    held = result["clocks"]
    assert (held["asked"], held["locked"], held["restored"]) == (MAXN_AND_LOCK, True, True)
    assert held["during"]["power_mode"] == {"id": 0, "name": "MAXN"}


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("raises", "device_lost"),
        ("sleep-60000", "timeout_run"),
        pytest.param("stubborn", "timeout_run", marks=pytest.mark.slow),
    ],
)
def test_a_job_that_fails_says_what_became_of_the_clocks(root: str, how: str, status: str) -> None:
    result = run(how, limits={"run_s": 0.3})
    assert result["status"] == status
    assert result["clocks"]["restored"] is True


def test_a_board_that_lets_nobody_change_its_clocks_measures_without(root: str) -> None:
    for tool in ("nvpmodel", "jetson_clocks"):
        Path(root, f"{tool}.does").write_text("refuse")
    result = run("good")
    assert result["status"] == "degraded"
    assert set(result["flags"]) == {"clocks_unlocked", "power_mode_refused"}
    assert result["networks"]


def test_a_power_mode_that_needs_a_restart_is_refused(root: str) -> None:
    assert run("good", clocks={"power_mode": 2, "lock": False})["status"] == "needs_reboot"
    assert not Path(root, "rebooted").exists()


@pytest.mark.realtime
@pytest.mark.slow
def test_the_host_hears_of_the_agent_while_the_tools_take_their_time(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("nvpmodel", "jetson_clocks"):
        Path(root, f"{tool}.does").write_text("slowly")  # 1.5 s each, one after the other
    monkeypatch.setattr(client, "SILENCE_S", 2.5)
    beats = ("gensynth/devices/agent/wire/spec.py", "BEAT_S = 5.0", "BEAT_S = 0.2")
    assert run("good", altered(beats, work=WORKER))["status"] == "ok"


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_agent_that_is_killed_leaves_the_clocks_as_they_were(
    root: str, number: signal.Signals
) -> None:
    errand = errands.good("job", network_id="sleep-60000", clocks=MAXN_AND_LOCK)
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        pid = connection.hello["pid"]
        with pytest.raises(DeviceFault) as lost:
            connection.run(errand.spec, errand.blobs, lambda _: os.kill(pid, number))
    assert lost.value.status == "device_lost"
    assert run("good", clocks=None)["status"] == "ok"
