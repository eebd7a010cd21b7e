"""Segmenters and detectors for the TX2: taken by it, and computing what torch computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.export.acceptance import inspect
from gensynth.export.from_torch import from_network
from gensynth.export.parity import check_network
from gensynth.export.targets import find_target
from gensynth.network.module import build, opaque_modules
from gensynth.space.coupling import couple
from gensynth.trace import trace
from tests.networks.compositions import random_selection
from tests.networks.further import make_any

TX2 = find_target("jetson-tx2")
DENSE = ["unet", "pyramid", "deeplab", "refinenet", "ssd", "decoupled"]
SIZES = [(16, 16), (46, 60)]
"""Squares; sides whose halves and quarters are odd."""


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", DENSE)
def test_a_network_of_dense_answers_is_taken_by_the_tx2_and_computes_the_same(
    name: str, size: tuple[int, int]
) -> None:
    module, _ = make_any(name)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    graph = trace(module, images[:1], name=name)
    coupling = couple(graph)
    selection = random_selection(coupling, 1)
    weights, opaque = module.state_dict(), opaque_modules(graph, module)
    for network in (
        build(graph, weights, opaque=opaque),
        build(coupling.apply(selection), weights, coupling.slices(selection), opaque=opaque),
    ):
        content = from_network(network, opset=13, batch=1, operators=TX2.operators)
        inspect(content, TX2).require()
        assert check_network(content, network.eval(), images).holds


class Enlarged(nn.Module):
    """A convolution's answer, enlarged in one of the ways that segmenters do."""

    def __init__(self, size: tuple[int, int], corners: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.size, self.corners = size, corners

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), self.size, mode="bilinear", align_corners=self.corners)


@pytest.mark.parametrize("corners", [False, True], ids=["half_pixel", "align_corners"])
@pytest.mark.parametrize(
    ("read", "size"),
    [
        ((24, 30), (23, 30)),  # CamVid's coarsest features to the next finer: 12 to 23 rows
        ((46, 60), (45, 60)),
        ((90, 120), (90, 120)),
        ((90, 120), (360, 480)),
        ((14, 14), (1, 1)),
    ],
)
def test_enlarging_for_the_tx2_agrees_with_torch_at_the_sizes_of_segmenters(
    read: tuple[int, int], size: tuple[int, int], corners: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Enlarged(size, corners).eval()
    images = torch.randn(2, 3, *read, generator=torch.Generator().manual_seed(1))
    network = build(trace(module, images[:1], name="enlarged"), module.state_dict()).eval()
    # Torch works out positions in float32.
    for batch in (None, 1):
        content = from_network(network, opset=13, batch=batch, operators=TX2.operators)
        assert check_network(content, module, images, tolerance=2e-5).holds
    inspect(content, TX2).require()
