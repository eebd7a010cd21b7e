"""The kernel's log, in a made tree and on this machine."""

import os
from pathlib import Path

import pytest

from gensynth.devices.agent.board.kernel_log import KernelLog

# Lines of mm/oom_kill.c: of 4.9, of 6.1, and of a memory cgroup.
KILLINGS = (
    "Out of memory: Kill process 8121 (python3) score 911 or sacrifice child",
    "Killed process 8121 (python3) total-vm:9012344kB, anon-rss:7410224kB, file-rss:0kB",
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=trtexec,pid=77,uid=1000",
    "Memory cgroup out of memory: Killed process 31 (trtexec) total-vm:1kB, anon-rss:1kB",
)


def made(tmp_path: Path) -> Path:
    log = tmp_path / "dev/kmsg"
    log.parent.mkdir()
    log.write_text("6,1,100,-;eth0: up\n3,2,200,-;Out of memory: Killed process 1 (old)\n")
    return log


def test_only_what_came_since_and_tells_of_memory(tmp_path: Path) -> None:
    log = made(tmp_path)
    kernel = KernelLog(str(tmp_path))
    assert kernel.killings() == []
    with log.open("a") as file:
        for number, line in enumerate(KILLINGS, 3):
            file.write(f"3,{number},300,-;{line}\n SUBSYSTEM=out of memory\n6,9,9,-;usb 1-1: new\n")
    assert tuple(kernel.killings()) == KILLINGS
    assert kernel.killings() == []
    kernel.close()


def test_where_there_is_no_log_there_is_nothing(tmp_path: Path) -> None:
    kernel = KernelLog(str(tmp_path))
    assert kernel.killings() == []
    kernel.close()
    kernel.close()


def test_the_kernel_s_own_log_is_opened_at_its_end_and_never_waited_for() -> None:
    kernel = KernelLog("/")
    if kernel._descriptor is None:
        pytest.skip("the kernel's log may not be read here")
    assert kernel.killings() == []
    os.lseek(kernel._descriptor, 0, os.SEEK_SET)
    records = list(kernel._records())
    assert records  # a kernel has begun with a word
    assert all(record.count(b";") >= 1 and record[:1].isdigit() for record in records)
    kernel.close()
