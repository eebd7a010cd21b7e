"""A folder of images by class is read as documented, or refused with the file named."""

import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensynth.data import folder
from gensynth.data.picture import picture as decode
from gensynth.errors import ConfigError, DataError


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def plain(root: Path, per_class: int = 20) -> Path:
    """root/<class>/*: cats and dogs, each picture of its own shade of grey."""
    for offset, name in ((0, "cat"), (100, "dog")):
        for number in range(per_class):
            picture(root / name / f"{number:02}.png", (offset + number,) * 3)
    return root


def cut(root: Path) -> Path:
    """root/<split>/<class>/*: three images a class and split, red cats and blue dogs."""
    for split in ("train", "val", "test"):
        for number in range(3):
            picture(root / split / "cat" / f"{number}.png", (200 + number, 10 + number, 0))
            picture(root / split / "dog" / f"{number}.png", (0, 10 + number, 200 + number))
    return root


def test_a_folder_of_splits_is_taken_as_it_is(tmp_path: Path) -> None:
    dataset = folder.load(cut(tmp_path / "pets"))
    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    for split in (dataset.train, dataset.search, dataset.test):
        assert split.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert split.images[:, 0, 0, 0].tolist() == [200, 201, 202, 0, 0, 0]
        assert split.images[:, 2, 0, 0].tolist() == [0, 0, 0, 200, 201, 202]


def test_a_folder_of_classes_is_cut_in_the_documented_shares(tmp_path: Path) -> None:
    dataset = folder.load(plain(tmp_path))
    # By hand: test is a fifth of 40, search a tenth of the 32 left, rounded.
    assert (len(dataset.train), len(dataset.search), len(dataset.test)) == (29, 3, 8)
    assert np.bincount(dataset.test.labels).tolist() == [4, 4]
    shades = [
        int(image[0, 0, 0])
        for split in (dataset.train, dataset.search, dataset.test)
        for image in split.images
    ]
    assert sorted(shades) == [*range(20), *range(100, 120)]  # none lost, none twice


def test_the_cut_is_the_same_every_time(tmp_path: Path) -> None:
    root = plain(tmp_path)
    one, other = folder.load(root), folder.load(root)
    for name in ("train", "search", "test"):
        assert np.array_equal(getattr(one, name).images, getattr(other, name).images)


def test_bgr_is_rgb_with_the_channels_turned_round(tmp_path: Path) -> None:
    root = cut(tmp_path)
    rgb, bgr = folder.load(root), folder.load(root, colour="bgr")
    assert np.array_equal(bgr.train.images, rgb.train.images[:, ::-1])
    assert bgr.mean == rgb.mean[::-1]


def test_grey_weighs_the_channels_as_itu_r_601_does(tmp_path: Path) -> None:
    dataset = folder.load(cut(tmp_path), colour="grey")
    assert dataset.shape == (1, 8, 8)
    # 0.299 red + 0.587 green + 0.114 blue of (200, 10, 0)
    assert dataset.train.images[0, 0, 0, 0] == round(0.299 * 200 + 0.587 * 10)


def test_normalisation_is_computed_from_the_training_images_alone(tmp_path: Path) -> None:
    root = cut(tmp_path)
    picture(root / "test" / "cat" / "white.png", (255, 255, 255))
    dataset = folder.load(root)
    pixels = dataset.train.images / 255
    assert dataset.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-12)
    assert dataset.std[0] == pytest.approx(pixels[:, 0].std(), abs=1e-12)


def test_a_given_normalisation_stands(tmp_path: Path) -> None:
    given = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    dataset = folder.load(plain(tmp_path), **given)  # type: ignore[arg-type]
    assert (dataset.mean, dataset.std) == (given["mean"], given["std"])


def test_size_keeps_the_centre_and_not_the_ends(tmp_path: Path) -> None:
    root = cut(tmp_path)
    wide = Image.new("RGB", (40, 8), (255, 0, 0))
    wide.paste((0, 255, 0), (12, 0, 28, 8))  # the middle 16 columns are green
    wide.save(root / "train" / "cat" / "0.png")
    image = folder.load(root, size=4).train.images[0]
    assert image.shape == (3, 4, 4)
    assert (image[1] == 255).all()
    assert (image[0] == 0).all()
    assert folder.load(root, size=(4, 6)).train.images[0].shape == (3, 4, 6)


def test_a_picture_on_its_side_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    root = cut(tmp_path)
    lying = Image.new("RGB", (8, 8), (255, 255, 255))
    lying.paste((0, 0, 0), (0, 0, 4, 8))  # black left half
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned 90 degrees clockwise: left becomes top
    lying.save(root / "train" / "cat" / "0.png", exif=exif)
    image = folder.load(root).train.images[0]
    assert (image[:, :4] == 0).all()
    assert (image[:, 4:] == 255).all()


def test_pictures_of_different_shapes_need_a_size(tmp_path: Path) -> None:
    root = cut(tmp_path)
    picture(root / "train" / "dog" / "1.png", (1, 2, 3), size=(9, 7))
    with pytest.raises(DataError, match=r"dog/1\.png has 9 x 7 pixels .* 8 x 8; give a size"):
        folder.load(root)


@pytest.mark.parametrize("name", ["noise.jpg", "notes.txt"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    root = plain(tmp_path)
    (root / "cat" / name).write_text("not a picture")
    with pytest.raises(DataError, match=f"cat/{name} is not a whole image"):
        folder.load(root)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "tif", "ppm"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_image_is_named_in_every_format(
    tmp_path: Path, suffix: str, share: float
) -> None:
    root = plain(tmp_path)
    path = root / "dog" / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=rf"dog/cut\.{suffix} is not a whole image"):
        folder.load(root, size=8)


def test_sixteen_bit_pictures_are_refused_not_clipped(tmp_path: Path) -> None:
    root = plain(tmp_path)
    deep = np.full((8, 8), 40_000, np.uint16)
    Image.fromarray(deep).save(root / "cat" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits"):
        folder.load(root)


def test_hidden_files_are_passed_over_and_links_followed(tmp_path: Path) -> None:
    root = plain(tmp_path / "pets")
    (root / "cat" / ".DS_Store").write_text("left by a desktop")
    (root / "cat" / "Thumbs.db").write_text("left by a desktop")
    (tmp_path / "birds").mkdir()
    for number in range(20):
        picture(tmp_path / "birds" / f"{number}.png", (5, 5, 5))
    (root / "bird").symlink_to(tmp_path / "birds")
    assert folder.load(root).classes == ("bird", "cat", "dog")


def test_a_class_unknown_to_training_is_refused_with_the_nearest(tmp_path: Path) -> None:
    root = cut(tmp_path)
    (root / "test" / "dog").rename(root / "test" / "dogs")
    with pytest.raises(DataError, match=r"test/dogs is no class .* did you mean 'dog'\?"):
        folder.load(root)


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    root = plain(tmp_path)
    (root / "fish").mkdir()
    with pytest.raises(DataError, match="fish is empty"):
        folder.load(root)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two of them, got 0"):
        folder.load(tmp_path)


def test_search_and_val_together_are_refused(tmp_path: Path) -> None:
    root = cut(tmp_path)
    (root / "search").mkdir()
    with pytest.raises(DataError, match="search and val, and both mean the search split"):
        folder.load(root)


def test_an_unknown_colour_order_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rbg'; did you mean 'rgb'"):
        folder.load(plain(tmp_path), colour="rbg")


def test_a_pipe_in_a_class_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    root = plain(tmp_path)
    os.mkfifo(root / "cat" / "0.pipe")
    with pytest.raises(DataError, match=r"0\.pipe is not a whole image: it must be a plain file"):
        folder.load(root, size=8)


def test_a_picture_whose_decoder_asks_for_memory_without_end_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "0.webp", (1, 2, 3))

    def convert(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(DataError, match=r"0\.webp is not a whole image"):
        decode(tmp_path / "0.webp", None, "rgb")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    root = plain(tmp_path)
    Image.new("1", (9000, 9000)).save(root / "cat" / "0.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"0\.png has 81,000,000 pixels, and at most 67,108,864"):
        folder.load(root, size=8)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize(
    "names", [("training", "validation", "testing"), ("Train", "Valid", "TEST"), ("train", "dev")]
)
def test_splits_go_by_every_usual_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, usual in zip(names, ("train", "val", "test"), strict=False):
        cut(tmp_path)
        (tmp_path / usual).rename(tmp_path / f"{name}.moved")
        (tmp_path / f"{name}.moved").rename(tmp_path / name)
    for usual in {"train", "val", "test"} - set(names):
        shutil.rmtree(tmp_path / usual, ignore_errors=True)
    dataset = folder.load(tmp_path)
    given = len(names)
    assert dataset.search.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (len(dataset.train), len(dataset.test)) == ((6, 6) if given == 3 else (5, 1))
    assert ("cut by a fixed draw" in dataset.how) == (given == 2)


def test_a_validation_split_alone_is_refused(tmp_path: Path) -> None:
    shutil.rmtree(cut(tmp_path) / "train")
    with pytest.raises(DataError, match="holds val and test, and nothing to train on"):
        folder.load(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    (plain(tmp_path) / "cat").rename(tmp_path / "train")
    assert folder.load(tmp_path).classes == ("dog", "train")


def test_what_lies_beside_the_images_is_said(tmp_path: Path) -> None:
    root = cut(tmp_path)
    (root / "extra").mkdir()
    (root / "test" / "notes.txt").write_text("mine")
    assert folder.load(root).left_out == (str(root / "extra"), str(root / "test" / "notes.txt"))
