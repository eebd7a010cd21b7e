import copy
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from gensynth.errors import PrototypeError, RunError
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.files import load_network, save_network
from gensynth.network.module import Network, build, opaque_modules
from gensynth.trace import trace
from tests.networks.families import FAMILIES, make


def rebuilt(family: str) -> tuple[nn.Module, Network, tuple[torch.Tensor, ...]]:
    module, images = make(family)
    graph = trace(module, images, name=family)
    network = build(graph, module.state_dict(), opaque=opaque_modules(graph, module))
    return module, network.eval(), images


def test_the_state_dict_has_the_prototypes_keys() -> None:
    module, network, _ = rebuilt("resnet")
    wanted = {key for key in module.state_dict() if not key.endswith("num_batches_tracked")}
    assert set(network.state_dict()) == wanted


@pytest.mark.parametrize("family", ["resnet", "dense", "plain", "norms", "shared_module"])
def test_two_sgd_steps_are_those_of_the_prototype(family: str) -> None:
    # torch's own module is the evidence: weights and running statistics, bit for bit, dropout
    # drawn from the same seed.
    module, network, (images,) = rebuilt(family)
    targets = torch.tensor([0, 1, 2])
    for trained in (module, network):
        trained.train()
        optimiser = torch.optim.SGD(trained.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(5)
        for _ in range(2):
            optimiser.zero_grad()
            torch.autograd.backward(F.cross_entropy(trained(images), targets))
            optimiser.step()
    state = module.state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[key]), key


def test_a_batch_norm_without_momentum_averages_all_batches() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None))
    images = torch.randn(3, 4, 3, 8, 8)
    network = build(trace(module, images[0], name="bn"), module.state_dict())
    for batch in images:
        module.train()(batch), network.train()(batch)
    assert torch.equal(network.state_dict()["1.running_var"], module.state_dict()["1.running_var"])


def test_weights_are_slices_of_the_prototypes() -> None:
    weight = torch.arange(24.0).reshape(4, 3, 2, 1)
    vertices = (
        Vertex("x", "input", shape=(2, 5, 5)),
        Vertex(
            "conv",
            "conv",
            ("x",),
            {
                "kernel": [2, 1],
                "stride": [1, 1],
                "padding": [0, 0],
                "dilation": [1, 1],
                "groups": 1,
            },
            (2, 4, 5),
            {"weight": (2, 2, 2, 1), "bias": (2,)},
            "conv",
        ),
    )
    graph = Graph("slices", vertices, ("conv",))
    weights = {"conv.weight": weight, "conv.bias": torch.arange(4.0)}
    rows, columns = np.array([1, 3]), np.array([0, 2])
    slices = {"conv.weight": (rows, columns, None, None), "conv.bias": (rows,)}
    network = build(graph, weights, slices)
    # Row r, column c of the weight begins at 6 r + 2 c.
    assert network.state_dict()["conv.weight"][:, :, 0, 0].tolist() == [[6, 10], [18, 22]]
    assert network.state_dict()["conv.bias"].tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"'conv.weight' must be \(2, 2, 2, 1\).*\(4, 3, 2, 1\)"):
        build(graph, weights, {"conv.bias": (rows,)})
    with pytest.raises(ValueError, match="no tensor 'conv.bias'"):
        build(graph, {"conv.weight": weight}, slices)


def test_the_network_does_not_share_memory_with_the_prototype() -> None:
    module, network, _ = rebuilt("resnet")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(bool(p.any()) for name, p in module.named_parameters() if name.endswith("weight"))


def test_a_part_may_have_the_name_of_one_of_the_networks_own_attributes() -> None:
    prototype = nn.Sequential(OrderedDict(graph=nn.Conv2d(3, 4, 1), _plan=nn.Conv2d(4, 2, 1)))
    network = build(trace(prototype, _images(), name="names"), prototype.state_dict())
    assert set(network.state_dict()) == {"graph.weight", "graph.bias", "_plan.weight", "_plan.bias"}
    assert torch.equal(network(_images()), prototype(_images()))


def _images() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "several_inputs_and_outputs"])
def test_gates_of_ones_change_nothing(family: str) -> None:
    _, network, (images,) = rebuilt(family)
    gates = {
        (u, v): torch.ones(len(images), network.graph[u].shape[0]) for u, v in network.graph.edges
    }
    assert torch.equal(network.gated(images, gates), network(images))


def test_a_gate_acts_on_one_reader_of_a_value() -> None:
    # By hand: x is read twice by an addition of x and 3 x; gating one reader leaves the other.
    vertices = (
        Vertex("x", "input", shape=(2, 1, 1)),
        Vertex("three", "mul_constant", ("x",), {"value": 3.0}, (2, 1, 1)),
        Vertex("add", "add", ("x", "three"), {}, (2, 1, 1)),
    )
    network = Network(Graph("gated", vertices, ("add",)))
    x = torch.tensor([[1.0, 10.0]]).reshape(1, 2, 1, 1)
    gate = torch.tensor([[0.0, 2.0]])
    assert network.gated(x, {("x", "three"): gate}).flatten().tolist() == [1, 70]
    assert network.gated(x, {("x", "add"): gate[:, :, None, None]}).flatten().tolist() == [3, 50]
    with pytest.raises(ValueError, match="no edge"):
        network.gated(x, {("add", "x"): gate})


def test_the_gradient_of_a_gate_is_the_finite_difference() -> None:
    _, network, (images,) = rebuilt("resnet")
    network.double()
    images = images.double()
    edge = ("stage2.0.relu", "stage2.0.conv2")
    direction = torch.randn(3, 32, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def loss(gate: torch.Tensor) -> torch.Tensor:
        return network.gated(images, {edge: gate}).log_softmax(1)[:, 3].sum()

    gate = torch.ones(3, 32, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(gate), gate)
    step = 1e-6
    with torch.no_grad():
        difference = (loss(1 + step * direction) - loss(1 - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-9)


def test_observing_an_edge_gives_what_the_prototypes_layer_reads() -> None:
    module, network, (images,) = rebuilt("resnet")
    read: list[torch.Tensor] = []
    module.get_submodule("stage2.0.conv2").register_forward_pre_hook(
        lambda _, args: read.append(args[0])
    )
    module(images)
    edge = ("stage2.0.relu", "stage2.0.conv2")
    assert torch.equal(network.observe(images, [edge])[edge], read[0])


def test_a_copy_has_its_own_weights() -> None:
    _, network, (images,) = rebuilt("plain")
    twin = copy.deepcopy(network)
    before = network(images)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(network(images), before)
    assert not twin(images).any()


def test_a_network_can_be_sent_to_another_process() -> None:
    _, network, (images,) = rebuilt("squeeze_excite")
    assert torch.equal(pickle.loads(pickle.dumps(network))(images), network(images))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_network_computes_the_same(family: str, tmp_path: Path) -> None:
    module, network, images = rebuilt(family)
    save_network(network, tmp_path / "kept")
    loaded = load_network(tmp_path / "kept", opaque=opaque_modules(network.graph, module)).eval()
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == [
        "graph.json",
        "weights.safetensors",
    ]
    wanted, got = network(*images), loaded(*images)
    pairs = zip(wanted, got, strict=True) if isinstance(wanted, tuple) else [(wanted, got)]
    assert all(torch.equal(a, b) for a, b in pairs)


def test_opaque_parts_keep_their_trained_weights(tmp_path: Path) -> None:
    module, network, (images,) = rebuilt("with_attention")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    save_network(network, tmp_path)
    loaded = load_network(tmp_path, opaque=opaque_modules(network.graph, module)).eval()
    assert torch.equal(loaded(images), network(images))
    with pytest.raises(PrototypeError, match="opaque vertex 'attention'"):
        load_network(tmp_path)


def test_opaque_parts_keep_their_statistics(tmp_path: Path) -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.expit(self.bn(x))

    module = nn.Sequential(nn.Conv2d(3, 4, 1), Norm()).eval()
    graph = trace(module, _images(), name="norm")
    network = build(graph, module.state_dict(), opaque=opaque_modules(graph, module))
    network.train()(_images())
    network.eval()
    save_network(network, tmp_path)
    loaded = load_network(tmp_path, opaque=opaque_modules(graph, module)).eval()
    assert torch.equal(loaded(_images()), network(_images()))


class Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def test_a_pickle_offered_as_weights_is_refused_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, network, _ = rebuilt("plain")
    save_network(network, tmp_path)
    for content in (
        pickle.dumps(Payload()),
        b"",
        (tmp_path / "weights.safetensors").read_bytes()[:99],
    ):
        (tmp_path / "weights.safetensors").write_bytes(content)
        with pytest.raises(PrototypeError, match=r"weights.safetensors is not a complete"):
            load_network(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_damaged_files_say_what_is_wrong(tmp_path: Path) -> None:
    _, network, _ = rebuilt("plain")
    with pytest.raises(RunError, match=r"graph.json is absent"):
        load_network(tmp_path)
    save_network(network, tmp_path)
    text = (tmp_path / "graph.json").read_text()
    (tmp_path / "graph.json").write_text(text[: len(text) // 2])
    with pytest.raises(PrototypeError, match=r"graph.json is damaged"):
        load_network(tmp_path)
    (tmp_path / "graph.json").write_text(text)
    save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(PrototypeError, match=r"does not fit graph.json"):
        load_network(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    _, network, _ = rebuilt("plain")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write the network"):
        save_network(network, tmp_path / "file")


def test_values_are_dropped_after_their_last_reader() -> None:
    # With k values alive the peak is k maps; a chain of 20 needs the input and two more.
    layers = nn.Sequential(*[nn.Tanh() for _ in range(20)], nn.Conv2d(3, 1, 1))
    network = build(trace(layers, torch.zeros(1, 3, 8, 8), name="chain"), layers.state_dict())
    assert [step[-1] for step in network._plan] == [(n,) for n in range(21)]


@pytest.mark.slow
def test_the_compiler_follows_the_whole_network() -> None:
    # fullgraph=True raises at the first thing that dynamo cannot follow.
    _, network, (images,) = rebuilt("resnet")
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images), network(images))
