"""What operators lose, against divergences of networks that have them, and inherited weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gensynth.data.views import Views, normaliser
from gensynth.graph.graph import Selection
from gensynth.network.compute import Compute
from gensynth.network.files import load_network, save_network
from gensynth.network.module import Network, build
from gensynth.probing.operator_probe import beside, switching_nats
from gensynth.probing.probe import Probe
from gensynth.prototypes.checkpoint import load_weights
from gensynth.space.operator_choices import Sites
from gensynth.space.prototype import Prototype, read_prototype
from gensynth.space.substitutes import SUBSTITUTES, inner_channels
from gensynth.tasks.classification import Classification
from gensynth.training.evaluator import Evaluator, recalibrate
from gensynth.training.fit import Teacher
from gensynth.training.patch_moments import patches
from gensynth.training.substitute_weights import centred, fit
from tests.runs import tiny
from tests.training.quarters import evaluator_of, small_resnet

SITES = ("stem", "inner", "narrow")


@pytest.fixture(scope="module")
def prototype(tmp_path_factory: pytest.TempPathFactory) -> Prototype:
    path = tiny.trained(tmp_path_factory.mktemp("weights"))
    module = tiny.net(3, 1)
    load_weights(module, path, name="tiny")
    return read_prototype(module.eval(), (1, tiny.SIDE, tiny.SIDE), name="tiny")


@pytest.fixture(scope="module")
def evaluator(prototype: Prototype) -> Evaluator:
    data, compute = tiny.bars(), Compute()
    views = Views(data, data.train, 0)
    teacher = Teacher(prototype.network(), views, compute)
    return Evaluator(prototype, data, views, teacher, compute, Classification())


@pytest.fixture(scope="module")
def images(evaluator: Evaluator) -> Tensor:
    return normaliser(evaluator.dataset)(torch.from_numpy(evaluator.dataset.train.images))


@pytest.fixture(scope="module")
def probe(evaluator: Evaluator, images: Tensor) -> Probe:
    labels = torch.from_numpy(evaluator.dataset.train.labels)
    return Probe(
        evaluator.prototype.coupling, images, labels, Classification(),
        evaluator.prototype.network().eval(),
    )  # fmt: skip


def log_p(network: Network, images: Tensor, **gates: Tensor) -> Tensor:
    named = {(f"{name}.difference", name): gate for name, gate in gates.items()}
    with torch.no_grad():
        return F.log_softmax(network.eval().gated(images, named), dim=1).double()


def two_answers(evaluator: Evaluator, word: str) -> Network:
    """Return a network that has an operator beside each convolution, by the definition."""
    prototype = evaluator.prototype
    graph, weights = prototype.graph, dict(prototype.weights)
    read = patches(prototype.network().eval(), evaluator.calibration()[0][:128], SITES)
    for name in SITES:
        dense = weights[f"{name}.weight"]
        found = fit(SUBSTITUTES[word], dense, read[name], centred=centred(graph, graph[name]))
        weights[f"{name}.difference.weight"] = found.kernel.float() - dense
        weights[f"{name}.difference.bias"] = found.bias.float()
    return build(beside(graph, SITES), weights)


@pytest.mark.parametrize(
    "word",
    [
        "grouped_2",
        *(pytest.param(w, marks=pytest.mark.slow) for w in ("separable", "smaller_kernel")),
    ],
)
def test_what_a_switch_loses_is_the_divergence_of_a_small_step_toward_it(
    evaluator: Evaluator, probe: Probe, images: Tensor, word: str
) -> None:
    # KL(p || p_step) = step^2 * nats + O(step^3), from outputs alone; draws are averaged.
    sites = Sites(evaluator.prototype.graph, (word,))
    nats = np.mean([switching_nats(evaluator, probe, sites, seed) for seed in range(40)], axis=0)
    both, step = two_answers(evaluator, word), 0.05
    for name, lost in zip(sites.names, nats[:, 0], strict=True):
        gates = {site: torch.zeros(len(images), 1) for site in SITES}
        whole = log_p(both, images, **gates)
        shifts = []
        for signed in (step, -step):  # the cubic term goes
            gates[name] = torch.full((len(images), 1), signed)
            shifted = log_p(both, images, **gates)
            shifts.append(float((whole.exp() * (whole - shifted)).sum(1).mean()))
        assert lost == pytest.approx(np.mean(shifts) / step**2, rel=0.2)


def test_an_operator_that_is_not_allowed_loses_nothing_that_counts(
    evaluator: Evaluator, probe: Probe
) -> None:
    sites = Sites(evaluator.prototype.graph, ("separable", "grouped_4"))
    assert sites.allowed[sites.names.index("stem")].tolist() == [True, True, False]  # grey image
    nats = switching_nats(evaluator, probe, sites, 0)
    assert (nats > 0).tolist() == sites.allowed[:, 1:].tolist()


def test_a_network_beside_itself_computes_the_same(evaluator: Evaluator, images: Tensor) -> None:
    both = two_answers(evaluator, "separable")
    zeros = {site: torch.zeros(len(images), 1) for site in SITES}
    alone = log_p(evaluator.prototype.network(), images)
    assert torch.equal(log_p(both, images, **zeros), alone)


def test_without_operators_a_network_inherits_as_before(
    evaluator: Evaluator, images: Tensor
) -> None:
    prototype = evaluator.prototype
    selection = Selection({"stem": (0, 2, 3, 5)})
    coupling = prototype.coupling
    expected = build(coupling.apply(selection), prototype.weights, coupling.slices(selection))
    evaluator.compute.place(expected)
    recalibrate(expected, evaluator.calibration())
    found = evaluator.inherit(coupling.apply(selection), prototype.weights)
    assert torch.equal(log_p(found, images), log_p(expected, images))


@pytest.mark.parametrize("word", SUBSTITUTES)
def test_inherited_weights_answer_nearer_than_random_ones(
    evaluator: Evaluator, probe: Probe, word: str
) -> None:
    prototype = evaluator.prototype
    selection = Selection({"stem": (0, 1, 3, 5, 6, 7)}, (), {"narrow": word})
    graph = prototype.coupling.apply(selection)
    fitted = evaluator.inherit(graph, prototype.weights)
    dense = evaluator.inherit(
        prototype.coupling.apply(replace(selection, substitutes={})), prototype.weights
    )
    random = evaluator.inherit(graph, prototype.weights)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in random.named_parameters():
        if name.startswith("narrow.") and name.endswith("weight"):
            parameter.data = torch.randn(parameter.shape, generator=generator)
    recalibrate(random, evaluator.calibration())
    assert probe.divergence(fitted) < 0.75 * probe.divergence(random)
    assert torch.equal(fitted.state_dict()["stem.weight"], dense.state_dict()["stem.weight"])


def test_a_network_of_substitutes_that_compute_the_same_responds_the_same(
    evaluator: Evaluator, images: Tensor
) -> None:
    # Convolutions that are separable already are given back, so every channel is worth the
    # same to whoever reads it: within a depthwise convolution a channel is still itself.
    prototype = evaluator.prototype
    weights = dict(prototype.weights)
    for name in ("inner", "narrow"):
        weight = weights[f"{name}.weight"]
        area = weight[:, :, :, 1:2] @ torch.tensor([[0.5, 1.0, 0.7]])
        weights[f"{name}.weight"] = weight[:, :, 1:2, 1:2] * area[:1] / area[:1].abs().mean()
    own = replace(prototype, weights=weights)
    shop = replace(evaluator, prototype=own)
    labels = torch.from_numpy(evaluator.dataset.train.labels)
    probe = Probe(prototype.coupling, images, labels, Classification(), own.network().eval())
    dense = shop.inherit(prototype.graph, weights)
    words = {"inner": "separable", "narrow": "separable"}
    graph = prototype.coupling.apply(Selection({}, (), words))
    ours, theirs = probe(shop.inherit(graph, weights), seed=1), probe(dense, seed=1)
    for found, expected in zip(ours.channel_nats, theirs.channel_nats, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    assert ours.block_nats == pytest.approx(theirs.block_nats, rel=1e-3)


@pytest.mark.parametrize("word", SUBSTITUTES)
def test_substituted_networks_respond_and_give_their_weights_back(
    evaluator: Evaluator, probe: Probe, word: str
) -> None:
    prototype = evaluator.prototype
    selection = Selection({"stem": (0, 2, 3, 5, 7)}, (), {"inner": word, "narrow": word})
    network = evaluator.inherit(prototype.coupling.apply(selection), prototype.weights)
    responses = probe(network, seed=0)
    kept = np.isfinite(responses.channel_nats[0])
    names = [group.name for group in prototype.coupling.groups]
    assert names[0] == "stem"
    assert np.flatnonzero(kept).tolist() == [0, 2, 3, 5, 7]
    assert np.isfinite(responses.block_nats).all()
    absorbed = evaluator.absorb(prototype.weights, network, 0.5)
    assert absorbed.keys() == prototype.weights.keys()
    for name in ("inner", "narrow"):  # none of theirs is the prototype's
        assert torch.equal(absorbed[f"{name}.weight"], prototype.weights[f"{name}.weight"])


def test_a_substituted_network_reads_back_without_the_prototype(
    evaluator: Evaluator, images: Tensor, tmp_path: Path
) -> None:
    prototype = evaluator.prototype
    selection = Selection({}, (), {"inner": "low_rank_2", "narrow": "grouped_4"})
    network = evaluator.inherit(prototype.coupling.apply(selection), prototype.weights)
    save_network(network, tmp_path)
    again = load_network(tmp_path)
    evaluator.compute.place(again)  # channels last, as it was inherited
    assert again.graph.selection == selection
    assert torch.equal(log_p(again, images), log_p(network, images))


def test_resolutions_are_switched_and_inherited_too() -> None:
    shop = evaluator_of(small_resnet())
    prototype, data = shop.prototype, shop.dataset
    images = normaliser(data)(torch.from_numpy(data.train.images))
    whole = prototype.network().eval()
    labels = torch.from_numpy(data.train.labels)
    probe = Probe(prototype.coupling, images, labels, Classification(), whole)
    sites = Sites(prototype.graph, ("low_rank_2", "resolution_1_2"))
    image = prototype.graph.inputs[0].name
    assert sites.names[-1] == image
    nats = switching_nats(shop, probe, sites, 0)
    assert (nats > 0).tolist() == sites.allowed[:, 1:].tolist()

    # Weights are fitted to what is read at that resolution: what has low rank is given back.
    conv = "stage2.0.conv2"
    weights = dict(prototype.weights)
    dense = weights[f"{conv}.weight"]
    rank = inner_channels(dense.shape[1], dense.shape[0], 2)
    down, along = torch.randn(rank, dense.shape[1], 3), torch.randn(dense.shape[0], rank, 3)
    weights[f"{conv}.weight"] = torch.einsum("ria,orb->oiab", down, along) / 10
    small = {image: "resolution_1_2"}
    apply = prototype.coupling.apply
    expected = shop.inherit(apply(Selection(substitutes=small)), weights)
    found = shop.inherit(apply(Selection(substitutes={**small, conv: "low_rank_2"})), weights)
    assert (log_p(found, images) - log_p(expected, images)).abs().max() < 1e-4
    responses = probe(found, seed=0)
    assert all(np.isfinite(nats).all() for nats in responses.channel_nats)
