"""Pedestrians' boxes in the layout that Parse27k is published in, for those who hold a copy.

    root/annotations.sqlite3                    tables Sequence, Image, Pedestrian
    root/sequences/<directory>/<filename>       the frames, all of one size

Layout, columns and splits are those of its authors' own tools (Sudowe, Spitzer and Leibe, "Person
attribute recognition with a jointly-trained holistic CNN model", ICCV workshops 2015;
github.com/psudowe/parse27k_tools): sequences 1, 4 and 5 train, 2, 7 and 8 validate (search here),
3 and 6 test. Two things are assumed, as the tools, which cut people out, do not say them: a frame
without any annotated person is left out, for nobody says that it shows none; and what a box has
beyond its frame is cut off.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gensynth.data.dataset import Dataset
from gensynth.data.picture import DAMAGED, Size
from gensynth.data.pictured import Pictured, dataset_of
from gensynth.errors import DataError
from gensynth.outside import is_file

ANNOTATIONS = "annotations.sqlite3"
SEQUENCES = {"train": (1, 4, 5), "search": (2, 7, 8), "test": (3, 6)}
_PEOPLE = """
    SELECT i.sequenceID, s.directory, i.filename, p.pedestrianID,
           p.box_min_x, p.box_min_y, p.box_max_x, p.box_max_y
    FROM Pedestrian p
    JOIN Image i ON p.imageID = i.imageID
    JOIN Sequence s ON i.sequenceID = s.sequenceID
    ORDER BY i.sequenceID, i.filename, p.pedestrianID
"""


def is_parse27k(root: Path) -> bool:
    """Tell whether a folder has this layout."""
    return (root / ANNOTATIONS).is_file()


def load(
    root: Path,
    *,
    size: Size | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Dataset:
    """Read frames and boxes; one class, pedestrian.

    Args:
        root: the folder of the database.
        size, colour, mean, std: see `gensynth.data.coco`.

    Raises:
        DataError: if the database has another form, a frame is missing or damaged, or a box has no
            area in its frame; it names them.
    """
    file = root / ANNOTATIONS
    split_of = {sequence: name for name, ids in SEQUENCES.items() for sequence in ids}
    frames: dict[tuple[str, Path], list[tuple[float, ...]]] = {}
    sizes: dict[Path, tuple[int, int]] = {}
    for sequence, directory, name, person, *corners in _people(file):
        which = f"{file}, pedestrian {person}"
        if sequence not in split_of:
            raise DataError(f"{which} is of sequence {sequence}; Parse27k has 1 to 8")
        if not all(isinstance(corner, (int, float)) for corner in corners):
            raise DataError(f"{which} must have a box of four numbers, got {corners}")
        frame = root / "sequences" / str(directory) / str(name)
        if frame not in sizes:
            sizes[frame] = _size(frame, which)
        wide, high = sizes[frame]
        left, top = max(0.0, corners[0]), max(0.0, corners[1])
        right, bottom = min(float(wide), corners[2]), min(float(high), corners[3])
        if right <= left or bottom <= top:
            raise DataError(
                f"{which} must have an area in {frame.name} of {wide} x {high} pixels, got a box "
                f"from {corners[:2]} to {corners[2:]}"
            )
        row = (left, top, right, bottom, 0.0, 0.0)
        frames.setdefault((split_of[sequence], frame), []).append(row)
    found = {
        name: [
            Pictured(frame, sizes[frame], np.array(rows, np.float32))
            for (split, frame), rows in frames.items()
            if split == name
        ]
        for name in SEQUENCES
    }
    for name, pictured in found.items():
        if not pictured:
            raise DataError(
                f"{file} has no person in sequences {SEQUENCES[name]}, its {name} split"
            )
    return dataset_of(
        found, ("pedestrian",), name="parse27k", source=f"Parse27k {root.resolve()}", size=size,
        colour=colour, mean=mean, std=std,
    )  # fmt: skip


def _people(file: Path) -> list[tuple[Any, ...]]:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        ) as db:
            return db.execute(_PEOPLE).fetchall()
    except sqlite3.Error as error:
        raise DataError(f"{file} is not Parse27k's database: {error}") from error


def _size(frame: Path, which: str) -> tuple[int, int]:
    if not is_file(frame):
        raise DataError(f"{which} is in {frame}, which is not there")
    try:
        with Image.open(frame) as opened:
            return opened.size
    except DAMAGED as error:
        raise DataError(f"{frame} is not a whole image: {error}; replace it") from error
