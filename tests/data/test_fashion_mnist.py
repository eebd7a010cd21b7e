"""The shipped Fashion-MNIST subset is the official images, whole, balanced and disjoint."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from gensynth.data import fashion_mnist
from gensynth.data.dataset import Dataset
from gensynth.errors import DataError

# (split, place in the split, label, SHA-256 of the image's 784 bytes in the official IDX
# file), read from the official files with gzip alone: bytes 16 + 784 i of the images and
# 8 + i of the labels, i = 0, 29899, 59989; 95, 30876, 59988; 4, 4930, 9999.
OFFICIAL = [
    ("train", 0, 9, "5bd44e331a6d6998daf675700cd0c13dcd7af8ab954b7585124124da61459e7b"),
    ("train", 3000, 5, "a8ce3be2c4ecda9bba9f331a06f993521f72ee91570f14d723cc67b700bc1cb9"),
    ("train", 5999, 1, "1057808d0e13ece05c41a84ecf3ac262fd3541aa21290c1b8e6406727e33018f"),
    ("search", 0, 6, "8cb32885674cb0349771a33215f7ccd9e9365856365fd680925740b16ae635a9"),
    ("search", 750, 8, "34afc38457b5cdfe79ed5e05069bb30217e39f61127b3e85ab9b0ee211ba084b"),
    ("search", 1499, 6, "0f364dc57094b5d10ac4ce4c0c222410f74534740cc78987b4665de3edc497ac"),
    ("test", 0, 6, "ac3cdb4088e8057c4bf558c5cd1c158218e456c9988d37795a69f0c022d9310e"),
    ("test", 1600, 4, "8f1e6e66f3e1bbcc9bf70abc1cdb4ac2613d9796486d911a37cfc190aaf9a433"),
    ("test", 3199, 5, "0e65cd3713adf40ebd419516c1a2256c9e24ad75e86a862368adafd141f4c1bb"),
]


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    return fashion_mnist.load()


@pytest.mark.parametrize(("split", "place", "label", "sha256"), OFFICIAL)
def test_images_and_labels_are_the_official_bytes(
    fashion: Dataset, split: str, place: int, label: int, sha256: str
) -> None:
    part = getattr(fashion, split)
    assert part.labels[place] == label
    assert hashlib.sha256(part.images[place].tobytes()).hexdigest() == sha256


@pytest.mark.parametrize(("split", "each"), [("train", 600), ("search", 150), ("test", 320)])
def test_every_class_has_the_same_number_of_images(fashion: Dataset, split: str, each: int) -> None:
    assert np.bincount(getattr(fashion, split).labels).tolist() == [each] * 10


def test_no_image_is_in_two_splits(fashion: Dataset) -> None:
    def prints(images: np.ndarray) -> set[bytes]:
        return {hashlib.sha256(image.tobytes()).digest() for image in images}

    train, search, test = (
        prints(split.images) for split in (fashion.train, fashion.search, fashion.test)
    )
    assert not train & search
    assert not train & test
    assert not search & test


def test_normalisation_is_that_of_the_training_images(fashion: Dataset) -> None:
    pixels = fashion.train.images.astype(np.float64) / 255
    assert fashion.mean == (round(pixels.mean(), 4),)
    assert fashion.std == (round(pixels.std(), 4),)


def test_one_flipped_bit_is_refused_and_the_file_named(tmp_path: Path) -> None:
    folder = shutil.copytree(fashion_mnist.FOLDER, tmp_path / "fashion")
    path = folder / "search.txt"
    content = bytearray(path.read_bytes())
    content[700] ^= 1  # a label that is as good as any other
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"search\.txt is damaged"):
        fashion_mnist.load(folder)


def test_a_truncated_picture_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(fashion_mnist.FOLDER, tmp_path / "fashion")
    with (folder / "train.png").open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(DataError, match="1000000 bytes; install gensynth again"):
        fashion_mnist.load(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.png is missing"):
        fashion_mnist.load(tmp_path)


def test_the_licence_lies_beside_the_images_and_all_is_at_most_4_2_mb() -> None:
    files = list(fashion_mnist.FOLDER.iterdir())
    licence = (fashion_mnist.FOLDER / "LICENSE").read_text()
    assert "Copyright © 2017 Zalando SE" in licence
    assert "Permission is hereby granted, free of charge" in licence
    assert sum(file.stat().st_size for file in files) <= 4_200_000
