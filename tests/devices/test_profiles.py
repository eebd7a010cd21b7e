"""What is refused before a board is contacted, and by which name a board is recognised."""

import pytest

from gensynth.devices.profiles import PROFILES, find_profile, recognise
from gensynth.errors import ConfigError
from gensynth.export.targets import find_target


def test_int8_on_a_tx2_is_refused_with_the_reason() -> None:
    # PLATFORM: dp4a on sm_62 is emulated by 12 instructions.
    with pytest.raises(ConfigError) as caught:
        find_profile("jetson-tx2").check_precision("int8")
    assert str(caught.value) == (
        "no INT8 on Jetson TX2: its GPU (sm_62) has no INT8 dot product, so an INT8 engine is "
        "slower than an FP16 one; use fp32 or fp16"
    )


def test_a_power_mode_that_is_not_there_is_answered_with_those_that_are() -> None:
    tx2 = find_profile("jetson-tx2")
    tx2.check_power_mode(0)
    with pytest.raises(ConfigError, match="0 MAXN, 1 MAXQ, 2 MAXP_CORE_ALL.*; got 7"):
        tx2.check_power_mode(7)
    with pytest.raises(ConfigError, match="has no power modes to set, got 0"):
        find_profile("local").check_power_mode(0)
    find_profile("jetson-agx-orin").check_power_mode(2)  # differs by variant: the board decides


def test_energy_on_a_board_without_a_sensor_is_refused() -> None:
    with pytest.raises(ConfigError, match="no energy on Raspberry Pi 4: the board has no power"):
        find_profile("raspberry-pi-4").check_energy()
    find_profile("jetson-tx2").check_energy()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        # What /proc/device-tree/model says on the boards.
        ("quill", "jetson-tx2"),
        ("NVIDIA Jetson TX2 NX Developer Kit", "jetson-tx2-nx"),
        ("NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "jetson-xavier-nx"),
        ("Jetson-AGX", "jetson-agx-xavier"),
        ("NVIDIA Orin Nano Developer Kit", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "jetson-orin-nano"),
        ("NVIDIA Orin NX Developer Kit", "jetson-orin-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "jetson-agx-orin"),
        ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
    ],
)
def test_a_board_is_recognised_by_what_it_calls_itself(model: str, name: str) -> None:
    found = recognise(model)
    assert found is not None
    assert found.name == name


def test_an_unknown_board_is_not_taken_for_another() -> None:
    assert recognise(None) is None
    assert recognise("Orange Pi 5 Plus") is None


def test_profiles_and_targets_agree_on_what_a_board_reads() -> None:
    # The targets' table is made from onnx-tensorrt's own documentation.
    for board, target in (
        ("jetson-tx2", "jetson-tx2"),
        ("jetson-nano", "jetson-nano"),
        ("jetson-xavier-nx", "jetson-xavier"),
        ("jetson-agx-orin", "jetson-orin-jp6"),
    ):
        assert find_profile(board).opset == find_target(target).opset
        versions = find_profile(board).tensorrt
        assert versions is not None
        assert versions[1] == list(find_target(target).versions.values())[-1]


def test_every_refusal_has_its_reason() -> None:
    for profile in PROFILES:
        missing = {"fp32", "fp16", "int8"} - set(profile.precisions)
        assert missing == set(profile.lacks), profile.name
        assert (profile.rail is None) == (profile.error is None), profile.name
