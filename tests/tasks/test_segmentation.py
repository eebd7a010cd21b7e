"""One class a pixel: against torch's own losses, closed forms, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gensynth.data.dataset import Dataset, Split
from gensynth.errors import ConfigError, DataError, PrototypeError
from gensynth.tasks.segmentation import Segmentation
from gensynth.trace import trace
from tests.runs.tiny_masks import Net, squares

TASK = Segmentation()
DRAWS = np.random.default_rng(0)
LOGITS = torch.from_numpy(DRAWS.normal(0, 1, (2, 3, 4, 5)))
OTHERS = torch.from_numpy(DRAWS.normal(0, 1, (2, 3, 4, 5)))
MASKS = torch.from_numpy(DRAWS.integers(0, 3, (2, 4, 5)))


def test_the_loss_is_torchs_with_void_left_out() -> None:
    masks = MASKS.clone()
    masks[0, 0] = 255
    for weights in (None, (1.0, 2.0, 4.0)):
        weight = None if weights is None else torch.tensor(weights)
        torchs = nn.CrossEntropyLoss(weight=weight, ignore_index=255)
        expected = torchs(LOGITS.float(), masks)
        assert torch.equal(Segmentation(weights).loss(LOGITS.float(), masks), expected)


def test_a_batch_of_void_alone_teaches_nothing() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = TASK.loss(logits, torch.full_like(MASKS, 255))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0


def test_the_divergence_is_the_mean_over_pixels_of_p_log_p_over_q() -> None:
    p, q = torch.softmax(OTHERS / 2, 1), torch.softmax(LOGITS / 2, 1)
    by_hand = float((p * (p / q).log()).sum(1).mean())
    assert float(TASK.divergence(LOGITS, OTHERS, 2.0)) == pytest.approx(by_hand)
    assert float(TASK.divergence(LOGITS, LOGITS)) == 0.0


def test_the_slope_of_a_sampled_score_has_the_fisher_information_of_a_pixel_at_random() -> None:
    # For one logit offset b added to class 0 everywhere: E (d log p / db)^2 = p0 (1 - p0).
    logits = LOGITS[:1].float()
    p0 = torch.softmax(logits, 1)[:, 0]
    expected = float((p0 * (1 - p0)).mean())
    draws, count = torch.Generator().manual_seed(0), 4_000
    offset = torch.zeros(count, requires_grad=True)
    shifted = logits.expand(count, -1, -1, -1).clone()
    shifted[:, 0] = shifted[:, 0] + offset[:, None, None]
    score = TASK.sampled_score(shifted, draws).sum()
    (slope,) = torch.autograd.grad(score, offset)
    found = slope.double().square()
    error = float(found.std()) / count**0.5
    assert float(found.mean()) == pytest.approx(expected, abs=4 * error)


def test_a_score_counts_the_pixels_of_all_images() -> None:
    split = Split("search", np.zeros((2, 1, 4, 5), np.uint8), MASKS.numpy().astype(np.uint8))
    score = TASK.evaluate(lambda images: LOGITS[: len(images)], split)
    right = float((LOGITS.argmax(1) == MASKS).double().mean())
    assert score.value == pytest.approx(right)
    assert score.metric == "pixel_accuracy"


def test_masks_go_where_the_pixels_of_their_images_go() -> None:
    from gensynth.data.views import Views

    data = squares()
    images = data.train.images.copy()
    images[:, 0] = np.minimum(data.train.labels, 3) + 1  # the image shows its mask, 0 is padding
    train = Split("train", images, data.train.labels)
    views = Views(data, train, seed=1, targets=TASK.targets(train, "cpu"))
    (batch,) = list(views.epoch(0, 64, limit=1))
    shown = torch.round((batch.images[:, 0] * data.std[0] + data.mean[0]) * 255).long() - 1
    expected = torch.where(shown < 0, 255, torch.where(shown == 3, 255, shown))
    assert torch.equal(batch.targets, expected)


def test_margins_and_strata_are_one_an_image() -> None:
    logits = np.zeros((1, 3, 1, 2))
    logits[0, :, 0] = [[3.0, 0.0], [1.0, 0.5], [2.5, 2.0]]
    assert TASK.margins(logits).tolist() == [pytest.approx((0.5 + 1.5) / 2)]
    masks = np.zeros((4, 2, 2), np.uint8)
    masks[1, 0], masks[2] = 1, 255
    split = Split("train", np.zeros((4, 1, 2, 2), np.uint8), masks)
    assert TASK.strata(split, np.array([0, 1, 3])).tolist() == [0, 1, 0]


def test_information_of_a_value_that_is_the_mask_is_the_entropy_of_its_pixels() -> None:
    masks = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (40, 16, 16)))
    values = torch.stack([masks.float(), 1 - masks.float()], dim=1)
    assert TASK.information(values, masks) == pytest.approx(np.log(2), abs=0.08)
    assert TASK.information(torch.randn(40, 2, 16, 16), masks) < 0.02
    assert TASK.information(torch.randn(40, 7), masks) == 0.0


def test_half_the_resolution_is_read_at_the_same_places() -> None:
    coarse = torch.from_numpy(np.random.default_rng(2).integers(0, 2, (40, 8, 8)))
    masks = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    values = torch.stack([coarse.float(), -coarse.float()], dim=1)
    assert TASK.information(values, masks) == pytest.approx(np.log(2), abs=0.08)


class Answering(nn.Module):
    """A segmenter as others write them, which answers otherwise than is asked here."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(1, 1 if how == "one" else 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        logits: torch.Tensor = self.conv(x)
        if self.how == "pair":
            return {"out": logits, "aux": logits.relu()}
        return nn.functional.avg_pool2d(logits, 4) if self.how == "coarse" else logits


def test_what_is_no_segmenter_of_these_data_is_refused() -> None:
    data = squares()
    image = torch.zeros(1, 1, 16, 16)
    TASK.check(trace(Net(3, 1).eval(), image, name="small"), data)
    with pytest.raises(PrototypeError, match=r"every pixel, \(3, 16, 16\), got .* \(4, 16, 16\)"):
        TASK.check(trace(Net(4, 1).eval(), image, name="small"), data)
    for module, way_out in (
        (Answering("pair"), r'outputs in \[prototype\], such as outputs = \["out"\]'),
        (Answering("coarse"), "let it enlarge its answer to the image"),
    ):
        with pytest.raises(PrototypeError, match=way_out):
            TASK.check(trace(module.eval(), image, name="other"), data)
    part = Split("train", data.test.images, data.test.labels // 255)
    two = replace(data, classes=("ground", "thing"), train=part, search=part, test=part)
    with pytest.raises(PrototypeError, match="let it answer torch.cat"):
        TASK.check(trace(Answering("one").eval(), image, name="other"), two)
    labels = np.zeros(4, np.int64)
    part = Split("train", np.zeros((4, 1, 16, 16), np.uint8), labels)
    classes = Dataset("plain", ("a", "b"), part, part, part, (0.0,), (1.0,))
    with pytest.raises(
        DataError, match="plain has one class an image, which segmentation ca.*--task c"
    ):
        TASK.check(trace(Net(2, 1).eval(), image, name="small"), classes)
    with pytest.raises(ConfigError, match="must be one of pixel_accuracy, class_accuracy, miou"):
        Segmentation(metric="top1")
