"""What a search sums of a device, and what follows from the sums: by hand."""

import pytest

from gensynth.goals.device_costs import derived, limit_of, summed
from gensynth.goals.requirements import parse


@pytest.mark.parametrize(
    ("text", "key", "limit"),
    [
        ("latency_ms@tx2 <= 5", "latency_ms@tx2", 5),
        ("joule_per_img@tx2 <= 0.05", "joule_per_img@tx2", 0.05),
        ("img_per_joule@tx2 >= 40", "joule_per_img@tx2", 1 / 40),
        ("throughput@tx2 >= 800", "latency_ms@tx2", 1000 * 4 / 800),  # four images a run
        ("p99_ms@tx2 <= 6", "latency_ms@tx2", 5),  # a fifth above the median
    ],
)
def test_a_requirement_limits_one_sum(text: str, key: str, limit: float) -> None:
    found = limit_of(parse(text), batch=4, p99_ratio=1.2)
    assert found is not None
    assert found[0] == key
    assert found[1] == pytest.approx(limit)


def test_watts_limit_no_sum() -> None:
    assert limit_of(parse("power_w@tx2 <= 9"), batch=1, p99_ratio=1.1) is None


def test_joules_are_summed_only_where_they_are_asked_for() -> None:
    assert summed(["throughput", "p99_ms"]) == ("latency_ms",)
    assert summed(["power_w"]) == ("latency_ms", "joule_per_img")


def test_what_follows_agrees_with_itself() -> None:
    # 8 images in 20 ms at 0.01 J each: 400 images a second, 100 a joule, so 4 W.
    found = derived({"latency_ms@a": 20.0, "joule_per_img@a": 0.01}, {"a": 8})
    assert found["throughput@a"] == pytest.approx(400)
    assert found["img_per_joule@a"] == pytest.approx(100)
    assert found["power_w@a"] == pytest.approx(4)


def test_what_was_measured_stays_as_it_is() -> None:
    found = derived({"latency_ms@a": 20.0, "throughput@a": 47.0}, {"a": 1})
    assert found["throughput@a"] == 47.0
