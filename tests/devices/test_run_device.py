"""What a device's name means in a run, and what is refused before it is contacted."""

from pathlib import Path

import pytest

from gensynth.config import DeviceConfig
from gensynth.devices import registry
from gensynth.devices.run_device import known_names, run_device
from gensynth.errors import ConfigError, DeviceError


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "folder", lambda: tmp_path)
    (tmp_path / "devices.toml").write_text(
        '[board]\ndestination = "nvidia@192.168.55.1"\nprofile = "jetson-tx2"\n'
    )


def test_a_registered_device_is_a_machine_of_its_kind() -> None:
    found = run_device("board", DeviceConfig())
    assert found.device is not None
    assert (found.device.alias, found.profile.name) == ("board", "jetson-tx2")
    assert run_device("local", DeviceConfig()).device == registry.LOCAL


def test_a_kind_of_board_is_no_machine() -> None:
    found = run_device("jetson-nano", DeviceConfig())
    assert (found.device, found.profile.name) == (None, "jetson-nano")
    found = run_device("one-day", DeviceConfig(profile="jetson-nano"))
    assert (found.device, found.profile.name) == (None, "jetson-nano")


def test_all_names_are_known_each_once() -> None:
    devices, kinds = known_names()
    assert devices == ("local", "board")
    assert {"jetson-tx2", "x86"} <= set(kinds)
    assert not {"local", "generic"} & set(kinds)


@pytest.mark.parametrize(
    ("name", "config", "energy", "message"),
    [
        ("board", DeviceConfig(precision="int8"), False, "no INT8 on Jetson TX2"),
        ("board", DeviceConfig(power_mode=9), False, "has the power modes 0 MAXN"),
        ("board", DeviceConfig(grade="long"), False, "unknown grade 'long'"),
        ("board", DeviceConfig(grade="quick"), True, "grade quick takes no energy"),
        ("board", DeviceConfig(profile="tx2"), False, "unknown profile 'tx2'"),
        ("raspberry-pi-4", DeviceConfig(), True, "no joules or watts of raspberry-pi-4"),
    ],
)
def test_what_a_device_cannot_do_is_refused(
    name: str, config: DeviceConfig, energy: bool, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_device(name, config, energy=energy)


def test_a_name_of_nothing_is_refused_with_the_command_that_adds_it() -> None:
    with pytest.raises(DeviceError, match="gensynth devices add nothing USER@HOST"):
        run_device("nothing", DeviceConfig())
