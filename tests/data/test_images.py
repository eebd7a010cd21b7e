"""Images that memory does not hold are what they would be if it did."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensynth.data import coco, folder, images, masks
from gensynth.data.dataset import Dataset
from gensynth.data.views import Views
from gensynth.errors import DataError


def noisy(root: Path, per_class: int = 20) -> Path:
    draws = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    """The same folder in memory, and with room for seven of its forty images."""
    root = noisy(tmp_path / "pets")
    whole = folder.load(root)
    monkeypatch.setattr("gensynth.data.images.room_bytes", lambda: 7 * 3 * 8 * 8)
    return whole, folder.load(root)


def test_decoded_images_are_read_as_an_array_is(both: tuple[Dataset, Dataset]) -> None:
    whole, lazy = both
    assert isinstance(whole.train.images, np.ndarray)
    assert isinstance(lazy.train.images, images.Decoded)
    assert (lazy.shape, lazy.mean, lazy.std) == (whole.shape, whole.mean, whole.std)
    for rows in (3, -1, slice(2, 9), slice(None), np.array([5, 0, 5]), slice(0, 0)):
        assert np.array_equal(lazy.train.images[rows], whole.train.images[rows])
    for name in ("train", "search", "test"):
        assert getattr(lazy, name).sha256 == getattr(whole, name).sha256
        assert np.array_equal(getattr(lazy, name).labels, getattr(whole, name).labels)


def test_a_network_sees_the_same_of_both(both: tuple[Dataset, Dataset]) -> None:
    whole, lazy = (list(Views(data, data.train, 3).epoch(1, 4)) for data in both)
    assert len(whole) == len(lazy) == 7
    for one, other in zip(whole, lazy, strict=True):
        assert one.images.equal(other.images)
        assert one.targets.equal(other.targets)


def with_masks(root: Path) -> Dataset:
    draws = np.random.default_rng(0)
    for name in ("train", "val", "test"):
        for kind, shape in (("", (6, 8, 3)), ("annot", (6, 8))):
            (root / f"{name}{kind}").mkdir(parents=True, exist_ok=True)
            for number in range(4):
                pixels = draws.integers(0, 3, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / f"{name}{kind}" / f"{number}.png")
    return masks.load(root)


def with_boxes(root: Path) -> Dataset:
    draws = np.random.default_rng(0)
    root.mkdir(exist_ok=True)
    listed, drawn = [], []
    for number in range(12):
        width, height = (8, 6) if number % 2 else (6, 10)
        pixels = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        split = ("train", "val", "test")[number % 3]
        size = {"width": width, "height": height, "split": split}
        listed.append({"id": number, "file_name": f"{number}.png", **size})
        box = [1, 1, 1 + number % 4, 3]
        drawn.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    kinds = [{"id": 1, "name": "cat"}]
    document = {"images": listed, "annotations": drawn, "categories": kinds}
    (root / "boxes.json").write_text(json.dumps(document))
    return coco.load(root / "boxes.json", size=(12, 16))


@pytest.mark.parametrize("made", [with_masks, with_boxes])
def test_images_with_masks_or_boxes_may_be_more_than_memory_holds(
    made: Callable[[Path], Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(tmp_path / "one")
    one_image = int(np.prod(whole.shape))
    monkeypatch.setattr("gensynth.data.images.room_bytes", lambda: 7 * one_image)
    lazy = made(tmp_path / "one")
    for name in ("train", "search", "test"):
        held, decoded = getattr(whole, name), getattr(lazy, name)
        assert isinstance(held.images, np.ndarray)
        assert isinstance(decoded.images, images.Decoded)
        assert np.array_equal(decoded.images[:], held.images)
        assert np.array_equal(decoded.labels, held.labels)
        assert decoded.sha256 == held.sha256
    (tmp_path / "one").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="No such file"):
        lazy.train.images[:]  # which shows that not all of them stayed


def test_no_more_than_the_room_stays_decoded() -> None:
    asked: list[int] = []

    def decode(place: int) -> np.ndarray:
        asked.append(place)
        return np.full((1, 2, 2), place, np.uint8)

    pictures = images.Decoded(5, decode, (1, 2, 2), room=2 * 4)
    for _ in range(2):
        assert pictures[:][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert sorted(asked) == [0, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("room", [1 << 30, 100])
def test_every_broken_file_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    root = noisy(tmp_path)
    for name in ("cat/04.png", "dog/03.png"):
        (root / name).write_text("not a picture")
    monkeypatch.setattr("gensynth.data.images.room_bytes", lambda: room)
    with pytest.raises(DataError, match=r"cat/04\.png is not .*dog/03\.png is not a whole image"):
        folder.load(root)
