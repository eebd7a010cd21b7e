"""A table of paths and labels is read as documented, or refused with its line named."""

from pathlib import Path

import pytest
from PIL import Image

from gensynth.config import DataConfig
from gensynth.data import open_dataset, table
from gensynth.errors import DataError


def pictures(root: Path, count: int = 12) -> Path:
    """root/images/00.png ...: each of its own shade of grey."""
    (root / "images").mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (8, 8), (number,) * 3).save(root / "images" / f"{number:02}.png")
    return root


def rows(*labels: str) -> list[str]:
    return [f"images/{number:02}.png,{label}" for number, label in enumerate(labels)]


def test_a_table_with_splits_is_taken_as_it_is(tmp_path: Path) -> None:
    lines = rows("cat,train", "dog,Training", "cat,val", "dog,validation", "cat,test", "dog,TEST")
    file = pictures(tmp_path) / "labels.csv"
    file.write_text("\n".join(["Filename,class,subset", *lines]))
    dataset = open_dataset(DataConfig(source=str(file)))
    assert dataset.classes == ("cat", "dog")
    shades = [
        split.images[:, 0, 0, 0].tolist() for split in (dataset.train, dataset.search, dataset.test)
    ]
    assert shades == [[0, 1], [2, 3], [4, 5]]


def test_a_table_of_paths_and_labels_alone_is_cut(tmp_path: Path) -> None:
    file = pictures(tmp_path, 20) / "labels.csv"
    file.write_text("\r\n".join(rows(*["10", "9"] * 10)))  # no head; numbers by their value
    dataset = open_dataset(DataConfig(source=str(file)))
    assert dataset.classes == ("9", "10")
    assert (len(dataset.train), len(dataset.search), len(dataset.test)) == (14, 2, 4)


def test_a_folder_of_tables_takes_its_images_from_elsewhere(tmp_path: Path) -> None:
    pictures(tmp_path / "there")
    (tmp_path / "lists").mkdir()
    for name, labels in (("train", "cat dog"), ("valid", "dog"), ("test", "cat")):
        lines = [
            "label,path",
            *(f"{label},images/{ord(label[0]) % 10:02}.png" for label in labels.split()),
        ]
        (tmp_path / "lists" / f"{name}.csv").write_text("\n".join(lines))
    config = DataConfig(source=str(tmp_path / "lists"), folder=tmp_path / "there")
    dataset = open_dataset(config)
    assert [len(s) for s in (dataset.train, dataset.search, dataset.test)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("images/99.png,cat", r"line 3: there is no image .*99\.png; paths are relative"),
        ("images/02.png", r"line 3 must have a path and a label, got \['images/02.png'\]"),
        ("images/02.png, ", "line 3 has no label"),
        ("images/02.png,cat,nowhere", "line 3: split must be train, val or test, got 'nowhere'"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(tmp_path: Path, line: str, what: str) -> None:
    file = pictures(tmp_path) / "labels.csv"
    file.write_text("\n".join([*rows("cat", "dog"), line]))
    with pytest.raises(DataError, match=what):
        table.load(file)
