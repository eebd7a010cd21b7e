"""Segmenters and detectors read as graphs: the same values, costs and document."""

from typing import Any

import pytest
import torch
from torch import nn

from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph
from gensynth.network.module import build, opaque_modules
from gensynth.trace import trace
from tests.networks.compositions import outputs
from tests.networks.further import make_any

DENSE = ["unet", "pyramid", "deeplab", "refinenet", "ssd", "decoupled"]


@pytest.mark.parametrize("name", DENSE)
def test_a_network_of_dense_answers_is_rebuilt_to_the_last_bit_from_its_document(
    name: str,
) -> None:
    module, images = make_any(name)
    graph = Graph.from_json(trace(module, images, name=name).to_json())
    with torch.no_grad():
        answers = module(*images)
    wanted = answers if isinstance(answers, tuple) else (answers,)
    found = outputs(
        build(graph, module.state_dict(), opaque=opaque_modules(graph, module)).eval(), images
    )
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", DENSE)
def test_its_costs_are_what_its_convolutions_say_while_they_run(name: str) -> None:
    module, images = make_any(name)
    macs = 0

    def count(layer: Any, read: tuple[torch.Tensor, ...], answer: torch.Tensor) -> None:
        nonlocal macs
        # A convolution multiplies at every place it writes, a transposed one at every it reads.
        places = read[0] if isinstance(layer, nn.ConvTranspose2d) else answer
        macs += layer.weight.numel() * places[0, 0].numel()

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(*images)
    found = cost(trace(make_any(name)[0], images, name=name))
    assert found.macs == macs
    assert found.params == sum(p.numel() for p in module.parameters())
