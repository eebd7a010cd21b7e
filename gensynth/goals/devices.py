"""Which devices a run asks of, and for what.

    placed              every device's metric without a device -> of the run's only one
    asked_of_devices    device -> the metrics that requirements and utility read of it
    check_known         whether there are such devices; their names come from above

A run's devices are those that its run file or its command names, and those that stand behind an
"@". Where there are none, it is this machine.
"""

from collections.abc import Collection, Mapping, Sequence

from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.goals.requirements import Requirement, together
from gensynth.goals.utility import Utility
from gensynth.suggestion import did_you_mean

LOCAL = "local"
"""This machine's name, which is always there."""


def asked_of_devices(
    requirements: Sequence[Requirement], utility: Utility | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the metrics that are read of every device, each once, in the order of reading.

    Example:
        >>> from gensynth.goals.requirements import parse_all
        >>> asked_of_devices(parse_all(["latency_ms@tx2 <= 5", "macs <= 4M", "power_w@tx2 <= 9"]))
        {'tx2': ('latency_ms', 'power_w')}
    """
    keys = [r.key for r in requirements if r.device]
    keys += sorted(key for key in (utility.needs if utility else ()) if "@" in key)
    asked: dict[str, tuple[str, ...]] = {}
    for name, device in map(metrics.parts_of, dict.fromkeys(keys)):
        asked[device] = (*asked.get(device, ()), name)
    return asked


def placed(
    requirements: Sequence[Requirement], utility: Utility, declared: Sequence[str] = ()
) -> tuple[tuple[Requirement, ...], Utility]:
    """Return requirements and utility in which every device's metric has its device.

    Args:
        requirements: as they were read.
        utility: likewise.
        declared: the devices that the run file or its command names.

    Raises:
        ConfigError: if a metric names no device and the run has several; or if requirements
            contradict each other, once it is known what they are on.
    """
    loose = [r.metric for r in requirements if r.of == "device" and not r.device]
    loose += sorted(utility.needs & set(metrics.names("device")))
    if not loose:
        return tuple(requirements), utility
    devices = list(dict.fromkeys([*declared, *asked_of_devices(requirements, utility)]))
    if len(devices) > 1:
        raise ConfigError(
            f"{loose[0]} must be of one of the run's devices, {', '.join(devices)}; write for "
            f"example {metrics.key_of(loose[0], devices[0])}"
        )
    device = devices[0] if devices else LOCAL
    on_it = [r.on(device) if r.of == "device" and not r.device else r for r in requirements]
    return together(on_it), utility.on(device)


def check_known(
    asked: Mapping[str, Sequence[str]], devices: Collection[str], kinds: Collection[str] = ()
) -> None:
    """Refuse a device that nobody knows.

    Args:
        asked: as `asked_of_devices` returns it.
        devices: names of those that can measure.
        kinds: names of kinds of board, of which there are estimates alone.

    Raises:
        ConfigError: naming the nearest that there is, and the command that adds one.
    """
    known = [*devices, *kinds]
    for device, names in asked.items():
        if device in known:
            continue
        key = metrics.key_of(names[0], device) if names else device
        shorter = [name for name in known if device.startswith(f"{name}-")]
        if shorter:
            near = f"a minus behind '{shorter[0]}' needs a space before it"
        else:
            near = did_you_mean(device, known)
        raise ConfigError(
            f"no device and no kind of board is named '{device}', got \"{key}\"; {near}; add a "
            f"device with: gensynth devices add {device} USER@HOST"
        )
