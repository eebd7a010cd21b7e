"""Is a board still what it was? A control chart of its reference network.

Before every 20th job on a registered device its reference network is measured, and before each
of the first five. The chart is Shewhart's of individual values, of the logarithm of p50: the
centre is the mean of the first 20 points within the limits, sigma their mean moving range over
1.128 (d2 of pairs; Montgomery, Statistical Quality Control, 6.4), and not below 0.5 %. A point
beyond 3 sigma is measured again at once. If that confirms it, the board is in quarantine: what
was measured since the last good point is in doubt, and nothing is measured until a later point
is good again. Each board has a chart for each power mode and runtime, begun when it was
registered.

This machine has none: whoever works at it changes its speed all the time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gensynth.bench.grades import find_grade
from gensynth.bench.reference import reference
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.devices.agent.status import USABLE
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault
from gensynth.watch import Watch

EVERY = 20
GRADE = find_grade("quick")
FEWEST, _MOST = 5, 20
"""Good points before there are limits, and after which these stay."""

_LIMIT_SIGMA = 3.0
_LEAST_SIGMA = 0.005
_D2 = 1.128

Record = Mapping[str, Any]
Measure = Callable[[Request], tuple[dict[str, Any], dict[str, bytes]]]


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
        for point in map(math.log, p50_ms):
            sigma = _sigma(good)
            delta = None if sigma is None else (point - sum(good) / len(good)) / sigma
            deltas.append(delta)
            if len(good) < _MOST and not _is_beyond(delta):
                good.append(point)
        return cls(math.exp(sum(good) / len(good)), _sigma(good), tuple(deltas))

    @property
    def beyond(self) -> int:
        """How many points at the end, without a gap, are beyond the limits."""
        count = 0
        while count < len(self.deltas) and _is_beyond(self.deltas[-1 - count]):
            count += 1
        return count


def _sigma(good: Sequence[float]) -> float | None:
    if len(good) < FEWEST:
        return None
    steps = [abs(after - before) for before, after in pairwise(good)]
    return max(_LEAST_SIGMA, sum(steps) / len(steps) / _D2)


def _is_beyond(delta: float | None) -> bool:
    return delta is not None and abs(delta) > _LIMIT_SIGMA


def keep_watch(
    request: Request, store: Store, measure: Measure, watch: Watch
) -> dict[str, Any] | None:
    """Measure the reference network if it is time to, before a request is measured.

    Args:
        request: whose board, power mode and clocks count.
        store: holds the chart's points and counts the jobs between them.
        measure: one request on the board, now.
        watch: hears of it.

    Returns:
        The last point for the request's record; None for this machine, or where the board
        slowed itself down before there was one.

    Raises:
        DeviceFault: `quarantined`, or why the board could not be asked.
    """
    if request.device.destination is None:
        return None
    asked = Request(
        request.device,
        (reference(),),
        GRADE,
        power_mode=request.power_mode,
        lock_clocks=request.lock_clocks,
    )
    key = asked.key(f"chart of {request.device.serial} since {request.device.added_utc}")
    points = _points(store.under(key))
    if points and not _is_due(points, store):
        return _last(points)
    for _ in range(2):
        watch.phase("reference")
        record, raw = measure(asked)
        store.keep(key, record, raw)
        if record["status"] not in USABLE:
            return _last(points) if points else None
        points = _points(store.under(key))
        if not _chart(points).beyond:
            return _last(points)
    raise _quarantine(request.device, points, store)


def _points(records: Sequence[Record]) -> list[Record]:
    """Return those that can stand in one chart with the newest."""
    usable = [record for record in records if record["status"] in USABLE]
    return [record for record in usable if _sort(record) == _sort(usable[-1])]


def _sort(record: Record) -> tuple[Any, ...]:
    device, runtime = record["device"], record["runtime"]
    clocks = [flag for flag in record["flags"] if flag.startswith(("clocks", "power_mode"))]
    return (
        record["provenance"], device["serial_hash"], device["l4t"], device["power_mode"],
        runtime["path"], runtime["version"], sorted(clocks),
    )  # fmt: skip


def _chart(points: Sequence[Record]) -> Chart:
    return Chart.of([point["networks"][0]["latency"]["p50_ms"] for point in points])


def _is_due(points: Sequence[Record], store: Store) -> bool:
    chart = _chart(points)
    if chart.sigma is None or chart.beyond:
        return True
    return store.jobs_since(points[-1]["job_id"]) >= EVERY


def _last(points: Sequence[Record]) -> dict[str, Any]:
    last, chart = points[-1], _chart(points)
    return {
        "job_id": last["job_id"],
        "started_utc": last["started_utc"],
        "onnx_sha256": last["networks"][0]["onnx_sha256"],
        "p50_ms": last["networks"][0]["latency"]["p50_ms"],
        "delta_sigma": chart.deltas[-1],
        "centre_p50_ms": chart.p50_ms,
        "sigma_pct": None if chart.sigma is None else 100 * chart.sigma,
        "points": len(points),
    }


def _quarantine(device: Device, points: Sequence[Record], store: Store) -> DeviceFault:
    """Doubt what was measured since the last good point, and return what to say."""
    chart, last = _chart(points), _last(points)
    good, delta = points[-1 - chart.beyond], last["delta_sigma"]
    doubted = store.doubt(after=good["job_id"], until=last["job_id"]) - chart.beyond
    return DeviceFault(
        "quarantined",
        f"{device.alias} must take {chart.p50_ms:.4g} ms for its reference network within 3 sigma "
        f"({_LIMIT_SIGMA * last['sigma_pct']:.1f} %), as in {len(points) - chart.beyond} "
        f"measurements before; it takes {last['p50_ms']:.4g} ms, {delta:+.1f} sigma, also when "
        f"repeated. In doubt are {doubted} measurements since {good['started_utc'][:19]}; they "
        "answer nothing any more. Look for heat, other work and a changed power supply: gensynth "
        f"devices check {device.alias}; the next bench looks again. If the board is meant to be so "
        f"from now on: gensynth devices remove {device.alias}, then add it again",
        {**last, "doubted": doubted, "last_good": good["job_id"]},
    )
