"""Networks of timm and torchvision by name: made for one's own classes, and seen as published."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gensynth.errors import ConfigError, PrototypeError
from gensynth.prototypes import libraries
from gensynth.space.inspection import inspect

TIMM = """
from dataclasses import dataclass
from torch import nn

@dataclass
class Config:
    has_weights: bool = True
    input_size: tuple = (3, 160, 160)
    num_classes: int = 1000
    mean: tuple = (0.5, 0.4, 0.3)
    std: tuple = (0.2, 0.2, 0.1)

def list_models():
    return ["small", "untrained"]

def create_model(name, pretrained, in_chans=3, num_classes=1000, **kwargs):
    if pretrained:
        raise OSError("no route to host")
    return nn.Sequential(nn.Conv2d(in_chans, 4, 1), nn.Flatten(), nn.LazyLinear(num_classes))

def get_pretrained_cfg(name):
    return Config(has_weights=name == "small")
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of timm's form, in place of one that may be installed."""
    (tmp_path / "timm" / "models").mkdir(parents=True)
    (tmp_path / "timm" / "__init__.py").write_text(TIMM)
    (tmp_path / "timm" / "models" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("timm", "timm.models"):  # taken out again with the folder
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("stand_in")
def test_a_librarys_network_is_asked_for_in_its_words_and_says_what_its_weights_see() -> None:
    made = libraries.make("timm:small", classes=3, channels=1, arguments={})
    assert made.call == "small(num_classes=3, in_chans=1)"
    assert made.network(torch.zeros(2, 1, 2, 2)).shape == (2, 3)
    seen = libraries.sees("timm:small")
    assert seen == libraries.Sees(1000, 160, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert libraries.sees("timm:untrained") is None
    with pytest.raises(
        ConfigError, match="unknown prototype 'timm:smal'; timm has 2 networks; did"
    ):
        libraries.make("timm:smal", classes=3, channels=1, arguments={})
    with pytest.raises(PrototypeError) as refused:
        libraries.pretrain(nn.Identity(), "timm:small", channels=3, train=False)
    assert str(refused.value) == (
        "the published weights of timm:small could not be fetched (OSError: no route to host); "
        "name a file of them by --weights, or set pretrained = false in [prototype]"
    )


def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm.models", None)
    with pytest.raises(ConfigError, match=r"timm is not installed here; .*'gensynth\[timm\]'"):
        libraries.make("timm:small", classes=3, channels=1, arguments={})


def installed(name: str) -> None:
    """Skip the test where the library cannot be made to work here."""
    try:
        libraries.sees(name)
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries' own
@pytest.mark.parametrize(
    "name",
    [
        "timm:convnext_atto", "timm:mobilenetv4_conv_small", "timm:tf_efficientnet_b0",
        "torchvision:resnet18", "torchvision:squeezenet1_1",
    ],
)  # fmt: skip
def test_a_real_network_is_read_whole_and_for_ones_own_classes(name: str) -> None:
    installed(name)
    found = inspect(name, [(3, 64, 64)], classes=3)
    assert found.changeable_macs_share == 1
    assert not found.opaque
    assert libraries.sees(name) is not None
