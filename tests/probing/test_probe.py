"""Responses, against hand formulas, finite differences and networks rebuilt without a part."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.graph.graph import Graph, Selection, Vertex
from gensynth.network.module import Network, build, opaque_modules
from gensynth.probing.information import effective_rank
from gensynth.probing.probe import Probe
from gensynth.space.coupling import Coupling, couple
from gensynth.tasks.classification import Classification
from gensynth.tasks.label_information import label_information
from gensynth.trace import trace
from tests.networks.compositions import MIXING, random_selection
from tests.networks.families import FAMILIES, make

CLASSIFIERS = [n for n in FAMILIES if n not in ("unet", "pyramid", "several_inputs_and_outputs")]


class Linear(nn.Module):
    """Six pooled channels and a linear softmax reader of four classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


class Nested(nn.Module):
    """A branch that is residual in itself, and logits that are a sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.inner = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        x = x + (x + torch.tanh(self.inner(x)))
        x = x.mean((2, 3))
        return self.a(x) + self.b(torch.relu(x))


def read(module: nn.Module) -> tuple[Coupling, Network]:
    graph = trace(module.eval(), torch.zeros(1, 3, 16, 16), name="network")
    opaque = opaque_modules(graph, module)
    return couple(graph), build(graph, module.state_dict(), opaque=opaque).eval()


def probe_of(module: nn.Module, images: Tensor, labels: Tensor | None = None) -> Probe:
    coupling, network = read(module)
    if labels is None:
        labels = torch.arange(len(images)) % 3
    return Probe(coupling, images, labels, Classification(), network)


def images_of(count: int, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def divergence(first: Tensor, second: Tensor) -> float:
    """Return the mean of sum p log(p / q), written out."""
    p, q = torch.softmax(first.double(), 1), torch.softmax(second.double(), 1)
    return float((p * (p / q).log()).sum(1).mean())


def test_fisher_information_of_a_linear_softmax_reader() -> None:
    # By hand: with logits W a + b, d log p(y) / d gate_c = a_c (W[y, c] - sum_k p_k W[k, c]), so
    # half its mean square under y ~ p is mean_x a_c^2 Var_p(W[., c]) / 2.
    module = Linear()
    few = images_of(5, size=2)
    with torch.no_grad():
        a = module.conv(few).mean((2, 3)).double()
        p = torch.softmax(module(few).double(), 1)
        weight = module.fc.weight.double()
        variance = p @ weight.square() - (p @ weight).square()  # (images, channels)
        expected = (a.square() * variance).mean(0) / 2
    responses = probe_of(module, few.repeat(800, 1, 1, 1))(read(module)[1], seed=1)
    (nats,) = responses.channel_nats
    # 4,000 draws of y: the standard error is about 2 %.
    assert nats == pytest.approx(expected.numpy(), rel=0.1)
    edges = [v for (u, _), v in responses.edge_nats.items() if u.startswith("mean")]
    assert edges == [pytest.approx(float(nats.sum()), rel=1e-5)]


@pytest.mark.parametrize("group", ["conv1", "stage2.0.conv1"])
def test_fisher_information_is_the_curvature_of_the_divergence(group: str) -> None:
    # KL(p || p with the coupled gate at 1 - e) = e^2 I / 2 + O(e^3), by brute force.
    module, _ = make("resnet")
    few = images_of(6, size=8)
    coupling, network = read(module)
    index = [g.name for g in coupling.groups].index(group)
    nats = probe_of(module, few.repeat(120, 1, 1, 1))(network, seed=3).channel_nats[index]
    module = module.double()
    double = build(coupling.graph, module.state_dict()).eval()
    step = 1e-3
    expected = []
    with torch.no_grad():
        whole = double(few.double())
        for label in coupling.groups[index].channels:
            gates = {
                (u, v.name): torch.from_numpy(
                    1 - step * (coupling.channel_ids[u] == label).astype(float)
                ).expand(len(few), -1)
                for v in coupling.graph.vertices
                if v.op in MIXING
                for u in v.inputs
            }
            expected.append(divergence(whole, double.gated(few.double(), gates)) / step**2)
    told = np.array(expected)
    assert np.median(nats[told > 0] / told[told > 0]) == pytest.approx(1.0, abs=0.1)
    assert nats == pytest.approx(told, rel=0.5, abs=1e-9)


def test_a_channel_that_nobody_weighs_tells_nothing() -> None:
    module = Linear()
    with torch.no_grad():
        module.fc.weight[:, 2] = 0.7  # the same for every class: the softmax does not see it
        module.fc.weight[:, 4] = 0.0
    (nats,) = probe_of(module, images_of(40, 4))(read(module)[1], seed=0).channel_nats
    assert (nats[[2, 4]] < 1e-12).all()
    assert (nats[[0, 1, 3, 5]] > 1e-6).all()


@functools.cache
def resnet_probe() -> tuple[nn.Module, Coupling, Network, Probe]:
    module, _ = make("resnet")
    coupling, network = read(module)
    images = images_of(24)
    return (
        module,
        coupling,
        network,
        Probe(coupling, images, torch.arange(24) % 4, Classification(), network),
    )


def test_a_knock_out_is_the_divergence_from_the_network_without_the_block() -> None:
    module, coupling, network, probe = resnet_probe()
    nats = probe(network, seed=0).block_nats
    with torch.no_grad():
        whole = network(images_of(24))
        for block, found in zip(coupling.blocks, nats, strict=True):
            selection = Selection(removed=(block.name,))
            graph = coupling.apply(selection)
            without = build(graph, module.state_dict(), coupling.slices(selection)).eval()
            expected = divergence(whole, without(images_of(24)))
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_shift_is_the_divergence_from_the_prototype() -> None:
    module, coupling, network, probe = resnet_probe()
    assert probe.divergence(network) == pytest.approx(0.0, abs=1e-6)
    selection = Selection({"conv1": tuple(range(7)), "stage3.0.conv1": (1, 5, 60)})
    part = build(coupling.apply(selection), module.state_dict(), coupling.slices(selection)).eval()
    with torch.no_grad():
        expected = divergence(network(images_of(24)), part(images_of(24)))
    assert expected > 1e-4
    assert probe.divergence(part) == pytest.approx(expected, rel=1e-3)


def test_what_a_network_does_not_have_gives_no_number() -> None:
    module, coupling, _, probe = resnet_probe()
    gone = coupling.blocks[0]
    selection = Selection({"conv1": (0, 4, 5), "stage2.0.conv1": (7,)}, (gone.name,))
    part = build(coupling.apply(selection), module.state_dict(), coupling.slices(selection))
    responses = probe(part, seed=0)
    present = {
        group.name: np.flatnonzero(np.isfinite(nats)).tolist()
        for group, nats in zip(coupling.groups, responses.channel_nats, strict=True)
    }
    assert present["conv1"] == [0, 4, 5]
    assert present["stage2.0.conv1"] == [7]
    assert present["stage1.0.conv1"] == []  # inside the removed block
    assert present["stage3.0.conv1"] == list(range(64))
    assert np.isnan(responses.block_nats).tolist() == [True, False, False]
    inner = [group.name for group in coupling.groups].index("stage1.0.conv1")
    assert np.flatnonzero(np.isnan(responses.effective_rank)).tolist() == [inner]


def test_the_same_seed_gives_the_same_responses() -> None:
    _, _, network, probe = resnet_probe()
    one, two, other = probe(network, seed=1), probe(network, seed=1), probe(network, seed=2)
    assert np.concatenate(one.channel_nats).tobytes() == np.concatenate(two.channel_nats).tobytes()
    assert (
        np.concatenate(one.channel_nats).tobytes() != np.concatenate(other.channel_nats).tobytes()
    )
    assert one.target_nats == two.target_nats


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_family_and_its_parts_answer(name: str) -> None:
    module, _ = make(name)
    coupling, network = read(module)
    images = images_of(12)
    probe = Probe(coupling, images, torch.arange(12) % 3, Classification(), network)
    opaque = opaque_modules(coupling.graph, module)
    for seed in range(2):
        selection = random_selection(coupling, seed)
        graph = coupling.apply(selection)
        part = build(graph, module.state_dict(), coupling.slices(selection), opaque=opaque)
        responses = probe(part, seed=seed)
        for group, nats in zip(coupling.groups, responses.channel_nats, strict=True):
            kept = selection.kept.get(group.name, tuple(range(group.size)))
            assert np.isnan(np.delete(nats, kept)).all()
            assert np.isfinite(nats[list(kept)]).all() or np.isnan(nats).all()
        widths = [len(selection.kept.get(g.name, g.channels)) for g in coupling.groups]
        known = np.isfinite(responses.effective_rank)
        assert (responses.effective_rank[known] >= 1 - 1e-9).all()
        assert (responses.effective_rank[known] <= np.array(widths)[known] + 1e-9).all()
        assert all(nats >= 0 for nats in responses.target_nats.values())
        assert responses.images == 12


def test_logits_that_are_a_sum_and_nested_branches_answer() -> None:
    module = Nested()
    coupling, network = read(module)
    images = images_of(12)
    probe = Probe(coupling, images, torch.arange(12) % 3, Classification(), network)
    assert np.isfinite(probe(network, seed=0).block_nats).all()
    inner, outer = coupling.blocks
    assert inner.vertices < outer.vertices
    selection = Selection(removed=(inner.name,))  # then the outer addition doubles the stem
    part = build(coupling.apply(selection), module.state_dict(), coupling.slices(selection))
    assert np.isnan(probe(part, seed=0).block_nats[0])


def test_equal_spread_in_all_directions_has_the_dimension_of_the_channels() -> None:
    # Plus and minus each unit vector: the covariance is a multiple of the identity.
    values = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(values) == pytest.approx(6.0)


def test_one_direction_has_dimension_one() -> None:
    values = torch.randn(50, 1) @ torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    assert effective_rank(values) == pytest.approx(1.0, abs=1e-4)


def test_dimension_is_the_exponential_of_the_spectrums_entropy() -> None:
    # Variances 3 : 1 in two of five channels: exp(H(3/4, 1/4)) = exp(0.5623) = 1.7548.
    values = torch.zeros(4, 5)
    values[0, 1], values[1, 1] = 3.0**0.5, -(3.0**0.5)
    values[2, 4], values[3, 4] = 1.0, -1.0
    assert effective_rank(values) == pytest.approx(1.7548, abs=1e-4)


def test_dimension_counts_positions_as_so_many_more_images() -> None:
    values = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(0))
    flat = values.permute(0, 2, 3, 1).reshape(-1, 3)
    assert effective_rank(values) == pytest.approx(effective_rank(flat))


def test_what_never_changes_has_dimension_one() -> None:
    assert effective_rank(torch.full((8, 3), 2.5)) == 1.0


def test_the_label_itself_tells_nearly_all_of_the_label() -> None:
    # H(Y) = log 4 = 1.386 nats; the reader's penalty keeps some of it back.
    labels = torch.arange(400) % 4
    labels = labels[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    nats = label_information(F.one_hot(labels).float(), labels)
    assert 0.85 * np.log(4) < nats < np.log(4) + 1e-3


def test_half_of_the_label_tells_half_of_it() -> None:
    # Knowing which pair of classes: log 2 of log 4 nats.
    labels = torch.randint(4, (600,), generator=torch.Generator().manual_seed(1))
    nats = label_information(F.one_hot(labels // 2).float(), labels)
    assert nats == pytest.approx(np.log(2), rel=0.15)


def test_noise_tells_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(4, (600,), generator=generator)
    assert label_information(torch.randn(600, 8, generator=generator), labels) < 0.02


def test_a_constant_feature_tells_nothing() -> None:
    labels = torch.arange(40) % 2
    assert label_information(torch.ones(40, 3), labels) == pytest.approx(0.0, abs=1e-3)


def test_unread_parts_of_a_prototype_do_not_disturb() -> None:
    # A head that training used and that nothing returns.
    image = Vertex("image", "input", shape=(3, 4, 4))
    settings = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}

    def conv(name: str, source: str, width: int, channels: int) -> Vertex:
        tensors = {"weight": (width, channels, 1, 1)}
        return Vertex(
            name, "conv", (source,), {**settings, "groups": 1}, (width, 4, 4), tensors, name
        )

    vertices = (
        image,
        conv("a", "image", 5, 3),
        conv("unread", "a", 2, 5),
        Vertex("mean", "mean", ("a",), {"keep": False}, (5,)),
        Vertex("fc", "linear", ("mean",), {}, (3,), {"weight": (3, 5)}, "fc"),
    )
    graph = Graph("two heads", vertices, ("fc",))
    weights = {key: torch.ones(shape) for key, shape in graph.tensor_shapes.items()}
    network = build(graph, weights)
    probe = Probe(couple(graph), images_of(8, 4), torch.arange(8) % 3, Classification(), network)
    assert np.isfinite(probe(network, seed=0).channel_nats[0]).all()
