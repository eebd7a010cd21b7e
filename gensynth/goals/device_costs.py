"""What a requirement on a device says of the costs that a search sums over vertices.

Two costs of a device are sums: the milliseconds of one run and the joules of one image. All its
other metrics follow from them:

    throughput     = 1000 batch / latency_ms
    img_per_joule  = 1 / joule_per_img
    power_w        = 1000 batch joule_per_img / latency_ms

A 99th percentile follows from no network's kernels: a limit on it is one on the median, less what
the two were apart where they were measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gensynth.goals import metrics
from gensynth.goals.metrics import IMAGES_PER_JOULE, JOULES, LATENCY, P99, POWER, THROUGHPUT
from gensynth.goals.requirements import Requirement

Numbers = float | np.ndarray

SUMMED = {
    LATENCY.name: LATENCY.name, P99.name: LATENCY.name, THROUGHPUT.name: LATENCY.name,
    JOULES.name: JOULES.name, IMAGES_PER_JOULE.name: JOULES.name, POWER.name: JOULES.name,
}  # fmt: skip
"""Which sum a metric of a device follows from."""


def summed(names: Sequence[str]) -> tuple[str, ...]:
    """Return the sums that these metrics of one device need: milliseconds always."""
    needed = {LATENCY.name, *(SUMMED[name] for name in names)}
    return tuple(name for name in (LATENCY.name, JOULES.name) if name in needed)


def sum_of(key: str) -> str:
    """Return the key of the sum that a metric follows from; its own where it is none of a device.

    Example:
        >>> sum_of("img_per_joule@tx2"), sum_of("macs")
        ('joule_per_img@tx2', 'macs')
    """
    name, device = metrics.parts_of(key)
    return metrics.key_of(SUMMED[name], device) if name in SUMMED and device else key


def limit_of(requirement: Requirement, batch: int, p99_ratio: float) -> tuple[str, float] | None:
    """Return the sum that a requirement limits and the largest value it allows.

    Args:
        requirement: on a device's metric.
        batch: images of one run there.
        p99_ratio: 99th percentile over median, as it was measured.

    Returns:
        (key such as "latency_ms@tx2", limit); None for watts, which fall with no cost.
    """
    limit = requirement.limit
    match requirement.metric:
        case LATENCY.name | JOULES.name:
            name, most = requirement.metric, limit
        case P99.name:
            name, most = LATENCY.name, limit / p99_ratio
        case THROUGHPUT.name:
            name, most = LATENCY.name, 1000 * batch / limit
        case IMAGES_PER_JOULE.name:
            name, most = JOULES.name, 1 / limit
        case _:
            return None
    return metrics.key_of(name, requirement.device), most


def derived(values: Mapping[str, Numbers], batches: Mapping[str, int]) -> dict[str, Numbers]:
    """Return costs with all metrics of devices that follow from them, under their keys.

    Args:
        values: by key; what is there already stays as it is.
        batches: images of one run, by device.
    """
    found: dict[str, Numbers] = {}
    for device, batch in batches.items():
        ms, joule = (values.get(metrics.key_of(m.name, device)) for m in (LATENCY, JOULES))
        if ms is not None:
            found[metrics.key_of(THROUGHPUT.name, device)] = 1000 * batch / ms
        if joule is not None:
            found[metrics.key_of(IMAGES_PER_JOULE.name, device)] = 1 / joule
        if ms is not None and joule is not None:
            found[metrics.key_of(POWER.name, device)] = 1000 * batch * joule / ms
    return {**found, **values}
