"""Energy and throttling of NVIDIA graphics cards, from the driver's library by ctypes.

`nvmlDeviceGetTotalEnergyConsumption` counts millijoules of the whole card since the driver was
loaded (Volta and newer). On a Tegra board the library starts, and then answers that nothing is
supported: that is no meter, and no constant takes its place.
Source: https://docs.nvidia.com/deploy/nvml-api/
"""

import ctypes
import os
from typing import Any, Callable, List, Tuple

from gensynth.devices.agent.power.meter import Meter, NoMeter

LIBRARY = "libnvidia-ml.so.1"
PERIOD_S = 0.1
PLAUSIBLE_W = (2.0, 2500.0)

# nvmlClocksEventReasons: what lowers the clocks though there is work.
_REASONS = (
    (0x4, "power cap"),
    (0x8, "hardware slowdown"),
    (0x20, "software thermal slowdown"),
    (0x40, "hardware thermal slowdown"),
    (0x80, "power brake"),
)
_ERRORS = {1: "not initialised", 3: "not supported", 4: "no permission", 9: "driver not loaded"}

Load = Callable[[str], Any]


def open_counter(load: Load = ctypes.CDLL) -> Meter:
    """Return the energy counter of the card that CUDA takes first.

    Raises:
        NoMeter: if there is no driver, no card, or the card has no such counter.
    """
    library, card = _card(load)

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        _call(library, "nvmlDeviceGetTotalEnergyConsumption", card, ctypes.byref(millijoules))
        return millijoules.value * 1e-3

    read()
    name = ctypes.create_string_buffer(96)
    _call(library, "nvmlDeviceGetName", card, name, ctypes.c_uint(len(name)))
    return Meter(
        read=read,
        rail=name.value.decode("utf-8", "replace"),
        scope="gpu_board",
        sensor="NVML total energy",
        kind="counter",
        period_s=PERIOD_S,
        tau_s=0.0,
        plausible_w=PLAUSIBLE_W,
    )


def throttle(load: Load = ctypes.CDLL) -> List[str]:
    """Return why the card runs below its clocks; nothing where there is no card."""
    try:
        library, card = _card(load)
        reasons = ctypes.c_ulonglong()
        _call(library, "nvmlDeviceGetCurrentClocksThrottleReasons", card, ctypes.byref(reasons))
    except NoMeter:
        return []
    return ["gpu: " + text for bit, text in _REASONS if reasons.value & bit]


def _card(load: Load) -> Tuple[Any, ctypes.c_void_p]:
    try:
        library = load(LIBRARY)
    except OSError as error:
        raise NoMeter("no NVIDIA driver: {}".format(error)) from error
    _call(library, "nvmlInit_v2")
    card = ctypes.c_void_p()
    # NVML counts every card; CUDA only those that the user left visible.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.isdigit():
        _call(
            library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(first)), ctypes.byref(card)
        )
    else:
        _call(library, "nvmlDeviceGetHandleByUUID", first.encode(), ctypes.byref(card))
    return library, card


def _call(library: Any, name: str, *arguments: Any) -> None:
    try:
        code = getattr(library, name)(*arguments)
    except AttributeError as error:
        raise NoMeter("the NVIDIA driver is too old: it has no {}".format(name)) from error
    if code:
        raise NoMeter("NVML: {}: {}".format(name, _ERRORS.get(code, "error {}".format(code))))
