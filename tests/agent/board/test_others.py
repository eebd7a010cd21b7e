"""What others use of the processors: by the kernel's counters, less what is our own."""

import os
from pathlib import Path

import pytest

from gensynth.devices.agent.board.others import Others, Use, between, processors, use

TICKS = os.sysconf("SC_CLK_TCK")


def stat(root: Path, **seconds: float) -> str:
    """A machine whose processors did that; returns its root."""
    names = "user nice system idle iowait irq softirq steal guest guest_nice".split()
    ticks = [str(round(TICKS * seconds.get(name, 0.0))) for name in names]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {' '.join(ticks)}\ncpu0 1 2 3\n")
    return str(root)


def test_others_are_all_but_idle_less_our_own() -> None:
    began = Use(clock_s=100.0, all_s=50.0, steal_s=3.0, own_s=10.0)
    ended = Use(clock_s=110.0, all_s=72.0, steal_s=5.0, own_s=19.0)
    # In ten seconds 22 were used, nine of them by us: 1.3 processors, 0.2 of them stolen.
    assert between(began, ended) == {"seconds": 10.0, "processors": 1.3, "steal": 0.2}


def test_waiting_and_idle_processors_are_not_used(tmp_path: Path) -> None:
    root = stat(
        tmp_path, user=5, nice=1, system=2, idle=70, iowait=8, irq=0.5, softirq=0.5, steal=3
    )
    found = use(root)
    assert found.all_s == pytest.approx(12)
    assert found.steal_s == pytest.approx(3)


def test_a_guest_is_not_counted_twice(tmp_path: Path) -> None:
    # The kernel counts a virtual machine's time in user as well.
    assert use(stat(tmp_path, user=5, guest=4)).all_s == pytest.approx(5)


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "cpu a b c d e f g h\n", "intr 1\n"])
def test_a_machine_that_does_not_tell_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(text)
    since = Others(str(tmp_path)).since()
    assert (since["processors"], since["steal"]) == (None, None)


def test_a_container_has_the_processors_of_its_share(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    assert processors(str(tmp_path)) == allowed
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert processors(str(tmp_path)) == allowed
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    assert processors(str(tmp_path)) == 0.5
    (tmp_path / "sys/fs/cgroup/cpu.max").unlink()
    for name, number in (("quota", 75_000), ("period", 100_000)):
        (tmp_path / f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us").write_text(f"{number}\n")
    assert processors(str(tmp_path)) == 0.75


def test_the_share_of_a_control_group_above_is_a_limit_too(tmp_path: Path) -> None:
    # As systemd-run --property CPUQuota=50% --slice gives it, by version 2 and then by 1.
    allowed = len(os.sched_getaffinity(0))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a.slice/b.service/c.scope\n")
    below = tmp_path / "sys/fs/cgroup/a.slice/b.service"
    (below / "c.scope").mkdir(parents=True)
    (below / "c.scope/cpu.max").write_text("max 100000\n")
    assert processors(str(tmp_path)) == allowed
    (below / "cpu.max").write_text("50000 100000\n")
    assert processors(str(tmp_path)) == 0.5
    (tmp_path / "proc/self/cgroup").write_text("9:memory:/a.slice\n4:cpu,cpuacct:/x/y\n0::/\n")
    quota = tmp_path / "sys/fs/cgroup/cpu/x"
    quota.mkdir(parents=True)
    for name, number in (("quota", 75_000), ("period", 100_000)):
        (quota / f"cpu.cfs_{name}_us").write_text(f"{number}\n")
    assert processors(str(tmp_path)) == 0.75
