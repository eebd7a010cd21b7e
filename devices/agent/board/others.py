"""How many processors there are for a job, and how much of them others use meanwhile.

/proc/stat counts what every processor of the machine did, the hypervisor's other guests
("steal") included; what the job's own processes used of it is subtracted. Load averages would
still hold what ran a minute ago, such as the job before.
"""

import os
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from gensynth.devices.agent.wire import sysfs

# Columns of the line "cpu" in /proc/stat: user nice system idle iowait irq softirq steal.
_IDLE = (3, 4)
_STEAL = 7
_COLUMNS = 8
_DEEPEST = 100  # control groups within each other


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
    """Return how many processors this process may use at once, its control groups' shares included.

    A share may be a fraction; None where the system does not tell.
    """
    count: Optional[float] = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    limits = [_share_of_2(root, group) for group in _groups(root, "")]
    limits += [_share_of_1(root, group) for group in _groups(root, "cpu")]
    known = [limit for limit in [count] + limits if limit is not None]
    return min(known) if known else None


def _groups(root: str, controller: str) -> List[str]:
    """Return this process's control group and all above it, whose limits it has as well.

    A container sees its own as the root, or is named as the machine sees it; then its name leads
    nowhere, and the root counts.

    Args:
        root: the folder that holds `proc`.
        controller: of version 1; that of version 2 has no name.
    """
    found = ["/"]
    for line in (sysfs.text(root, "/proc/self/cgroup") or "").split("\n"):
        _, _, named = line.partition(":")
        controllers, _, group = named.partition(":")
        if controller in controllers.split(","):
            while group.startswith("/") and group != "/" and len(found) < _DEEPEST:
                found.append(group + "/")
                group = os.path.dirname(group)
    return found


def _share_of_2(root: str, group: str) -> Optional[float]:
    """Return the limit of a control group, version 2: "max 100000" or "150000 100000"."""
    words = (sysfs.text(root, "/sys/fs/cgroup" + group + "cpu.max") or "").split()
    if len(words) != 2 or not (words[0].isdigit() and words[1].isdigit()):
        return None
    return int(words[0]) / max(1, int(words[1]))


def _share_of_1(root: str, group: str) -> Optional[float]:
    quota = sysfs.number(root, "/sys/fs/cgroup/cpu" + group + "cpu.cfs_quota_us")
    period = sysfs.number(root, "/sys/fs/cgroup/cpu" + group + "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None
