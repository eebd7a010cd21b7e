"""Prototypes are made by name or from the user's module, and shipped weights fit them."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binomtest
from torch import nn

from gensynth.data import fashion_mnist
from gensynth.errors import ConfigError, PrototypeError
from gensynth.graph.cost import cost
from gensynth.network.compute import Compute
from gensynth.network.outputs import as_list
from gensynth.prototypes import REGISTRY, create, shipped
from gensynth.prototypes.detectnet import DetectNet
from gensynth.tasks.classification import Classification
from gensynth.trace import trace
from gensynth.training.evaluator import score

OWN_MODULE = """
import torch

def plain():
    return torch.nn.Linear(4, 2)

def sized(classes, width=3):
    return torch.nn.Linear(width, classes)

def open_ended(**sizes):
    return torch.nn.Linear(sizes["channels"], sizes["classes"])

ready = torch.nn.Linear(5, 5)
number = 3

def forgets():
    plain()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working directory, under a name used once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"nets_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(OWN_MODULE)
    return name


@pytest.mark.parametrize("name", REGISTRY)
def test_every_registered_prototype_gives_a_logit_a_class_of_images_of_its_channels(
    name: str,
) -> None:
    network = create(name, classes=7, channels=1).eval()
    places = {"refinenet": (16, 16), "detectnet": (1, 1), "small_detector": (2, 2)}.get(name, ())
    logits = as_list(network(torch.zeros(2, 1, 16, 16)))[0]  # a detector's boxes come after
    assert logits.shape == (2, 7, *places)


# He et al., arXiv:1512.03385, table 6, gives 0.27, 0.46 and 0.85 million with parameter-free
# shortcuts. Two 1x1 convolutions with batch norm add 16 32 + 32 64 + 2 (32 + 64) = 2,752.
@pytest.mark.parametrize(
    ("name", "millions"), [("resnet20", 0.27), ("resnet32", 0.46), ("resnet56", 0.85)]
)
def test_the_sizes_are_those_of_the_paper(name: str, millions: float) -> None:
    network = create(name, classes=10, channels=3)
    count = sum(parameter.numel() for parameter in network.parameters()) - 2_752
    assert round(count / 1e6, 2) == pytest.approx(millions, abs=0.005)


def test_detectnet_has_the_size_of_the_one_in_digits_but_for_norms() -> None:
    # GoogLeNet's convolutions without biases, by its authors' table: 5.97 million parameters with
    # the two heads of one class; batch norms, which DIGITS has none of, are left out of the count.
    network = DetectNet(width=1.0)
    weights = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    assert round(weights / 1e6, 2) == pytest.approx(5.97, abs=0.01)
    graph = trace(network.eval(), torch.zeros(1, 3, 96, 320), name="detectnet")
    assert [graph[output].shape for output in graph.outputs] == [(1, 6, 20), (4, 6, 20)]


@pytest.mark.parametrize(
    ("name", "sizes", "published"),
    [
        # Howard et al., arXiv:1704.04861, with 10 classes and a stride-1 stem at 32 x 32, as
        # others count it: 3.217 million parameters, 46.35 million MACs. By hand, the MACs of
        # the stem, the depthwise, the pointwise convolutions and the last layer:
        # 884,736 + 1,419,264 + 44,040,192 + 10,240.
        ("mobilenet", (3_217_226, 46_354_432), ((3.217, 3), (46.35, 2))),
        # Ma et al., arXiv:1807.11164, at CIFAR size: 0.35 million parameters and 10.9 million
        # MACs. By hand: stem 663,552, stages 2,045,952 + 3,197,952 + 1,838,592, conv5
        # 3,145,728, last layer 10,240.
        ("shufflenet", (352_042, 10_902_016), ((0.35, 2), (10.9, 1))),
    ],
)
def test_the_sizes_of_efficient_networks_are_the_published_ones(
    name: str, sizes: tuple[int, int], published: tuple[tuple[float, int], ...]
) -> None:
    network = create(name, classes=10, channels=3)
    found = cost(trace(network, torch.zeros(1, 3, 32, 32), name=name))
    assert (found.params, found.macs) == sizes
    assert found.params == sum(parameter.numel() for parameter in network.parameters())
    for count, (millions, places) in zip(sizes, published, strict=True):
        assert round(count / 1e6, places) == millions


@pytest.mark.parametrize("name", REGISTRY)
def test_an_untrained_prototype_tells_images_apart(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create(name, classes=7, channels=3).eval()
        first, second = as_list(network(torch.randn(2, 3, 16, 16)))[-1].detach()
    assert float((first - second).abs().max() / first.abs().max()) > 0.01


def test_a_misspelt_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown prototype 'resnet_20'; did you mean 'resnet20'"):
        create("resnet_20", classes=10, channels=3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("plain", (2, 4)), ("sized", (6, 3)), ("open_ended", (6, 1)), ("ready", (5, 5))],
)
def test_a_factory_gets_the_sizes_it_takes(own: str, name: str, shape: tuple[int, int]) -> None:
    network = create(f"{own}:{name}", classes=6, channels=1)
    assert isinstance(network, nn.Linear)
    assert tuple(network.weight.shape) == shape


@pytest.mark.parametrize(("name", "kind"), [("number", "int"), ("forgets", "NoneType")])
def test_what_is_no_module_is_refused(own: str, name: str, kind: str) -> None:
    with pytest.raises(PrototypeError, match=f"torch.nn.Module, got {kind}"):
        create(f"{own}:{name}", classes=6, channels=1)


def test_no_weights_ship_for_a_pair_that_was_never_trained() -> None:
    assert shipped("resnet56", "fashion-mnist") is None
    assert shipped("nets:resnet8", "fashion-mnist") is None


def test_the_quickstart_prototype_reaches_its_recorded_search_accuracy() -> None:
    path = shipped("resnet8", "fashion-mnist")
    assert path is not None
    assert path == shipped("resnet8", "fashion-mnist-subset")
    assert path.stat().st_size <= 1_000_000
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    network = create("resnet8", classes=10, channels=1)
    network.load_state_dict(load_file(path))
    dataset = fashion_mnist.load()
    search = record["search"]
    assert search["n"] == len(dataset.search)
    # Another processor rounds otherwise: an image or two may fall on the other side.
    found = score(network, dataset, dataset.search, Compute(), Classification())
    assert found.to_document()["correct"] == pytest.approx(search["correct"], abs=2)


def test_the_recorded_interval_is_scipys_wilson_interval() -> None:
    path = shipped("resnet8", "fashion-mnist")
    assert path is not None
    search = json.loads(path.with_suffix(".json").read_text())["search"]
    interval = binomtest(search["correct"], search["n"]).proportion_ci(method="wilson")
    assert search["interval_pct"] == pytest.approx(
        [100 * interval.low, 100 * interval.high], abs=0.01
    )
