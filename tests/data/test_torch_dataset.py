"""Data sets as PyTorch has them are read to the byte, or refused with the way out."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from gensynth.data import custom
from gensynth.data.torch_dataset import as_dataset
from gensynth.errors import DataError

TURNS = itertools.count()  # a transform by chance: now and then it does what it did before
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 8, 3), dtype=np.uint8)


class Pairs(TorchDataset[Any]):
    """Images in some form, alternately of two classes."""

    def __init__(self, form: Any, count: int = 40, **attributes: Any) -> None:
        self.form, self.count = form, count
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[Any, Any]:
        return self.form(PIXELS[place]), place % 2


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """As torchvision's ToTensor."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float().div(255)


FORMS: dict[str, Any] = {
    "pil": Image.fromarray,
    "array": lambda image: image,
    "tensor": lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy()),
    "float": to_tensor,
}


@pytest.mark.parametrize("form", FORMS)
def test_images_in_every_usual_form_keep_their_bytes(form: str) -> None:
    dataset = as_dataset({"training": Pairs(FORMS[form]), "val": Pairs(FORMS[form], 6),
                          "test": Pairs(FORMS[form], 5)})  # fmt: skip
    assert np.array_equal(dataset.train.images[:], PIXELS.transpose(0, 3, 1, 2))
    assert [len(s) for s in (dataset.train, dataset.search, dataset.test)] == [40, 6, 5]
    assert dataset.train.labels[:3].tolist() == [0, 1, 0]


def test_one_object_is_cut_as_a_folder_is() -> None:
    dataset = as_dataset(Pairs(Image.fromarray, classes=["cat", "dog"]), "pets")
    assert (dataset.name, dataset.classes) == ("pets", ("cat", "dog"))
    assert [len(s) for s in (dataset.train, dataset.search, dataset.test)] == [29, 3, 8]


def made() -> Pairs:
    return Pairs(Image.fromarray)


def test_a_factory_may_return_one() -> None:
    assert custom.load(f"{__name__}:made").name == "made"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (Pairs(lambda i: (to_tensor(i) - 0.5) / 0.5), "leave Normalize out of its transform"),
        (Pairs(lambda i: np.roll(i, next(TURNS) // 4, 1)), "another image every time"),
        (Pairs(lambda i: i[:, : 4 + int(i[0, 0, 0]) % 3]), "all must have one shape"),
        ({"test": made()}, "needs training images"),
        ({"train": made(), "holdout": made()}, "splits must be train, val and test"),
        ({"train": 3}, "must be a torch.utils.data.Dataset"),
        ([1, 2, 3], r"must be \(image, label\), got int 1"),
        ([(PIXELS[0], "cat")] * 9, "a class's number for a label, got str 'cat'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(given: Any, what: str) -> None:
    with pytest.raises(DataError, match=what):
        as_dataset(given)
