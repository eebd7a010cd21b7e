"""Requirements: what can be written, and what it means."""

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gensynth.errors import ConfigError
from gensynth.goals import metrics, units
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


@pytest.mark.parametrize(
    ("text", "metric", "device", "limit"),
    [
        ("latency_ms@local <= 5", "latency_ms", "local", 5),
        ("latency_ms@tx2 <= 5ms", "latency_ms", "tx2", 5),
        ("latency_ms@orin-nano <= 200us", "latency_ms", "orin-nano", 0.2),
        ("p99_ms@tx2 <= 0.2 s", "p99_ms", "tx2", 200),
        ("latency_ms <= 5", "latency_ms", "", 5),
        ("throughput@tx2 >= 30/s", "throughput", "tx2", 30),
        ("joule_per_img@tx2 <= 50mJ", "joule_per_img", "tx2", 0.05),
        ("joule_per_img@tx2 <= 0.05 J", "joule_per_img", "tx2", 0.05),
        ("img_per_joule@tx2 >= 40/J", "img_per_joule", "tx2", 40),
        ("power_w@tx2 < 3 W", "power_w", "tx2", 3),
    ],
)
def test_a_devices_metric_has_its_device_and_its_unit(
    text: str, metric: str, device: str, limit: float
) -> None:
    assert parse(text) == Requirement(metric, text.split()[1], limit, text, device)


@pytest.mark.parametrize(
    ("number", "mib"),
    [("1.5 MiB", 1.5), ("1.5", 1.5), ("512KiB", 0.5), ("2GiB", 2048), ("900kB", 900_000 / 2**20)],
)
def test_a_size_is_in_bytes_with_a_binary_or_a_decimal_prefix(number: str, mib: float) -> None:
    assert parse(f"size_mib <= {number}").limit == parse(f"peak_mib <= {number}").limit == mib


LIMITS = st.floats(1e-9, 1e9).map(lambda x: f"{x:.6g}")


@given(
    st.sampled_from(metrics.names()), st.sampled_from(["", "tx2", "orin-nano"]), LIMITS, st.data()
)
def test_a_requirement_that_is_printed_reads_as_itself(
    name: str, device: str, number: str, data: st.DataObject
) -> None:
    metric = metrics.find(name, "this test")
    unit = data.draw(st.sampled_from(["", *units.written_with(metric.unit)]))
    space = data.draw(st.sampled_from(["", " "]))
    at = f"@{device}" if device and metric.of == "device" else ""
    comparison = "<=" if metric.better == "lower" else ">="
    assume(metric.of != "task" or (unit == "%" and float(number) <= 100))
    assume(metric.of != "score" or not unit)
    read = parse(f"{name}{at}{space}{comparison}{space}{number}{space}{unit}")
    assert parse(str(read)) == read
    if metric.of == "device" and not at:
        assert parse(str(read.on("tx2"))) == read.on("tx2")
        assert read.on("tx2").key == f"{name}@tx2"


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
            "latency_ms@local <= 5k",
            (
                "latency_ms takes a number with ms, us, \N{MICRO SIGN}s, s or nothing behind it, "
                'got 5k in "latency_ms@local <= 5k"'
            ),
        ),
        (
            "img_per_joule@tx2 >= 40J",
            (
                "img_per_joule takes a number with /J, /mJ or nothing behind it, got 40J in "
                '"img_per_joule@tx2 >= 40J"'
            ),
        ),
        ("netscore >= 100k", 'netscore takes a plain number, got 100k in "netscore >= 100k"'),
        (
            "macs <= 20MB",
            'macs takes a number with k, K, M, G or nothing behind it, got 20MB in "macs <= 20MB"',
        ),
        (
            "img_per_j >= 10",
            "unknown metric 'img_per_j' in \"img_per_j >= 10\"; did you mean 'img_per_joule'?",
        ),
        (
            "throughput@tx2 <= 5/s",
            (
                '"throughput@tx2 <= 5/s" bounds an accuracy, rate or score from the wrong side: '
                "costs take <= or <, accuracy, rates and scores take >= or >"
            ),
        ),
        (
            "macs@local <= 5M",
            "macs in \"macs@local <= 5M\" is the same on every device; drop '@local'",
        ),
        (
            "macs >= 5M",
            (
                '"macs >= 5M" bounds a cost from the wrong side: '
                "costs take <= or <, accuracy, rates and scores take >= or >"
            ),
        ),
        (
            "top1 <= 90%",
            (
                '"top1 <= 90%" bounds an accuracy, rate or score from the wrong side: '
                "costs take <= or <, accuracy, rates and scores take >= or >"
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
        "macs <= 0", "latency_ms@local <= 0", "joule_per_img@tx2 <= 1e-999", "netscore >= 100%",
        "macs <= 1e999", "power_w@tx2 <= 3 J", "p99_ms@tx2 <= 5m",
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


@pytest.mark.parametrize(
    ("texts", "params"),
    [
        (["size_mib <= 1"], 262_144),  # 2^20 bytes, 4 each
        (["size_mib < 1"], 262_143),
        (["size_mib <= 900kB"], 225_000),
        (["size_mib <= 1", "params <= 200k"], 200_000),
        (["size_mib <= 1", "params <= 300k"], 262_144),
    ],
)
def test_a_limit_on_size_is_one_on_parameters_of_four_bytes(texts: list[str], params: int) -> None:
    assert cost_limits(parse_all(texts)) == {"params": params}


def test_limits_are_found_by_kind() -> None:
    requirements = parse_all(["top1 >= 87%", "macs <= 20M", "latency_ms@local < 5"])
    assert cost_limits(requirements) == {"macs": 20_000_000}
    assert quality_limit(requirements, "top1") == parse("top1 >= 87%")
    assert quality_limit(requirements, "other") is None
    assert quality_limit((), "top1") is None
