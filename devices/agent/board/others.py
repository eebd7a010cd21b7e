"""How many processors there are for a job, and how much of them others use meanwhile.

/proc/stat counts what every processor of the machine did, the hypervisor's other guests
("steal") included; what the job's own processes used of it is subtracted. Load averages would
still hold what ran a minute ago, such as the job before.
"""

import os
import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from gensynth.devices.agent.wire import sysfs

# Columns of the line "cpu" in /proc/stat: user nice system idle iowait irq softirq steal.
_IDLE = (3, 4)
_STEAL = 7
_COLUMNS = 8


class Use(NamedTuple):
    """Processor time until now, in seconds; None where the system does not tell.

    Attributes:
        clock_s: when.
        all_s: of everybody.
        steal_s: of other guests of the same machine.
        own_s: of this process and of those of its children that have ended.
    """

    clock_s: float
    all_s: Optional[float]
    steal_s: Optional[float]
    own_s: float


class Others:
    """What others used since this was made.

    Args:
        root: the folder that holds `proc`.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._began = use(root)

    def since(self) -> Dict[str, Any]:
        """Return "processors" that others kept busy on average, and "steal" among them.

        Both are None where the system does not tell.
        """
        return between(self._began, use(self._root))


def between(began: Use, ended: Use) -> Dict[str, Any]:
    """Return what others used between two looks, as `Others.since`."""
    seconds = ended.clock_s - began.clock_s
    found: Dict[str, Any] = {"seconds": round(seconds, 3), "processors": None, "steal": None}
    known = None not in (began.all_s, ended.all_s, began.steal_s, ended.steal_s)
    if known and seconds > 0:
        used = (ended.all_s or 0.0) - (began.all_s or 0.0) - (ended.own_s - began.own_s)
        stolen = (ended.steal_s or 0.0) - (began.steal_s or 0.0)
        found["processors"] = round(max(0.0, used / seconds), 3)
        found["steal"] = round(max(0.0, stolen / seconds), 3)
    return found


def use(root: str) -> Use:
    """Return the processor time that was used until now."""
    own = os.times()
    all_s, steal_s = _of_all(root)
    return Use(time.monotonic(), all_s, steal_s, sum(own[:4]))


def _of_all(root: str) -> Tuple[Optional[float], Optional[float]]:
    words = (sysfs.text(root, "/proc/stat") or "").split("\n")[0].split()
    try:
        ticks = [int(word) for word in words[1 : 1 + _COLUMNS]]
    except ValueError:
        return None, None
    if words[:1] != ["cpu"] or len(ticks) < _COLUMNS:
        return None, None
    a_second = os.sysconf("SC_CLK_TCK")
    busy = sum(ticks) - sum(ticks[column] for column in _IDLE)
    return busy / a_second, ticks[_STEAL] / a_second


def processors(root: str) -> Optional[float]:
    """Return how many processors this process may use at once, a container's share included.

    A share may be a fraction; None where the system does not tell.
    """
    count: Optional[float] = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    shares = [share for share in (_share_of_2(root), _share_of_1(root)) if share is not None]
    known = [count] if count is not None else []
    return min(known + shares) if known or shares else None


def _share_of_2(root: str) -> Optional[float]:
    """Return the limit of the control group, version 2: "max 100000" or "150000 100000"."""
    words = (sysfs.text(root, "/sys/fs/cgroup/cpu.max") or "").split()
    if len(words) != 2 or not (words[0].isdigit() and words[1].isdigit()):
        return None
    return int(words[0]) / max(1, int(words[1]))


def _share_of_1(root: str) -> Optional[float]:
    quota = sysfs.number(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = sysfs.number(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None
