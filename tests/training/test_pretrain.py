"""Training a prototype leaves weights and a record that say the same, and repeats itself."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.views import Views
from gensynth.errors import DataError, RunError
from gensynth.network.compute import Compute
from gensynth.training.fit import Recipe, Teacher
from gensynth.training.pretrain import train_prototype

RECIPE = Recipe(epochs=3, batch=16, peak_lr=0.05)


def bars() -> Dataset:
    """Two classes told apart by where the light is: the upper or the lower half."""
    draws = np.random.default_rng(0)
    labels = np.arange(96, dtype=np.int64) % 2
    images = draws.integers(0, 60, (96, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :4] += 150
    images[labels == 1, :, 4:] += 150
    split = Split("train", images, labels)
    return Dataset("bars", ("up", "down"), split, split, split, (0.4,), (0.3,), Augmentation(pad=1))


def test_the_record_says_what_the_weights_are_and_what_they_reached(tmp_path: Path) -> None:
    network = train_prototype("resnet8", bars(), tmp_path, recipe=RECIPE, compute=Compute())
    weights = tmp_path / "resnet8-bars.safetensors"
    record = json.loads((tmp_path / "resnet8-bars.json").read_text())
    assert record["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["recipe"]["epochs"] == 3
    assert record["environment"]["torch"] == torch.__version__
    # Counted again from the weights kept, by hand.
    kept = load_file(weights)
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in kept.items())
    data = bars()
    images = torch.from_numpy(data.search.images).float() / 255
    with torch.no_grad():
        answers = network((images - 0.4) / 0.3).argmax(dim=1).numpy()
    assert record["search"]["correct"] == int((answers == data.search.labels).sum())
    assert record["search"]["top1_pct"] > 90  # the halves are easy to tell apart


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch=16)
    prints = []
    for number, seed in enumerate((0, 0, 1)):
        torch.rand(number)  # what was drawn before must not matter
        folder = tmp_path / str(number)
        train_prototype("resnet8", bars(), folder, recipe=recipe, seed=seed, compute=Compute())
        prints.append((folder / "resnet8-bars.safetensors").read_bytes())
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(RunError, match="no folder .*taken for the trained prototype"):
        train_prototype("resnet8", bars(), tmp_path / "taken", recipe=RECIPE, compute=Compute())


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch=128)
    with pytest.raises(DataError, match="got 96 images and batches of 128"):
        train_prototype("resnet8", bars(), tmp_path, recipe=recipe, compute=Compute())
    assert not list(tmp_path.iterdir())


def test_a_training_function_of_ones_own_trains_the_prototype_too(tmp_path: Path) -> None:
    def own(network: nn.Module, views: Views, recipe: Recipe, teacher: Teacher | None) -> None:
        assert (recipe, teacher, len(views)) == (RECIPE, None, 96)
        with torch.no_grad():
            network.get_parameter("fc.bias").fill_(3.0)

    network = train_prototype(
        "resnet8", bars(), tmp_path, recipe=RECIPE, compute=Compute(), trainer=own
    )
    assert torch.equal(network.get_parameter("fc.bias"), torch.full((2,), 3.0))
