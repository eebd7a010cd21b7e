"""What the kernel says of memory that ran out while a job ran, from /dev/kmsg.

A worker that the kernel kills leaves no word of its own. The log is opened at its end before
the job begins, so that what is read later is of the job's time. Where it may not be read
(`kernel.dmesg_restrict`) there is nothing, and the status does not depend on it.
"""

import contextlib
import os
import re
from typing import Iterator, List, Optional

from gensynth.devices.agent.wire import sysfs

RECORD_LIMIT = 8192  # a smaller buffer is refused by the kernel
MOST_LINES = 4
# mm/oom_kill.c: "Out of memory: Kill process 812 (python3) score 911 or sacrifice child" in 4.9,
# "Out of memory: Killed process 812 ..." since 5.0, "Memory cgroup out of memory: ..." in a group.
_KILLING = re.compile(rb"out of memory|killed process \d|oom-kill:", re.IGNORECASE)


class KernelLog:
    """The kernel's log from now on; to be closed."""

    def __init__(self, root: str) -> None:
        self._descriptor: Optional[int] = None
        with contextlib.suppress(OSError):
            path = sysfs.locate(root, "/dev/kmsg")
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.lseek(self._descriptor, 0, os.SEEK_END)
            except OSError:  # else all that happened since the start would be this job's
                self.close()

    def killings(self) -> List[str]:
        """Return the last new lines that tell of memory that ran out, without their numbers."""
        records = [record for record in self._records() if _KILLING.search(record)]
        return [
            record.partition(b";")[2].decode("utf-8", "replace") for record in records[-MOST_LINES:]
        ]

    def close(self) -> None:
        """Let go of the log."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _records(self) -> Iterator[bytes]:
        """Yield "level,number,microseconds,flags;message", without the fields below it."""
        while self._descriptor is not None:
            try:
                content = os.read(self._descriptor, RECORD_LIMIT)
            except BrokenPipeError:
                continue  # older ones were overwritten; the next read goes on after them
            except OSError:
                return  # BlockingIOError: that was the last one
            if not content:
                return
            yield from (line for line in content.splitlines() if line[:1] != b" ")
