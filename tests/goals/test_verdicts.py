"""How evidence decides a requirement: exact costs, counts on a split, ranges."""

from dataclasses import replace

import pytest

from gensynth.goals.figure import Figure, Provenance
from gensynth.goals.requirements import parse, parse_all
from gensynth.goals.score import Proportion
from gensynth.goals.verdicts import (
    Verdict,
    combine,
    is_estimate,
    judge,
    judge_all,
    judge_figure,
    judge_score,
)

COSTS = {"params": 1e6, "macs": 1e9}
ESTIMATE = Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate")
NINE_OF_TEN = Proportion("top1", 900, 1000)


def test_a_counted_cost_is_never_unknown() -> None:
    requirements = parse_all(["params <= 1k", "params < 1k", "macs < 2"])
    found = judge_all(requirements, {"top1": (0.0, 1.0)}, {"params": 1_000, "macs": 1})
    assert found == {"params < 1k": Verdict.VIOLATED, "macs < 2": Verdict.SATISFIED}


def test_accuracy_is_judged_by_one_sided_wilson_bounds() -> None:
    # 900 of 1,000, z = 1.644854: centre (0.9 + 0.00135277) / 1.00270554 = 0.898921, half
    # 1.644854 sqrt(0.00009 + 6.764e-7) / 1.00270554 = 0.015621: 88.330 to 91.454 percent.
    assert judge_score(parse("top1 >= 88.32%"), NINE_OF_TEN) is Verdict.SATISFIED
    assert judge_score(parse("top1 >= 88.34%"), NINE_OF_TEN) is Verdict.UNKNOWN
    assert judge_score(parse("top1 >= 91.44%"), NINE_OF_TEN) is Verdict.UNKNOWN
    assert judge_score(parse("top1 >= 91.46%"), NINE_OF_TEN) is Verdict.VIOLATED


def test_finalists_that_share_the_confidence_each_need_more_evidence() -> None:
    # Five finalists: z = 2.326348 instead of 1.644854, so the bound falls to 87.571 percent.
    assert judge_score(parse("top1 >= 87.58%"), NINE_OF_TEN) is Verdict.SATISFIED
    assert judge_score(parse("top1 >= 87.58%"), NINE_OF_TEN, sharing=5) is Verdict.UNKNOWN
    assert judge_score(parse("top1 >= 87.56%"), NINE_OF_TEN, sharing=5) is Verdict.SATISFIED


def test_a_measured_interval_across_the_limit_is_unknown() -> None:
    latency = parse("latency_ms@local <= 5")
    assert judge(latency, 4.0, 4.9) is Verdict.SATISFIED
    assert judge(latency, 4.9, 5.1) is Verdict.UNKNOWN
    assert judge(latency, 5.1, 6.0) is Verdict.VIOLATED


def test_one_violation_violates_and_one_doubt_leaves_doubt() -> None:
    yes, no, perhaps = Verdict.SATISFIED, Verdict.VIOLATED, Verdict.UNKNOWN
    assert combine([yes, perhaps, no]) is no
    assert combine([yes, perhaps]) is perhaps
    assert combine([yes, yes]) is combine([]) is yes


def test_judging_the_wrong_kind_or_nan_is_a_bug() -> None:
    with pytest.raises(ValueError, match="must be on top1"):
        judge_score(parse("macs <= 20M"), NINE_OF_TEN)
    with pytest.raises(ValueError, match="must not exceed"):
        judge(parse("macs <= 20M"), float("nan"), float("nan"))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.90, 0.95, Verdict.SATISFIED),
        (0.85, 0.90, Verdict.UNKNOWN),
        (0.80, 0.88, Verdict.VIOLATED),
    ],
)
def test_a_predicted_range_decides_only_where_it_lies_on_one_side(
    low: float, high: float, verdict: Verdict
) -> None:
    requirements = parse_all(["top1 >= 89%", "macs <= 1G", "params < 1M"])
    assert judge_all(requirements, {"top1": (low, high)}, COSTS) == {
        "top1 >= 89%": verdict,
        "macs <= 1G": Verdict.SATISFIED,
        "params < 1M": Verdict.VIOLATED,
    }


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.90, 0.95, Verdict.SATISFIED),
        (0.80, 0.90, Verdict.UNKNOWN),
        (0.00, 0.90, Verdict.UNKNOWN),
        (0.50, 0.80, Verdict.VIOLATED),
        (0.00, 0.00, Verdict.VIOLATED),
    ],
)
def test_a_score_is_bounded_by_the_accuracies_bounds(
    low: float, high: float, verdict: Verdict
) -> None:
    # With 1 M parameters and 1 G MACs NetScore is 20 log10(a^2): 76.1 at 80 %, 78.2 at 90 %.
    (requirement,) = parse_all(["netscore >= 77"])
    assert judge_all([requirement], {"top1": (low, high)}, COSTS) == {"netscore >= 77": verdict}


def test_what_a_device_did_not_measure_is_unknown() -> None:
    requirements = parse_all(["latency_ms@local <= 5"])
    text = "latency_ms@local <= 5"
    assert judge_all(requirements, {"top1": (0.9, 0.9)}, COSTS) == {text: Verdict.UNKNOWN}
    measured = {"latency_ms@local": (4.0, 4.9)}
    assert judge_all(requirements, {"top1": (0.9, 0.9)}, COSTS, measured) == {
        text: Verdict.SATISFIED
    }


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(5.21, "satisfied"), (5.19, "unknown"), (3.31, "unknown"), (3.29, "violated")],
)
def test_an_estimate_decides_from_a_probability_of_nine_tenths(limit: float, verdict: str) -> None:
    # The 80 % interval is 3.3 to 5.2: a tenth lies beyond either end.
    assert judge_figure(parse(f"latency_ms@tx2 <= {limit}"), ESTIMATE) == verdict


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(3.29, "satisfied"), (3.31, "unknown"), (5.19, "unknown"), (5.21, "violated")],
)
def test_an_estimated_rate_decides_from_the_other_side(limit: float, verdict: str) -> None:
    assert judge_figure(parse(f"img_per_joule@tx2 >= {limit}"), ESTIMATE) == verdict


@pytest.mark.parametrize("provenance", ["measured", "simulated"])
def test_a_measurement_decides_by_its_95_percent_interval(provenance: Provenance) -> None:
    figure = replace(ESTIMATE, provenance=provenance)
    # 5.21 ms is kept with a probability of nine tenths and is within the interval to 6.1 ms.
    assert judge_figure(parse("latency_ms@tx2 <= 5.21"), figure) is Verdict.UNKNOWN
    assert judge_figure(parse("latency_ms@tx2 <= 6.1"), figure) is Verdict.SATISFIED
    assert judge_figure(parse("latency_ms@tx2 < 2.9"), figure) is Verdict.VIOLATED


def test_an_estimate_with_an_unknown_kernel_decides_nothing() -> None:
    figure = replace(ESTIMATE, unknown=("GridSample",))
    for text in ("latency_ms@tx2 <= 0.1", "latency_ms@tx2 <= 1e6", "throughput@tx2 >= 0.1"):
        assert judge_figure(parse(text), figure) is Verdict.UNKNOWN


def test_only_an_estimate_is_called_one() -> None:
    assert is_estimate(ESTIMATE)
    assert is_estimate(replace(ESTIMATE, provenance="calibrated estimate"))
    assert not is_estimate(replace(ESTIMATE, provenance="measured"))
    assert not is_estimate(replace(ESTIMATE, provenance="simulated"))
    assert not is_estimate((1.0, 2.0))
    assert not is_estimate(None)


def test_a_figure_is_found_by_its_metric_and_device() -> None:
    requirements = parse_all(["latency_ms@tx2 <= 6", "latency_ms@nano <= 6", "p99_ms@tx2 <= 6"])
    found = judge_all(requirements, {"top1": (0.9, 0.9)}, COSTS, {"latency_ms@tx2": ESTIMATE})
    assert list(found.values()) == ["satisfied", "unknown", "unknown"]


def test_a_size_is_four_bytes_a_parameter_and_a_peak_may_not_be_counted() -> None:
    # By hand: 1,000,000 x 4 / 2^20 = 3.8147 MiB.
    requirements = parse_all(["size_mib <= 3.8148", "peak_mib <= 1"])
    assert judge_all(requirements, {}, COSTS) == {
        "size_mib <= 3.8148": Verdict.SATISFIED,
        "peak_mib <= 1": Verdict.UNKNOWN,
    }
    requirements = parse_all(["size_mib <= 3.8146", "peak_mib <= 1"])
    assert set(judge_all(requirements, {}, {**COSTS, "peak_mib": 1.5}).values()) == {"violated"}


def test_a_quality_that_the_task_does_not_measure_is_unknown() -> None:
    (requirement,) = parse_all(["top1 >= 50%"])
    assert judge_all([requirement], {"other": (0.9, 0.9)}, COSTS) == {
        "top1 >= 50%": Verdict.UNKNOWN
    }
