"""Tables of images and classes: CSV of path and label.

    labels.csv          path,label          cut into train, search and test
                        path,label,split    each where its split says
    root/train.csv  root/val.csv  root/test.csv

The first line names the columns: path (or file, filename, image), label (or class, category) and
split (or subset). Without such a line they are path, label and split, in this order. Paths are
relative to the table's folder, or to another that is given; `gensynth.data.listing` says what a
split may be called. Labels are names, numbered in alphabetical order; numbers in their own.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gensynth.data.dataset import Dataset
from gensynth.data.labelled import Listed, dataset_of
from gensynth.data.listing import by_split, split_of, visible
from gensynth.data.picture import Size, check_reading
from gensynth.errors import DataError
from gensynth.outside import is_file, read_bytes
from gensynth.suggestion import did_you_mean

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "category", "class_name", "target"),
    "split": ("split", "subset", "set"),
}
TABLE_BYTES = 1 << 28

Row = tuple[Path, str]
"""A picture's file and its label."""


def tables_of(path: Path) -> dict[str, Path]:
    """Return the tables that a path means, by split; the split is "" if the table says it.

    A folder has tables if one is named after a split; a folder without is none of ours.
    """
    if path.suffix.lower() == ".csv" and path.is_file():
        return {"": path}
    if not path.is_dir():
        return {}
    return by_split((p for p in visible(path) if p.suffix.lower() == ".csv"), path)


def load(
    path: Path,
    *,
    folder: Path | None = None,
    size: Size | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Dataset:
    """Read the images that a table, or one for each split, names.

    Args:
        path: of the table, or of the folder of tables named after splits.
        folder: that paths are relative to, if not to the table's.
        size, colour, mean, std: see `gensynth.data.folder.load`.

    Raises:
        ConfigError: if `colour` or `size` cannot be meant.
        DataError: if a table cannot be read, or names an image or a split that is not there; it
            names the line.
    """
    check_reading(size, colour)
    found: dict[str, list[Row]] = {}
    for split, table in tables_of(path).items():
        for name, rows in _rows(table, split, folder or table.parent).items():
            found.setdefault(name, []).extend(rows)
    if not found.get("train"):
        raise DataError(f"{path} names no training images; a table train.csv, or split train")
    classes = sorted({label for _, label in found["train"]}, key=_order)
    if len(classes) < 2:
        raise DataError(f"{path} must name at least two classes, got {len(classes)}")
    listed = {split: _listed(path, rows, classes) for split, rows in found.items()}
    return dataset_of(
        listed, classes, name=path.resolve().stem,
        source=f"table {path.resolve()}, colour order {colour}", size=size, colour=colour,
        mean=mean, std=std,
    )  # fmt: skip


def _rows(table: Path, split: str, folder: Path) -> dict[str, list[Row]]:
    """Return the rows of a table by split."""
    try:
        text = read_bytes(table, TABLE_BYTES).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise DataError(f"{table} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} must be CSV in UTF-8: {error}") from error
    places = _places(lines[0]) if lines else {}
    found: dict[str, list[Row]] = {}
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and places):
            continue
        columns = places or {"path": 0, "label": 1, **({"split": 2} if len(line) > 2 else {})}
        where = f"{table}, line {number}"
        try:
            file, label = folder / line[columns["path"]], line[columns["label"]].strip()
            word = line[columns["split"]] if "split" in columns else ""
        except IndexError as error:
            raise DataError(f"{where} must have a path and a label, got {line}") from error
        if not label:
            raise DataError(f"{where} has no label")
        if not is_file(file):
            raise DataError(
                f"{where}: there is no image {file}; paths are relative to the table's folder, or "
                "to folder in [data]"
            )
        own = split or (split_of(word) if word else "train")
        if own is None:
            raise DataError(f"{where}: split must be train, val or test, got '{word}'")
        found.setdefault(own, []).append((file, label))
    if not found:
        raise DataError(f"{table} names no image")
    return found


def _places(head: Sequence[str]) -> dict[str, int]:
    """Return where the columns stand that the first line names; none if it names none."""
    words = [word.strip().lower() for word in head]
    places = {
        column: words.index(word) for column, names in COLUMNS.items() for word in names
        if word in words
    }  # fmt: skip
    return places if {"path", "label"} <= places.keys() else {}


def _listed(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> Listed:
    number_of: Mapping[str, int] = {name: number for number, name in enumerate(classes)}
    for file, label in rows:
        if label not in number_of:
            raise DataError(
                f"{path} gives {file.name} the label '{label}', which no training image has; "
                f"{did_you_mean(label, list(classes))}"
            )
    labels = np.array([number_of[label] for _, label in rows], np.int64)
    return Listed([file for file, _ in rows], labels)


def _order(label: str) -> tuple[int, int, str]:
    """Return by what labels are ordered: whole numbers by their value, then names."""
    is_number = label.isascii() and label.isdigit() and len(label) < 10
    return (0, int(label), "") if is_number else (1, 0, label)
