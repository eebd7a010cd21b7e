"""The files of real boards, as their kernels and packages write them, to be laid below a root.

Sources: NVIDIA's public device trees and drivers (rails, zones), jetson-stats (names of models),
the documentation of the Raspberry Pi (vcgencmd) and of Linux (powercap, thermal, cpufreq).
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Files = Mapping[str, str]


def lay(root: Path, *boards: Files) -> str:
    """Write the files below a root, which is returned as the agent takes it.

    What begins with "#!" becomes a program.
    """
    for files in boards:
        for name, content in files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            if content.startswith("#!"):
                path.chmod(0o755)
    return str(root)


def iio(folder: str, *rails: tuple[str, int, int], running_mode: str = "1") -> dict[str, str]:
    """A monitor of L4T R32 with rails of (name, mV, mA); its driver reports mV * mA / 1000 mW."""
    files = {f"{folder}/name": "ina3221x\n", f"{folder}/running_mode": f"{running_mode}\n"}
    for channel, (name, millivolts, milliamperes) in enumerate(rails):
        files |= {
            f"{folder}/rail_name_{channel}": f"{name}\n",
            f"{folder}/in_voltage{channel}_input": f"{millivolts}\n",
            f"{folder}/in_current{channel}_input": f"{milliamperes}\n",
            f"{folder}/in_power{channel}_input": f"{millivolts * milliamperes // 1000}\n",
            f"{folder}/crit_current_limit_{channel}": "32760 ma\n",
            f"{folder}/warn_current_limit_{channel}": "32760 ma\n",
        }
    return files


def hwmon(folder: str, *rails: tuple[str, int, int], samples: int = 1) -> dict[str, str]:
    """A monitor of JetPack 5 and later with rails of (name, mV, mA); it reports no power."""
    files = {
        f"{folder}/name": "ina3221\n",
        f"{folder}/samples": f"{samples}\n",
        f"{folder}/update_interval": f"{samples * 66 // 10}\n",  # whole milliseconds
        f"{folder}/in7_label": "sum of shunt voltages\n",
        f"{folder}/in7_input": "37\n",
    }
    for channel, (name, millivolts, milliamperes) in enumerate(rails, 1):
        files |= {
            f"{folder}/in{channel}_label": f"{name}\n",
            f"{folder}/in{channel}_input": f"{millivolts}\n",
            f"{folder}/curr{channel}_input": f"{milliamperes}\n",
            f"{folder}/curr{channel}_crit_alarm": "0\n",
            f"{folder}/curr{channel}_max_alarm": "0\n",
            f"{folder}/shunt{channel}_resistor": "5000\n",
        }
    return files


def zone(number: int, name: str, celsius: float, *trips: tuple[str, float]) -> dict[str, str]:
    """A thermal zone with trip points of (type, degrees)."""
    folder = f"/sys/class/thermal/thermal_zone{number}"
    files = {f"{folder}/type": f"{name}\n", f"{folder}/temp": f"{celsius * 1000:.0f}\n"}
    for k, (kind, limit) in enumerate(trips):
        files |= {
            f"{folder}/trip_point_{k}_type": f"{kind}\n",
            f"{folder}/trip_point_{k}_temp": f"{limit * 1000:.0f}\n",
        }
    return files


def cooling(number: int, name: str, level: int) -> dict[str, str]:
    """A cooling device at a level."""
    folder = f"/sys/class/thermal/cooling_device{number}"
    return {f"{folder}/type": f"{name}\n", f"{folder}/cur_state": f"{level}\n"}


def cpu(number: int, khz: tuple[int, int, int], governor: str = "schedutil") -> dict[str, str]:
    """A core with its least, most and present frequency."""
    folder = f"/sys/devices/system/cpu/cpu{number}"
    names = ("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq")
    files = {f"{folder}/cpufreq/{name}": f"{f}\n" for name, f in zip(names, khz, strict=True)}
    online = {} if number == 0 else {f"{folder}/online": "1\n"}  # the first cannot be put off
    return {**files, **online, f"{folder}/cpufreq/scaling_governor": f"{governor}\n"}


def devfreq(folder: str, hz: tuple[int, int, int]) -> dict[str, str]:
    """A clock of devfreq with its least, most and present frequency."""
    names = ("min_freq", "max_freq", "cur_freq")
    return {f"{folder}/{name}": f"{f}\n" for name, f in zip(names, hz, strict=True)}


_BUS = "/sys/bus/i2c/devices"
_LINUX = {
    "/proc/sys/kernel/random/boot_id": "6e2d1cb5-0f5f-4f0e-9a3b-8b8a9cbb8ed2\n",
    "/proc/loadavg": "0.12 0.34 0.56 1/321 4321\n",
    "/proc/uptime": "1234.56 2345.67\n",
}

TX2_RAILS = {
    **iio(
        f"{_BUS}/0-0040/iio:device0",
        ("VDD_SYS_GPU", 19144, 8),
        ("VDD_SYS_SOC", 19144, 32),
        ("VDD_4V0_WIFI", 4768, 0),
    ),
    **iio(
        f"{_BUS}/0-0041/iio:device1",
        ("VDD_IN", 19144, 216),
        ("VDD_SYS_CPU", 19144, 24),
        ("VDD_SYS_DDR", 4768, 104),
    ),
    **iio(
        f"{_BUS}/0-0042/iio:device2",
        ("VDD_MUX", 19144, 256),
        ("VDD_5V0_IO_SYS", 4984, 100),
        ("VDD_3V3_SYS", 3320, 50),
    ),
}

_NVPMODEL = """#!/bin/sh
# Answers as L4T's nvpmodel does, and asks nothing.
[ "$1" = -q ] && printf 'NV Fan Mode:quiet\\nNV Power Mode: {name}\\n{number}\\n'
"""

TX2 = {
    **_LINUX,
    **TX2_RAILS,
    "/proc/device-tree/model": "quill\0",
    "/proc/device-tree/serial-number": "0324717900123\0",
    "/proc/sys/kernel/osrelease": "4.9.337-tegra\n",
    "/etc/nv_tegra_release": (
        "# R32 (release), REVISION: 7.4, GCID: 33514132, BOARD: t186ref, EABI: aarch64, "
        "DATE: Fri Jun  9 04:25:08 UTC 2023\n"
    ),
    "/etc/nvpmodel.conf": (
        "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n"
        "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_1 1\n"
        "< POWER_MODEL ID=1 NAME=MAXQ >\n< POWER_MODEL ID=2 NAME=MAXP_CORE_ALL >\n"
        "< POWER_MODEL ID=3 NAME=MAXP_CORE_ARM >\n< POWER_MODEL ID=4 NAME=MAXP_CORE_DENVER >\n"
        "# mandatory section to configure the default mode\n< PM_CONFIG DEFAULT=3 >\n"
    ),
    "/usr/sbin/nvpmodel": _NVPMODEL.format(name="MAXP_CORE_ARM", number=3),
    "/usr/local/cuda/version.txt": "CUDA Version 10.2.300\n",
    "/usr/include/aarch64-linux-gnu/NvInferVersion.h": (
        "#define NV_TENSORRT_MAJOR 8 //!< TensorRT major version.\n"
        "#define NV_TENSORRT_MINOR 2 //!< TensorRT minor version.\n"
        "#define NV_TENSORRT_PATCH 1 //!< TensorRT patch version.\n"
        "#define NV_TENSORRT_BUILD 9 //!< TensorRT build number.\n"
    ),
    "/var/lib/dpkg/status": (
        "Package: libnvinfer8\nStatus: install ok installed\nVersion: 8.2.1-1+cuda10.2\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nPriority: standard\n"
        "Version: 4.6.4-b39\nDescription: NVIDIA Jetpack Meta Package\n\n"
    ),
    **cpu(0, (345600, 2035200, 806400)),
    **cpu(1, (345600, 2035200, 345600)),
    **cpu(2, (345600, 2035200, 345600)),
    **cpu(3, (345600, 2035200, 1113600)),
    **cpu(4, (345600, 2035200, 806400)),
    **cpu(5, (345600, 2035200, 806400)),
    "/sys/devices/system/cpu/cpu1/online": "0\n",  # the two Denver cores, off in this mode
    "/sys/devices/system/cpu/cpu2/online": "0\n",
    **devfreq("/sys/devices/gpu.0/devfreq/17000000.gp10b", (114750000, 1122000000, 114750000)),
    "/sys/kernel/debug/bpmp/debug/clk/emc/min_rate": "40800000\n",
    "/sys/kernel/debug/bpmp/debug/clk/emc/max_rate": "1866000000\n",
    "/sys/kernel/debug/bpmp/debug/clk/emc/rate": "665600000\n",
    **zone(0, "BCPU-therm", 38.5, ("critical", 101.0), ("passive", 95.5)),
    **zone(1, "MCPU-therm", 38.5, ("critical", 101.0), ("passive", 95.5)),
    **zone(2, "GPU-therm", 36.0, ("critical", 101.0), ("passive", 95.5)),
    **zone(5, "PMIC-Die", 100.0, ("critical", 120.0)),  # it always says 100
    **zone(7, "thermal-fan-est", 37.2, ("active", 0.0), ("active", 51.0), ("active", 61.0)),
    **cooling(0, "pwm-fan", 2),
    **cooling(1, "gpu-balanced", 0),
    "/sys/devices/pwm-fan/target_pwm": "80\n",
}

NANO = {
    **_LINUX,
    **iio(
        f"{_BUS}/6-0040/iio:device0",
        ("POM_5V_IN", 5032, 352),
        ("POM_5V_GPU", 5032, 24),
        ("POM_5V_CPU", 5024, 88),
    ),
    "/proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "/etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref\n",
    **cpu(0, (102000, 1479000, 1479000)),
    **devfreq("/sys/devices/gpu.0/devfreq/57000000.gpu", (76800000, 921600000, 76800000)),
    **zone(0, "AO-therm", 38.0, ("critical", 103.0)),
    **zone(4, "PMIC-Die", 50.0, ("critical", 120.0)),
    **cooling(0, "gpu_scaling", 3),  # a range of temperatures, not a limit
    **cooling(1, "cpu-balanced", 0),
}

XAVIER_NX = {
    **_LINUX,
    **iio(
        f"{_BUS}/7-0040/iio:device0",
        ("VDD_IN", 5080, 496),
        ("VDD_CPU_GPU_CV", 5080, 72),
        ("VDD_SOC", 5080, 160),
    ),
    "/proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "/etc/nv_tegra_release": "# R32 (release), REVISION: 7.3, GCID: 31982016, BOARD: t186ref\n",
    **devfreq("/sys/devices/gpu.0/devfreq/17000000.gv11b", (114750000, 1109250000, 114750000)),
}

AGX_XAVIER = {
    **_LINUX,
    **iio(
        f"{_BUS}/1-0040/iio:device0",
        ("GPU", 19064, 0),
        ("CPU", 19064, 16),
        ("SOC", 19064, 64),
    ),
    **iio(
        f"{_BUS}/1-0041/iio:device1",
        ("CV", 19080, 0),
        ("VDDRQ", 19080, 8),
        ("SYS5V", 19080, 80),
    ),
    "/proc/device-tree/model": "Jetson-AGX\0",
    "/etc/nv_tegra_release": "# R32 (release), REVISION: 6.1, GCID: 27863751, BOARD: t186ref\n",
}

ORIN_NANO = {
    **_LINUX,
    **hwmon(
        "/sys/class/hwmon/hwmon1",
        ("VDD_IN", 5088, 912),
        ("VDD_CPU_GPU_CV", 5080, 120),
        ("VDD_SOC", 5080, 264),
    ),
    "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "/usr/local/cuda/version.json": (
        '{\n  "cuda" : {\n    "name" : "CUDA SDK",\n    "version" : "12.6.11"\n  },\n'
        '  "cuda_cudart" : {\n    "version" : "12.6.68"\n  }\n}\n'
    ),
    "/usr/include/aarch64-linux-gnu/NvInferVersion.h": (
        "#define TRT_MAJOR_ENTERPRISE 10\n#define TRT_MINOR_ENTERPRISE 3\n"
        "#define TRT_PATCH_ENTERPRISE 0\n#define TRT_BUILD_ENTERPRISE 30\n"
        "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE //!< TensorRT major version.\n"
    ),
    "/sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\0",
    **devfreq("/sys/class/devfreq/17000000.gpu", (306000000, 624750000, 306000000)),
    **zone(0, "cpu-thermal", 47.5, ("critical", 104.5), ("passive", 99.0)),
    **cooling(0, "cpu-throttle-alert", 0),
    "/sys/class/hwmon/hwmon0/pwm1": "66\n",
}

AGX_ORIN = {
    **_LINUX,
    **hwmon(
        "/sys/class/hwmon/hwmon3",
        ("VDD_GPU_SOC", 19096, 160),
        ("VDD_CPU_CV", 19096, 40),
        ("VIN_SYS_5V0", 5064, 616),
    ),
    **hwmon("/sys/class/hwmon/hwmon4", ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5064, 120), ("NC", 0, 0)),
    "/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "/etc/nv_tegra_release": "# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref\n",
}

_VCGENCMD = """#!/bin/sh
case "$1" in
get_throttled) echo "throttled={throttled}" ;;
pmic_read_adc)
{adc}
;;
esac
"""

_ADC = """cat <<'END'
   3V7_WL_SW_A current(0)=0.10000000A
     3V3_SYS_A current(1)=0.20000000A
    VDD_CORE_A current(7)=2.50000000A
      HDMI_A current(22)=0.01000000A
   3V7_WL_SW_V volt(8)=3.70000000V
     3V3_SYS_V volt(9)=3.30000000V
    VDD_CORE_V volt(15)=0.80000000V
      HDMI_V volt(23)=5.00000000V
     EXT5V_V volt(24)=5.14980000V
      BATT_V volt(25)=0.01465200V
END"""

PI_5 = {
    **_LINUX,
    "/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "/proc/device-tree/serial-number": "c0ffee0123456789\0",
    "/usr/bin/vcgencmd": _VCGENCMD.format(throttled="0x50000", adc=_ADC),
    **cpu(0, (1500000, 2400000, 1500000), "ondemand"),
    **zone(0, "cpu-thermal", 48.3, ("critical", 110.0), ("active", 50.0), ("active", 60.0)),
    **cooling(0, "pwm-fan", 1),
}
PI_5_W = 0.1 * 3.7 + 0.2 * 3.3 + 2.5 * 0.8 + 0.01 * 5.0  # 3.08 W; the others have no current

PI_4 = {
    **PI_5,
    "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "/usr/bin/vcgencmd": _VCGENCMD.format(
        throttled="0xe0008", adc="echo 'error=1 error_msg=\"Command not registered\"'; exit 255"
    ),
}

LAPTOP = {
    **_LINUX,
    "/sys/devices/virtual/dmi/id/product_name": "20XW00ABCD\n",
    "/etc/machine-id": "b08dfa6083e7567a1921a715000001fb\n",
    "/sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "/sys/class/powercap/intel-rapl:0/energy_uj": "262143328849\n",
    "/sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "/sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "/sys/class/powercap/intel-rapl:0:0/energy_uj": "1\n",
    "/sys/class/powercap/intel-rapl:0:0/max_energy_range_uj": "262143328850\n",
    "/sys/class/powercap/intel-rapl:0:2/name": "dram\n",
    "/sys/class/powercap/intel-rapl:0:2/energy_uj": "5000000\n",
    "/sys/class/powercap/intel-rapl:0:2/max_energy_range_uj": "65712999613\n",
    "/sys/class/powercap/intel-rapl:1/name": "psys\n",
    "/sys/class/powercap/intel-rapl:1/energy_uj": "7\n",
    "/sys/class/powercap/intel-rapl:1/max_energy_range_uj": "262143328850\n",
    **cooling(0, "Processor", 0),
    **cooling(1, "LCD", 45),  # its brightness
    **cooling(2, "TCC Offset", 3),
    **cooling(3, "intel_powerclamp", -1),
    **zone(0, "x86_pkg_temp", 61.0, ("passive", -274.0)),  # a trip point that is not set
    **zone(1, "TSR0", 51.0, ("passive", 53.0), ("critical", 90.0)),  # its skin
}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up a root's right to read everything for a while; other users have it not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
