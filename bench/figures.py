"""What the times of one network say, as the record's "latency"; nothing is left out of them.

A percentile is given where ten runs are beyond it: p90 from 100 runs, p99 from 1,000.
"""

from typing import Any

import numpy as np

from gensynth.bench.compare import mean_interval, median_interval, percentile_interval
from gensynth.errors import DeviceFault

NS_A_MS = 1e6
_PERCENTILES = (90, 95, 99)
_BEYOND = 10
_FOR_P99 = 100


def decode_times(blob: bytes, rounds: int) -> np.ndarray:
    """Return the times of a result's blob, (rounds, runs), in milliseconds.

    Raises:
        DeviceFault: `protocol_error` if they are not as many in each round, or not positive.
    """
    times_ns = np.frombuffer(blob, "<u8") if len(blob) % 8 == 0 else np.empty(0)
    if rounds < 1 or not len(times_ns) or len(times_ns) % rounds or not (times_ns > 0).all():
        raise DeviceFault(
            "protocol_error",
            f"times must be positive and as many in each of {rounds} rounds, got {len(blob)} bytes",
        )
    times_ms: np.ndarray = times_ns.reshape(rounds, -1) / NS_A_MS
    return times_ms


def latency(times_ms: np.ndarray, batch: int) -> dict[str, Any]:
    """Return the figures of runs of `batch` images, (rounds, runs), in milliseconds.

    Throughput is that of one run after the other: images over the mean, and its interval the
    inverse of the mean's; None where that reaches down to nothing.
    """
    runs = times_ms.reshape(-1)
    mean = float(runs.mean())
    interval, of_median = (f(times_ms.tolist()) for f in (mean_interval, median_interval))
    found: dict[str, Any] = {
        "n": len(runs),
        "rounds": len(times_ms),
        "mean_ms": mean,
        "ci95_ms": None if interval is None else list(interval),
        "p50_ms": float(np.median(runs)),
        "p50_ci95_ms": None if of_median is None else list(of_median),
        "cov_pct": 100 * float(runs.std()) / mean,
        "img_per_s": 1000 * batch / mean,
        "img_per_s_ci95": None
        if interval is None or interval[0] <= 0
        else [1000 * batch / end for end in reversed(interval)],
        "drift_pct": drift_pct(times_ms),
    }
    for percent in _PERCENTILES:
        shows = len(runs) * (100 - percent) >= 100 * _BEYOND
        found[f"p{percent}_ms"] = float(np.percentile(runs, percent)) if shows else None
    of_p99 = None if found["p99_ms"] is None else percentile_interval(_parts(times_ms), 99)
    found["p99_ci95_ms"] = None if of_p99 is None else list(of_p99)
    return found


def _parts(times_ms: np.ndarray) -> list[np.ndarray]:
    """Return the runs of neighbouring rounds together, so that each part has a 99th percentile."""
    together = -(-_FOR_P99 // times_ms.shape[1])
    return [part.reshape(-1) for part in np.array_split(times_ms, len(times_ms) // together)]


def drift_pct(times_ms: np.ndarray) -> float | None:
    """Return how much slower the last quarter of the rounds was than the first.

    By the medians of all their runs; None with fewer than four rounds.
    """
    part = len(times_ms) // 4
    if part == 0:
        return None
    return 100 * (float(np.median(times_ms[-part:])) / float(np.median(times_ms[:part])) - 1)
