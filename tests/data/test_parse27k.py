"""Parse27k's layout, on a tiny set that is made in it: its authors' tables, columns and splits."""

import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from gensynth.config import DataConfig
from gensynth.data import open_dataset, parse27k
from gensynth.data.boxes import own_rows
from gensynth.errors import ConfigError, DataError

TABLES = """
CREATE TABLE Sequence (sequenceID INTEGER PRIMARY KEY, directory TEXT);
CREATE TABLE Image (imageID INTEGER PRIMARY KEY, sequenceID INTEGER, filename TEXT);
CREATE TABLE AttributeSet (attributeSetID INTEGER PRIMARY KEY, genderID INTEGER);
CREATE TABLE Pedestrian (pedestrianID INTEGER PRIMARY KEY, imageID INTEGER,
  attributeSetID INTEGER, box_min_x INTEGER, box_min_y INTEGER, box_max_x INTEGER,
  box_max_y INTEGER);
"""


def made(root: Path, box: tuple[int, int, int, int] = (4, 2, 12, 20)) -> Path:
    database = sqlite3.connect(root / "annotations.sqlite3")
    database.executescript(TABLES)
    for sequence in range(1, 9):
        directory = f"2013-04-11-sequence{sequence}"
        (root / "sequences" / directory).mkdir(parents=True)
        database.execute("INSERT INTO Sequence VALUES (?, ?)", (sequence, directory))
        for frame in range(2):  # nobody is annotated in the second
            number, name = 10 * sequence + frame, f"{frame:05}.png"
            picture = Image.new("RGB", (32, 24), (sequence, frame, 0))
            picture.paste((255, 255, 255), (16, 0, 32, 24))  # a spread in every channel
            picture.save(root / "sequences" / directory / name)
            database.execute("INSERT INTO Image VALUES (?, ?, ?)", (number, sequence, name))
        database.execute("INSERT INTO AttributeSet VALUES (?, 1)", (sequence,))
        row = (sequence, 10 * sequence, sequence, *box)
        database.execute("INSERT INTO Pedestrian VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()
    return root


def test_sequences_are_split_as_the_authors_split_them(tmp_path: Path) -> None:
    data = open_dataset(DataConfig(source=str(made(tmp_path))), "detection")
    first = [
        [int(image[0, 0, 0]) for image in s.images] for s in (data.train, data.search, data.test)
    ]
    assert first == [[1, 4, 5], [2, 7, 8], [3, 6]]
    assert own_rows(data.train.labels[0]).tolist() == [[4, 2, 12, 20, 0, 0]]
    assert data.classes == ("pedestrian",)


def test_options_of_a_json_file_are_refused(tmp_path: Path) -> None:
    made(tmp_path)
    for given in ({"folder": tmp_path}, {"classes": ("pedestrian",)}):
        config = DataConfig(source=str(tmp_path), **given)
        with pytest.raises(ConfigError, match="are of COCO's JSON; .* holds Parse27k"):
            open_dataset(config, "detection")


def test_what_a_box_has_beyond_its_frame_is_cut_off_and_none_at_all_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "beyond").mkdir()
    data = parse27k.load(made(tmp_path / "beyond", (-3, 2, 12, 40)))
    assert own_rows(data.train.labels[0]).tolist() == [[0, 2, 12, 24, 0, 0]]
    (tmp_path / "outside").mkdir()
    with pytest.raises(
        DataError, match="annotations.sqlite3, pedestrian 1 must have an area in 000"
    ):
        parse27k.load(made(tmp_path / "outside", (40, 2, 52, 20)))


def test_a_missing_frame_and_another_database_are_named(tmp_path: Path) -> None:
    made(tmp_path)
    next((tmp_path / "sequences").rglob("00000.png")).unlink()
    with pytest.raises(DataError, match="00000.png, which is not there"):
        parse27k.load(tmp_path)
    (tmp_path / "annotations.sqlite3").write_bytes(b"no database at all, but long enough to read")
    with pytest.raises(DataError, match="annotations.sqlite3 is not Parse27k's database"):
        parse27k.load(tmp_path)
