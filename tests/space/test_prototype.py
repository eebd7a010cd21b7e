import pytest
import torch
from torch import nn

from gensynth.errors import PrototypeError
from gensynth.prototypes.resnet import resnet8
from gensynth.space.prototype import read_prototype


def test_a_prototype_computes_what_its_module_does_bit_for_bit() -> None:
    torch.manual_seed(0)
    module = resnet8(classes=4, channels=1).eval()
    network = read_prototype(module, (1, 8, 8), name="small").network().eval()
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(images), module(images))


def test_a_prototype_keeps_its_weights_when_the_module_is_trained_on() -> None:
    module = resnet8(classes=4, channels=1)
    prototype = read_prototype(module, (1, 8, 8), name="small")
    before = prototype.weights["conv1.weight"].clone()
    with torch.no_grad():
        module.conv1.weight.add_(1.0)
    assert torch.equal(prototype.weights["conv1.weight"], before)


def test_a_network_without_a_free_width_is_no_prototype() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    with pytest.raises(PrototypeError, match="'linear' has no width that can change"):
        read_prototype(module, (3, 4, 4), name="linear")
