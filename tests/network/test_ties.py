"""One tensor under several names is one: trained, copied, written and read as one."""

import copy
import pickle
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from gensynth.errors import PrototypeError
from gensynth.export.from_torch import from_network
from gensynth.export.parity import check_network
from gensynth.graph.graph import Graph
from gensynth.network import ties
from gensynth.network.files import load_network, save_network
from gensynth.network.module import Network, build, opaque_modules
from gensynth.trace import trace
from tests.networks.further import make_any


def rebuilt(module: nn.Module, images: Tensor) -> Network:
    graph = trace(module, images, name="tied")
    return build(graph, module.state_dict(), opaque=opaque_modules(graph, module)).eval()


def tied() -> tuple[nn.Module, Network, Tensor]:
    module, (images,) = make_any("tied")
    return module, rebuilt(module, images), images


def train(network: nn.Module, images: Tensor) -> None:
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), torch.arange(len(images))))
        optimiser.step()
    network.eval()


def test_a_tied_network_trains_as_torch_trains_it() -> None:
    # torch's own module is the evidence; a tensor that became two would get half the gradient.
    module, network, images = tied()
    for trained in (module, network):
        train(trained, images)
    assert torch.equal(network(images), module(images))
    assert len(list(network.parameters())) == len(list(module.parameters()))


def test_a_file_holds_a_tied_tensor_once_and_gives_it_to_all(tmp_path: Path) -> None:
    _, network, images = tied()
    train(network, images)
    save_network(network, tmp_path)
    kernels = [key for key, t in load_file(tmp_path / "weights.safetensors").items() if t.ndim == 4]
    assert sorted(kernels) == ["ends.0.0.weight", "inner.weight"]
    assert torch.equal(load_network(tmp_path).eval()(images), network(images))


def test_a_graph_with_ties_is_read_as_it_was_written() -> None:
    graph = tied()[1].graph
    assert graph["again"].tied == {"weight": "inner.weight"}
    assert Graph.from_json(graph.to_json()) == graph


def test_copies_and_other_dtypes_keep_the_tie() -> None:
    _, network, images = tied()
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        with torch.no_grad():
            other.double().get_parameter("inner.weight").zero_()
        # The bias alone is left of all three.
        observed = other.observe(images.double(), [("again", "bn2")])["again", "bn2"]
        assert torch.equal(observed[0, :, 0, 0], other.get_parameter("again.bias"))
    assert network.get_parameter("inner.weight").any()


@pytest.mark.slow
def test_the_compiler_follows_a_tied_network() -> None:
    _, network, images = tied()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images), network(images))


def test_an_onnx_file_of_a_tied_network_computes_the_same_and_holds_the_tensor_once() -> None:
    class Bare(nn.Module):
        """No norm: what is folded into a kernel makes it another one."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.relu(self.a(x)))

    images = torch.randn(2, 3, 6, 6)
    network = rebuilt(Bare().eval(), images)
    content = from_network(network)
    held = onnx.load_from_string(content).graph.initializer
    assert sorted(tensor.name for tensor in held) == ["a.bias", "a.weight", "b.bias"]
    assert check_network(content, network, images).relative < 1e-6
    module, folded, images = tied()
    assert check_network(from_network(folded), module, images).relative < 1e-5


class Power(nn.Module):
    """A layer that cannot be looked into, with a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.expit(F.conv2d(x, self.weight, padding=1))


@pytest.mark.parametrize("first", ["opaque", "plain"])
def test_an_opaque_part_shares_its_tensor_with_a_layer(first: str, tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd, self.conv = Power(), nn.Conv2d(3, 8, 3, padding=1)
            self.conv.weight = self.odd.weight
            self.fc = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            parts = (self.odd, self.conv) if first == "opaque" else (self.conv, self.odd)
            y, z = (part(x) for part in parts)
            return self.fc((y + z).mean((2, 3)))

    torch.manual_seed(0)
    module, images = Both().eval(), torch.randn(3, 3, 6, 6)
    network = rebuilt(module, images)
    assert sum(v.op == "opaque" for v in network.graph.vertices) == 1
    for trained in (module, network):
        train(trained, images)
    assert torch.equal(network(images), module(images))
    save_network(network, tmp_path)
    other = Both().eval()
    loaded = load_network(tmp_path, opaque=opaque_modules(network.graph, other)).eval()
    assert torch.equal(loaded(images), network(images))


def test_two_names_of_one_tensor_with_two_values_are_refused() -> None:
    module, _, _ = tied()
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    state["again.weight"] += 1
    with pytest.raises(ValueError, match="different values for .* which are one tensor"):
        ties.named(module, state)


def test_parameters_at_one_place_in_memory_are_one() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = nn.Parameter(one.weight.data)  # another object, the same numbers
    both = nn.Sequential(one, other)
    assert ties.aliases(both.state_dict()) == {"1.weight": "0.weight"}
    ties.check_views(both)


@pytest.mark.parametrize(
    "view", [lambda w: w.t(), lambda w: w[:2], lambda w: w.flatten()], ids=["t", "part", "flat"]
)
def test_a_parameter_that_is_a_view_of_another_is_refused(view: object) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 4), nn.Linear(4, 4))
    assert callable(view)
    module[2].weight = nn.Parameter(view(module[1].weight.data))
    with pytest.raises(PrototypeError, match=r"2.weight .* is a view of 1.weight \(4, 4\)"):
        trace(module, torch.zeros(1, 3, 2, 2), name="views")


def test_halves_of_one_memory_are_two_parameters() -> None:
    whole = torch.randn(4, 6)
    one, other = nn.Linear(3, 4), nn.Linear(3, 4)
    one.weight, other.weight = nn.Parameter(whole[:, :3]), nn.Parameter(whole[:, 3:])
    ties.check_views(nn.Sequential(one, other))
