"""A table's sums are what the estimator says of the networks' own kernels."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from gensynth.bench.estimate.calibrated import estimates_of
from gensynth.bench.estimate.convolutions import Image
from gensynth.bench.estimate.estimator import Estimator
from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.bench.estimate.pieces import pieces
from gensynth.bench.estimate.prior import PROCESSOR
from gensynth.bench.estimate.table import tabulate
from gensynth.devices.profiles import find_profile
from gensynth.export.onnx import to_onnx
from gensynth.graph.graph import Vertex
from gensynth.prototypes import create
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.trace import trace


def space_of(name: str, step: int, substitutes: tuple[str, ...] = ()) -> Space:
    module = create(name, classes=10, channels=3).eval()
    return Space(couple(trace(module, torch.zeros(1, 3, 32, 32), name=name)), step, substitutes)


def drawn(space: Space, count: int) -> Points:
    random, step = np.random.default_rng(0), space.round_to
    share = random.uniform(0.3, 1, (count, len(space.sizes)))
    widths = np.maximum(space.floors, np.round(space.sizes * share / step).astype(int) * step)
    chosen = None
    if len(space.sites):
        scores = np.where(
            space.sites.allowed, random.random((count, *space.sites.allowed.shape)), -1
        )
        chosen = scores.argmax(axis=2).astype(np.int8)
    kept = random.random((count, len(space.coupling.blocks))) < 0.8
    return Points(np.minimum(space.sizes, widths), kept, chosen)


def file_of(space: Space, points: Points, index: int) -> onnx.ModelProto:
    ranking = [np.arange(size) for size in space.sizes]
    graph = space.coupling.apply(space.selection(points, index, ranking))
    weights = {key: np.ones(shape, "f") for key, shape in graph.tensor_shapes.items()}
    return onnx.load_from_string(to_onnx(graph, weights, batch=1))


def planned_ms(space: Space, points: Points, estimator: Estimator) -> np.ndarray:
    found = []
    for index in range(len(points)):
        kernels = plan(file_of(space, points, index), 16)
        found.append(estimator.latency_ms(kernels).value)
    return np.array(found)


@pytest.mark.parametrize(
    ("name", "step", "substitutes", "most"),
    [
        ("resnet8", 1, ("separable", "low_rank_2", "grouped_2"), 0.04),
        ("resnet8", 4, (), 0.03),
        pytest.param("mobilenet", 16, (), 0.03, marks=pytest.mark.slow),
    ],
)
def test_a_table_sums_to_the_estimate_of_the_networks_own_kernels(
    name: str, step: int, substitutes: tuple[str, ...], most: float
) -> None:
    space, estimator = space_of(name, step, substitutes), Estimator.fit([], PROCESSOR)
    points = drawn(space, 6)
    table = tabulate(estimator, space, device="pi", block=16)
    assert table.names == ("latency_ms@pi",)
    costs = space.with_models(table).costs(points)[:, -1]
    errors = np.abs(costs / planned_ms(space, points, estimator) - 1)
    assert np.median(errors) < most
    assert (
        errors.max() < 0.25
    )  # where a neighbour is plain that its own widths would let be blocked


class Mixed(nn.Module):
    """Two linear layers at every position of an image, as mixers and ConvNeXt have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Linear(32, 10)
        self.wide, self.narrow = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) -> (batch, 10)."""
        x = torch.relu(self.stem(x)).permute(0, 2, 3, 1)
        x = self.narrow(torch.relu(self.wide(x))).permute(0, 3, 1, 2)
        found: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return found


def test_a_linear_layer_of_an_image_is_estimated_at_all_its_positions() -> None:
    space = Space(couple(trace(Mixed().eval(), torch.zeros(1, 3, 16, 16), name="mixed")), 8)
    estimator, points = Estimator.fit([], PROCESSOR), space.whole(1)
    table = tabulate(estimator, space, block=16)
    told = space.with_models(table).costs(points)[:, -1]
    assert told == pytest.approx(planned_ms(space, points, estimator), rel=0.1)
    board = estimates_of("tx2", find_profile("jetson-tx2"), precision="fp16", batch=1)
    ms = board.table(space, ("latency_ms",), file_of(space, points, 0)).tables
    wide, head = (space.vertices.index(name) for name in ("wide", "head"))
    assert ms[wide][0, -1, -1, 0] > ms[head][0, -1, -1, 0]  # 256 positions of it


def test_a_step_off_the_block_costs_and_the_table_says_so() -> None:
    # 18 channels are no multiple of 4: the convolutions that read them are plain, and slower.
    space = space_of("resnet8", 1)
    table = tabulate(Estimator.fit([], PROCESSOR), space, block=16)
    costed = space.with_models(table)
    points = space.whole(2)
    group = int(np.argmax(space.sizes == 32))
    points.widths[:, group] = 20, 18
    aligned, odd = costed.costs(points)[:, -1]
    assert odd > aligned


@pytest.mark.parametrize("name", sorted(SUBSTITUTES))
def test_a_chain_has_the_convolutions_of_the_graphs_substitute(name: str) -> None:
    for read, written in ((16, 32), (15, 31)):
        attributes = {
            "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1,
        }  # fmt: skip
        source = Vertex("x", "input", (), {}, (read, 8, 8))
        tensors = {"weight": (written, read, 3, 3)}
        conv = Vertex("c", "conv", ("x",), attributes, (written, 8, 8), tensors, "c")
        graph = [v for v in SUBSTITUTES[name].chain(conv, source) if v.op == "conv"]
        chain = pieces(
            Image(1, 64, 8, 8, (3, 3), 1), 1, name, np.array([read]), np.array([written])
        )
        shapes = [
            (int(p.written[0]), int(p.read[0]) // int(np.max(p.groups)), *p.image.kernel)
            for p in chain
        ]
        assert shapes == [v.tensors["weight"] for v in graph]
