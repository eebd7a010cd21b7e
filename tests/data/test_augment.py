"""Training images are changed as is asked, the same in every run, and by default as suits them."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from gensynth.data.augment import augmented_as
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.labelled import suits_mirroring
from gensynth.data.views import Views
from gensynth.errors import ConfigError, DataError


def plain(labels: np.ndarray | None = None) -> Dataset:
    """Sixteen images, each of its own shade, with a bright first column."""
    images = np.tile(np.arange(16, dtype=np.uint8)[:, None, None, None], (1, 1, 8, 8))
    images[..., 0] = 255
    split = Split("train", images, np.arange(16) % 2 if labels is None else labels)
    names = ("cat", "dog")
    return Dataset("plain", names, split, split, split, (0.0,), (1 / 255,), Augmentation(1, True))


def seen(dataset: Dataset, batch: int = 4, epoch: int = 0) -> torch.Tensor:
    views = Views(dataset, dataset.train, seed=1).epoch(epoch, batch)
    return torch.cat([one.images for one in views]).round()


def brighter(image: torch.Tensor) -> torch.Tensor:
    """Add a number drawn from torch's generator."""
    return image + torch.randint(1, 100, (), dtype=torch.uint8)


def halved(image: torch.Tensor) -> torch.Tensor:
    return image[:, ::2]


def test_none_leaves_every_image_as_it_is() -> None:
    images = seen(augmented_as(plain(), ["none"]))
    assert (images[..., 0] == 255).all()
    assert sorted(images[:, 0, 0, 1].tolist()) == list(range(16))


def test_flip_alone_mirrors_about_half_and_crops_nothing() -> None:
    images = seen(augmented_as(plain(), ["flip"]))
    mirrored = images[:, 0, 0, 7] == 255
    assert (mirrored ^ (images[:, 0, 0, 0] == 255)).all()
    assert 0 < int(mirrored.sum()) < 16
    assert (images[:, 0, :, 3] == images[:, 0, :1, 3]).all()  # no padding comes into view


def test_ones_own_function_is_drawn_anew_each_epoch_and_the_same_in_every_run() -> None:
    dataset = augmented_as(plain(), [f"{__name__}:brighter"])
    before = torch.random.get_rng_state()
    one = seen(dataset)
    assert one.equal(seen(dataset, batch=8))  # however an epoch is cut into batches
    assert not one.equal(seen(dataset, epoch=1))
    assert torch.random.get_rng_state().equal(before)
    order = seen(augmented_as(plain(), ["none"]))
    added = (one - order)[:, 0, 0, 1]
    assert ((added >= 1) & (added < 100)).all()
    assert len(set(added.tolist())) > 8


def test_a_policy_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    v2 = SimpleNamespace(TrivialAugmentWide=lambda: lambda image: 255 - image)
    transforms = ModuleType("torchvision.transforms")
    for name, module in (("torchvision", ModuleType("torchvision")),
                         ("torchvision.transforms", transforms),
                         ("torchvision.transforms.v2", v2)):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    images = seen(augmented_as(plain(), ["trivialaugment"]))
    assert sorted(images[:, 0, 0, 1].tolist()) == list(range(240, 256))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["mirror"], r"unknown augment 'mirror' in \[data\]"),
        (["none", "flip"], '"none" alone'),
        ([f"{__name__}:absent"], "has no 'absent'"),
    ],
)
def test_what_cannot_be_meant_is_refused(names: list[str], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        augmented_as(plain(), names)


def test_masks_are_only_cropped_and_mirrored() -> None:
    masks = plain(np.zeros((16, 8, 8), np.uint8))
    assert augmented_as(masks, ["crop", "flip"]).augmentation == Augmentation(1, True)
    with pytest.raises(ConfigError, match="changes images and not what is marked in them"):
        augmented_as(masks, ["randaugment"])


def test_a_function_that_gives_back_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"must give back a uint8 tensor of shape \(1, 8, 8\)"):
        seen(augmented_as(plain(), [f"{__name__}:halved"]))


@pytest.mark.parametrize(
    ("classes", "mirrored"),
    [
        (["cat", "dog", "9 to 5"], True), (["0", "1", "10"], False), (["A", "b"], False),
        (["0 - zero", "1 - one"], False), (["turn-left", "stop"], False), (["Sign_30"], False),
        (["t-shirt/top", "bag"], True),
    ],
)  # fmt: skip
def test_digits_letters_and_signs_are_not_mirrored(classes: list[str], mirrored: bool) -> None:
    assert suits_mirroring(classes) == mirrored
