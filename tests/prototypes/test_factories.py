from typing import Any

import pytest
from torch import nn

from gensynth.errors import PrototypeError
from gensynth.prototypes.factories import Made, call


def network(classes: int, channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 1), nn.Flatten(), nn.Linear(4, classes))


def timms(num_classes: int = 1000, in_chans: int = 3, depth: int = 8) -> nn.Module:
    return network(num_classes, in_chans)


def torchvisions(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> nn.Module:
    def made(num_classes: int = 1000) -> nn.Module:
        return network(num_classes, 3)

    return made(**kwargs)


def ours(n_classes: int, in_channels: int) -> nn.Module:
    return network(n_classes, in_channels)


def swallows(**kwargs: Any) -> nn.Module:
    return network(kwargs.get("n_classes", 10), kwargs.get("channels", 3))


def asks(**kwargs: Any) -> nn.Module:
    return network(kwargs["classes"], kwargs["channels"])


def fixed() -> nn.Module:
    return network(10, 3)


def deaf(**kwargs: Any) -> nn.Module:
    return network(10, 3)


def made(factory: Any, **arguments: Any) -> Made:
    return call(factory, f"nets:{factory.__name__}", classes=6, channels=2, arguments=arguments)


@pytest.mark.parametrize(
    ("factory", "sizes", "said"),
    [
        (timms, (6, 2), "timms(num_classes=6, in_chans=2)"),
        (torchvisions, (6, 3), "torchvisions(num_classes=6)"),
        (ours, (6, 2), "ours(n_classes=6, in_channels=2)"),
        (swallows, (6, 2), "swallows(n_classes=6, channels=2)"),
        (asks, (6, 2), "asks(classes=6, channels=2)"),
        (fixed, (10, 3), "fixed()"),
        (deaf, (10, 3), "deaf()"),
    ],
)
def test_a_factory_is_asked_in_its_own_words(
    factory: Any, sizes: tuple[int, int], said: str
) -> None:
    found = made(factory)
    state = found.network.state_dict()
    assert (len(state["2.weight"]), state["0.weight"].shape[1]) == sizes
    assert found.call == said


def test_arguments_of_the_run_file_come_before_what_is_offered() -> None:
    assert made(timms, num_classes=7, depth=20).call == "timms(num_classes=7, depth=20, in_chans=2)"


def test_what_was_tried_is_said_with_the_way_out() -> None:
    assert "made by fixed(), which takes none of num_classes, classes, n_classes" in made(
        fixed
    ).way_out(6)
    assert "arguments = {num_classes = 6}" in made(timms).way_out(6)


def raises(num_classes: int) -> nn.Module:
    raise ValueError("width must be even\nor odd")


def needs(name: str, num_classes: int) -> nn.Module:
    return network(num_classes, 3)


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (needs, {}, "'nets:needs' needs the argument 'name'; give it by arguments = {name = ...}"),
        (timms, {"dept": 20}, "takes no argument 'dept'; did you mean 'depth'"),
        (fixed, {"depth": 20}, "takes no argument 'depth'; it takes none"),
        (raises, {}, r"raises\(num_classes=6\) raises ValueError: width must be even \(.*:\d+\)$"),
    ],
)
def test_a_call_that_cannot_be_is_one_line(
    factory: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(PrototypeError, match=message) as caught:
        made(factory, **arguments)
    assert "\n" not in str(caught.value)
