"""Sources of energy figures other than a Jetson's rails, and which of all is taken."""

import ctypes
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gensynth.devices.agent.power import jtop_, meters, nvml, rapl, raspberry
from gensynth.devices.agent.power.meter import NoMeter
from gensynth.devices.agent.wire.status import Fault
from tests.fakes import boards
from tests.places import FAKES

Library = Callable[[str], ctypes.CDLL]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's library, compiled from the functions that its reference lists."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("nvml") / nvml.LIBRARY
    source = FAKES / "fake_nvml.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
    return path


@pytest.fixture
def load(library: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setenv("GENSYNTH_NVML", "card")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda name: ctypes.CDLL(str(library.with_name(name)))


def test_a_graphics_cards_counter_is_read_in_joules(load: Library) -> None:
    meter = nvml.open_counter(load)
    assert (meter.rail, meter.scope, meter.kind) == ("NVIDIA H200", "gpu_board", "counter")
    # The fake rises by 25 J every 100 ms.
    assert meter.read() % 25 == 0
    assert meter.read() > 0


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ("tegra", "nvmlDeviceGetTotalEnergyConsumption: not supported"),
        ("permission", "nvmlDeviceGetTotalEnergyConsumption: no permission"),
        ("none", "nvmlInit_v2: driver not loaded"),
    ],
)
def test_a_library_without_a_counter_is_no_meter(
    load: Library, monkeypatch: pytest.MonkeyPatch, machine: str, words: str
) -> None:
    monkeypatch.setenv("GENSYNTH_NVML", machine)
    with pytest.raises(NoMeter, match=words) as caught:
        nvml.open_counter(load)
    assert caught.value.status == "sensor_missing"


def test_no_driver_is_no_meter() -> None:
    def absent(name: str) -> ctypes.CDLL:
        return ctypes.CDLL(f"/nowhere/{name}")

    with pytest.raises(NoMeter, match="no NVIDIA driver"):
        nvml.open_counter(absent)
    assert nvml.throttle(absent) == []


@pytest.mark.usefixtures("library")  # which skips without a compiler
def test_a_library_that_is_too_old_is_no_meter(tmp_path: Path) -> None:
    source = tmp_path / "old.c"
    source.write_text(
        "int nvmlInit_v2(void) { return 0; }\n"
        "int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = 0; return 0; }\n"
    )
    compiled = tmp_path / "old.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", compiled, source], check=True)
    with pytest.raises(NoMeter, match="too old: it has no nvmlDeviceGetTotalEnergyConsumption"):
        nvml.open_counter(lambda name: ctypes.CDLL(str(compiled)))


@pytest.mark.parametrize(("visible", "there"), [("1", True), ("GPU-6b4f", True), ("7", False)])
def test_the_card_is_the_one_that_cuda_takes(
    load: Library, monkeypatch: pytest.MonkeyPatch, visible: str, there: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if there:
        assert nvml.open_counter(load).rail == "NVIDIA H200"
    else:
        with pytest.raises(NoMeter, match="error 6"):
            nvml.open_counter(load)


def test_what_lowers_a_cards_clocks_is_told(
    load: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reasons = tmp_path / "reasons"
    monkeypatch.setenv("GENSYNTH_NVML_REASONS", str(reasons))
    reasons.write_text("1")  # idle is no throttling
    assert nvml.throttle(load) == []
    reasons.write_text("45")
    assert nvml.throttle(load) == ["gpu: power cap", "gpu: hardware thermal slowdown"]


def test_the_machine_with_a_card_has_a_meter(library: Path) -> None:
    # In a process of its own: the loader's path cannot be changed later.
    code = (
        "from gensynth.devices.agent.power import meters; "
        "print(meters.open_meter('/', 'gpu', examine_s=0.3).describe()['scope'])"
    )
    environment = {"LD_LIBRARY_PATH": str(library.parent), "GENSYNTH_NVML": "card"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    # Either this machine has rails of its own, or the card is found.
    assert done.stdout.strip() in ("gpu_board", "module", "sum_of_rails"), done.stderr


PACKAGE = "/sys/class/powercap/intel-rapl:0/energy_uj"
DRAM = "/sys/class/powercap/intel-rapl:0:2/energy_uj"


def put(root: Path, name: str, value: int) -> None:
    (root / name.lstrip("/")).write_text(f"{value}\n")


def test_rapl_counts_packages_and_memory_through_wraps(tmp_path: Path) -> None:
    meter = rapl.open_rapl(boards.lay(tmp_path, boards.LAPTOP))
    # Cores are part of the package, and psys is the platform beside it.
    assert (meter.rail, meter.scope, meter.kind) == ("package-0+dram", "package", "counter")
    assert meter.read() == 0
    # The package stood one below its highest value: three more bring it to 1.
    put(tmp_path, PACKAGE, 1)
    put(tmp_path, DRAM, 5_000_010)
    assert meter.read() == pytest.approx(13e-6, abs=1e-12)
    put(tmp_path, PACKAGE, 2_000_001)
    assert meter.read() == pytest.approx(2.000013, abs=1e-9)


def test_rapl_that_this_user_may_not_read_says_how_to_mend_it() -> None:
    with boards.open_folder() as folder:
        root = boards.lay(folder, boards.LAPTOP)
        (folder / PACKAGE.lstrip("/")).chmod(0)
        with boards.as_nobody(), pytest.raises(NoMeter, match="sudo chmod a.r ") as caught:
            meters.open_meter(root, "cpu")
    assert caught.value.status == "sensor_missing"
    assert "RAPL is there" in caught.value.message


def masked(root: Path) -> str:
    """/sys as a container shows it: links whose target has nothing mounted over it."""
    folder = root / "sys/class/powercap"
    folder.mkdir(parents=True)
    for zone in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:0"):
        target = Path("../../devices/virtual/powercap/intel-rapl") / zone
        (folder / zone).symlink_to(target)
    return str(root)


@pytest.mark.parametrize("mounted", [False, True])
def test_rapl_that_a_container_masks_is_called_masked(tmp_path: Path, mounted: bool) -> None:
    root = masked(tmp_path)
    if mounted:  # the folder is there, and empty
        (tmp_path / "sys/devices/virtual/powercap").mkdir(parents=True)
    with pytest.raises(meters.NoMeter, match="RAPL is there, but its files are masked") as caught:
        rapl.open_rapl(root)
    assert "--security-opt systempaths=unconfined" in caught.value.message
    with pytest.raises(meters.NoMeter) as told:  # and that alone is told
        meters.open_meter(root, "cpu", examine_s=0.5)
    assert told.value.message == caught.value.message


def test_rapl_that_always_says_zero_is_called_that(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.LAPTOP, {PACKAGE: "0\n"})
    with pytest.raises(meters.NoMeter, match="RAPL is there, but always says 0"):
        rapl.open_rapl(root)  # memory counts, which is not the package's energy
    boards.lay(tmp_path, {PACKAGE: "7\n", DRAM: "0\n"})
    assert rapl.open_rapl(root).rail == "package-0+dram"


def test_a_machine_without_rapl_says_that(tmp_path: Path) -> None:
    with pytest.raises(meters.NoMeter, match="no RAPL below /sys/class/powercap"):
        rapl.open_rapl(str(tmp_path))


def test_rapl_without_its_range_is_no_meter(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.LAPTOP)
    (tmp_path / PACKAGE.replace("energy_uj", "max_energy_range_uj").lstrip("/")).unlink()
    with pytest.raises(NoMeter, match="must say where it wraps"):
        rapl.open_rapl(root)


def test_a_raspberry_pi_5_sums_the_rails_that_have_both(tmp_path: Path) -> None:
    meter = raspberry.open_pmic(boards.lay(tmp_path, boards.PI_5))
    assert meter.scope == "sum_of_rails"
    assert meter.read() == pytest.approx(boards.PI_5_W)  # 3.08 W


def test_an_earlier_raspberry_pi_has_no_energy(tmp_path: Path) -> None:
    with pytest.raises(NoMeter, match="this Raspberry Pi measures no power") as caught:
        meters.open_meter(boards.lay(tmp_path, boards.PI_4))
    assert caught.value.status == "sensor_missing"


def test_a_raspberry_pi_5_that_this_user_may_not_ask_says_how_to_mend_it(tmp_path: Path) -> None:
    refused = {"/usr/bin/vcgencmd": "#!/bin/sh\necho VCHI initialization failed; exit 255\n"}
    with pytest.raises(NoMeter, match="must be in the group video: .*VCHI") as caught:
        meters.open_meter(boards.lay(tmp_path, boards.PI_5, refused))
    assert caught.value.status == "sensor_missing"


def test_a_vcgencmd_that_fails_later_is_an_error_and_no_zero(tmp_path: Path) -> None:
    meter = raspberry.open_pmic(boards.lay(tmp_path, boards.PI_5))
    boards.lay(tmp_path, {"/usr/bin/vcgencmd": "#!/bin/sh\necho busy; exit 1\n"})
    with pytest.raises(OSError, match="vcgencmd pmic_read_adc: busy"):
        meter.read()


def test_a_machine_with_nothing_tells_every_reason(tmp_path: Path) -> None:
    with pytest.raises(NoMeter) as caught:
        meters.open_meter(str(tmp_path))
    for words in ("no INA3221 monitor", "no vcgencmd", "no RAPL"):
        assert words in caught.value.message
    found = meters.survey(str(tmp_path))
    assert (found["rails"], found["meter"]) == ([], None)
    assert "no INA3221 monitor" in found["why"]


def test_a_processors_counter_is_not_taken_for_a_graphics_card(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.LAPTOP)
    assert meters.open_meter(root, "cpu", examine_s=0).scope == "package"
    with pytest.raises(NoMeter):
        meters.open_meter(root, "gpu", examine_s=0)


def test_a_boards_rails_come_before_its_processors_counter(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.LAPTOP, boards.TX2_RAILS)
    assert meters.open_meter(root, examine_s=0).rail == "VDD_IN"


def test_a_sensor_that_fails_is_bad_and_no_other_takes_its_place(tmp_path: Path) -> None:
    root = boards.lay(tmp_path, boards.LAPTOP, boards.TX2_RAILS)
    with pytest.raises(Fault, match="must change with the load, got 4.135 always") as caught:
        meters.open_meter(root, examine_s=0.2)
    assert caught.value.status == "sensor_bad"


class Jtop:
    """The client of jetson-stats 4.3.2 and 7.2.2, as far as it is used.

    `ok` waits for the next reading unless it is told to spin; `start` raises where there is no
    service; the service keeps the interval of its first client.
    """

    power: ClassVar[Any] = {
        "rail": {
            "VDD_SYS_GPU": {"volt": 19144, "curr": 8, "power": 153, "avg": 150, "online": True},
        },
        "tot": {"volt": 19144, "curr": 216, "power": 4135, "avg": 9999, "name": "VDD_IN"},
    }
    interval = 1.0
    why: str | None = None
    clients: ClassVar[list["Jtop"]]

    def __init__(self, interval: float = 1.0) -> None:
        self.running = False
        self.closed = False
        self.waited = 0
        type(self).clients.append(self)

    def start(self) -> None:
        if self.why is not None:
            raise RuntimeError(self.why)
        self.running = True

    def is_alive(self) -> bool:
        return self.running

    def ok(self, spin: bool = False) -> bool:
        self.waited += not spin
        return self.running

    def close(self) -> None:
        self.running, self.closed = False, True


@pytest.fixture
def jtop(monkeypatch: pytest.MonkeyPatch) -> type[Jtop]:
    class Own(Jtop):
        clients: ClassVar[list[Jtop]] = []

    module = types.ModuleType("jtop")
    module.jtop = Own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    return Own


def test_jtops_total_is_taken_where_it_has_a_name(jtop: type[Jtop]) -> None:
    meter = jtop_.open_jtop()
    assert (meter.rail, meter.scope) == ("VDD_IN", "module")
    assert meter.read() == 4.135  # never "avg"
    assert meter.period_s == 1.0  # the service's, not the one that was asked for


def test_a_reading_does_not_wait_for_jtop(jtop: type[Jtop]) -> None:
    meter = jtop_.open_jtop()
    before = jtop.clients[0].waited
    meter.read()
    assert jtop.clients[0].waited == before == 1


def test_a_service_that_gives_no_readings_is_no_meter(
    jtop: type[Jtop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jtop, "ok", lambda self, spin=False: False)  # as after its timeout
    with pytest.raises(NoMeter, match="its service gives no readings"):
        jtop_.open_jtop()
    assert jtop.clients[0].closed


def rails(**milliwatts: int) -> dict[str, dict[str, int]]:
    return {name: {"power": power, "avg": 1} for name, power in milliwatts.items()}


def test_a_client_of_jtop_is_closed_with_its_meter(jtop: type[Jtop]) -> None:
    jtop_.open_jtop().close()
    assert jtop.clients[0].closed


def test_jtops_sum_of_whatever_it_found_is_not_taken(jtop: type[Jtop]) -> None:
    # An AGX Xavier with a USB-C supply, which 4.3.2 adds to the rails.
    found = rails(GPU=305, CPU=0, SOC=1220, CV=0, VDDRQ=152, SYS5V=1526, usb=15000)
    jtop.power = {"rail": found, "tot": {"power": 18203, "avg": 1}}
    meter = jtop_.open_jtop()
    assert (meter.rail, meter.scope) == ("GPU+CPU+SOC+CV+VDDRQ+SYS5V", "sum_of_rails")
    assert meter.read() == pytest.approx(3.203)


@pytest.mark.parametrize(
    ("power", "words"),
    [
        # 3.1.4: a pair of the total and of the rails, without names of what the total is
        (
            ({"cur": 4135, "avg": 4000}, {"VDD_IN": {"cur": 4135, "avg": 4000}}),
            "version 4 or newer",
        ),
        ({"rail": rails(VDD_SYS_GPU=153), "tot": {"power": 153, "avg": 1}}, "no full set"),
        ({}, "'rail'"),
    ],
)
def test_a_jtop_without_all_of_a_modules_power_is_no_meter(
    jtop: type[Jtop], power: object, words: str
) -> None:
    jtop.power = power
    with pytest.raises(NoMeter, match=words):
        jtop_.open_jtop()
    assert jtop.clients[0].closed


@pytest.mark.parametrize(
    "why",
    [
        "The jtop.service is not active. Please run:\nsudo systemctl restart jtop.service",
        "I can't access jtop.service.\nPlease logout or reboot this board.",
        "Mismatch version jtop service: [4.3.1] and client: [4.3.2]. Please run:\n",
    ],
)
def test_jtops_own_words_say_why_it_is_no_meter(jtop: type[Jtop], why: str) -> None:
    jtop.why = why
    with pytest.raises(NoMeter) as caught:
        jtop_.open_jtop()
    assert why in caught.value.message


def test_a_service_that_ends_is_an_error_and_no_zero(jtop: type[Jtop]) -> None:
    meter = jtop_.open_jtop()
    jtop.clients[0].running = False
    with pytest.raises(OSError, match="service ended"):
        meter.read()


def test_without_jetson_stats_there_is_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)  # as if it were not installed
    with pytest.raises(NoMeter, match="jetson-stats is not installed"):
        jtop_.open_jtop()
