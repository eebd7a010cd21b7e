"""Everything that can be asked of a network or weighed in a utility: a metric a name.

    of task       a quality that a task measures on images, a share in [0, 1] told in percent
    of network    a cost that follows from the graph alone, exactly
    of device     what a device measures, always with the device it belongs to
    of score      computed from the others

What is of a device: latency_ms and p99_ms are of one run of the device's batch, median and 99th
percentile; throughput is images a second of one run after the other; joules and watts are gross,
all that the device's rail delivers meanwhile.

Requirements, utility, tables and help read this registry; a task or a device that brings a metric
of its own registers it. With its device a metric is a *key*, "latency_ms@tx2", by which values are
kept and looked up.
"""

import re
from collections.abc import Iterable
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
        unit: of its values, see `gensynth.goals.units`: "%", "ms", or empty for plain numbers.
        better: which way is better: costs "lower", qualities, rates and scores "higher".
        of: where its values come from.
        needs_energy: whether a bench must measure power for it.
        value: where it stands in a network's entry of a bench's record; empty where no device
            measures it.
        interval95: where its 95 % interval stands there.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    of: Literal["task", "network", "device", "score"]
    needs_energy: bool = False
    value: tuple[str, ...] = ()
    interval95: tuple[str, ...] = ()


_METRICS: dict[str, Metric] = {}
_STAND_INS: set[str] = set()
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_BY_OTHER_NAMES = {
    "latency": "latency_ms", "p50_ms": "latency_ms", "mean_ms": "latency_ms",
    "fps": "throughput", "img_per_s": "throughput",
    "energy": "joule_per_img", "energy_j": "joule_per_img", "j_per_img": "joule_per_img",
    "img_per_j": "img_per_joule",
    "power": "power_w", "p_mean_w": "power_w",
    "accuracy": "top1", "acc": "top1", "acc1": "top1", "acc5": "top5", "recall": "smallest_recall",
    "flops": "macs", "parameters": "params",
    "size": "size_mib", "memory": "peak_mib",
}  # fmt: skip
"""What others call them, records among them."""


def register(metric: Metric) -> Metric:
    """Add a metric, or find it there already as it is.

    Raises:
        ValueError: if another one has this name.
    """
    if metric.name in _STAND_INS:
        _STAND_INS.remove(metric.name)
        _METRICS[metric.name] = metric
    if _METRICS.setdefault(metric.name, metric) != metric:
        raise ValueError(f"another metric is named {metric.name!r}: {_METRICS[metric.name]}")
    return metric


def stand_in(name: str) -> None:
    """Let a name that a record keeps be known, where the task that registers it is not at hand.

    Such a record is of a task of the user's own: its figures are read without its code, and told by
    the name alone.

    Raises:
        ValueError: if it is no name.
    """
    if name not in _METRICS:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the metric of a score must be a name, got {name!r:.40}")
        _METRICS[name] = Metric(name, name, "%", "higher", "task")
        _STAND_INS.add(name)


def find(name: str, context: str) -> Metric:
    """Return the metric of a name.

    Args:
        name: as written.
        context: what it stands in, for the message.

    Raises:
        ConfigError: if there is none, with the nearest that there is.
    """
    if name not in _METRICS:
        raise ConfigError(f"unknown metric '{name}' in \"{context}\"; {nearest(name, names())}")
    return _METRICS[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: what was probably meant."""
    other = _BY_OTHER_NAMES.get(name.lower())
    return did_you_mean(name, known) if other is None else f"did you mean '{other}'?"


def key_of(name: str, device: str) -> str:
    """Return a metric with its device: "latency_ms@tx2"; the name alone where there is none."""
    return f"{name}@{device}" if device else name


def parts_of(key: str) -> tuple[str, str]:
    """Return the name and the device of a key; the device is empty where there is none."""
    name, _, device = key.partition("@")
    return name, device


def names(of: str | None = None) -> tuple[str, ...]:
    """Return the metrics' names, all or those of one origin, in the order of registration."""
    return tuple(name for name, metric in _METRICS.items() if of in (None, metric.of))


TOP1 = register(Metric("top1", "top-1", "%", "higher", "task"))
TOP5 = register(Metric("top5", "top-5", "%", "higher", "task"))
SMALLEST_RECALL = register(
    Metric("smallest_recall", "smallest recall of a class", "%", "higher", "task")
)
PIXEL_ACCURACY = register(Metric("pixel_accuracy", "pixel accuracy", "%", "higher", "task"))
CLASS_ACCURACY = register(Metric("class_accuracy", "class accuracy", "%", "higher", "task"))
MIOU = register(Metric("miou", "mIoU", "%", "higher", "task"))
AP50 = register(Metric("ap50", "AP50", "%", "higher", "task"))
MAP = register(Metric("map", "mAP", "%", "higher", "task"))
PARAMS = register(Metric("params", "parameters", "", "lower", "network"))
MACS = register(Metric("macs", "MACs", "", "lower", "network"))
SIZE = register(Metric("size_mib", "size", "MiB", "lower", "network"))
PEAK = register(Metric("peak_mib", "peak activations", "MiB", "lower", "network"))
LATENCY = register(
    Metric(
        "latency_ms", "latency", "ms", "lower", "device",
        value=("latency", "p50_ms"), interval95=("latency", "p50_ci95_ms"),
    )
)  # fmt: skip
P99 = register(
    Metric(
        "p99_ms", "99th percentile", "ms", "lower", "device",
        value=("latency", "p99_ms"), interval95=("latency", "p99_ci95_ms"),
    )
)  # fmt: skip
THROUGHPUT = register(
    Metric(
        "throughput", "throughput", "images/s", "higher", "device",
        value=("latency", "img_per_s"), interval95=("latency", "img_per_s_ci95"),
    )
)  # fmt: skip
JOULES = register(
    Metric(
        "joule_per_img", "joules per image", "J", "lower", "device", needs_energy=True,
        value=("energy", "j_per_img"), interval95=("energy", "ci95"),
    )
)  # fmt: skip
IMAGES_PER_JOULE = register(
    Metric(
        "img_per_joule", "images per joule", "images/J", "higher", "device", needs_energy=True,
        value=("energy", "img_per_j"), interval95=("energy", "img_per_j_ci95"),
    )
)  # fmt: skip
POWER = register(
    Metric(
        "power_w", "power", "W", "lower", "device", needs_energy=True,
        value=("energy", "p_mean_w"), interval95=("energy", "p_mean_ci95_w"),
    )
)  # fmt: skip
NETSCORE = register(Metric("netscore", "NetScore", "", "higher", "score"))
DENSITY = register(Metric("information_density", "information density", "%/M", "higher", "score"))
