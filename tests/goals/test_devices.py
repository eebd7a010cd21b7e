"""Which devices a run asks of, and what is refused."""

import pytest

from gensynth.errors import ConfigError
from gensynth.goals.devices import asked_of_devices, check_known, placed
from gensynth.goals.requirements import parse_all
from gensynth.goals.utility import Utility

NETSCORE = Utility("netscore")


def test_what_is_asked_of_a_device_is_collected_from_requirements_and_utility() -> None:
    requirements = parse_all(
        ["latency_ms@tx2 <= 5", "top1 >= 87%", "power_w@nano <= 4", "latency_ms@nano <= 9"]
    )
    utility = Utility("netscore + 10*log10(img_per_joule@tx2) - latency_ms@tx2")
    assert asked_of_devices(requirements, utility) == {
        "tx2": ("latency_ms", "img_per_joule"),
        "nano": ("power_w", "latency_ms"),
    }
    assert asked_of_devices(parse_all(["macs <= 4M"]), NETSCORE) == {}


@pytest.mark.parametrize(
    ("texts", "declared", "expected"),
    [
        (["latency_ms <= 5"], (), "latency_ms@local <= 5"),
        (["latency_ms <= 5"], ("tx2",), "latency_ms@tx2 <= 5"),
        (["latency_ms <= 5", "power_w@tx2 <= 9"], (), "latency_ms@tx2 <= 5"),
        (["latency_ms<=5ms"], ("tx2",), "latency_ms@tx2<=5ms"),
    ],
)
def test_a_metric_without_a_device_is_of_the_runs_only_one(
    texts: list[str], declared: tuple[str, ...], expected: str
) -> None:
    requirements, _ = placed(parse_all(texts), NETSCORE, declared)
    assert requirements[0].text == expected


def test_a_utility_without_a_device_is_of_the_runs_only_one() -> None:
    _, utility = placed((), Utility("top1 - latency_ms"), ("tx2",))
    assert utility.needs == {"top1", "latency_ms@tx2"}


def test_a_metric_without_a_device_is_refused_where_there_are_several() -> None:
    with pytest.raises(ConfigError) as refusal:
        placed(parse_all(["latency_ms <= 5"]), NETSCORE, ("tx2", "nano"))
    assert str(refusal.value) == (
        "latency_ms must be of one of the run's devices, tx2, nano; write for example "
        "latency_ms@tx2"
    )


def test_a_limit_with_and_one_without_its_device_are_on_one_metric() -> None:
    texts = ["latency_ms <= 5", "latency_ms@tx2 <= 4", "latency_ms@nano <= 3"]
    requirements, _ = placed(parse_all(texts[:2]), NETSCORE, ("tx2",))
    assert [r.text for r in requirements] == ["latency_ms@tx2 <= 4"]
    assert len(parse_all(texts)) == 3


def test_a_device_that_is_registered_or_a_kind_of_board_is_known() -> None:
    check_known({"tx2": ("latency_ms",), "jetson-nano": ()}, ["local", "tx2"], ["jetson-nano"])


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "tx3",
            (
                "no device and no kind of board is named 'tx3', got \"latency_ms@tx3\"; did you "
                "mean 'tx2'?; add a device with: gensynth devices add tx3 USER@HOST"
            ),
        ),
        ("tx2-5", "a minus behind 'tx2' needs a space before it"),
    ],
)
def test_a_device_that_nobody_knows_is_refused(device: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_known({device: ("latency_ms",)}, ["local", "tx2"])
    assert message in str(refusal.value)
