"""What a run's devices are: this machine, a registered device, or a kind of board.

    RunDevice       a name, what kind of board it is, and the machine that can be asked, if any
    run_device      name and settings -> RunDevice; what the board cannot do is refused here
    known_names     of all that there are, and of the kinds of board

Nothing is contacted here.
"""

from dataclasses import dataclass

from gensynth.bench.grades import find_grade
from gensynth.config import DeviceConfig
from gensynth.devices import registry
from gensynth.devices.profiles import PROFILES, Profile, find_profile, is_profile
from gensynth.devices.registry import Device
from gensynth.errors import ConfigError


@dataclass(frozen=True)
class RunDevice:
    """A device that networks are for.

    Attributes:
        name: as it stands behind an "@".
        config: what is asked of it: precision, batch and the like.
        profile: its kind of board.
        device: the machine that measures; None where only the kind of board is known, of which
            there are estimates alone.
    """

    name: str
    config: DeviceConfig
    profile: Profile
    device: Device | None


def known_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the devices that there are, and those of the kinds of board.

    Raises:
        ConfigError: if the registry is damaged.
    """
    aliases = tuple(device.alias for device in registry.all_devices())
    return aliases, tuple(p.name for p in PROFILES if p.name not in (*aliases, "generic"))


def run_device(name: str, config: DeviceConfig, *, energy: bool = False) -> RunDevice:
    """Return what a name means.

    Args:
        name: of a device, or of a kind of board; any other where the settings say its profile.
        config: its settings.
        energy: whether joules are asked of it.

    Raises:
        ConfigError: if there is no such profile, or the board has no such precision, power mode
            or power sensor, or the grade takes no energy.
        DeviceError: if nothing has this name.
    """
    aliases, _ = known_names()
    device = registry.find(name) if name in aliases else None
    if device is None and config.profile is None and not is_profile(name):
        registry.find(name)  # which says how to add it
    profile = find_profile(config.profile or (name if device is None else device.profile))
    profile.check_precision(config.precision)
    if config.power_mode is not None:
        profile.check_power_mode(config.power_mode)
    grade = find_grade(config.grade, energy=energy)
    if energy:
        grade.windows(0)
        if profile.no_energy is not None:
            raise ConfigError(
                f"no joules or watts of {name}: {profile.no_energy}; ask for its latency instead"
            )
    return RunDevice(name, config, profile, device)
