"""How evidence decides a requirement: exact costs, counts on a split, ranges."""

import pytest

from gensynth.goals.requirements import parse, parse_all
from gensynth.goals.score import Proportion
from gensynth.goals.verdicts import Verdict, combine, judge, judge_all, judge_score

COSTS = {"params": 1e6, "macs": 1e9}
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


def test_a_quality_that_the_task_does_not_measure_is_unknown() -> None:
    (requirement,) = parse_all(["top1 >= 50%"])
    assert judge_all([requirement], {"other": (0.9, 0.9)}, COSTS) == {
        "top1 >= 50%": Verdict.UNKNOWN
    }
