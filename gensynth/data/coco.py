"""Images and the boxes of objects in them, from COCO's JSON, read into memory.

    coco.json                                   every image with a "split", or cut here
    root/train.json  root/val.json  root/test.json
    root/annotations/instances_train2017.json ...    COCO's own folders; any year

An image's file is looked for beside the JSON file, below it in `images` or a folder of the
split's name, and in `folder` where one is given. "split" is "train", "val" (or "search"), "test".
Where no image has one, a fifth of the images is for test and a tenth for search, by a fixed draw.

Images without boxes are background. Boxes with "iscrowd" or "ignore" are regions that are neither
taught nor scored. With a `size`, images of any size are resized to fit in it, and the rest is
black (`letterbox`); their boxes go with them. Of a picture that EXIF turns, boxes may be of either
side, as its `width` and `height` say (`gensynth.data.orientation`).
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NotRequired

import numpy as np
from typing_extensions import TypedDict

from gensynth.data import boxes
from gensynth.data.dataset import Dataset, held_out_of_any
from gensynth.data.labelled import SEARCH_SHARE, TEST_SHARE
from gensynth.data.listing import SPLITS, split_of, visible
from gensynth.data.picture import COLOURS, Size
from gensynth.data.pictured import Pictured, dataset_of
from gensynth.errors import ConfigError, DataError
from gensynth.outside import Finite, Form, Natural, Positive, is_file, read_bytes
from gensynth.suggestion import did_you_mean

JSON_BYTES = 1 << 30
"""Of a JSON file; COCO's own of 118,287 images has 450 MiB."""
BEYOND = 1.0
"""Pixels that a box may reach beyond its image, where it is cut off: COCO's are rounded."""


class _Image(TypedDict):
    id: Natural
    file_name: str
    width: Positive
    height: Positive
    split: NotRequired[str]


class _Annotation(TypedDict):
    id: NotRequired[Natural]
    image_id: Natural
    category_id: Natural
    bbox: tuple[Finite, Finite, Finite, Finite]
    iscrowd: NotRequired[int]
    ignore: NotRequired[int]


class _Category(TypedDict):
    id: Natural
    name: str


class _Document(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


_DOCUMENT: Form[_Document] = Form(_Document)


def load(
    path: Path,
    *,
    folder: Path | None = None,
    classes: Sequence[str] | None = None,
    size: Size | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Dataset:
    """Read images and boxes.

    Args:
        path: a JSON file, or the folder of one a split.
        folder: of the images, if they do not lie beside the JSON file.
        classes: names of the categories that are taught; objects of others are background.
            None takes all, in the order of their ids.
        size: that images are brought to: side of a square, or (height, width); None takes them
            as they are, all of one size.
        colour, mean, std: see `gensynth.data.folder`.

    Raises:
        ConfigError: if an option cannot be meant.
        DataError: if a file is missing or damaged, or a box is none; it names file and box.
    """
    if colour not in COLOURS:
        raise ConfigError(f"unknown colour order '{colour}'; {did_you_mean(colour, COLOURS)}")
    documents = _documents(path)
    names = _classes(documents, classes)
    found: dict[str, list[Pictured]] = {name: [] for name in SPLITS}
    for file, (split, document) in documents.items():
        for name, images in _pictured(file, document, split, names, folder).items():
            found[name] += images
    if not found["train"]:
        raise DataError(f"{path} has no training images")
    _check_once(found, path)
    splits, how = _cut(found, path)
    return dataset_of(
        splits, names, name=path.resolve().stem, source=f"boxes {path.resolve()}", how=how,
        size=size, colour=colour, mean=mean, std=std,
    )  # fmt: skip


def _files(root: Path) -> dict[Path, str]:
    """Return the JSON files of a folder with their splits."""
    found = {}
    for folder in (root, root / "annotations"):
        for file in visible(folder) if folder.is_dir() else ():
            word = re.match(r"(?:instances_)?([A-Za-z]+)", file.stem)
            split = None if word is None or file.suffix != ".json" else split_of(word[1])
            if split is not None and file.is_file():
                found[file] = split
    return dict(sorted(found.items(), key=lambda pair: [*SPLITS].index(pair[1])))


def _documents(path: Path) -> dict[Path, tuple[str, _Document]]:
    """Return the documents by file, each with the split that all its images are of, if any."""
    if not path.exists():
        raise DataError(f"no file {path}; it must be COCO's JSON, or a folder with train.json")
    files = _files(path) if path.is_dir() else {path: ""}
    if "train" not in files.values() and path.is_dir():
        raise DataError(f"{path} holds no train.json, nor annotations/instances_train*.json")
    documents = {}
    for file, split in files.items():
        try:
            documents[file] = split, _DOCUMENT.read(read_bytes(file, JSON_BYTES))
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise DataError(f"{file} is not COCO's JSON: {error}") from error
    return documents


def _classes(
    documents: Mapping[Path, tuple[str, _Document]], asked: Sequence[str] | None
) -> tuple[str, ...]:
    file, (_, first) = next(iter(documents.items()))
    named = {category["id"]: category["name"] for category in first["categories"]}
    if len(named) < len(first["categories"]):
        raise DataError(f"{file} has two categories of one id")
    for other, (_, document) in documents.items():
        if {c["id"]: c["name"] for c in document["categories"]} != named:
            raise DataError(f"{other} has other categories than {file}; they must be the same")
    known = tuple(named[number] for number in sorted(named))
    if not known or len(set(known)) < len(known):
        raise DataError(f"{file} must have categories, no name twice, got {list(known)}")
    for name in asked or ():
        if name not in known:
            raise ConfigError(f"no category '{name}' in {file}; {did_you_mean(name, known)}")
    return tuple(asked or known)


def _pictured(
    file: Path, document: _Document, split: str, classes: Sequence[str], folder: Path | None
) -> dict[str, list[Pictured]]:
    """Return a document's images by split."""
    images = {image["id"]: image for image in document["images"]}
    if len(images) < len(document["images"]):
        raise DataError(f"{file} has two images of one id")
    unsaid = [image["file_name"] for image in document["images"] if "split" not in image]
    if not split and 0 < len(unsaid) < len(images):
        raise DataError(
            f'{file}, image {unsaid[0]}: has no "split", which {len(images) - len(unsaid)} other '
            "images have; give all of them one, or none"
        )
    names = {category["id"]: category["name"] for category in document["categories"]}
    rows: dict[int, list[tuple[float, ...]]] = {number: [] for number in images}
    for place, one in enumerate(document["annotations"]):
        which = f"{file}, box {one.get('id', place)}"
        if one["image_id"] not in images:
            raise DataError(f"{which} is of image {one['image_id']}, which is not in the file")
        if one["category_id"] not in names:
            raise DataError(
                f"{which} is of category {one['category_id']}; the file has {sorted(names)}"
            )
        if names[one["category_id"]] in classes:
            kind = classes.index(names[one["category_id"]])
            corners = _corners(one["bbox"], images[one["image_id"]], which)
            ignored = bool(one.get("iscrowd", 0) or one.get("ignore", 0))
            rows[one["image_id"]].append((*corners, kind, ignored))
    found: dict[str, list[Pictured]] = {name: [] for name in SPLITS}
    for number, image in images.items():
        own = np.array(rows[number], np.float32).reshape(-1, boxes.COLUMNS)
        where = _file(file, image["file_name"], split, folder)
        found[_split(image, split, file)].append(
            Pictured(where, (image["width"], image["height"]), own)
        )
    return found


def _corners(bbox: Sequence[float], image: _Image, which: str) -> tuple[float, float, float, float]:
    left, top, width, height = bbox
    right, bottom = left + width, top + height
    name, size = image["file_name"], (image["width"], image["height"])
    if min(left, top) < -BEYOND or right > size[0] + BEYOND or bottom > size[1] + BEYOND:
        raise DataError(
            f"{which} reaches from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), beyond its "
            f"image {name} of {size[0]} x {size[1]} pixels"
        )
    inside = max(0.0, left), max(0.0, top), min(size[0], right), min(size[1], bottom)
    left, top, right, bottom = np.array(inside, np.float32).tolist()  # as they are kept
    if left >= right or top >= bottom:
        raise DataError(
            f"{which} must have an area in {name} of {size[0]} x {size[1]} pixels, got "
            f"{width:g} x {height:g} pixels at ({bbox[0]:g}, {bbox[1]:g})"
        )
    return left, top, right, bottom


def _split(image: _Image, split: str, file: Path) -> str:
    if split or "split" not in image:
        return split or "train"
    if (found := split_of(image["split"])) is not None:
        return found
    raise DataError(
        f"{file}, image {image['file_name']}: split must be train, val or test, got "
        f"'{image['split']}'"
    )


def _file(json: Path, name: str, split: str, folder: Path | None) -> Path:
    """Return the file of an image."""
    above = [folder] if folder is not None else [json.parent, json.parent.parent]
    year = json.stem.removeprefix("instances_")
    for root in above:
        for part in ("", "images", split, year, f"images/{year}"):
            if is_file(root / part / name):
                return root / part / name
    raise DataError(
        f"{json} names the image {name}, which is not in {above[0]}; name the folder of the "
        "images: folder in [data], or --data-folder"
    )


def _check_once(found: Mapping[str, Sequence[Pictured]], path: Path) -> None:
    """Refuse a file that is two images: one would be tested on, or lack the other's boxes."""
    seen: dict[Path, str] = {}
    for split, images in found.items():
        for one in images:
            if one.file in seen:
                where = (
                    f"in {seen[one.file]} and in {split}" if seen[one.file] != split else "twice"
                )
                raise DataError(
                    f"{path} names the image {one.file} {where}; an image must be named once, "
                    "with all of its boxes"
                )
            seen[one.file] = split


def _cut(found: Mapping[str, list[Pictured]], path: Path) -> tuple[dict[str, list[Pictured]], str]:
    """Cut search and test off the training images where no image has a split of these.

    Returns:
        the splits, and how they came to be.
    """
    train, made = found["train"], []
    cut = dict(found)
    for name, share in (("test", TEST_SHARE), ("search", SEARCH_SHARE)):
        if not found[name]:
            count = max(1, round(share * len(train)))
            held = held_out_of_any(len(train), count)
            cut[name] = list(itertools.compress(train, held))
            train = list(itertools.compress(train, ~held))
            made.append(f"{name} is {count:,} of the images given for train")
    if not train:
        raise DataError(f"{path} has too few images to be cut into train, search and test")
    how = ", ".join(made) + ", cut by a fixed draw" if made else ""
    return {**cut, "train": train}, how
