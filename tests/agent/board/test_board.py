"""A board's facts, from the files of boards that are not here."""

import hashlib
import json
from pathlib import Path

import pytest

from gensynth.devices.agent.board import board
from tests.fakes import boards


def test_the_facts_of_a_tx2(tmp_path: Path) -> None:
    found = board.facts(boards.lay(tmp_path, boards.TX2))
    assert found["model"] == "quill"
    assert found["l4t"] == "32.7.4"
    assert found["jetpack"] == "4.6.4-b39"
    assert found["cuda"] == "10.2.300"
    assert found["tensorrt"] == "8.2.1"
    assert found["kernel"] == "4.9.337-tegra"
    assert found["boot_id"] == "6e2d1cb5-0f5f-4f0e-9a3b-8b8a9cbb8ed2"
    assert found["power_mode"] == {"id": 3, "name": "MAXP_CORE_ARM"}
    assert found["fan"] == 80
    assert found["temperatures_c"]["GPU-therm"] == 36.0
    assert found["load"] == [0.12, 0.34, 0.56]
    assert found["uptime_s"] == 1234.56
    assert found["simulated"] is True


def test_the_clocks_of_a_tx2(tmp_path: Path) -> None:
    clocks = board.facts(boards.lay(tmp_path, boards.TX2))["clocks"]
    assert clocks["locked"] is False
    assert clocks["cpu_mhz"] == pytest.approx(1113.6)  # the fastest core
    assert clocks["gpu_mhz"] == pytest.approx(114.75)
    assert clocks["emc_mhz"] == pytest.approx(665.6)
    assert clocks["governor"] == "schedutil"
    assert clocks["ranges_mhz"]["gpu"] == pytest.approx([114.75, 1122, 114.75])
    assert sorted(clocks["ranges_mhz"]) == ["cpu0", "cpu3", "cpu4", "cpu5", "emc", "gpu"]


def test_a_serial_number_is_told_as_a_hash(tmp_path: Path) -> None:
    found = board.facts(boards.lay(tmp_path, boards.TX2))
    digest = hashlib.sha256(b"gensynth serial 0324717900123").hexdigest()
    assert found["serial_hash"] == digest[:16]
    assert "0324717900123" not in json.dumps(found)


def test_the_facts_of_an_orin_nano(tmp_path: Path) -> None:
    found = board.facts(boards.lay(tmp_path, boards.ORIN_NANO))
    assert (found["l4t"], found["cuda"], found["tensorrt"]) == ("36.4.3", "12.6.11", "10.3.0")
    assert found["clocks"]["gpu_mhz"] == pytest.approx(306)
    assert found["fan"] == 66
    assert found["power_mode"] is None


@pytest.mark.parametrize(
    "files",
    [
        boards.TX2, boards.NANO, boards.XAVIER_NX, boards.AGX_XAVIER, boards.ORIN_NANO,
        boards.AGX_ORIN, boards.PI_5, boards.LAPTOP,
    ],
    ids="tx2 nano xavier-nx agx-xavier orin-nano agx-orin pi-5 laptop".split(),
)  # fmt: skip
def test_a_board_at_rest_is_not_throttled(tmp_path: Path, files: boards.Files) -> None:
    found = board.facts(boards.lay(tmp_path, files))
    assert found["throttle"] == []
    assert found["model"]
    json.dumps(found, allow_nan=False)


def test_the_facts_of_a_raspberry_pi(tmp_path: Path) -> None:
    found = board.facts(boards.lay(tmp_path, boards.PI_5))
    assert found["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    # 0x50000 has bits 16 and 18
    assert found["throttled_since_boot"] == ["under-voltage", "throttled"]
    assert found["clocks"]["governor"] == "ondemand"


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    found = board.facts(str(tmp_path))
    unknown = "model serial_hash boot_id l4t jetpack cuda tensorrt kernel power_mode fan load"
    assert {name: found[name] for name in unknown.split()} == dict.fromkeys(unknown.split())
    assert found["clocks"]["locked"] is None
    assert found["throttle"] == []


def test_files_with_something_else_in_them_are_none(tmp_path: Path) -> None:
    names = [name for name, text in boards.TX2.items() if not text.startswith("#!")]
    root = boards.lay(tmp_path, dict.fromkeys(names, "\ufffd ?\n"))
    found = board.facts(root)
    assert found["l4t"] is None
    assert found["temperatures_c"] == {}
    json.dumps(found, allow_nan=False)


PINNED = (2035200, 2035200, 2035200)
SLOWED = (2035200, 2035200, 1420800)


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        (boards.cpu(3, SLOWED), "cpu3 at 1421 of 2035 MHz"),
        (boards.cooling(1, "gpu-balanced", 4), "cooling gpu-balanced at 4"),
        (
            boards.zone(0, "BCPU-therm", 91.0, ("critical", 101.0), ("passive", 95.5)),
            "BCPU-therm at 91.0 C, its limit is 95.5 C",
        ),
        (
            {"/sys/bus/i2c/devices/0-0041/iio:device1/crit_current_limit_0": "200 ma\n"},
            "VDD_IN at 216 mA, its limit is 200 mA",
        ),
    ],
)
def test_a_tx2_that_slows_down_says_why(tmp_path: Path, change: boards.Files, signal: str) -> None:
    assert board.throttle(boards.lay(tmp_path, boards.TX2, change)) == [signal]


def test_an_alarm_of_hwmon_is_told_with_its_rail(tmp_path: Path) -> None:
    alarm = {"/sys/class/hwmon/hwmon1/curr1_crit_alarm": "1\n"}
    root = boards.lay(tmp_path, boards.ORIN_NANO, alarm)
    assert board.throttle(root) == ["crit current alarm on VDD_IN"]


def test_a_raspberry_pi_that_is_throttled_now(tmp_path: Path) -> None:
    # 0xe0008: bit 3 now, 17 to 19 since the last start.
    root = boards.lay(tmp_path, boards.PI_4)
    assert board.throttle(root) == ["raspberry: soft temperature limit"]
    assert board.facts(root)["throttled_since_boot"] == [
        "frequency capped", "throttled", "soft temperature limit",
    ]  # fmt: skip


def test_clocks_that_are_pinned_are_locked(tmp_path: Path) -> None:
    pinned = {
        **boards.cpu(0, PINNED), **boards.cpu(3, PINNED),
        **boards.cpu(4, PINNED), **boards.cpu(5, PINNED),
        **boards.devfreq("/sys/devices/gpu.0/devfreq/17000000.gp10b", (1122000000,) * 3),
        "/sys/kernel/debug/bpmp/debug/clk/emc/min_rate": "1866000000\n",
        "/sys/kernel/debug/bpmp/debug/clk/emc/rate": "1866000000\n",
    }  # fmt: skip
    assert board.facts(boards.lay(tmp_path, boards.TX2, pinned))["clocks"]["locked"] is True


def test_this_machines_facts_carry_no_word_of_a_simulation() -> None:
    found = board.facts("/")
    assert "simulated" not in found
    assert found["boot_id"]
    json.dumps(found, allow_nan=False)
