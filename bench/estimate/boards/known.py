"""The kinds of boards that estimates are given for, with the source of every figure.

Units and clocks are NVIDIA's data sheets' and power modes'. What a call, a launch and a kernel's
share of the peak cost on a Jetson TX2 is read off public measurements by TensorRT there:
QuTiBench (Xilinx and Trinity College; _notebooks/data/FAIR_data/experimental_data.csv of
github.com/RCL-lab/QutibenchWeb), compute time of networks of 4 to 57 layers, batch 1 to 128, FP32
and FP16, in three power modes, and power at the socket. No network of HW-NAS-Bench went into these
figures: `experiments/hardware` shows where its rows lie in the estimates. For the other boards
only the data sheets are known; efficiencies and launches are taken over from the TX2 with more
spread, and there is no energy.
"""

import math
from collections.abc import Mapping

from gensynth.bench.estimate.boards.beliefs import Belief
from gensynth.bench.estimate.boards.roofline import LOOPS, Clocks, Roofline
from gensynth.devices.profiles import Profile

_QUTI = "QuTiBench, TX2"
_TX2_TIMING = {
    "call": Belief(0.06, 0.5, f"{_QUTI}: perceptrons of 4 layers, 0.22 ms in MAXP"),
    "launch": Belief(0.030, 0.35, f"{_QUTI}: 11 layers of 16 to 64 channels, 0.38 ms in MAXN"),
    "compute conv": Belief(0.7, 0.3, f"{_QUTI}: 0.53 at batch 1 to 0.87 at batch 128"),
    "compute conv 1x1": Belief(0.65, 0.3, f"{_QUTI}: ResNet-50, 0.64 at batch 1, 0.83 at 128"),
    "compute depthwise": Belief(0.12, 0.6, "assumed: 0.04 to 0.4, bound by memory"),
    "compute grouped": Belief(0.15, 0.7, "assumed: 0.04 to 0.6, a small product for each group"),
    "compute gemm": Belief(0.6, 0.5, f"{_QUTI}: perceptrons, 1 at batch 128"),
    "bandwidth": Belief(0.8, 0.25, f"{_QUTI}: perceptrons of 10 million weights, 0.63 to 1"),
    **LOOPS,
}


def _spread_more(timing: Mapping[str, Belief], more: float, why: str) -> dict[str, Belief]:
    """Return beliefs that are taken over from another board."""
    return {
        name: b if name in LOOPS else Belief(b.median, math.hypot(b.spread, more), why)
        for name, b in timing.items()
    }


_TX2 = Roofline(
    "jetson-tx2",
    modes={
        0: Clocks(1300.5, 2035.2, 1866),
        1: Clocks(854.25, 1190.4, 1331),
        2: Clocks(1122, 1400, 1600),
        3: Clocks(1122, 2035.2, 1600),
        4: Clocks(1122, 2035.2, 1600),
    },
    default_mode=0,
    macs_per_cycle={"fp32": 256, "fp16": 512},
    bytes_per_cycle=32,
    block={"fp16": 2},
    timing=_TX2_TIMING,
    reference=Clocks(1300.5, 2035.2, 1866),
    sources=(
        "NVIDIA, Jetson TX2 data sheet: 256 Pascal cores, 0.67 TFLOP/s FP32 and twice that FP16",
        "the same: LPDDR4 of 128 bits at 1866 MHz, 59.7 GB/s",
        "L4T R32, nvpmodel: GPU, processor and memory clocks of the five power modes",
        "QuTiBench (RCL-lab/QutibenchWeb): call, launch, efficiencies, power",
    ),
    power={
        "static": Belief(
            5.0, 0.2, f"{_QUTI}: 8 W at the socket while it launches in MAXN, 4 to 4.7 W in MAXQ, "
            "less 1.8 W that the carrier draws and what the supply loses",
        ),
        "joule_per_mac fp32": Belief(28e-12, 0.4, f"{_QUTI}: 6 to 11 W more at 190 to 240 GMAC/s"),
        "joule_per_mac fp16": Belief(15e-12, 0.4, f"{_QUTI}: 5 to 9 W more at 330 to 360 GMAC/s"),
        "joule_per_byte": Belief(60e-12, 0.5, "assumed: LPDDR4 and its controller, 22 to 160 pJ"),
    },
    static_w={0: 5.0, 1: 2.3, 2: 3.5, 3: 3.8, 4: 3.8},
)  # fmt: skip

_ELSEWHERE = "taken over from the Jetson TX2, by clocks"
_OTHERS = _spread_more(_TX2_TIMING, 0.35, _ELSEWHERE)


def _jetson(
    profile: str,
    modes: Mapping[int | None, Clocks],
    macs_per_cycle: Mapping[str, int],
    bytes_per_cycle: float,
    *,
    sheet: str,
    block: Mapping[str, int],
) -> Roofline:
    """Return a board of which the data sheet is known and nothing was measured."""
    first = next(iter(modes))
    return Roofline(
        profile, modes, first, macs_per_cycle, bytes_per_cycle, block,
        timing=_OTHERS, reference=_TX2.reference, sources=(f"NVIDIA, data sheet: {sheet}",),
    )  # fmt: skip


_TENSOR_CORES = {"fp16": 8, "int8": 4}
ROOFLINES = {
    roofline.profile: roofline
    for roofline in (
        _TX2,
        _jetson(
            "jetson-nano",
            {0: Clocks(921.6, 1479, 1600), 1: Clocks(640, 918, 1600)},
            {"fp32": 128, "fp16": 256}, 16, block={"fp16": 2},
            sheet="128 Maxwell cores at 921.6 MHz, LPDDR4 of 64 bits at 1600 MHz: 25.6 GB/s",
        ),
        _jetson(
            "jetson-xavier-nx",
            {None: Clocks(1100, 1400, 1866)},
            {"fp32": 384, "fp16": 48 * 64, "int8": 48 * 128}, 32, block=_TENSOR_CORES,
            sheet="384 Volta cores and 48 tensor cores at 1100 MHz, LPDDR4x of 128 bits",
        ),
        _jetson(
            "jetson-agx-xavier",
            {None: Clocks(1377, 2265, 2133)},
            {"fp32": 512, "fp16": 64 * 64, "int8": 64 * 128}, 64, block=_TENSOR_CORES,
            sheet="512 Volta cores and 64 tensor cores at 1377 MHz, LPDDR4x of 256 bits",
        ),
        _jetson(
            "jetson-orin-nano",
            {None: Clocks(625, 1510, 2133)},
            {"fp32": 1024, "fp16": 32 * 256, "int8": 32 * 512}, 32, block=_TENSOR_CORES,
            sheet="8 GB, 15 W: 1024 Ampere cores, 32 tensor cores at 625 MHz, LPDDR5 of 128 bits",
        ),
        _jetson(
            "jetson-orin-nx",
            {None: Clocks(918, 2000, 3200)},
            {"fp32": 1024, "fp16": 32 * 256, "int8": 32 * 512}, 32, block=_TENSOR_CORES,
            sheet="16 GB: 1024 Ampere cores and 32 tensor cores at 918 MHz, LPDDR5 of 128 bits",
        ),
        _jetson(
            "jetson-agx-orin",
            {None: Clocks(1300, 2200, 3200)},
            {"fp32": 2048, "fp16": 64 * 256, "int8": 64 * 512}, 64, block=_TENSOR_CORES,
            sheet="64 GB: 2048 Ampere cores and 64 tensor cores at 1300 MHz, LPDDR5 of 256 bits",
        ),
    )
}  # fmt: skip


def why_none(profile: Profile) -> str:
    """Return why there is no estimate for a profile that has no roofline."""
    if profile.tensorrt is None:
        return "what its ONNX Runtime makes of a network is estimated from measurements alone"
    return "no figures are known of its clocks and units"
