"""Boxes from COCO's JSON: what is read, what becomes of it, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from gensynth.config import DataConfig
from gensynth.config_file import read
from gensynth.data import coco, open_dataset
from gensynth.data.boxes import BoxTargets, own_rows, stacked
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.description import described
from gensynth.data.pictured import in_letterbox, letterbox
from gensynth.data.views import Moves, Views
from gensynth.errors import ConfigError, DataError

SIZES = {"a.png": (40, 24), "b.png": (40, 24), "c.png": (40, 24)}


def document(**changes: Any) -> dict[str, Any]:
    images = [
        {"id": n, "file_name": name, "width": w, "height": h, "split": split}
        for n, ((name, (w, h)), split) in enumerate(
            zip(SIZES.items(), ("train", "val", "test"), strict=True), start=1
        )
    ]
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 3, 10, 8], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 3, "bbox": [20, 4, 6.5, 12], "iscrowd": 1},
        {"id": 3, "image_id": 3, "category_id": 3, "bbox": [0, 0, 40.5, 24]},
    ]
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    return {"images": images, "annotations": boxes, "categories": categories, **changes}


def written(root: Path, content: dict[str, Any], sizes: dict[str, tuple[int, int]] = SIZES) -> Path:
    for number, (name, size) in enumerate(sizes.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", size, (40 * number + 40, 90, 200))
        picture.paste((0, 0, 0), (0, 0, 4, 4))  # a spread in every channel
        picture.save(root / name)
    file = root / "boxes.json"
    file.write_text(json.dumps(content))
    return file


def test_boxes_are_corners_and_classes_stand_in_the_order_of_their_ids(tmp_path: Path) -> None:
    data = coco.load(written(tmp_path, document()))
    assert data.classes == ("dog", "cat")
    assert own_rows(data.train.labels[0]).tolist() == [
        [2, 3, 12, 11, 1, 0],
        [20, 4, 26.5, 16, 0, 1],
    ]
    # Half a pixel beyond the image is a rounding, and is cut off.
    assert own_rows(data.test.labels[0]).tolist() == [[0, 0, 40, 24, 0, 0]]


def test_an_image_without_boxes_is_background(tmp_path: Path) -> None:
    data = coco.load(written(tmp_path, document()))
    assert len(own_rows(data.search.labels[0])) == 0


def test_a_run_file_reads_a_json_file_or_a_folder_of_one_a_split(tmp_path: Path) -> None:
    whole = document()
    file = written(tmp_path, whole)
    one = open_dataset(DataConfig(source=str(file)), "detection")
    root = tmp_path / "apart"
    (root / "annotations").mkdir(parents=True)
    names = {"train": "instances_train2017", "val": "instances_val2017", "test": "test"}
    for image in whole["images"]:
        own = [a for a in whole["annotations"] if a["image_id"] == image["id"]]
        part = {**whole, "images": [{**image}], "annotations": own}
        split = part["images"][0].pop("split")
        (root / "annotations" / f"{names[split]}.json").write_text(json.dumps(part))
        folder = root / names[split].removeprefix("instances_")
        folder.mkdir()
        Image.open(tmp_path / image["file_name"]).save(folder / image["file_name"])
    several = open_dataset(DataConfig(source=str(root)), "detection")
    for split in ("train", "search", "test"):
        assert getattr(one, split).sha256 == getattr(several, split).sha256


def test_a_json_file_for_another_task_is_refused_with_the_task_that_it_may_be_for(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, document())
    for kind in ("classification", "segmentation"):
        with pytest.raises(ConfigError, match=f"is a file, and {kind} reads folders; .*detection"):
            open_dataset(DataConfig(source=str(file)), kind)


def test_images_of_no_split_are_cut_the_same_way_each_time(tmp_path: Path) -> None:
    sizes = {f"{n}.png": (16, 16) for n in range(20)}
    images = [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 16} for n in range(20)]
    file = written(tmp_path, document(images=images, annotations=[]), sizes)
    first, second = coco.load(file), coco.load(file)
    assert [len(s) for s in (first.train, first.search, first.test)] == [14, 2, 4]
    assert first.test.sha256 == second.test.sha256


def test_chosen_classes_leave_the_others_as_background(tmp_path: Path) -> None:
    data = coco.load(written(tmp_path, document()), classes=("cat",))
    assert own_rows(data.train.labels[0]).tolist() == [[2, 3, 12, 11, 0, 0]]


def test_a_letterbox_keeps_proportions_and_boxes_stay_on_what_they_show() -> None:
    image = np.zeros((3, 20, 40), np.uint8)
    image[:, 4:12, 10:30] = 255
    rows = np.array([[10, 4, 30, 12, 0, 0]], np.float32)
    square, moved = letterbox(image, 80), in_letterbox(rows, (40, 20), 80)
    assert moved[0, :4].tolist() == [20, 28, 60, 44]  # twice as large, 20 black rows above
    left, top, right, bottom = moved[0, :4].astype(int)
    bright = square > 127
    assert bright[:, top:bottom, left:right].mean() > 0.95
    assert bright.sum() == pytest.approx(3 * 40 * 16, rel=0.05)


def test_a_letterbox_of_two_sides_fills_the_narrower() -> None:
    rows = np.array([[10, 4, 30, 12, 0, 0]], np.float32)
    boxed = letterbox(np.full((3, 20, 40), 255, np.uint8), (30, 80))
    moved = in_letterbox(rows, (40, 20), (30, 80))
    assert moved[0, :4].tolist() == [25, 6, 55, 18]  # 1.5 times as large, 10 black columns left
    assert (boxed > 127).any(axis=(0, 1)).sum() == 60
    assert (boxed > 127).any(axis=(0, 2)).all()


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    sizes = {**SIZES, "b.png": (30, 30)}
    content = document()
    content["images"][1].update(width=30, height=30)
    file = written(tmp_path, content, sizes)
    with pytest.raises(DataError, match=r"b.png has 30 x 30 pixels and .*a.png 40 x 24; give a"):
        coco.load(file)
    assert coco.load(file, size=32).shape == (3, 32, 32)
    assert coco.load(file, size=(24, 40)).shape == (3, 24, 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"bbox": [35, 2, 10, 5]},
            r"box 1 reaches from \(35, 2\) to \(45, 7\), beyond its image a",
        ),
        ({"bbox": [-4, 2, 10, 5]}, "beyond its image a.png of 40 x 24"),
        (
            {"bbox": [5, 2, 0, 5]},
            r"box 1 must have an area in a.png of 40 x 24 pixels, got 0 x 5 pixels at \(5, 2\)",
        ),
        ({"bbox": [-0.5, 2, 0.25, 5]}, "must have an area in a.png"),
        ({"bbox": [40.25, 2, 0.5, 5]}, "must have an area in a.png"),
        ({"bbox": [5, 2, 1e-9, 5]}, "must have an area in a.png"),
        ({"bbox": [5, 2, -3, 5]}, "must have an area"),
        ({"bbox": [5, 2, 3]}, "is not COCO's JSON: annotations"),
        ({"bbox": [5, 2, 3, 4, 5]}, r"annotations\[0\].bbox must have at most 4 items, not 5, got"),
        ({"category_id": 9}, r"box 1 is of category 9; the file has \[3, 7\]"),
        ({"image_id": 9}, "box 1 is of image 9, which is not in the file"),
    ],
)
def test_what_is_no_box_is_refused_by_its_file_and_number(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    content = document()
    content["annotations"][0].update(change)
    with pytest.raises(DataError, match=message) as refused:
        coco.load(written(tmp_path, content))
    assert "boxes.json" in str(refused.value)


def test_files_that_are_missing_damaged_or_of_another_size_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file .*gone.json"):
        coco.load(tmp_path / "gone.json")
    file = written(tmp_path, document())
    Image.new("RGB", (41, 24)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match="c.png has 41 x 24 pixels, and its boxes are of 40 x 24"):
        coco.load(file)
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="c.png is not a whole image"):
        coco.load(file)
    (tmp_path / "c.png").unlink()
    with pytest.raises(DataError, match="names the image c.png, which is not in"):
        coco.load(file)
    content = document()
    content["images"][0]["file_name"] = 300 * "a"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="names the image a*, which is not in"):
        coco.load(file)
    file.write_text("{")
    with pytest.raises(DataError, match="boxes.json is not COCO's JSON"):
        coco.load(file)


def moved_by_pixels(
    rows: np.ndarray, top: int, left: int, pad: int, *, mirrored: bool
) -> list[int]:
    """Where a box of whole pixels goes, by moving an image that shows it."""
    image = np.zeros((24, 40), np.uint8)
    x0, y0, x1, y1 = rows[:4].astype(int)
    image[y0:y1, x0:x1] = 1
    crop = np.pad(image, pad)[top : top + 24, left : left + 40]
    crop = crop[:, ::-1] if mirrored else crop
    ys, xs = np.nonzero(crop)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(ys) else []


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (6, 4), (12, 12), (3, 11)])
def test_boxes_go_where_the_pixels_of_their_images_go(top: int, left: int, mirrored: bool) -> None:
    rows = np.array([[2, 3, 12, 11, 1, 0], [30, 14, 38, 24, 0, 0]], np.float32)
    split = Split("train", np.zeros((1, 3, 24, 40), np.uint8), stacked([rows]))
    moves = Moves(6, torch.tensor([top]), torch.tensor([left]), torch.tensor([mirrored]))
    found = BoxTargets(split)(torch.tensor([0]), moves).rows[0].numpy()
    for row, own in zip(rows, found, strict=True):
        assert own[:4].tolist() == moved_by_pixels(row, top, left, 6, mirrored=mirrored)


def test_what_a_crop_cuts_is_ignored_if_less_than_half_is_left_and_nobody_if_nothing_is() -> None:
    rows = np.array([[0, 0, 10, 10, 0, 0], [0, 0, 2, 10, 0, 0], [8, 0, 18, 10, 0, 0]], np.float32)
    split = Split("train", np.zeros((1, 3, 24, 40), np.uint8), stacked([rows]))
    moves = Moves(6, torch.tensor([6]), torch.tensor([12]), torch.tensor([False]))
    found = BoxTargets(split)(torch.tensor([0]), moves).rows[0]
    assert found[:, 4].tolist() == [0, -1, 0]
    assert found[:, 5].tolist() == [1, 1, 0]


def test_images_with_other_numbers_of_boxes_are_collated_in_one_batch() -> None:
    some = [
        np.array([[1, 1, 5, 5, 0, 0]] * count, np.float32).reshape(-1, 6) for count in (2, 0, 3)
    ]
    split = Split("train", np.zeros((3, 1, 8, 8), np.uint8), stacked(some))
    data = Dataset("d", ("a",), split, split, split, (0.0,), (1.0,), Augmentation(0, flip=False))
    (batch,) = Views(data, split, 0, targets=BoxTargets(split)).epoch(0, 3)
    assert batch.targets.rows.shape == (3, 3, 6)
    assert sorted((batch.targets.rows[:, :, 4] >= 0).sum(1).tolist()) == [0, 2, 3]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn", ["stored", "upright"])
def test_boxes_stay_on_what_they_show_when_exif_turns_their_picture(
    tmp_path: Path, orientation: int, drawn: str
) -> None:
    # Pillow turns the pixels; the box must lie where the bright ones are then.
    file = written(tmp_path, document())
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[3:11, 2:12] = 255
    box, size = [2, 3, 10, 8], (40, 24)
    picture = Image.fromarray(stored)
    exif = picture.getexif()
    exif[0x0112] = orientation
    for name in SIZES:
        picture.save(tmp_path / name, exif=exif)
    if drawn == "upright":
        upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
        ys, xs = np.nonzero(upright[:, :, 0])
        box = [int(x) for x in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)]
        size = (upright.shape[1], upright.shape[0])
    content = document(
        annotations=[{"id": n, "image_id": n, "category_id": 7, "bbox": box} for n in (1, 2, 3)]
    )
    for image in content["images"]:
        image.update(width=size[0], height=size[1])
    file.write_text(json.dumps(content))
    if orientation in (2, 3, 4):  # as wide and as high either way
        with pytest.raises(DataError, match=rf"a.png is turned .* \(orientation {orientation}\)"):
            coco.load(file)
        return
    data = coco.load(file)
    left, top, right, bottom = own_rows(data.train.labels[0])[0, :4].astype(int)
    bright = data.train.images[0, 0] > 0
    assert bright[top:bottom, left:right].all()
    assert bright.sum() == 80 == (right - left) * (bottom - top)


def test_a_file_that_is_two_images_is_refused(tmp_path: Path) -> None:
    content = document()
    content["images"][2]["file_name"] = "a.png"  # what is taught would be tested on
    with pytest.raises(DataError, match=r"names the image .*a.png in train and in test; an image"):
        coco.load(written(tmp_path, content))
    content["images"][2]["split"] = "train"  # either would lack the other's boxes
    with pytest.raises(DataError, match=r"names the image .*a.png twice; an image must be named"):
        coco.load(written(tmp_path, content))


def test_two_categories_of_one_id_are_refused(tmp_path: Path) -> None:
    content = document()
    content["categories"].append({"id": 7, "name": "cow"})
    with pytest.raises(DataError, match=r"boxes.json has two categories of one id"):
        coco.load(written(tmp_path, content))


def test_a_split_that_only_some_images_have_is_refused(tmp_path: Path) -> None:
    content = document()
    del content["images"][1]["split"]
    with pytest.raises(DataError, match='image b.png: has no "split", which 2 other images have'):
        coco.load(written(tmp_path, content))


def test_it_is_said_that_splits_were_cut(tmp_path: Path) -> None:
    sizes = {f"{n}.png": (16, 16) for n in range(20)}
    images = [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 16} for n in range(20)]
    file = written(tmp_path, document(images=images, annotations=[]), sizes)
    assert coco.load(file).how == (
        "test is 4 of the images given for train, search is 2 of the images given for train, cut "
        "by a fixed draw"
    )
    assert coco.load(written(tmp_path / "given", document())).how == ""


@pytest.mark.parametrize("classes", [["cat", "cat"], []])
def test_classes_are_named_each_once(classes: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"classes must be names, each once, got .* in \[data\]"):
        DataConfig(source="boxes.json", classes=tuple(classes))


@pytest.mark.parametrize("size", [0, "16", [16, 16, 16], [-4, 8], [16], True, 2.5])
def test_a_size_is_one_or_two_numbers_and_said_in_one_sentence(size: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        read(overrides={"data.size": size})
    assert str(refused.value) == (
        "size must be the side of a square in pixels, or [height, width], of 1 at least, got "
        f"{size!r} in [data]"
    )
    assert read(overrides={"data.size": [24, 40]}).data.size == (24, 40)


def test_regions_that_are_ignored_are_not_counted_as_objects(tmp_path: Path) -> None:
    data = coco.load(written(tmp_path, document()))
    train = next(line for line in described(data) if line.startswith("train"))
    assert train == "train 1: dog 0, cat 1 and 1 ignored region"
