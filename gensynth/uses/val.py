"""A classifier held against a folder of images by class.

    score        images that are right, with Wilson's interval
    confusion    images by true class and answer
    classes      recall and precision of each

These images are of the user's own, and nobody counts how often they are looked at: what is
certified stands in a card, and `gensynth certify` adds to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gensynth.data.listing import visible
from gensynth.errors import DataError
from gensynth.goals.intervals import wilson
from gensynth.goals.metrics import TOP1
from gensynth.goals.score import Proportion
from gensynth.suggestion import did_you_mean
from gensynth.uses.classifier import Given, open_classifier
from gensynth.uses.predict import class_names

AT_ONCE = 256
TEST_FOLDERS = ("test", "testing")


@dataclass(frozen=True)
class OfClass:
    """How a network does on one class.

    Attributes:
        name: of the class.
        n: its images.
        correct: of them that are right.
        given: images of any class that got it.
    """

    name: str
    n: int
    correct: int
    given: int

    @property
    def recall(self) -> float | None:
        """Share of its images that are right; None without images."""
        return self.correct / self.n if self.n else None

    @property
    def recall_interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the recall."""
        return wilson(self.correct, self.n) if self.n else None

    @property
    def precision(self) -> float | None:
        """Share of the images that got it which are of it; None if none got it."""
        return self.correct / self.given if self.given else None


@dataclass(frozen=True)
class Validation:
    """What a network makes of a folder's images.

    Attributes:
        file: the ONNX file.
        folder: of the images, above the classes.
        names: of the classes, in the order of the outputs.
        confusion: images by (true class, answer), a row a true class.
        top5: images with their class among five guesses; None of fewer than six classes.
    """

    file: Path
    folder: Path
    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    top5: Proportion | None

    @property
    def score(self) -> Proportion:
        """Images that are right."""
        right = sum(row[place] for place, row in enumerate(self.confusion))
        return Proportion(TOP1.name, right, sum(map(sum, self.confusion)))

    @property
    def classes(self) -> tuple[OfClass, ...]:
        """Every class by itself."""
        columns = [sum(column) for column in zip(*self.confusion, strict=True)]
        return tuple(
            OfClass(name, sum(row), row[place], columns[place])
            for place, (name, row) in enumerate(zip(self.names, self.confusion, strict=True))
        )


def validate(network: str | Path, data: str | Path, *, given: Given | None = None) -> Validation:
    """Hold a classifier against a folder of images by class.

    Args:
        network: an ONNX file, or the folder of an artefact or of a run's network.
        data: a folder with one folder of images a class, or its `test` folder is that.
        given: as `open_classifier`; without the classes' names the folders are taken in
            alphabetical order.

    Raises:
        DataError: if there are no images, a class is none of the network's, or a file is no whole
            image.
        GensynthError: as `open_classifier`.
    """
    root = Path(data)
    folder = next((root / n for n in TEST_FOLDERS if (root / n).is_dir()), root)
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; it must hold one folder of images a class")
    homes = [entry for entry in visible(folder) if entry.is_dir()]
    classifier = open_classifier(Path(network), given)
    names = classifier.reading.classes or tuple(home.name for home in homes)
    files, labels = _listed(homes, names, folder)
    count = len(names)
    confusion, among_five = np.zeros((count, count), int), 0
    for start in range(0, len(files), AT_ONCE):
        true = np.array(labels[start : start + AT_ONCE])
        shares = classifier(files[start : start + AT_ONCE])
        if shares.shape[1] != count:
            raise DataError(
                f"{classifier.file} tells {shares.shape[1]} classes apart, and {folder} has {count}"
            )
        np.add.at(confusion, (true, shares.argmax(axis=1)), 1)
        five = np.argsort(-shares, axis=1, kind="stable")[:, :5]
        among_five += int((five == true[:, None]).any(axis=1).sum())
    return Validation(
        file=classifier.file,
        folder=folder,
        names=class_names(names, count),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        top5=Proportion("top5", among_five, len(files)) if count > 5 else None,
    )


def _listed(
    homes: Sequence[Path], names: Sequence[str], folder: Path
) -> tuple[list[Path], list[int]]:
    files: list[Path] = []
    labels: list[int] = []
    for home in homes:
        if home.name not in names:
            raise DataError(f"{home} is no class of the network; {did_you_mean(home.name, names)}")
        members = visible(home)
        files += members
        labels += [names.index(home.name)] * len(members)
    if not files:
        raise DataError(f"{folder} holds no images; it must hold one folder of images a class")
    return files, labels
