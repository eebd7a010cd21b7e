"""What a detector is taught and asked, against closed forms and hand calculations."""

import math
import sys

import numpy as np
import pytest
import torch

from gensynth.data.boxes import Boxes
from gensynth.data.dataset import Dataset, Split
from gensynth.errors import ConfigError, DataError, PrototypeError
from gensynth.prototypes.detectnet import DetectNet
from gensynth.tasks import detectnet
from gensynth.tasks.anchor_free import (
    Scales,
    distribution_focal,
    flattened,
    generalised_overlap,
    pairwise_overlap,
)
from gensynth.tasks.boxes import detect, overlap
from gensynth.tasks.detection import Detection
from gensynth.tasks.detectnet import Grid
from gensynth.trace import trace
from tests.runs import tiny_boxes

TASK = Detection()
ROWS = torch.tensor(
    [[[8.0, 8, 24, 40, 1, 0], [40, 4, 60, 30, 0, 0]], [[0, 0, 64, 64, 0, 1], [0, 0, 0, 0, -1, 0]]]
)
TARGETS = Boxes(ROWS, 64, 64)


def maps(seed: int, kind: str, batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Logits of two classes and boxes: a grid of 4 x 4, or scales of 8 x 8 and 4 x 4."""
    draws = torch.Generator().manual_seed(seed)
    if kind == "grid":
        shapes = [(2, 4, 4), (4, 4, 4)]
    else:
        bins = 5 if kind == "bins" else 1
        shapes = [(2, 8, 8), (4 * bins, 8, 8), (2, 4, 4), (4 * bins, 4, 4)]
    return tuple(torch.randn(batch, *shape, generator=draws).double() for shape in shapes)


KINDS = ("grid", "bins", "distances")


def test_a_grid_is_covered_where_the_middle_of_an_object_is() -> None:
    logits = torch.zeros(2, 2, 4, 4)
    covered, ignored, true = Grid().assigned(logits, TARGETS)
    # Centres at 8, 24, 40, 56. The first object's middle is (16, 24), 16 x 32 pixels: within half
    # of the larger of 0.4 and 20 pixels, at most itself: x in 8..24, y in 14..34.
    assert covered[0, 1].nonzero().tolist() == [[1, 0], [1, 1]]
    # The second's is (50, 17), x in 40..60 and y in 7..27.
    assert covered[0, 0].nonzero().tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert true[0, :, 1, 1].tolist() == [-1, -1, 0, 1]  # of the cell at (24, 24), in 16 pixels
    assert not covered[1].any()
    assert ignored[1].all()


def test_the_loss_of_a_grid_is_squares_of_coverage_and_distances_of_corners_by_hand() -> None:
    logits, corners = (each.float() for each in maps(0, "grid"))
    covered, _, true = Grid().assigned(logits, TARGETS)
    weights = torch.where(covered > 0, detectnet.COVERED_WEIGHT, 1.0)
    squares = (weights * (torch.sigmoid(logits) - covered) ** 2 / 2)[0].sum()  # the second: ignored
    away = ((corners - true).abs().sum(1) * covered.amax(1)).sum()
    cells = 6 + 1  # covered in the first image, and at least one in the second
    expected = (squares + detectnet.BOX_WEIGHT * away) / cells
    assert float(TASK.loss((logits, corners), TARGETS)) == pytest.approx(float(expected))


def test_a_grid_learns_from_nothing_which_few_of_its_many_cells_are_covered() -> None:
    # A feature marks the one covered cell of 400: a bias and its weight are all that is learned.
    targets = Boxes(torch.tensor([[[100.0, 100, 112, 112, 0, 0]]]), 320, 320)
    marks = Grid().assigned(torch.zeros(1, 1, 20, 20), targets)[0]
    assert marks.sum() == 1
    bias = DetectNet(inceptions=("3a",)).coverage.bias
    assert bias is not None
    own = [bias.detach().clone().requires_grad_(), torch.zeros(1, requires_grad=True)]
    optimizer = torch.optim.SGD(own, lr=0.05, momentum=0.9, nesterov=True)
    for _ in range(100):
        optimizer.zero_grad()
        logits = own[0] + own[1] * marks
        loss = Grid().loss((logits, torch.zeros(1, 4, 20, 20)), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    shares = torch.sigmoid(logits.detach())
    assert float(shares[marks > 0]) > 0.5
    assert float(shares[marks == 0].max()) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_of_a_network_from_itself_is_nothing_and_from_another_positive(
    kind: str,
) -> None:
    first, second = maps(0, kind), maps(1, kind)
    assert float(TASK.divergence(first, first)) == pytest.approx(0, abs=1e-12)
    assert float(TASK.divergence(first, second)) > 0
    # It is not softened: what training multiplies by T^2 is the divergence at T = 1.
    assert 16 * float(TASK.divergence(first, second, 4.0)) == pytest.approx(
        float(TASK.divergence(first, second))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_sampled_scores_slope_has_the_divergences_curvature(kind: str) -> None:
    # KL(p || p + e d) = e^2 / 2 E[(d log p / de)^2]: the divergence's own second difference says
    # what the mean square of the slope must be. A Laplace has no second derivative at its centre,
    # but KL = r - 1 + exp(-r) of a distance r has the curvature 1 / scale^2 too.
    count, step = 3_000, 1e-3
    base, push = maps(0, kind, 1), maps(1, kind, 1)
    moved = tuple(b + step * p for b, p in zip(base, push, strict=True))
    expected = 2 * float(TASK.divergence(moved, base)) / step**2
    gate = torch.zeros(count, dtype=torch.double, requires_grad=True)
    shifted = tuple(
        b.expand(count, -1, -1, -1) + gate[:, None, None, None] * p
        for b, p in zip(base, push, strict=True)
    )
    score = TASK.sampled_score(shifted, torch.Generator().manual_seed(0)).sum()
    (slope,) = torch.autograd.grad(score, gate)
    found = slope.square()
    error = float(found.std()) / math.sqrt(count)
    assert float(found.mean()) == pytest.approx(expected, abs=4 * error + 0.01 * expected)


def test_generalised_overlap_is_by_hand_and_falls_where_boxes_part() -> None:
    first = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 2, 2]])
    second = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 6, 2]])
    # Apart: 0 - (12 - 8) / 12 of the hull; half over: 8 / 24 - 0.
    assert generalised_overlap(first, second).tolist() == pytest.approx([1, 1 / 3, -1 / 3])
    pairs = pairwise_overlap(first[None], second[None])[0].numpy()
    assert pairs == pytest.approx(overlap(first.numpy(), second.numpy()), abs=1e-6)


def test_a_side_between_two_bins_is_taught_as_both_by_nearness() -> None:
    logits = torch.randn(4, 6)
    log_p = logits.log_softmax(-1)
    found = distribution_focal(logits[None], torch.tensor([[2.25, 0.0, 4.5, 9.0]]))[0]
    expected = [
        -(0.75 * log_p[0, 2] + 0.25 * log_p[0, 3]), -log_p[1, 0],
        -(0.5 * log_p[2, 4] + 0.5 * log_p[2, 5]), -log_p[3, 5],
    ]  # fmt: skip
    assert found.tolist() == pytest.approx([float(e) for e in expected], abs=0.01)


def test_cells_go_to_the_object_that_they_lie_in_and_their_best_target_is_the_best_overlap() -> (
    None
):
    cells = flattened(tuple(each.float() for each in maps(3, "bins")), 64)
    quality, goal, ignored = Scales().assigned(cells, TARGETS)
    inside = quality.amax(-1) > 0
    x, y = cells.centres.unbind(1)
    for image, cell in inside.nonzero().tolist():
        left, top, right, bottom = goal[image, cell].tolist()
        assert left < float(x[cell]) < right
        assert top < float(y[cell]) < bottom
    shared = pairwise_overlap(goal[:1], cells.boxes()[:1])[0].diagonal()
    first = inside[0] & (goal[0, :, 0] == 8)
    assert float(quality[0, first].max()) == pytest.approx(max(float(shared[first].max()), 1e-2))
    assert not inside[1].any()
    assert ignored[1].all()


@pytest.mark.parametrize(
    "kind", ["grid", "distances", pytest.param("bins", marks=pytest.mark.slow)]
)
def test_maps_that_are_taught_by_the_loss_alone_decode_to_the_true_boxes(kind: str) -> None:
    # The maps themselves are what is trained, so nothing but loss and decoding is at work.
    own = [m.float()[:1].mul(0.01).requires_grad_() for m in maps(0, kind)]
    targets = Boxes(ROWS[:1], 64, 64)
    optimizer = torch.optim.Adam(own, lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        TASK.loss(tuple(own), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = detect([m.detach()[0].numpy() for m in own], TASK.how(tuple(own), 64, 64))
    found = found[found[:, 4] > 0.5]
    assert sorted(found[:, 5].tolist()) == [0, 1]
    for row in found:
        (true,) = ROWS[0][ROWS[0][:, 4] == row[5]].numpy()
        assert overlap(row[None], true[None])[0, 0] > 0.8


def test_a_batch_without_any_box_can_be_trained_on() -> None:
    for kind in KINDS:
        own = tuple(m.float().requires_grad_() for m in maps(0, kind))
        for rows in (torch.zeros(2, 0, 6), torch.tensor([[[0.0, 0, 0, 0, -1, 0]]] * 2)):
            loss = TASK.loss(own, Boxes(rows, 64, 64))
            loss.backward()  # type: ignore[no-untyped-call]
            assert math.isfinite(float(loss.detach()))


def test_information_of_a_value_that_shows_the_object_is_more_than_of_noise() -> None:
    data = tiny_boxes.squares()
    targets = TASK.targets(data.train, "cpu")(torch.arange(64))
    covered, _, _ = Grid().assigned(torch.zeros(64, 2, 8, 8), targets)
    assert TASK.information(covered, targets) > 0.5
    assert TASK.information(torch.randn(64, 2, 8, 8), targets) < 0.1
    assert TASK.information(torch.randn(64, 5), targets) == 0.0


def test_strata_are_the_largest_objects_class_and_background() -> None:
    split = Split("train", np.zeros((2, 1, 64, 64), np.uint8), ROWS.numpy())
    assert TASK.strata(split, np.array([0, 1])).tolist() == [1, 0]


def test_a_missing_evaluator_is_told_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = trace(tiny_boxes.grid(2, 1).eval(), torch.zeros(1, 1, 32, 32), name="grid")
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ConfigError, match=r"pip install 'gensynth\[detection\]'"):
        TASK.check(graph, tiny_boxes.squares())


def test_what_is_no_detector_of_these_data_is_refused() -> None:
    data, image = tiny_boxes.squares(), torch.zeros(1, 1, 32, 32)
    for kind in ("grid", "scales"):
        TASK.check(trace(getattr(tiny_boxes, kind)(2, 1).eval(), image, name=kind), data)
        with pytest.raises(PrototypeError, match=r"a map of logits \(2, rows, columns\)"):
            TASK.check(trace(getattr(tiny_boxes, kind)(3, 1).eval(), image, name=kind), data)
    graph = trace(tiny_boxes.grid(2, 1).eval(), image, name="grid")
    part = Split("train", np.zeros((4, 1, 32, 32), np.uint8), np.zeros(4, np.int64))
    classes = Dataset("plain", ("a", "b"), part, part, part, (0.0,), (1.0,))
    with pytest.raises(
        DataError, match="plain has one class an image, which detection can.*--task c"
    ):
        TASK.check(graph, classes)
    wrong = data.train.labels.copy()
    wrong[0, 0] = [30, 2, 40, 10, 0, 0]
    split = Split("train", data.train.images, wrong)
    outside = Dataset("o", ("a", "b"), split, data.search, data.test, (0.0,), (1.0,))
    with pytest.raises(DataError, match="every box of o must have an area within its image of 32"):
        TASK.check(graph, outside)
    with pytest.raises(ConfigError, match="must be one of ap50, map, got 'top1'"):
        Detection(metric="top1")
