"""Estimates of boards, against closed forms of the roofline and public measurements."""

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import parser

from gensynth.bench.estimate.boards.board import Board, Known, Setting, estimate
from gensynth.bench.estimate.boards.known import ROOFLINES
from gensynth.bench.estimate.boards.roofline import GRAPH, TORCH2TRT, Timer
from gensynth.bench.estimate.kernels import Kernel
from gensynth.devices.profiles import PROFILES, find_profile
from gensynth.errors import ConfigError

TX2 = find_profile("jetson-tx2")
ROOFLINE = ROOFLINES["jetson-tx2"]
TINY = Kernel("pool", "pool", 0, 64, 64)


def conv(macs: int, bytes_moved: int = 0, **sizes: float) -> Kernel:
    return Kernel("conv", "conv", macs, bytes_moved, 0, sizes)


def medians(**changed: float) -> Mapping[str, np.ndarray]:
    told = {name: belief.median for name, belief in ROOFLINE.timing.items()}
    return {name: np.array([value]) for name, value in {**told, **changed}.items()}


def ms(kernels: list[Kernel], setting: Setting, **changed: float) -> float:
    clocks = Board(TX2).clocks(setting)
    timer = Timer(kernels, ROOFLINE, setting.precision, clocks, setting.loop)
    return float(timer.ms(medians(**changed))[0])


def test_the_peak_and_the_bandwidth_of_a_tx2_follow_from_its_clocks() -> None:
    # Its data sheet: 666 GFLOP/s in FP32, twice that in FP16, 59.7 GB/s; a MAC is two.
    clocks = ROOFLINE.modes[0]
    assert 2 * ROOFLINE.peak("fp32", clocks) == pytest.approx(666e9, rel=0.01)
    assert 2 * ROOFLINE.peak("fp16", clocks) == pytest.approx(1332e9, rel=0.01)
    assert ROOFLINE.bandwidth(clocks) == pytest.approx(59.7e9, rel=0.01)


@pytest.mark.parametrize(
    ("profile", "precision", "tera"),
    # NVIDIA's data sheets, without sparsity: 20 TOPS (Orin Nano), 22 TOPS (AGX Xavier's GPU),
    # 85 TOPS (AGX Orin's GPU), 0.236 TFLOP/s (Nano).
    [
        ("jetson-orin-nano", "int8", 20.5),
        ("jetson-agx-xavier", "int8", 22.6),
        ("jetson-agx-orin", "int8", 85.2),
        ("jetson-nano", "fp32", 0.236),
    ],
)
def test_the_peaks_of_other_boards_are_their_data_sheets(
    profile: str, precision: str, tera: float
) -> None:
    found = ROOFLINES[profile]
    clocks = found.modes[found.default_mode]
    assert 2 * found.peak(precision, clocks) == pytest.approx(tera * 1e12, rel=0.01)


def test_a_kernel_takes_what_it_computes_or_what_it_moves_and_a_launch() -> None:
    # 333 GMAC/s x 0.5, 59.7 GB/s x 0.8: 1 GMAC 6.007 ms, 48 MB 1.005 ms.
    shares = {"compute conv": 0.5, "bandwidth": 0.8, "call": 0.1, "launch": 0.02}
    computing = ms([conv(10**9, 10**6)], Setting(), **shares)
    moving = ms([conv(10**6, 48 * 10**6)], Setting(), **shares)
    assert computing == pytest.approx(0.12 + 6.007, abs=0.001)
    assert moving == pytest.approx(0.12 + 1.005, abs=0.001)


def test_a_small_network_costs_its_launches() -> None:
    one, hundred = (ms([TINY] * n, Setting(), launch=0.03) for n in (1, 100))
    assert hundred - one == pytest.approx(99 * 0.03, rel=0.001)


def test_lower_clocks_slow_work_and_launches() -> None:
    # MAXQ: 854.25 of 1300.5 MHz, 1190.4 of 2035.2 MHz.
    work, launch = [conv(10**12)], [TINY] * 1000
    work_ratio = ms(work, Setting(power_mode=1)) / ms(work, Setting(power_mode=0))
    launch_ratio = ms(launch, Setting(power_mode=1)) / ms(launch, Setting(power_mode=0))
    assert work_ratio == pytest.approx(1300.5 / 854.25, rel=0.001)
    expected = (1300.5 / 854.25 * 2035.2 / 1190.4) ** 0.5
    assert launch_ratio == pytest.approx(expected, rel=0.001)


def test_a_loop_has_its_own_price_of_calls_and_launches() -> None:
    agent, python, graph = (ms([TINY] * 50, Setting(loop=loop)) for loop in (
        Setting().loop, TORCH2TRT, GRAPH
    ))  # fmt: skip
    assert graph < agent < python


def test_widths_that_fill_no_block_are_padded_in_fp16() -> None:
    # Pairs of channels: 3 are computed as 4, in and out.
    even = conv(10**10, channels_read=4, channels_written=4)
    odd = conv(10**10 * 9 // 16, channels_read=3, channels_written=3)
    half, full = Setting("fp16"), Setting("fp32")
    assert ms([odd], half) == pytest.approx(ms([even], half), rel=0.001)
    assert ms([odd], full) < 0.6 * ms([even], full)


def test_shared_errors_do_not_average_out_and_own_errors_do() -> None:
    board = Board(TX2)
    one, many = (board.estimate([conv(10**10)] * n, 1, Setting())["latency_ms"] for n in (1, 100))
    width = [np.log(f.interval80[1] / f.interval80[0]) / 2.563 for f in (one, many)]
    # By hand: sd of ln is the share's 0.3 and a network's 0.15, and a kernel's own 0.3 / sqrt(n).
    assert width[0] == pytest.approx((0.3**2 + 0.15**2 + 0.3**2) ** 0.5, rel=0.06)
    assert width[1] == pytest.approx((0.3**2 + 0.15**2 + 0.03**2) ** 0.5, rel=0.06)


def test_energy_is_static_power_and_what_work_adds() -> None:
    found = Board(TX2).estimate([TINY] * 100, 1, Setting())
    # It only launches: its power is the static power, 5 W, and the energy that times the time.
    assert found["power_w"].value == pytest.approx(5.0, rel=0.03)
    product = found["power_w"].value * found["latency_ms"].value / 1e3
    assert found["joule_per_img"].value == pytest.approx(product, rel=0.05)
    assert found["img_per_joule"].value == pytest.approx(1 / found["joule_per_img"].value, rel=1e-3)


def test_a_busy_board_draws_more() -> None:
    # 1e12 MACs at 28 pJ are 28 J beside 5 W for 4.3 s.
    found = Board(TX2).estimate([conv(10**12)] * 10, 1, Setting())
    assert found["power_w"].value == pytest.approx(5 + 28 / 4.29, rel=0.1)


def test_measurements_of_other_networks_narrow_the_interval_and_are_counted() -> None:
    setting = Setting()
    known = [Known((TINY,) * n, 1, setting, 0.1 + 0.05 * n, 5e-3) for n in (20, 60)]
    before, after = (
        Board(TX2, measured).estimate([TINY] * 40, 1, setting)["latency_ms"]
        for measured in ([], known)
    )
    assert before.provenance == "estimate"
    assert (after.provenance, after.measurements) == ("calibrated estimate", 2)
    assert after.value == pytest.approx(2.1, rel=0.1)
    spread = [f.interval95[1] / f.interval95[0] for f in (before, after)]
    assert spread[1] < 0.6 * spread[0]


def test_a_batch_shares_the_launches() -> None:
    one = Board(TX2).estimate([TINY] * 20, 1, Setting())
    many = Board(TX2).estimate([TINY] * 20, 32, Setting())
    assert many["throughput"].value == pytest.approx(32 * one["throughput"].value)
    assert many["img_per_joule"].value == pytest.approx(32 * one["img_per_joule"].value, rel=0.01)


def test_an_unknown_operator_is_named_and_promises_nothing() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]>'
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y) { a = Relu (x)  y = Mish (a) }"
    )
    found = estimate(model, TX2)["latency_ms"]
    assert found.unknown == ("Mish",)
    assert found.probability_below(1000) == 0


def test_a_board_without_figures_is_refused() -> None:
    with pytest.raises(ConfigError, match="no estimate for Jetson TX2 NX: no figures are known"):
        Board(find_profile("jetson-tx2-nx"))


def test_a_power_mode_without_clocks_is_refused() -> None:
    with pytest.raises(ConfigError, match="the clocks of power mode 3 on Jetson Orin Nano"):
        Board(find_profile("jetson-orin-nano")).clocks(Setting(power_mode=3))


def test_a_precision_that_the_board_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="no INT8 on Jetson TX2"):
        Board(TX2).estimate([TINY], 1, Setting("int8"))


def test_every_roofline_is_of_a_profile_and_has_its_precisions() -> None:
    profiles = {profile.name: profile for profile in PROFILES}
    for name, roofline in ROOFLINES.items():
        assert set(roofline.macs_per_cycle) == set(profiles[name].precisions)


def test_a_public_measurement_that_nothing_was_fitted_to_lies_in_the_interval() -> None:
    # HW-NAS-Bench, NAS-Bench-201's network 0 on a TX2 by torch2trt, FP32, batch 1: 5.81 ms and
    # 24.2 mJ. By hand 88 kernels, 15 cells of 5; so small that pixels do not matter.
    kernels = [conv(300_000, 131_072, channels_read=16, channels_written=16)] * 88
    found = Board(TX2).estimate(kernels, 1, Setting(loop=TORCH2TRT))
    for metric, value in (("latency_ms", 5.81), ("joule_per_img", 0.0242)):
        low, high = found[metric].interval95
        assert low < value < high, metric
