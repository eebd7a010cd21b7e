"""What a search is told of a device: joules from watts, and tables beside whole networks."""

import numpy as np
import onnx
import pytest
import torch

from gensynth.bench.estimate.boards.board import Setting
from gensynth.bench.estimate.boards.tensorrt_board import TensorRTBoard
from gensynth.bench.estimate.processor import AveragePower, Processor
from gensynth.bench.estimate.sample import Sample
from gensynth.devices.profiles import find_profile
from gensynth.export.onnx import to_onnx
from gensynth.goals.figure import Figure
from gensynth.prototypes import create
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.trace import trace

NAMES = ("latency_ms", "joule_per_img")


@pytest.fixture(scope="module")
def space() -> Space:
    module = create("resnet8", classes=10, channels=1).eval()
    graph = trace(module, torch.zeros(1, 1, 28, 28), name="resnet8")
    return Space(couple(graph), 4, ("separable",))


def model(space: Space, points: Points, index: int) -> onnx.ModelProto:
    ranking = [np.arange(size) for size in space.sizes]
    graph = space.coupling.apply(space.selection(points, index, ranking))
    weights = {key: np.ones(shape, np.float32) for key, shape in graph.tensor_shapes.items()}
    return onnx.load_from_string(to_onnx(graph, weights))


def narrower(space: Space) -> Points:
    """The prototype, half of it, a quarter of it, and each without its last block."""
    shares = np.array([1, 0.5, 0.25, 1, 0.5, 0.25])[:, None]
    widths = np.maximum(space.sizes * shares, space.floors).astype(np.int64)
    kept = np.ones((6, len(space.coupling.blocks)), bool)
    kept[3:, -1] = False
    return Points(widths, kept, np.zeros((6, len(space.sites)), np.int8))


def test_joules_are_watts_times_seconds_over_images() -> None:
    power = AveragePower.of([4.0, 5.0, 6.0])
    assert power is not None
    joules = power.joules(Figure(20.0, (19.0, 21.0), (18.0, 22.0), "measured", 1), batch=8)
    assert joules.value == pytest.approx(5.0 * 0.020 / 8)
    assert joules.provenance == "calibrated estimate"
    assert joules.interval80[0] < joules.value * 19 / 20  # the power's own doubt is in it


def test_without_a_measured_watt_a_processor_has_no_joules(space: Space) -> None:
    processor = Processor("local", None)
    kernels = processor.kernels(model(space, space.whole(1), 0))
    assert processor.figures(kernels).keys() == {"latency_ms"}
    told = processor.learned([Sample(kernels, 1.0)], [2.0])
    joules = told.figures(kernels)["joule_per_img"]
    assert joules.value == pytest.approx(told.figures(kernels)["latency_ms"].value * 2.0 / 1000)


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_boards_table_sums_to_the_estimate_of_the_whole_network(
    space: Space, precision: str, batch: int
) -> None:
    board = TensorRTBoard("tx2", find_profile("jetson-tx2"), Setting(precision), batch)
    points = narrower(space)
    table = board.table(space, NAMES, model(space, space.whole(1), 0))
    costs = space.with_models(table).costs(points)[:, -2:]
    for index, (ms, joule) in enumerate(costs):
        figures = board.figures(board.kernels(model(space, points, index)))
        assert ms == pytest.approx(figures["latency_ms"].value, rel=0.15), index
        assert joule == pytest.approx(figures["joule_per_img"].value, rel=0.2), index


def test_a_board_that_was_measured_is_estimated_by_its_measurements(space: Space) -> None:
    board = TensorRTBoard("tx2", find_profile("jetson-tx2"), Setting())
    points = narrower(space)
    kernels = [board.kernels(model(space, points, index)) for index in range(6)]
    before = [board.figures(each)["latency_ms"] for each in kernels]
    samples = [Sample(k, 2 * f.value) for k, f in zip(kernels[:5], before, strict=False)]
    told = board.learned(samples, [None] * 5).figures(kernels[5])["latency_ms"]
    assert told.value == pytest.approx(2 * before[5].value, rel=0.15)
    assert told.measurements == 5
    narrow = told.interval95[1] / told.interval95[0]
    assert narrow < before[5].interval95[1] / before[5].interval95[0]
