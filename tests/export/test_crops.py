"""Networks that cut and turn their images: in ONNX Runtime, on every target, in 8 bits."""

import numpy as np
import pytest
import torch

from gensynth.export.acceptance import inspect
from gensynth.export.int8 import Quantizer
from gensynth.export.onnx import to_onnx
from gensynth.export.parity import run_all
from gensynth.export.targets import find_target, names
from gensynth.graph.graph import Graph
from gensynth.network.module import Network, build
from gensynth.space.coupling import couple
from gensynth.trace import trace
from tests.export.int8_files import file_of
from tests.networks.compositions import outputs, random_selection
from tests.networks.cropped import CROPPED
from tests.networks.further import make_any


def cut(name: str, seed: int | None) -> tuple[Network, Graph, tuple[torch.Tensor, ...]]:
    """A network of a family, whole or with channels and blocks taken out at random."""
    module, images = make_any(name)
    coupling = couple(trace(module, images, name=name))
    if seed is None:
        return build(coupling.graph, module.state_dict()), coupling.graph, images
    selection = random_selection(coupling, seed)
    graph = coupling.apply(selection)
    return build(graph, module.state_dict(), coupling.slices(selection)), graph, images


def arrays(network: Network) -> dict[str, np.ndarray]:
    return {key: tensor.numpy() for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize("name", CROPPED)
def test_the_file_computes_what_the_network_does(name: str, seed: int | None) -> None:
    network, graph, images = cut(name, seed)
    found = run_all(to_onnx(graph, arrays(network)), [x.numpy() for x in images])
    for got, wanted in zip(found, outputs(network, images), strict=True):
        assert np.abs(got - wanted.numpy()).max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("target", names())
@pytest.mark.parametrize("name", CROPPED)
def test_every_target_takes_the_file(name: str, target: str) -> None:
    network, graph, _ = cut(name, 3)
    known = find_target(target)
    content = to_onnx(graph, arrays(network), opset=known.opset, batch=1, operators=known.operators)
    assert [str(refusal) for refusal in inspect(content, known).refusals] == []


@pytest.mark.parametrize("target", ["jetson-xavier", "x86-cpu"])
@pytest.mark.parametrize("name", CROPPED)
def test_in_8_bits_cuts_stay_what_they_are(name: str, target: str) -> None:
    network, graph, images = cut(name, None)
    known = find_target(target)
    scheme = "tensorrt" if known.tensorrt else "processor"
    pictures = images[0].numpy()
    content = Quantizer(file_of(graph, arrays(network), target), pictures, scheme).write()
    report = inspect(content, known)
    assert [str(refusal) for refusal in report.refusals] == []
    assert report.operators["QuantizeLinear"] > 0
    found = run_all(content, [pictures], rounding=known.rounding)
    for got, wanted in zip(found, outputs(network, images), strict=True):
        assert np.abs(got - wanted.numpy()).max() <= 0.25 * float(wanted.abs().max())
