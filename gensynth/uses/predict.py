"""The answers of a classifier to some images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gensynth.uses.classifier import Given, open_classifier


@dataclass(frozen=True)
class Prediction:
    """The answer to one image.

    Attributes:
        image: its file.
        classes: the likeliest first; a number where the file does not name its classes.
        shares: their probabilities by softmax, which are not calibrated.
    """

    image: Path
    classes: tuple[str, ...]
    shares: tuple[float, ...]


def predict(
    network: str | Path,
    images: Sequence[str | Path],
    *,
    most: int = 5,
    given: Given | None = None,
) -> list[Prediction]:
    """Return what a classifier answers to some images.

    Args:
        network: an ONNX file, or the folder of an artefact or of a run's network.
        images: files.
        most: classes told of each.
        given: as `open_classifier`.

    Raises:
        GensynthError: as `open_classifier`, and if a file is no whole image.
    """
    classifier = open_classifier(Path(network), given)
    files = [Path(image) for image in images]
    answers = classifier(files)
    names = class_names(classifier.reading.classes, answers.shape[1])
    found = []
    for file, shares in zip(files, answers, strict=True):
        order = np.argsort(-shares, kind="stable")[:most]
        likeliest = tuple(names[place] for place in order)
        found.append(Prediction(file, likeliest, tuple(float(shares[p]) for p in order)))
    return found


def class_names(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the classes' names; their numbers where a file does not name as many."""
    return tuple(classes) if len(classes) == count else tuple(map(str, range(count)))
