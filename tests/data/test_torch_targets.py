"""Boxes and masks as torchvision's data sets give them are read as they stand, or refused."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gensynth.data.boxes import own_rows
from gensynth.data.dataset import Dataset
from gensynth.data.description import other_labels
from gensynth.data.torch_dataset import as_dataset
from gensynth.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 12, 16, 3), dtype=np.uint8)
MASK = np.array([[0] * 16] * 4 + [[1] * 16] * 4 + [[2] * 15 + [255]] * 4, np.uint8)


class Items:
    """A data set of some targets, one after the other."""

    def __init__(self, *targets: Any, count: int = 40, **attributes: Any) -> None:
        self.given, self.count = targets, count
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[Any, Any]:
        return Image.fromarray(PIXELS[place]), self.given[place % len(self.given)]


def split(*targets: Any, **attributes: Any) -> Dataset:
    parts = {name: Items(*targets, count=4, **attributes) for name in ("train", "val", "test")}
    return as_dataset(parts)


TWO = {
    "boxes": torch.tensor([[1.0, 2.0, 9.0, 8.5], [4.0, 4.0, 16.0, 12.0]]),
    "labels": torch.tensor([2, 1]),
    "iscrowd": torch.tensor([0, 1]),
    "image_id": 7,
}
NONE = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
COCO = [
    {"bbox": [1, 2, 8, 6.5], "category_id": 2, "iscrowd": 0},
    {"bbox": [4, 4, 12, 8], "category_id": 1, "iscrowd": 1},
]


@pytest.mark.parametrize("target", [TWO, COCO], ids=["detectors", "CocoDetection"])
def test_boxes_are_rows_and_images_without_any_are_background(target: Any) -> None:
    data = split(target, NONE if target is TWO else [])
    assert data.classes == ("1", "2")
    assert own_rows(data.train.labels[0]).tolist() == [
        [1, 2, 9, 8.5, 1, 0],
        [4, 4, 16, 12, 0, 1],
    ]
    assert len(own_rows(data.train.labels[1])) == 0
    assert np.array_equal(data.train.images[3], PIXELS[3].transpose(2, 0, 1))


def test_a_background_before_the_classes_is_none() -> None:
    named = split(TWO, classes=["__background__", "cat", "dog"])
    assert named.classes == ("cat", "dog")
    assert own_rows(named.train.labels[0])[:, 4].tolist() == [1, 0]
    from_zero = split(TWO, classes=["cow", "cat", "dog"])
    assert from_zero.classes == ("cow", "cat", "dog")
    assert own_rows(from_zero.train.labels[0])[:, 4].tolist() == [2, 1]
    with pytest.raises(DataError, match="has class 2; the 2 classes are numbered 0 to 1"):
        split(TWO, classes=["cat", "dog"])


@pytest.mark.parametrize(
    "form", [lambda m: m, torch.from_numpy, lambda m: torch.from_numpy(m)[None], Image.fromarray]
)
def test_masks_in_every_usual_form_are_read_and_255_is_void(form: Any) -> None:
    data = split(form(MASK))
    assert data.classes == ("0", "1", "2")
    assert data.void == 255
    assert np.array_equal(data.train.labels[0], MASK)


def test_what_is_missing_is_cut_off_the_training_images_and_said() -> None:
    data = as_dataset(Items(TWO))
    assert [len(s) for s in (data.train, data.search, data.test)] == [29, 3, 8]
    assert data.how == (
        "test is 8 of the images given for train, search is 3 of the images given for train, cut "
        "by a fixed draw"
    )
    images = np.concatenate([data.train.images, data.search.images, data.test.images])
    assert {one.tobytes() for one in images} == {one.transpose(2, 0, 1).tobytes() for one in PIXELS}


def boxes(*corners: list[float], labels: Any = (1,), **more: Any) -> dict[str, Any]:
    return {"boxes": torch.tensor(corners), "labels": torch.tensor(labels), **more}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"labels": torch.tensor([1])}, "must have boxes and labels, got no boxes"),
        (boxes([1.0, 1, 5, 5], labels=(1, 2)), "a label for each box, got 1 boxes and 2"),
        (boxes([1.0, 1, 1, 5]), r"box 0 of train\[0\] of Items .* got \(1, 1, 1, 5\)"),
        (boxes([1.0, 1, 5, 13]), "with an area in 16 x 12 pixels"),
        (boxes([-1.0, 1, 5, 5]), "with an area in 16 x 12 pixels"),
        (boxes([float("nan"), 1, 5, 5]), "with an area in 16 x 12 pixels"),
        (boxes([0.1, 0.1, 0.5, 0.9]), "must be in pixels; they lie in"),
        ([{"bbox": [1, 1, 2, 2]}], "must have bbox and category_id, got no category_id"),
        ([{"bbox": [1, 1, 2, "x"], "category_id": 1}], "must have boxes of numbers"),
        (MASK[:6], r"for each of 16 x 12 pixels, got uint8 of shape \(6, 16\)"),
        (MASK.astype(np.float32), "must hold a whole number for each"),
        (MASK.astype(np.int64) + 300, "classes and 255 for void, got 300 to 555"),
    ],
)
def test_what_is_no_target_is_refused_by_its_place(target: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        split(target)
    assert "train[0] of Items" in str(refused.value)


def test_targets_of_two_kinds_are_refused() -> None:
    with pytest.raises(DataError, match=r"target of train\[1\] of Items must be boxes, as that of"):
        split(TWO, 3)


@pytest.mark.parametrize(
    ("target", "found", "kind"),
    [(TWO, "boxes", "detection"), (MASK, "masks", "segmentation"), (1, "one class an image", "")],
)
def test_labels_of_another_task_are_told_with_the_task_that_they_are_for(
    target: Any, found: str, kind: str
) -> None:
    data, kind = split(target), kind or "classification"
    for taught in ("classification", "segmentation", "detection"):
        said = other_labels(data, taught)
        if taught == kind:
            assert said is None
        else:
            assert said == (
                f'Items has {found}, which {taught} cannot teach; set kind = "{kind}" in [task], '
                f"or --task {kind}"
            )
