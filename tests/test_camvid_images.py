"""CamVid's experiment reads the official lists and scores answers as the literature does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.camvid import images


@pytest.mark.parametrize("prefix", ["", "/SegNet/CamVid/"])
def test_the_lists_are_read_with_and_without_the_path_of_the_original(
    tmp_path: Path, prefix: str
) -> None:
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
    picture = np.zeros((6, 8, 3), np.uint8)
    picture[..., 2] = 200
    mask = np.full((6, 8), 11, np.uint8)
    mask[0, 0] = 4
    Image.fromarray(picture).save(tmp_path / "val" / "a.png")
    Image.fromarray(mask).save(tmp_path / "valannot" / "a.png")
    (tmp_path / "val.txt").write_text(f"{prefix}val/a.png {prefix}valannot/a.png\n")
    split = images.load(tmp_path, "val")
    assert split.images.shape == (1, 3, 6, 8)
    assert split.images[0, :, 0, 0].tolist() == [0, 0, 200]
    assert (int(split.masks[0, 0, 0]), int(split.masks.sum())) == (4, 4 + 47 * 11)


def test_scores_are_those_of_a_confusion_matrix_worked_by_hand() -> None:
    masks = torch.full((1, 1, 14), images.VOID, dtype=torch.uint8)
    masks[0, 0, :12] = torch.tensor([*range(11), 0])
    answers = torch.zeros(1, 1, 14, dtype=torch.int64)
    answers[0, 0, :11] = torch.arange(11)
    answers[0, 0, 10] = 9  # one bicyclist taken for a pedestrian
    found = images.scores(images.confusion(answers, masks))
    # 11 of 12 pixels that are not void; class accuracy (10 1 + 0) / 11;
    # IoU 1 nine times, 1/2 for the pedestrian, 0 for the bicyclist.
    assert found.pixel_accuracy_pct == pytest.approx(100 * 11 / 12, abs=0.005)
    assert found.class_accuracy_pct == pytest.approx(100 * 10 / 11, abs=0.005)
    assert found.miou_pct == pytest.approx(100 * 9.5 / 11, abs=0.005)
    assert found.iou_pct == (*[100.0] * 9, 50.0, 0.0)


def test_a_view_moves_an_image_and_its_mask_alike() -> None:
    # Each pixel's red is 20 times its class, in stripes broader than what is enlarged.
    mask = (torch.arange(80) // 8).expand(60, 80)
    image = torch.stack([20 * mask, 0 * mask, 0 * mask]).to(torch.uint8)
    split = images.Split(image[None].repeat(4, 1, 1, 1), mask[None].to(torch.uint8).repeat(4, 1, 1))
    augmentation = images.Augmentation(crop=(48, 64), smallest=0.5, light=0.0)
    (seen, masks), *rest = images.views(split, augmentation, seed=0, epoch=0, batch=3)
    assert rest == []  # the fourth image makes no full batch
    red = 255 * (seen[:, 0] * images.STD[0] + images.MEAN[0])
    agree = (red / 20 - masks).abs() < 0.5
    assert float(agree.float().mean()) > 0.97
    assert not torch.equal(masks[0], masks[1])


def test_an_epochs_views_are_the_same_again_and_anothers_are_not() -> None:
    draws = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (2, 3, 30, 40), generator=draws, dtype=torch.uint8)
    split = images.Split(pictures, torch.zeros(2, 30, 40, dtype=torch.uint8))
    augmentation = images.Augmentation(crop=(24, 32), smallest=0.5, light=0.2)
    first, again, other = (
        next(images.views(split, augmentation, seed=0, epoch=epoch, batch=2))[0]
        for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
