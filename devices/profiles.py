"""Boards that are known before they answer: what they can be asked for, and what is refused.

A profile is read, not measured: it spares a person the way to a board for something that the
board cannot do. What a board says of itself later goes before its profile. `generic` refuses
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gensynth.errors import ConfigError
from gensynth.suggestion import did_you_mean

TENSORRT = ("tensorrt-pycuda", "tensorrt-ctypes", "trtexec")
EVERY_RUNTIME = (*TENSORRT, "onnxruntime")

_NO_INT8_UNIT = "its GPU ({}) has no INT8 dot product, so an INT8 engine is slower than an FP16 one"
_FP16_ON_A_PROCESSOR = (
    "ONNX Runtime computes FP16 in FP32 on a processor, with casts around every operator"
)
_ALL = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Profile:
    """What is known of a kind of board.

    Attributes:
        name: as `--profile` takes it.
        title: for people.
        models: parts of /proc/device-tree/model by which it is recognised.
        runtimes: tried in this order.
        precisions: that it can be asked for.
        lacks: why not the others, by precision.
        tensorrt: the versions its systems come with, (oldest, newest); None without TensorRT.
        opset: the highest that its oldest runtime reads; None where there is no limit.
        power_modes: name by nvpmodel's number; empty where there are none to set, None where
            they differ between the board's variants.
        rail: the supply that its energy is measured at; None where there is no sensor.
        error: where that sensor's systematic error comes from; None without one.
        no_energy: why there is no energy; None where there is.
    """

    name: str
    title: str
    models: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = EVERY_RUNTIME
    precisions: tuple[str, ...] = _ALL
    lacks: Mapping[str, str] = field(default_factory=dict)
    tensorrt: tuple[str, str] | None = None
    opset: int | None = None
    power_modes: Mapping[int, str] | None = None
    rail: str | None = None
    error: str | None = None
    no_energy: str | None = None

    def check_precision(self, precision: str) -> None:
        """Refuse a precision that the board has no use for.

        Raises:
            ConfigError: with the reason.
        """
        if precision not in _ALL:
            raise ConfigError(f"unknown precision '{precision}'; {did_you_mean(precision, _ALL)}")
        if precision not in self.precisions:
            raise ConfigError(
                f"no {precision.upper()} on {self.title}: {self.lacks[precision]}; "
                f"use {' or '.join(self.precisions)}"
            )

    def check_runtimes(self, runtimes: tuple[str, ...]) -> None:
        """Refuse runtimes of which the board has none.

        Raises:
            ConfigError: with those that it has.
        """
        if not set(runtimes) & set(self.runtimes):
            raise ConfigError(
                f"{self.title} is measured with {', '.join(self.runtimes)}, got "
                f"{' or '.join(runtimes)}"
            )

    def check_power_mode(self, mode: int) -> None:
        """Refuse a power mode that the board does not have.

        Raises:
            ConfigError: with those that it has.
        """
        if self.power_modes is None:
            return
        if not self.power_modes:
            raise ConfigError(f"{self.title} has no power modes to set, got {mode}")
        if mode not in self.power_modes:
            known = ", ".join(f"{number} {name}" for number, name in self.power_modes.items())
            raise ConfigError(f"{self.title} has the power modes {known}; got {mode}")

    def check_energy(self) -> None:
        """Refuse energy where nothing measures it.

        Raises:
            ConfigError: with the reason.
        """
        if self.no_energy is not None:
            raise ConfigError(f"no energy on {self.title}: {self.no_energy}; leave out --energy")


_JETPACK_4 = ("8.0.1", "8.2.1")
_INA3221_19V = "INA3221 offset 80 uV on a 5 mOhm shunt at 19 V: 3.8 % at 8 W at most"
_INA3221_5V = "INA3221 offset 80 uV on a 5 mOhm shunt at 5 V: 1.3 % at 6 W at most"
_INA3221_SUM = "INA3221 offset of every rail that is added, 80 uV each at most"

PROFILES = (
    Profile(
        "jetson-tx2-nx", "Jetson TX2 NX", models=("TX2 NX",),
        precisions=("fp32", "fp16"), lacks={"int8": _NO_INT8_UNIT.format("sm_62")},
        tensorrt=_JETPACK_4, opset=13, rail="VDD_IN", error=_INA3221_5V,
    ),
    Profile(
        "jetson-tx2", "Jetson TX2",
        models=("quill", "Jetson TX2", "jetson-tx2", "jetson_tx2"),
        precisions=("fp32", "fp16"), lacks={"int8": _NO_INT8_UNIT.format("sm_62")},
        tensorrt=_JETPACK_4, opset=13,
        power_modes={
            0: "MAXN", 1: "MAXQ", 2: "MAXP_CORE_ALL", 3: "MAXP_CORE_ARM", 4: "MAXP_CORE_DENVER",
        },
        rail="VDD_IN", error=_INA3221_19V,
    ),
    Profile(
        "jetson-nano", "Jetson Nano", models=("Jetson Nano", "jetson-nano"),
        precisions=("fp32", "fp16"), lacks={"int8": _NO_INT8_UNIT.format("sm_53")},
        tensorrt=_JETPACK_4, opset=13, power_modes={0: "MAXN", 1: "5W"},
        rail="POM_5V_IN", error=_INA3221_5V,
    ),
    Profile(
        "jetson-xavier-nx", "Jetson Xavier NX", models=("Xavier NX",),
        tensorrt=("8.0.1", "8.5.2"), opset=13, rail="VDD_IN", error=_INA3221_5V,
    ),
    Profile(
        "jetson-agx-xavier", "Jetson AGX Xavier", models=("AGX Xavier", "Jetson-AGX"),
        tensorrt=("8.0.1", "8.5.2"), opset=13, rail="sum_of_rails", error=_INA3221_SUM,
    ),
    Profile(
        "jetson-orin-nano", "Jetson Orin Nano", models=("Orin Nano",),
        tensorrt=("8.5.2", "10.3.0"), opset=17, rail="VDD_IN", error=_INA3221_5V,
    ),
    Profile(
        "jetson-orin-nx", "Jetson Orin NX", models=("Orin NX",),
        tensorrt=("8.5.2", "10.3.0"), opset=17, rail="VDD_IN", error=_INA3221_5V,
    ),
    Profile(
        "jetson-agx-orin", "Jetson AGX Orin", models=("AGX Orin",),
        tensorrt=("8.5.2", "10.3.0"), opset=17, rail="sum_of_rails", error=_INA3221_SUM,
    ),
    Profile(
        "raspberry-pi-4", "Raspberry Pi 4", models=("Raspberry Pi 4",),
        runtimes=("onnxruntime",), precisions=("fp32", "int8"),
        lacks={"fp16": _FP16_ON_A_PROCESSOR}, power_modes={},
        no_energy="the board has no power sensor",
    ),
    Profile(
        "raspberry-pi-5", "Raspberry Pi 5", models=("Raspberry Pi 5",),
        runtimes=("onnxruntime",), precisions=("fp32", "int8"),
        lacks={"fp16": _FP16_ON_A_PROCESSOR}, power_modes={}, rail="pmic",
        error="the regulators' own readings; what is drawn at 5 V for USB is left out",
    ),
    Profile(
        "nvidia-gpu", "an NVIDIA GPU", tensorrt=("10.0.0", "11"), power_modes={},
        rail="gpu_board", error="the board's energy counter, read over windows of 10 s and more",
    ),
    Profile(
        "x86", "an x86-64 processor", runtimes=("onnxruntime",), precisions=("fp32", "int8"),
        lacks={"fp16": _FP16_ON_A_PROCESSOR}, power_modes={}, rail="package",
        error="RAPL counts the processor's package, not the machine",
    ),
    Profile(
        "local", "this machine's processor", runtimes=("onnxruntime",),
        precisions=("fp32", "int8"), lacks={"fp16": _FP16_ON_A_PROCESSOR}, power_modes={},
        rail="package", error="RAPL counts the processor's package, not the machine",
    ),
    Profile("generic", "this device"),
)  # fmt: skip
"""The more particular name first, since a model is matched in this order."""

_BY_NAME = {profile.name: profile for profile in PROFILES}


def is_profile(name: str) -> bool:
    """Return whether there is a profile of this name."""
    return name in _BY_NAME


def find_profile(name: str) -> Profile:
    """Return a profile by its name.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in _BY_NAME:
        raise ConfigError(
            f"unknown profile '{name}'; {did_you_mean(name, _BY_NAME)}; there are "
            f"{', '.join(_BY_NAME)}"
        )
    return _BY_NAME[name]


def recognise(model: str | None) -> Profile | None:
    """Return the profile of a board by what it calls itself; None if it is not known."""
    if model is None:
        return None
    for profile in PROFILES:
        if any(part.lower() in model.lower() for part in profile.models):
            return profile
    return None
