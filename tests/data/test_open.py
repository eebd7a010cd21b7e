"""A run file's data table opens the data set it names, or says what is wrong with it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensynth.config import DataConfig
from gensynth.data import cifar10, open_dataset
from gensynth.errors import ConfigError, DataError

OWN_MODULE = """
import numpy as np
from gensynth.data.dataset import Dataset, Split

def build():
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    split = Split("train", images, np.array([0, 1]))
    return Dataset("own", ("a", "b"), split, split, split, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

def forgets():
    build()

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working directory, under a name used once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(OWN_MODULE)
    return name


def test_the_default_is_the_shipped_subset() -> None:
    dataset = open_dataset(DataConfig())
    assert dataset.name == "fashion-mnist-subset"
    assert dataset.shape == (1, 28, 28)


def test_a_misspelt_built_in_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown data set 'cifar'; did you mean 'cifar10'"):
        open_dataset(DataConfig(source="cifar"))


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="no folder .*/pictures/pets; it must hold"):
        open_dataset(DataConfig(source="pictures/pets"))


def test_a_folder_is_read_with_the_options_of_the_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    dataset = open_dataset(
        DataConfig(source=str(tmp_path), size=5, colour="grey", mean=(0.5,), std=(0.25,))
    )
    assert dataset.shape == (1, 5, 5)
    assert (dataset.mean, dataset.std) == ((0.5,), (0.25,))


def test_a_factory_of_the_users_own_is_called(own: str) -> None:
    assert open_dataset(DataConfig(source=f"{own}:build")).name == "own"


def test_bgr_turns_images_and_normalisation_round(own: str) -> None:
    rgb = open_dataset(DataConfig(source=f"{own}:build"))
    bgr = open_dataset(DataConfig(source=f"{own}:build", colour="bgr"))
    assert np.array_equal(bgr.test.images[:, 0], rgb.test.images[:, 2])
    assert bgr.mean == (0.3, 0.2, 0.1)


def test_given_normalisation_replaces_that_of_the_source(own: str) -> None:
    dataset = open_dataset(
        DataConfig(source=f"{own}:build", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    )
    assert (dataset.mean, dataset.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_normalisation_for_another_number_of_channels_is_refused() -> None:
    with pytest.raises(DataError, match="1 channels, so mean and std need 1 values each, got 3"):
        open_dataset(DataConfig(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))


@pytest.mark.parametrize("name", ["forgets", "number"])
def test_what_does_not_make_a_dataset_is_refused(own: str, name: str) -> None:
    with pytest.raises(
        DataError, match=r"must (be a function that returns a data|return a gensynth)"
    ):
        open_dataset(DataConfig(source=f"{own}:{name}"))


def test_a_misspelt_factory_is_refused_with_the_nearest(own: str) -> None:
    with pytest.raises(ConfigError, match="no 'biuld'; did you mean 'build'"):
        open_dataset(DataConfig(source=f"{own}:biuld"))


def test_a_size_that_a_ready_made_set_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="28 x 28, got size 32"):
        open_dataset(DataConfig(size=32))


def test_a_folder_for_another_source_than_cifar10_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="where cifar10 or camvid lies"):
        open_dataset(DataConfig(folder=tmp_path))


def test_cifar10_is_read_from_the_folder_given(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_batch_1\.bin is missing"):
        open_dataset(DataConfig(source="cifar10", folder=tmp_path))


def test_cifar10_without_a_folder_is_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Asked:
        cache: Path | None = None

        def download(self, cache: Path) -> Path:
            self.cache = cache
            return tmp_path

    asked = Asked()
    monkeypatch.setattr(cifar10, "download", asked.download)
    with pytest.raises(DataError, match="is missing"):
        open_dataset(DataConfig(source="cifar10"))
    assert asked.cache is not None
    assert asked.cache.name == "gensynth"


def test_importing_the_package_imports_neither_torch_nor_pillow() -> None:
    code = (
        "import sys, gensynth.data, gensynth.prototypes; print({'torch', 'PIL'} & {*sys.modules})"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "set()\n"
