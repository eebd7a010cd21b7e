"""Everything that can be asked of a network or weighed in a utility: a metric a name.

    of task       a quality that a task measures on images, a share in [0, 1] told in percent
    of network    a cost that follows from the graph alone, exactly
    of device     what a device measures, always with the device it belongs to
    of score      computed from the others

Requirements, utility, tables and help read this registry; a task or a device that brings a metric
of its own registers it.
"""

from dataclasses import dataclass
from typing import Literal

from gensynth.errors import ConfigError
from gensynth.suggestion import did_you_mean


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: as requirements and utilities write it.
        title: as tables write it.
        unit: of its values: "%", "ms", or empty for plain numbers.
        better: which way is better: costs "lower", qualities and scores "higher".
        of: where its values come from.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    of: Literal["task", "network", "device", "score"]


_METRICS: dict[str, Metric] = {}

# What there is a figure of, though not in a run.
_JOULES = frozenset(["j_per_img", "img_per_j", "energy_j", "energy", "power_w", "p_mean_w"])
_OF_THE_BENCH = _JOULES | {"img_per_s", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"}


def register(metric: Metric) -> Metric:
    """Add a metric, or find it there already as it is.

    Raises:
        ValueError: if another one has this name.
    """
    if _METRICS.setdefault(metric.name, metric) != metric:
        raise ValueError(f"another metric is named {metric.name!r}: {_METRICS[metric.name]}")
    return metric


def find(name: str, context: str) -> Metric:
    """Return the metric of a name.

    Args:
        name: as written.
        context: what it stands in, for the message.

    Raises:
        ConfigError: if there is none, with the nearest that there is; or if it is a figure of
            the bench.
    """
    check_measured(name, context)
    if name not in _METRICS:
        raise ConfigError(
            f"unknown metric '{name}' in \"{context}\"; {did_you_mean(name, names())}"
        )
    return _METRICS[name]


def check_measured(name: str, context: str) -> None:
    """Refuse a figure that there is, and that no run measures.

    Raises:
        ConfigError: with the command that does.
    """
    if name in _OF_THE_BENCH:
        energy = " --energy" if name in _JOULES else ""
        raise ConfigError(
            f'a run does not measure {name}, got "{context}"; measure its networks with: '
            f"gensynth bench RUN{energy}"
        )


def names(of: str | None = None) -> tuple[str, ...]:
    """Return the metrics' names, all or those of one origin, in the order of registration."""
    return tuple(name for name, metric in _METRICS.items() if of in (None, metric.of))


TOP1 = register(Metric("top1", "top-1", "%", "higher", "task"))
PIXEL_ACCURACY = register(Metric("pixel_accuracy", "pixel accuracy", "%", "higher", "task"))
CLASS_ACCURACY = register(Metric("class_accuracy", "class accuracy", "%", "higher", "task"))
MIOU = register(Metric("miou", "mIoU", "%", "higher", "task"))
AP50 = register(Metric("ap50", "AP50", "%", "higher", "task"))
MAP = register(Metric("map", "mAP", "%", "higher", "task"))
PARAMS = register(Metric("params", "parameters", "", "lower", "network"))
MACS = register(Metric("macs", "MACs", "", "lower", "network"))
LATENCY = register(Metric("latency_ms", "latency", "ms", "lower", "device"))
NETSCORE = register(Metric("netscore", "NetScore", "", "higher", "score"))
DENSITY = register(Metric("information_density", "information density", "%/M", "higher", "score"))
