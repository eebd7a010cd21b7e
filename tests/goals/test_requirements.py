"""Requirements: what can be written, and what it means."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.errors import ConfigError
from gensynth.goals.requirements import (
    Requirement,
    cost_limits,
    parse,
    parse_all,
    quality_limit,
)


@pytest.mark.parametrize(
    ("text", "metric", "comparison", "limit"),
    [
        ("top1 >= 89%", "top1", ">=", 89),
        ("top1 >= 89", "top1", ">=", 89),
        ("top1>0.5%", "top1", ">", 0.5),
        ("macs <= 20M", "macs", "<=", 20_000_000),
        ("macs<1.1G", "macs", "<", 1_100_000_000),
        ("params <= 83k", "params", "<=", 83_000),
        ("  params <= 83K ", "params", "<=", 83_000),
        ("params <= 2.5e5", "params", "<=", 250_000),
        ("netscore >= 98.2", "netscore", ">=", 98.2),
        ("information_density > 300", "information_density", ">", 300),
    ],
)
def test_a_requirement_reads_as_written(
    text: str, metric: str, comparison: str, limit: float
) -> None:
    assert parse(text) == Requirement(metric, comparison, limit, text.strip())


def test_latency_names_its_device() -> None:
    assert parse("latency_ms@local <= 5") == Requirement(
        "latency_ms", "<=", 5, "latency_ms@local <= 5", "local"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mac <= 20M", "unknown metric 'mac' in \"mac <= 20M\"; did you mean 'macs'?"),
        (
            "top1 > ",
            (
                'requirement "top1 >" cannot be read; write for example '
                "'top1 >= 89%', 'macs <= 20M' or 'latency_ms@local <= 5'"
            ),
        ),
        (
            "top1 >= 0.89",
            (
                'accuracy is in percent, so 0.89 in "top1 >= 0.89" would be 0.89 percent; '
                "write 89% if that is meant, or 0.89%"
            ),
        ),
        (
            "macs <= 20%",
            (
                'macs is a count and takes no percent, got 20% in "macs <= 20%"; '
                "write for example 'macs <= 20M'"
            ),
        ),
        (
            "latency_ms@tx2 <= 5",
            (
                'a run measures on local alone, got "latency_ms@tx2 <= 5"; write '
                "'latency_ms@local', and measure its networks with: gensynth bench RUN --device tx2"
            ),
        ),
        (
            "img_per_j >= 10",
            (
                'a run does not measure img_per_j, got "img_per_j >= 10"; measure its networks '
                "with: gensynth bench RUN --energy"
            ),
        ),
        (
            "p99_ms@local <= 5",
            (
                'a run does not measure p99_ms, got "p99_ms@local <= 5"; measure its networks '
                "with: gensynth bench RUN"
            ),
        ),
        (
            "latency_ms <= 5",
            "latency_ms in \"latency_ms <= 5\" needs a device; write 'latency_ms@local'",
        ),
        (
            "macs@local <= 5M",
            "macs in \"macs@local <= 5M\" is the same on every device; drop '@local'",
        ),
        (
            "macs >= 5M",
            (
                '"macs >= 5M" bounds a cost from the wrong side: '
                "costs take <= or <, accuracy and scores take >= or >"
            ),
        ),
        (
            "top1 <= 90%",
            (
                '"top1 <= 90%" bounds an accuracy or score from the wrong side: '
                "costs take <= or <, accuracy and scores take >= or >"
            ),
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(text)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "", "top1", "top1 89%", "top1 == 89%", "top1 = 89%", "top1 >= 89% please",
        "top1 >= 89K", "top1 >= 101%", "top1 > 100%", "top1 >= -3%", "top1 >= nan", "top1 >= inf%",
        "macs <= inf", "macs <= -20M", "macs <= 20m", "macs <= 20 MB", "macs <= 1,000",
        "macs <= 0", "latency_ms@local <= 0", "latency_ms@local <= 5k", "netscore >= 100%",
        "netscore <= 100", "macs << 20M", "macs <= 20M; top1 >= 89%", "latency_ms@ <= 5",
    ],
)  # fmt: skip
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


@given(st.text(max_size=40))
def test_no_text_gets_anything_but_a_requirement_or_a_refusal(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(text).limit >= 0


def test_contradicting_requirements_are_both_named() -> None:
    with pytest.raises(ConfigError, match=r'"macs >= 30M" and "macs <= 20M" contradict'):
        parse_all(["macs <= 20M", "top1 >= 89%", "macs >= 30M"])


@pytest.mark.parametrize(
    ("low", "high"),
    [("top1 >= 90%", "top1 < 90%"), ("top1 > 90%", "top1 <= 90%"), ("top1 >= 91%", "top1 <= 90%")],
)
def test_touching_bounds_contradict_unless_both_include_the_limit(low: str, high: str) -> None:
    with pytest.raises(ConfigError, match="contradict"):
        parse_all([low, high])
    with pytest.raises(ConfigError, match="from the wrong side"):
        parse_all(["top1 >= 90%", "top1 <= 90%"])


def test_of_two_bounds_on_one_metric_the_stricter_stays() -> None:
    kept = parse_all(["macs <= 20M", "top1 > 87%", "macs <= 10M", "top1 >= 87%", "top1 >= 80%"])
    assert [r.text for r in kept] == ["macs <= 10M", "top1 > 87%"]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("params < 1k", 999),
        ("params <= 1k", 1_000),
        ("params < 1000.5", 1_000),
        ("params <= 1000.5", 1_000),
        ("params < 0.0833M", 83_299),
        ("params <= 0.29M", 290_000),  # 0.29 * 1e6 in binary floating point is 289,999.99...
    ],
)
def test_a_cost_limit_is_the_largest_whole_number_allowed(text: str, limit: int) -> None:
    assert cost_limits([parse(text)]) == {"params": limit}


def test_limits_are_found_by_kind() -> None:
    requirements = parse_all(["top1 >= 87%", "macs <= 20M", "latency_ms@local < 5"])
    assert cost_limits(requirements) == {"macs": 20_000_000}
    assert quality_limit(requirements, "top1") == parse("top1 >= 87%")
    assert quality_limit(requirements, "other") is None
    assert quality_limit((), "top1") is None
