"""Folders of images and masks: layouts that are read, and what is said of others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensynth.data.masks import VOID, load
from gensynth.errors import DataError

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
    with pytest.raises(DataError, match="holds neither train.txt, or folders train and trainannot"):
        load(tmp_path, classes=NAMES)
    made(tmp_path)
    (tmp_path / "valannot" / "b.png").unlink()
    with pytest.raises(DataError, match=r"val/b.png has no mask; .*valannot must hold one named b"):
        load(tmp_path, classes=NAMES, void=11)
    for name in ("none.png", 300 * "a"):  # the second is longer than any file's
        (listed(tmp_path, "") / "train.txt").write_text(f"train/a.png trainannot/{name}\n")
        with pytest.raises(DataError, match=rf"train.txt, line 1: no file trainannot/{name} below"):
            load(tmp_path, classes=NAMES, void=11)
