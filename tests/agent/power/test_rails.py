"""Power rails of Jetson boards, found by name in the layouts of two generations of drivers."""

from pathlib import Path

import pytest

from gensynth.devices.agent.power import meters, rails
from gensynth.devices.agent.power.meter import NoMeter
from gensynth.devices.agent.power.module_power import open_rails
from gensynth.devices.agent.power.rails import discover
from gensynth.devices.agent.wire.status import Fault
from tests.fakes import boards

IIO = "/sys/bus/i2c/devices/0-0041/iio:device1"


def break_file(root: Path, name: str) -> None:
    """Let reading a file be an error, as EIO is."""
    path = root / name.lstrip("/")
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("files", "rail", "scope", "watts"),
    [
        (boards.TX2, "VDD_IN", "module", 4.135),  # 19144 mV * 216 mA = 4135 mW
        (boards.NANO, "POM_5V_IN", "module", 1.771),  # 5032 * 352
        (boards.XAVIER_NX, "VDD_IN", "module", 2.519),  # 5080 * 496
        # 0 + 305 + 1220 + 0 + 152 + 1526 mW
        (boards.AGX_XAVIER, "GPU+CPU+SOC+CV+VDDRQ+SYS5V", "sum_of_rails", 3.203),
        (boards.ORIN_NANO, "VDD_IN", "module", 4.640256),  # 5088 * 912, no power file
        (
            boards.AGX_ORIN,  # 19096 * 200 + 5064 * 736
            "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0+VDDQ_VDD2_1V8AO",
            "sum_of_rails",
            7.546304,
        ),
    ],
    ids="tx2 nano xavier-nx agx-xavier orin-nano agx-orin".split(),
)
def test_all_the_power_of_a_module(
    tmp_path: Path, files: boards.Files, rail: str, scope: str, watts: float
) -> None:
    meter = open_rails(boards.lay(tmp_path, files))
    assert (meter.rail, meter.scope, meter.kind) == (rail, scope, "power")
    assert meter.read() == pytest.approx(watts, abs=1e-9)


def test_every_rail_is_found_by_its_name(tmp_path: Path) -> None:
    found, forbidden, broken = discover(boards.lay(tmp_path, boards.TX2))
    assert sorted(found) == [
        "VDD_3V3_SYS", "VDD_4V0_WIFI", "VDD_5V0_IO_SYS", "VDD_IN", "VDD_MUX", "VDD_SYS_CPU",
        "VDD_SYS_DDR", "VDD_SYS_GPU", "VDD_SYS_SOC",
    ]  # fmt: skip
    assert found["VDD_IN"].folder == IIO
    assert (forbidden, broken) == ([], {})


@pytest.mark.parametrize(
    "folder",
    [
        "/sys/bus/i2c/devices/0-0041/iio:device7",  # another number after the next start
        "/sys/bus/i2c/devices/2-0041/iio_device",
        "/sys/bus/i2c/drivers/ina3221x/0-0041/iio:device1",
        "/sys/bus/i2c/drivers/ina3221x/1-0041/iio_device0",
    ],
)
def test_folders_of_other_releases(tmp_path: Path, folder: str) -> None:
    root = boards.lay(tmp_path, boards.iio(folder, ("GPU_X", 5000, 1), ("VDD_IN", 19000, 500)))
    assert discover(root).found["VDD_IN"].folder == folder
    assert open_rails(root).read() == 9.5


def test_the_sum_of_shunts_and_unconnected_channels_are_no_rails(tmp_path: Path) -> None:
    found = discover(boards.lay(tmp_path, boards.AGX_ORIN)).found
    assert sorted(found) == ["VDDQ_VDD2_1V8AO", "VDD_CPU_CV", "VDD_GPU_SOC", "VIN_SYS_5V0"]


def test_a_channel_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.TX2)
    break_file(tmp_path, IIO + "/in_current1_input")
    found, forbidden, broken = discover(root)
    assert "VDD_SYS_CPU" not in found
    assert "VDD_IN" in found
    assert (forbidden, list(broken)) == ([], ["VDD_SYS_CPU"])
    assert open_rails(root).rail == "VDD_IN"


@pytest.mark.parametrize("name", ["in_voltage0_input", "in_current0_input", "in_power0_input"])
def test_the_rail_of_the_module_that_cannot_be_read_is_there(tmp_path: Path, name: str) -> None:
    root = boards.lay(tmp_path, boards.TX2)
    break_file(tmp_path, f"{IIO}/{name}")
    with pytest.raises(NoMeter) as caught:
        meters.open_meter(root)
    assert "the power rail VDD_IN is there, but cannot be read: " in caught.value.message
    assert "none is VDD_IN" not in caught.value.message
    assert "no INA3221" not in caught.value.message


def test_a_rail_of_a_sum_that_cannot_be_read_is_named_alone(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.AGX_XAVIER)
    found = discover(root).found
    break_file(tmp_path, f"{found['CV'].folder}/{found['CV'].milliamperes}")
    with pytest.raises(NoMeter, match="the power rail CV is there, but cannot be read: "):
        open_rails(root)


def test_a_monitor_whose_rails_have_no_names_is_there(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.iio(IIO, ("VDD_IN", 19000, 500)))
    break_file(tmp_path, IIO + "/rail_name_0")
    with pytest.raises(NoMeter, match="rail_name_0 is there, but cannot be read"):
        open_rails(root)


def test_the_averaging_is_what_the_driver_says(tmp_path: Path) -> None:
    continuous = boards.iio(IIO, ("VDD_IN", 19000, 500))
    triggered = boards.iio(IIO, ("VDD_IN", 19000, 500), running_mode="0")
    averaged = boards.hwmon("/sys/class/hwmon/hwmon0", ("VDD_IN", 5000, 900), samples=64)
    snapshot = boards.hwmon("/sys/class/hwmon/hwmon0", ("VDD_IN", 5000, 900))
    told = {
        name: open_rails(boards.lay(tmp_path / name, files))
        for name, files in [
            ("continuous", continuous), ("triggered", triggered), ("averaged", averaged),
            ("snapshot", snapshot),
        ]
    }  # fmt: skip
    assert (told["continuous"].tau_s, told["continuous"].tau_known) == (0.42, False)
    assert (told["triggered"].tau_s, told["triggered"].tau_known) == (0, True)
    assert told["averaged"].tau_s == pytest.approx(0.422, abs=1e-3)  # 64 * 6.6 ms
    assert told["averaged"].period_s == pytest.approx(0.0066, abs=1e-4)
    assert told["snapshot"].tau_s == 0
    assert told["snapshot"].sensor == "INA3221, hwmon, 1 averaged, 6.0 ms"


def test_the_systematic_error_of_a_tx2(tmp_path: Path) -> None:
    meter = open_rails(boards.lay(tmp_path, boards.TX2))
    # 80 µV / 5 mOhm = 16 mA at 19.144 V = 0.306 W, of 8 W 3.8 %; gain 0.25 + 0.25 + 1 %.
    assert meter.offset_w == pytest.approx(0.3063, abs=1e-4)
    assert meter.syst_pct == pytest.approx(3.83 + 1.5, abs=0.01)


def test_the_systematic_error_of_a_sum_is_that_of_every_rail(tmp_path: Path) -> None:
    meter = open_rails(boards.lay(tmp_path, boards.AGX_XAVIER))
    # 16 mA of each: three rails at 19.064 V and three at 19.080 V.
    assert meter.offset_w == pytest.approx(0.016 * (3 * 19.064 + 3 * 19.080))


def test_a_shunt_is_told_in_millionths_of_an_ohm(tmp_path: Path) -> None:
    # 5,000 µOhm: 80 µV are 16 mA, at 5.088 V 0.0814 W; twice the shunt is half of that.
    meter = open_rails(boards.lay(tmp_path / "five", boards.ORIN_NANO))
    assert meter.offset_w == pytest.approx(0.0814, abs=1e-4)
    ten = {"/sys/class/hwmon/hwmon1/shunt1_resistor": "10000\n"}
    meter = open_rails(boards.lay(tmp_path / "ten", boards.ORIN_NANO, ten))
    assert meter.offset_w == pytest.approx(0.0407, abs=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("mW", 1), ("µW", 1000)])
def test_the_unit_of_a_power_file_is_found_out(tmp_path: Path, unit: str, factor: int) -> None:
    power = {IIO + "/in_power0_input": f"{4135 * factor}\n"}
    assert open_rails(boards.lay(tmp_path, boards.TX2, power)).read() == pytest.approx(4.135)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"/in_power0_input": "41350\n"}, "VDD_IN: voltage times current must be the power"),
        ({"/in_voltage0_input": "0\n"}, "VDD_IN must be at 500 to 30000 mV, got 0 mV"),
        ({"/in_voltage0_input": "19144000\n"}, "voltage times current must be the power"),
    ],
)
def test_a_rail_that_contradicts_itself_is_bad(
    tmp_path: Path, change: boards.Files, words: str
) -> None:
    root = boards.lay(tmp_path, boards.TX2, {IIO + name: text for name, text in change.items()})
    with pytest.raises(Fault, match=words) as caught:
        open_rails(root)
    assert caught.value.status == "sensor_bad"


def test_rails_that_this_user_may_not_read_say_how_to_mend_it() -> None:
    with boards.open_folder() as folder:
        root = boards.lay(folder, boards.TX2)
        for path in folder.rglob("in_*_input"):
            path.chmod(0)
        with boards.as_nobody(), pytest.raises(NoMeter, match="sudo chmod a.r ") as caught:
            meters.open_meter(root)
        assert caught.value.status == "sensor_missing"
        assert f"{root}{IIO}/in_power0_input" in caught.value.message


def test_part_of_a_board_is_no_measure_of_it(tmp_path: Path) -> None:
    # A Nano with its input rail alone missing, and one with no monitor (the 2 GB one).
    parts = boards.iio(
        "/sys/bus/i2c/devices/6-0040/iio:device0", ("POM_5V_GPU", 5032, 24), ("NC", 0, 0)
    )
    with pytest.raises(NoMeter, match="POM_5V_GPU are there, but none is VDD_IN or POM_5V_IN"):
        open_rails(boards.lay(tmp_path / "part", parts))
    with pytest.raises(NoMeter, match="no INA3221 monitor"):
        open_rails(boards.lay(tmp_path / "none", {"/proc/device-tree/model": "Nano 2GB"}))


def test_a_rail_that_disappears_is_an_error_and_no_zero(tmp_path: Path) -> None:
    meter = open_rails(boards.lay(tmp_path, boards.TX2))
    (tmp_path / (IIO + "/in_power0_input").lstrip("/")).unlink()
    with pytest.raises(OSError, match="in_power0_input"):
        meter.read()


def test_the_ranges_are_those_of_the_board(tmp_path: Path) -> None:
    for name, files, most in [
        ("nano", boards.NANO, 25), ("orin-nano", boards.ORIN_NANO, 60),
        ("tx2", boards.TX2, 40), ("agx-orin", boards.AGX_ORIN, 150),
    ]:  # fmt: skip
        assert open_rails(boards.lay(tmp_path / name, files)).plausible_w[1] == most


def test_what_the_survey_tells_of_a_tx2(tmp_path: Path) -> None:
    found = meters.survey(boards.lay(tmp_path, boards.TX2), examine_s=0)
    assert len(found["rails"]) == 9
    assert found["meter"]["rail"] == "VDD_IN"
    assert found["why"] is None
    assert {entry["scope"] for entry in found["rails"]} == {"rail"}


def test_the_driver_default_is_64_conversions_of_6_6_ms() -> None:
    # Datasheet: voltage and current of three channels, 1.1 ms each; a running average.
    assert pytest.approx(64 * 6 * 0.0011, abs=0.003) == rails.AVERAGING_TAU_S
