"""What is asked relative to the prototype, and the limits that it comes to."""

import pytest

from gensynth.errors import ConfigError
from gensynth.goals.relative import settle, settled_texts
from gensynth.goals.requirements import cost_limits, parse, parse_all, quality_limit

RESNET = {"params": 272_474, "macs": 3_000_000, "top1": 90.5, "size_mib": 272_474 * 4 / 2**20}


@pytest.mark.parametrize(
    ("text", "settled", "limit"),
    [
        ("params <= 1/4", "params <= 1/4 (68,118.5)", 68_118.5),
        ("params < 50%", "params < 50% (136,237)", 136_237),
        ("macs <= 1/3", "macs <= 1/3 (1,000,000)", 1_000_000),
        ("macs <= 55%", "macs <= 55% (1,650,000)", 1_650_000),  # and 2e-10 more in floats
        ("top1 >= prototype - 1", "top1 >= prototype - 1 (89.5 %)", 89.5),
        ("top1 > prototype", "top1 > prototype (90.5 %)", 90.5),
        ("top1>=prototype+0.25", "top1>=prototype+0.25 (90.75 %)", 90.75),
    ],
)
def test_a_limit_relative_to_the_prototype_stands_behind_what_was_asked(
    text: str, settled: str, limit: float
) -> None:
    (found,) = settle([parse(text)], RESNET)
    assert (found.text, found.limit, found.relative) == (settled, limit, "")
    assert found.points == parse(text).points
    assert parse(settled) == found
    assert settle([found], RESNET) == (found,)


def test_a_share_limits_the_costs_and_what_is_not_known_stays_open() -> None:
    asked = parse_all(["size_mib <= 50%", "macs <= 40%", "macs <= 50%", "top1 >= prototype"])
    assert cost_limits(asked) == {}
    costs = {name: value for name, value in RESNET.items() if name != "top1"}
    found = settle(asked, costs)
    assert cost_limits(found) == {"params": 136_237, "macs": 1_200_000}
    assert [r.relative for r in found] == ["", "", "points"]
    stricter = settle([*asked, parse("macs <= 1M")], RESNET)
    assert cost_limits(stricter)["macs"] == 1_000_000


def test_points_of_the_prototypes_score_stay_beside_a_limit_whatever_they_come_to() -> None:
    asked = parse_all(["top1 >= 89%", "top1 >= prototype - 1", "top1 >= prototype - 2"])
    found = settle(asked, RESNET)
    assert [r.text for r in found] == ["top1 >= 89%", "top1 >= prototype - 1 (89.5 %)"]
    assert [r.points for r in found] == [None, -1]
    assert parse_all(r.text for r in found) == found
    limit = quality_limit(found, "top1")
    assert limit is not None
    assert limit.limit == 89.5  # that a search strives for


def test_a_share_that_another_prototype_settled_is_refused_with_what_to_write() -> None:
    (text,) = settled_texts(["macs <= 50%"], {"macs": 4_000_000})
    with pytest.raises(ConfigError) as refusal:
        settle([parse(text)], RESNET)
    assert str(refusal.value) == (
        '"macs <= 50% (2,000,000)" was settled by another prototype, of this one it is 1,500,000; '
        'write "macs <= 50%"'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_ms@tx2 <= 50%", "a share is of the prototype's params, macs, size_mib"),
        ("macs <= prototype - 1", "is no quality that points are taken from"),
        ("macs <= 0%", "must be above zero"),
        ("macs <= 1/0", "must be above zero"),
        ("macs <= 5M (3)", "cannot be read"),
        ("macs <= 50% (0)", "settled by a number that is no limit"),
        ("top1 <= prototype", "from the wrong side"),
    ],
)
def test_what_cannot_be_relative_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text)
    with pytest.raises(ConfigError, match="a limit must be above 0 and at most 100"):
        settle([parse("top1 >= prototype + 10")], RESNET)
