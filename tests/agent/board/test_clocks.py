"""Power mode and clocks: changed only when asked, and put back whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.agent.board import clocks
from gensynth.devices.agent.board.clocks import hold, restore_pending
from gensynth.devices.agent.wire.status import Fault
from tests.fakes import jetson_tools
from tests.fakes.jetson_tools import calls

MAXN_AND_LOCK = {"power_mode": 0, "lock": True}
LOCK = {"power_mode": None, "lock": True}
FREE = {
    "cpu0": pytest.approx([345.6, 2035.2]),
    "cpu1": pytest.approx([345.6, 2035.2]),
    "gpu": pytest.approx([114.75, 1122]),
}
PINNED_AT_MAXN = {
    "cpu0": pytest.approx([2035.2, 2035.2]),
    "cpu1": pytest.approx([2035.2, 2035.2]),
    "gpu": pytest.approx([1300.5, 1300.5]),
}


@pytest.fixture
def root(tmp_path: Path) -> str:
    return jetson_tools.lay(tmp_path / "root")


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path / "home")


def ranges(state: dict[str, Any]) -> dict[str, list[float]]:
    return {name: speed[:2] for name, speed in state["ranges_mhz"].items()}


def assert_as_before(root: str, home: str) -> None:
    state = clocks.state(root)
    assert state["power_mode"] == {"id": 3, "name": "MAXP_CORE_ARM"}
    assert ranges(state) == FREE
    assert not Path(home, clocks.JOURNAL).exists()


@pytest.mark.parametrize("request_", [None, {"power_mode": None, "lock": False}])
def test_nothing_is_touched_unless_asked(root: str, home: str, request_: Any) -> None:
    with hold(request_, home, root) as held:
        assert held.locked is False
    assert calls(root) == []
    assert not Path(home).exists()
    assert held.restored is None
    assert held.flags == []


def test_mode_and_clocks_are_set_read_again_and_put_back(root: str, home: str) -> None:
    with hold(MAXN_AND_LOCK, home, root) as held:
        assert held.during["power_mode"] == {"id": 0, "name": "MAXN"}
        assert ranges(held.during) == PINNED_AT_MAXN
        assert held.locked is True
        assert Path(home, clocks.JOURNAL).exists()
    assert_as_before(root, home)
    assert (held.restored, held.flags) == (True, [])
    assert calls(root) == [
        "jetson_clocks --store /run/gensynth-clocks.conf",
        "nvpmodel -m 0",
        "jetson_clocks",
        "nvpmodel -m 3",  # whose clocks are free, as they were
    ]


def test_clocks_alone_are_pinned_within_the_mode(root: str, home: str) -> None:
    with hold(LOCK, home, root) as held:
        assert held.during["power_mode"]["id"] == 3
        assert held.during["gpu_mhz"] == pytest.approx(1122)
    assert_as_before(root, home)
    assert calls(root)[-1] == "jetson_clocks --restore /run/gensynth-clocks.conf"


def test_clocks_that_were_pinned_before_are_pinned_again(root: str, home: str) -> None:
    subprocess.run([root + "/usr/bin/jetson_clocks"], check=True)
    before = ranges(clocks.state(root))
    with hold({"power_mode": 0, "lock": False}, home, root) as held:
        assert held.locked is False  # changing the mode sets them free
    assert ranges(clocks.state(root)) == before
    assert held.restored is True


def test_a_job_that_fails_puts_them_back(root: str, home: str) -> None:
    with pytest.raises(ZeroDivisionError), hold(MAXN_AND_LOCK, home, root):
        raise ZeroDivisionError
    assert_as_before(root, home)


def test_a_mode_that_needs_a_restart_is_refused_and_never_agreed_to(root: str, home: str) -> None:
    with (
        pytest.raises(Fault, match="needs a restart of the board; do it yourself") as caught,
        hold({"power_mode": 2, "lock": True}, home, root),
    ):
        pytest.fail("the job must not run")
    assert caught.value.status == "needs_reboot"
    assert not Path(root, "rebooted").exists()
    assert_as_before(root, home)


@pytest.mark.parametrize(
    ("does", "asked", "flags", "why"),
    [
        ({"nvpmodel": "refuse", "jetson_clocks": "refuse"}, MAXN_AND_LOCK,
         ["clocks_unlocked", "power_mode_refused"], "Permission denied"),
        ({"jetson_clocks": "refuse"}, LOCK, ["clocks_unlocked"], "Permission denied"),
        ({"nvpmodel": "nothing"}, MAXN_AND_LOCK, ["clocks_unlocked", "power_mode_refused"],
         "power mode 0 was set, but it is"),
        ({"jetson_clocks": "nothing"}, LOCK, ["clocks_unlocked"], "clocks after jetson_clocks"),
        ({}, {"power_mode": 9, "lock": False}, ["clocks_unlocked", "power_mode_refused"],
         "power mode 9 is not one of [0, 1, 2, 3]"),
    ],
)  # fmt: skip
def test_what_is_not_permitted_or_does_nothing_is_flagged_and_the_job_runs(
    root: str, home: str, does: dict[str, str], asked: Any, flags: list[str], why: str
) -> None:
    for tool, what in does.items():
        Path(root, tool + ".does").write_text(what)
    ran = False
    with hold(asked, home, root) as held:
        ran = True
    assert ran
    assert held.flags == flags
    assert why in held.why[0]
    assert held.locked is False
    assert_as_before(root, home)


def test_a_machine_without_these_tools_is_flagged(tmp_path: Path, home: str) -> None:
    with hold(MAXN_AND_LOCK, home, str(tmp_path)) as held:
        pass
    assert held.flags == ["clocks_unlocked", "power_mode_refused"]
    assert held.why[0] == "no jetson_clocks on this machine"
    assert held.locked is None


def test_a_mode_that_somebody_else_changes_meanwhile_is_flagged(root: str, home: str) -> None:
    with hold(MAXN_AND_LOCK, home, root) as held:
        subprocess.run([root + "/usr/sbin/nvpmodel", "-m", "1"], check=True)
    assert held.flags == ["power_mode_changed"]
    assert_as_before(root, home)


def test_clocks_that_cannot_be_put_back_are_flagged_and_left_to_the_next(
    root: str, home: str
) -> None:
    with hold(LOCK, home, root) as held:
        Path(root, "jetson_clocks.does").write_text("refuse")
    assert held.restored is False
    assert held.flags == ["clocks_not_restored"]
    why = restore_pending(home, root)
    assert why is not None
    assert "Permission denied" in why
    with hold(LOCK, home, root) as second:  # it could not know what to put back itself
        pass
    assert second.flags == ["clocks_unlocked"]
    Path(root, "jetson_clocks.does").unlink()
    assert restore_pending(home, root) is None
    assert_as_before(root, home)


@pytest.mark.parametrize(
    ("tool", "asked"), [("jetson_clocks", LOCK), ("nvpmodel", {"power_mode": 0, "lock": False})]
)
def test_a_tool_that_says_it_has_put_them_back_is_not_believed_unread(
    root: str, home: str, tool: str, asked: Any
) -> None:
    with hold(asked, home, root) as held:
        Path(root, f"{tool}.does").write_text("nothing")  # and ends with 0
    assert held.restored is False
    assert held.flags == ["clocks_not_restored"]
    assert Path(home, clocks.JOURNAL).exists()  # for the next session


HOLD = """
import sys, time
from gensynth.devices.agent.board import clocks
with clocks.hold({"power_mode": 0, "lock": True}, sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holding(root: str, home: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, home, root], stdout=subprocess.PIPE, text=True
    )


def killed(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def await_restored(home: str) -> None:
    """Wait for the watchdog; it needs two processes' starts, which a busy machine delays."""
    deadline_s = time.monotonic() + 60
    while Path(home, clocks.JOURNAL).exists():
        assert time.monotonic() < deadline_s, "the watchdog did not put the clocks back"
        time.sleep(0.02)


def wait_for_line(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"


def test_an_agent_that_is_killed_leaves_the_watchdog_to_put_them_back(root: str, home: str) -> None:
    process = start_holding(root, home)
    wait_for_line(process)
    assert ranges(clocks.state(root)) == PINNED_AT_MAXN
    killed(process)
    await_restored(home)
    assert_as_before(root, home)


def test_an_agent_that_is_killed_while_a_tool_works_loses_no_race_with_it(
    root: str, home: str
) -> None:
    Path(root, "jetson_clocks.does").write_text("slowly")
    process = start_holding(root, home)
    while "jetson_clocks" not in calls(root):
        time.sleep(0.01)
    killed(process)  # the tool goes on, and pins the clocks a second later
    await_restored(home)
    time.sleep(2)
    assert_as_before(root, home)


def watchdogs(home: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if home.encode() in words and any(b"clocks.watch" in word for word in words):
            found.append(int(entry.parent.name))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_journal_left_behind_is_put_back_by_the_next_session(root: str, home: str) -> None:
    process = start_holding(root, home)
    wait_for_line(process)
    (watchdog,) = watchdogs(home)
    os.kill(watchdog, signal.SIGKILL)
    killed(process)
    assert ranges(clocks.state(root)) == PINNED_AT_MAXN
    assert restore_pending(home, root) is None
    assert_as_before(root, home)
    assert restore_pending(home, root) is None  # and nothing is left to do


def test_a_living_agents_clocks_are_not_touched_by_another_session(root: str, home: str) -> None:
    process = start_holding(root, home)
    try:
        wait_for_line(process)
        before = calls(root)
        assert restore_pending(home, root) is None
        assert calls(root) == before
        assert ranges(clocks.state(root)) == PINNED_AT_MAXN
    finally:
        killed(process)
        await_restored(home)


def test_after_a_restart_the_mode_is_put_back_and_the_clocks_are_the_kernels(
    root: str, home: str
) -> None:
    process = start_holding(root, home)
    wait_for_line(process)
    (watchdog,) = watchdogs(home)
    os.kill(watchdog, signal.SIGKILL)
    killed(process)
    # The restart: another boot, nothing below /run, the mode kept.
    Path(root, "proc/sys/kernel/random/boot_id").write_text("another\n")
    Path(root, "run/gensynth-clocks.conf").unlink()
    assert restore_pending(home, root) is None
    assert clocks.state(root)["power_mode"]["id"] == 3
    assert not [call for call in calls(root) if "--restore" in call]


@pytest.mark.parametrize("text", ["", "[]", '{"boot_id": "x"}', '{"boot_id": 1, "before": null}'])
def test_a_damaged_journal_is_told_and_ends_no_session(root: str, home: str, text: str) -> None:
    Path(home).mkdir()
    Path(home, clocks.JOURNAL).write_text(text)
    why = restore_pending(home, root)
    assert why is not None
    assert "is no journal of clocks" in why
    with hold(LOCK, home, root) as held:
        pass
    assert held.flags == ["clocks_unlocked"]
    assert calls(root) == []


def test_what_can_be_set_and_the_lines_that_permit_it(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("LOGNAME", "nvidia")
    found = clocks.survey(root)
    assert [mode["name"] for mode in found["power_modes"]] == [
        "MAXN", "MAXQ", "MAXP_CORE_ALL", "MAXP_CORE_ARM",
    ]  # fmt: skip
    assert (found["current"], found["can_set"], found["can_lock"]) == (3, True, True)
    assert found["sudoers"] == []
    Path(root, "sudo.does").write_text("refuse")
    found = clocks.survey(root)
    assert (found["can_set"], found["can_lock"]) == (False, False)
    assert "sudo asks for a password for" in found["why"]
    assert [line.replace(root, "") for line in found["sudoers"]] == [
        "nvidia ALL=(root) NOPASSWD: /usr/sbin/nvpmodel -m 0",
        "nvidia ALL=(root) NOPASSWD: /usr/sbin/nvpmodel -m 1",
        "nvidia ALL=(root) NOPASSWD: /usr/sbin/nvpmodel -m 2",
        "nvidia ALL=(root) NOPASSWD: /usr/sbin/nvpmodel -m 3",
        'nvidia ALL=(root) NOPASSWD: /usr/bin/jetson_clocks ""',
        "nvidia ALL=(root) NOPASSWD: /usr/bin/jetson_clocks --store /run/gensynth-clocks.conf",
        "nvidia ALL=(root) NOPASSWD: /usr/bin/jetson_clocks --restore /run/gensynth-clocks.conf",
    ]
    assert calls(root) == []


def test_a_user_goes_through_sudo_and_is_flagged_where_it_asks_for_a_password(
    root: str, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with hold(LOCK, home, root) as held:
        assert held.locked is True
    assert_as_before(root, home)
    Path(root, "sudo.does").write_text("refuse")
    with hold(LOCK, home, root) as held:
        assert held.locked is False
    assert held.flags == ["clocks_unlocked"]
    assert "a password is required" in held.why[0]
    assert_as_before(root, home)


def test_what_became_of_the_clocks_is_json(root: str, home: str) -> None:
    with hold(MAXN_AND_LOCK, home, root) as held:
        pass
    told = json.loads(json.dumps(held.describe(), allow_nan=False))
    assert told["asked"] == MAXN_AND_LOCK
    assert told["restored"] is True
