"""Is a board still what it was? A control chart of its reference network.

Before every 20th job on a registered device its reference network is measured, and before each
of the first five. The chart is one of individual values, of the logarithm of p50. A new point x
is within the limits if

    |x - mean| <= t(99.73 %, m - 1) sd sqrt(1 + 1 / m)

of the first m good points, 20 at most: the prediction interval of a normal variable, which for
many points is the mean and 3 sigma (Hahn and Meeker, "Statistical Intervals", 4.8). What is
called sigma here is a third of the right side, and not below 0.5 %. A point beyond the limits is
measured again at once. If that confirms it, the board is in quarantine: what was measured under
this chart since its last good point is in doubt, and nothing is measured until a later point is
good again. Each board has a chart for each power mode and runtime, begun when it was registered.

This machine has none: whoever works at it changes its speed all the time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from gensynth.bench.grades import find_grade
from gensynth.bench.record import power_mode
from gensynth.bench.reference import reference
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.devices.agent.wire.status import USABLE
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault
from gensynth.goals.student import quantile
from gensynth.progress import Listener, Silent

EVERY = 20
GRADE = replace(find_grade("quick"), quiet=None)
FEWEST, MOST = 5, 20
"""Good points before there are limits, and after which these stay."""

TOO_SLOW = ("timeout_build", "timeout_run")

_LIMIT_SIGMA = 3.0
_CONFIDENCE = 0.9973
_LEAST_SIGMA = 0.005

Record = Mapping[str, Any]
Measure = Callable[[Request, Listener], tuple[dict[str, Any], dict[str, bytes]]]


@dataclass(frozen=True)
class Chart:
    """The centre and the limits of points, and how far from the centre each was when it came.

    Attributes:
        p50_ms: of the centre; of as many good points as there are, 20 at most.
        sigma: of the logarithm of p50; None before five good points.
        deltas: of each point, in sigma; None for those that came before there were limits.
    """

    p50_ms: float
    sigma: float | None
    deltas: tuple[float | None, ...]

    @classmethod
    def of(cls, p50_ms: Sequence[float]) -> "Chart":
        """Return the chart of points, the oldest first; at least one."""
        good: list[float] = []
        deltas: list[float | None] = []
        beyond: list[float] = []
        for point in map(math.log, p50_ms):
            sigma = _sigma(good)
            deltas.append(None if sigma is None else (point - mean(good)) / sigma)
            if _is_beyond(deltas[-1]):
                beyond.append(point)
                continue
            if len(beyond) == 1:  # no repeat confirmed it: such points are a part of the scatter
                good += beyond
            good.append(point)
            del good[MOST:]
            beyond.clear()
        return cls(math.exp(mean(good)), _sigma(good), tuple(deltas))

    @property
    def beyond(self) -> int:
        """How many points at the end, without a gap, are beyond the limits."""
        count = 0
        while count < len(self.deltas) and _is_beyond(self.deltas[-1 - count]):
            count += 1
        return count


def _sigma(good: Sequence[float]) -> float | None:
    count = len(good)
    if count < FEWEST:
        return None
    limit = quantile(count - 1, _CONFIDENCE) * stdev(good) * math.sqrt(1 + 1 / count)
    return max(_LEAST_SIGMA, limit / _LIMIT_SIGMA)


def _is_beyond(delta: float | None) -> bool:
    return delta is not None and abs(delta) > _LIMIT_SIGMA


def keep_watch(
    request: Request, store: Store, measure: Measure, listener: Listener
) -> tuple[dict[str, Any] | None, str | None]:
    """Measure the reference network if it is time to, before a request is measured.

    Args:
        request: whose board, power mode and clocks count.
        store: holds the chart's points and counts the jobs between them.
        measure: one request on the board, now.
        listener: hears of it.

    Returns:
        The last point for the request's record; None for this machine, or where the board
        slowed itself down before there was one. Then why there is none, where the board is too
        slow for the reference network; else None.

    Raises:
        DeviceFault: `quarantined`, or why the reference network could not be measured.
    """
    device = request.device
    if device.destination is None:
        return None, None
    asked = Request(
        device,
        (reference(),),
        GRADE,
        power_mode=request.power_mode,
        lock_clocks=request.lock_clocks,
    )
    key = asked.key(f"chart since {device.added_utc}")
    points = _points(store.under(key))
    if points and not _is_due(points, store):
        return _last(points, key), None
    listener.phase("reference")
    for _ in range(2):
        try:
            record, raw = _measured(asked, measure, listener)
        except DeviceFault as fault:
            if fault.status not in TOO_SLOW or points:
                raise
            return None, fault.message  # it says nothing of the user's own networks
        store.keep(key, record, raw)
        if record["status"] not in USABLE:
            break
        points = _points(store.under(key))
        if not _chart(points).beyond:
            break
    beyond = _chart(points).beyond if points else 0
    if beyond == 0:
        return (_last(points, key) if points else None), None
    if beyond == 1:
        raise DeviceFault(
            record["status"],
            f"{device.alias} took too long for its reference network, and was {record['status']} "
            "when that was repeated; let it cool and end what else runs there",
            _last(points, key),
        )
    raise _quarantine(device, points, store, key)


class _Reference(Silent):
    """Passes on what is said of the reference network, but for the phases of its own job."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def progress(self, what: str, share: float, text: str) -> None:
        """Say of what it is."""
        self._listener.progress(f"reference network, {what}", share, text)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._listener.note(text)


def _measured(
    asked: Request, measure: Measure, listener: Listener
) -> tuple[dict[str, Any], dict[str, bytes]]:
    try:
        return measure(asked, _Reference(listener))
    except DeviceFault as fault:
        message = f"before your networks, the reference network: {fault.message}"
        raise DeviceFault(fault.status, message, fault.details) from fault


def _points(records: Sequence[Record]) -> list[Record]:
    """Return those that can stand in one chart with the newest."""
    usable = [record for record in records if record["status"] in USABLE]
    return [record for record in usable if _sort(record) == _sort(usable[-1])]


def _sort(record: Record) -> tuple[Any, ...]:
    device, runtime = record["device"], record["runtime"]
    clocks = [flag for flag in record["flags"] if flag.startswith(("clocks", "power_mode"))]
    return (
        record["provenance"], device["serial_hash"], device["l4t"], power_mode(record),
        runtime["path"], runtime["version"], sorted(clocks),
    )  # fmt: skip


def _chart(points: Sequence[Record]) -> Chart:
    return Chart.of([point["networks"][0]["latency"]["p50_ms"] for point in points])


def _is_due(points: Sequence[Record], store: Store) -> bool:
    chart = _chart(points)
    if chart.sigma is None or chart.beyond:
        return True
    return store.jobs_since(points[-1]["job_id"]) >= EVERY


def _last(points: Sequence[Record], key: str) -> dict[str, Any]:
    last, chart = points[-1], _chart(points)
    return {
        "chart": key,
        "job_id": last["job_id"],
        "started_utc": last["started_utc"],
        "onnx_sha256": last["networks"][0]["onnx_sha256"],
        "power_mode": power_mode(last),
        "p50_ms": last["networks"][0]["latency"]["p50_ms"],
        "delta_sigma": chart.deltas[-1],
        "centre_p50_ms": chart.p50_ms,
        "sigma_pct": None if chart.sigma is None else 100 * chart.sigma,
        "points": len(points),
    }


def _quarantine(device: Device, points: Sequence[Record], store: Store, key: str) -> DeviceFault:
    """Doubt what was measured since the last good point, and return what to say."""
    chart, last = _chart(points), _last(points, key)
    good = points[-1 - chart.beyond]
    doubted = store.doubt(key, after=good["job_id"], found_by=last["job_id"])
    return DeviceFault(
        "quarantined",
        f"{device.alias} must take {chart.p50_ms:.4g} ms for its reference network, within "
        f"{_LIMIT_SIGMA * last['sigma_pct']:.1f} % as before; it takes {last['p50_ms']:.4g} ms, "
        f"{last['delta_sigma']:+.1f} sigma, also when repeated. In doubt are {doubted} "
        f"measurements since {good['started_utc'][:19]}; they answer nothing any more. Look for "
        f"heat, other work and a weaker supply: gensynth devices check {device.alias}; the next "
        "bench looks again. If the board is meant to be so from now on: gensynth devices remove "
        f"{device.alias}, then add it again",
        {**last, "doubted": doubted, "last_good": good["job_id"]},
    )
