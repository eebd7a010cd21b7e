from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from gensynth.errors import PrototypeError
from gensynth.graph.cost import cost
from gensynth.prototypes.checkpoint import load_weights
from gensynth.prototypes.resnet import resnet8
from gensynth.space.prototype import read_prototype
from gensynth.space.space import Space
from tests.networks.further import Tied, make_any


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


def test_an_opaque_module_that_is_called_twice_is_one_module() -> None:
    class Soft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)
            self.d, self.act = nn.Conv2d(4, 2, 1), nn.Softplus()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.act(self.b(self.act(self.a(x))))
            value: torch.Tensor = self.d(torch.relu(self.c(x)))
            return value

    module, images = Soft().eval(), torch.randn(2, 3, 4, 4)
    network = read_prototype(module, (3, 4, 4), name="soft").network().eval()
    assert torch.equal(network(images), module(images))


def test_a_tied_parameter_is_counted_as_torch_counts_it() -> None:
    # torch's `parameters()` has each once; a space costs its own prototype, and its networks.
    module = Tied()
    prototype = read_prototype(module, (3, 16, 16), name="tied")
    trained = sum(parameter.numel() for parameter in module.parameters())
    space = Space(prototype.coupling)
    assert cost(prototype.graph).params == trained
    assert space.named_costs(space.whole(1))["params"] == trained
    least = space.smallest()
    selection = space.selection(least, 0, [torch.arange(n).numpy() for n in space.sizes])
    smallest = cost(prototype.coupling.apply(selection))
    assert space.named_costs(least) == {"params": smallest.params, "macs": smallest.macs}


def test_weights_that_safetensors_saved_of_a_tied_network_are_read(tmp_path: Path) -> None:
    # safetensors keeps one name of each tensor, not always the first.
    (module, _), file = make_any("tied"), tmp_path / "tied.safetensors"
    save_model(module, str(file))
    assert len(load_file(file)) < len(module.state_dict())
    other = Tied()
    load_weights(other, file, name="tied")
    assert all(torch.equal(other.state_dict()[k], t) for k, t in module.state_dict().items())


def test_a_file_of_two_values_for_one_tensor_does_not_fit(tmp_path: Path) -> None:
    state = {key: tensor.clone() for key, tensor in Tied().state_dict().items()}
    state["again.weight"] += 1
    save_file(state, tmp_path / "untied.safetensors")
    with pytest.raises(PrototypeError, match="'tied': it has different values for .* one tensor"):
        load_weights(Tied(), tmp_path / "untied.safetensors", name="tied")
