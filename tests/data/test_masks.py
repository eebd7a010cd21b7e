"""Folders of images and masks: layouts that are read, and what is said of others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gensynth.config import DataConfig
from gensynth.data import open_dataset
from gensynth.data.dataset import Dataset
from gensynth.data.masks import VOID, load
from gensynth.errors import ConfigError, DataError

MASK = np.array([[0, 0, 1, 1], [1, 1, 2, 11]], np.uint8)
NAMES = ("sky", "road", "car")


def write(folder: Path, name: str, pixels: np.ndarray, mode: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette([channel for entry in range(256) for channel in (entry, 0, 0)])
    image.save(path)
    return path


def made(root: Path, mask: np.ndarray = MASK, mode: str | None = None) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("a.png", "b.png"):
            write(root / split, name, random.integers(0, 256, (2, 4, 3), np.uint8))
            write(root / f"{split}annot", name, mask, mode)
    return root


def listed(root: Path, before: str) -> Path:
    for split in ("train", "val", "test"):
        lines = [f"{before}{split}/{n}.png {before}{split}annot/{n}.png" for n in "ab"]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("before", ["", "/SegNet/CamVid/"])
def test_lists_with_and_without_the_path_of_another_machine_are_read(
    tmp_path: Path, before: str
) -> None:
    data = load(listed(made(tmp_path), before), classes=NAMES, void=11)
    assert [len(split) for split in (data.train, data.search, data.test)] == [2, 2, 2]
    assert data.classes == NAMES
    assert data.shape == (3, 2, 4)
    first = np.asarray(Image.open(tmp_path / "train" / "a.png")).transpose(2, 0, 1)
    assert np.array_equal(data.train.images[0], first)
    assert data.train.labels[0].tolist() == [[0, 0, 1, 1], [1, 1, 2, VOID]]


@pytest.mark.parametrize("mode", [None, "P"])
def test_folders_without_lists_are_paired_by_name_and_palettes_are_numbers(
    tmp_path: Path, mode: str | None
) -> None:
    data = load(made(tmp_path, mode=mode), classes=NAMES, void=11)
    assert data.test.labels[1].tolist() == [[0, 0, 1, 1], [1, 1, 2, VOID]]


def test_void_may_be_the_first_number_and_classes_may_go_unnamed(tmp_path: Path) -> None:
    data = load(made(tmp_path), void=0)
    assert data.classes == ("1", "2", "11")
    assert data.train.labels[0].tolist() == [[VOID, VOID, 0, 0], [0, 0, 1, 2]]
    named = load(made(tmp_path / "named", np.minimum(MASK, 2)), classes=("road", "car"), void=0)
    assert named.train.labels[0].tolist() == [[VOID, VOID, 0, 0], [0, 0, 1, 1]]


def test_a_mask_with_a_number_of_no_class_is_named_with_its_share(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(DataError, match=r"annot/a.png holds 11, in 12 % .* 0 to 2 and void 9"):
        load(tmp_path, classes=NAMES, void=9)


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    write(made(tmp_path) / "valannot", "b.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(DataError, match=r"valannot/b.png has 4 x 3 pixels and its .* 4 x 2"):
        load(tmp_path, classes=NAMES, void=11)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    write(tmp_path / "test", "b.png", np.zeros((2, 5, 3), np.uint8))
    write(tmp_path / "testannot", "b.png", np.zeros((2, 5), np.uint8))
    with pytest.raises(DataError, match=r"test/b.png has 5 x 2 pixels and .*train/a.png 4 x 2"):
        load(tmp_path, classes=NAMES, void=11)


def test_a_mask_in_colour_is_refused(tmp_path: Path) -> None:
    write(made(tmp_path) / "trainannot", "a.png", np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"trainannot/a.png must be a mask of one number a pixel"):
        load(tmp_path, classes=NAMES, void=11)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither train.txt, nor folders train and trainanno"):
        load(tmp_path, classes=NAMES)
    made(tmp_path)
    (tmp_path / "valannot" / "b.png").unlink()
    with pytest.raises(DataError, match=r"val/b.png has no mask; .*valannot must hold one named b"):
        load(tmp_path, classes=NAMES, void=11)
    for name in ("none.png", 300 * "a"):  # the second is longer than any file's
        (listed(tmp_path, "") / "train.txt").write_text(f"train/a.png trainannot/{name}\n")
        with pytest.raises(DataError, match=rf"train.txt, line 1: no file trainannot/{name} below"):
            load(tmp_path, classes=NAMES, void=11)


def turned(path: Path, orientation: int, size: tuple[int, int]) -> None:
    picture = Image.fromarray(np.arange(3 * size[0] * size[1], dtype=np.uint8).reshape(*size, 3))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


def test_masks_turn_with_pictures_that_exif_turns(tmp_path: Path) -> None:
    # Orientation 6: what is stored is turned clockwise to be seen, as Pillow does.
    made(tmp_path)
    for split in ("train", "val", "test"):
        for name in ("a.png", "b.png"):
            turned(tmp_path / split / name, 6, (2, 4))
    data = load(tmp_path, classes=NAMES, void=11)
    assert data.shape == (3, 4, 2)
    expected = np.asarray(Image.fromarray(MASK).transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(np.where(expected == 11, VOID, expected), data.train.labels[0])
    turned(tmp_path / "train" / "b.png", 3, (4, 2))
    write(tmp_path / "trainannot", "b.png", np.zeros((4, 2), np.uint8))
    with pytest.raises(DataError, match=r"train/b.png is turned by its EXIF .orientation 3. and"):
        load(tmp_path, classes=NAMES, void=11)


def test_a_mask_of_no_image_is_named_as_left_out(tmp_path: Path) -> None:
    (made(tmp_path) / "train" / "b.png").unlink()
    data = load(tmp_path, classes=NAMES, void=11)
    assert data.left_out == (str(tmp_path / "trainannot" / "b.png"),)


@pytest.mark.parametrize("folder", ["train", "trainannot"])
def test_two_files_of_one_name_are_refused(tmp_path: Path, folder: str) -> None:
    write(made(tmp_path) / folder, "a.bmp", MASK)
    with pytest.raises(DataError, match=rf"{folder} holds a.bmp and a.png; an image and its mask"):
        load(tmp_path, classes=NAMES, void=11)


def test_an_image_of_two_splits_is_refused(tmp_path: Path) -> None:
    listed(made(tmp_path), "")
    (tmp_path / "test.txt").write_text("train/a.png trainannot/a.png\n")
    with pytest.raises(DataError, match=r"train/a.png is in train and in test; leave it in one"):
        load(tmp_path, classes=NAMES, void=11)


def test_the_usual_void_is_not_taken_for_a_class_in_silence(tmp_path: Path) -> None:
    made(tmp_path, np.where(MASK == 11, 255, MASK).astype(np.uint8))
    with pytest.raises(DataError, match=r"hold 255 beside 3 other numbers, .*; set void = 255 in"):
        load(tmp_path)
    binary = load(made(tmp_path / "binary", np.uint8(255) * (MASK == 1)))
    assert binary.classes == ("0", "255")


def test_masks_of_too_few_and_too_many_classes_are_refused(tmp_path: Path) -> None:
    made(tmp_path, np.full_like(MASK, 11))
    with pytest.raises(DataError, match="hold 0 classes; telling apart takes two"):
        load(tmp_path, void=11)
    with pytest.raises(ConfigError, match="tells 255 classes and the void apart, got 257"):
        load(tmp_path, classes=[f"class {n}" for n in range(257)])


def test_what_a_run_file_says_of_masks_fits_or_is_refused(tmp_path: Path) -> None:
    made(tmp_path)

    def opened(kind: str = "segmentation", **given: Any) -> Dataset:
        return open_dataset(DataConfig(**{"source": str(tmp_path), **given}), kind)

    assert opened(classes=NAMES, void=11).classes == NAMES
    with pytest.raises(
        ConfigError, match=r"size in \[data\] is for images by class and with boxes"
    ):
        opened(size=16, classes=NAMES)
    with pytest.raises(DataError, match=r"no folder .*gone; it must hold images and masks"):
        opened(source=str(tmp_path / "gone"), classes=NAMES, void=11)
    with pytest.raises(ConfigError, match=r"a.png is a file, and segmentation reads folders$"):
        opened(source=str(tmp_path / "train" / "a.png"), classes=NAMES)
    with pytest.raises(
        DataError, match=r"hold no folders of images by class; if masks .*--task se"
    ):
        opened("classification")
