"""A classifier's ONNX file, ready to answer images as it was certified to.

How images are read and what the classes are is taken from the first of these that says so:

    what is given       for files of others
    manifest.json       beside the file, in an artefact
    the file's own metadata
    card.json           beside the file, in a run's folder of a network
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from gensynth.data.picture import picture
from gensynth.errors import ConfigError, ExportError
from gensynth.export.manifest import MANIFEST, WHOLE, read_manifest
from gensynth.export.metadata import Reading, facts_of, reading_of
from gensynth.export.reading import read_model
from gensynth.export.runtime import Session, open_session
from gensynth.graph.files import CARD_FILE, ONNX_FILE
from gensynth.outside import ONNX_BYTES, read_bytes

_TOLD = {"mask": "a class for every pixel", "boxes": "boxes"}


@dataclass(frozen=True)
class Given:
    """What is said of a file that says nothing of itself.

    Attributes:
        classes: names, in the order of the outputs.
        mean, std: of each channel of images scaled to [0, 1]; one value is of all channels.
        colour: "rgb", "bgr" or "grey".
        size: side of the images where the file leaves it free.
    """

    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    colour: str = "rgb"
    size: int | None = None


@dataclass(frozen=True)
class Classifier:
    """A file that answers images.

    Attributes:
        file: the ONNX file.
        reading: how images are read, and the classes.
        session: that computes.
    """

    file: Path
    reading: Reading
    session: Session

    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        """Return the probabilities of all classes for some images: (images, classes), float32.

        Raises:
            DataError: if one is no whole image or has another size; it is named.
            ConfigError: if the file answers otherwise than a classifier.
        """
        channels, height, width = self.reading.shape
        colour = "grey" if channels == 1 else self.reading.colour
        pictures = [picture(file, (height, width), colour) for file in files]
        (spec,) = self.session.inputs
        fixed = spec.shape[0] if isinstance(spec.shape[0], int) else None
        at_once = fixed or max(1, len(pictures))
        answers = []
        for start in range(0, len(pictures), at_once):
            some = np.stack(pictures[start : start + at_once])
            short = at_once - len(some) if fixed else 0
            read = self.reading(np.pad(some, [(0, short), (0, 0), (0, 0), (0, 0)]))
            given = self.session.run({spec.name: read})
            if len(given) != 1 or given[0].ndim != 2:
                shapes = ", ".join(str(one.shape[1:]) for one in given)
                raise ConfigError(
                    f"{self.file} gives of an image what has the shape {shapes}, and a classifier "
                    "gives one number a class"
                )
            answers.append(given[0][: len(some)])
        return _softmax(np.concatenate(answers))


def open_classifier(path: Path, given: Given | None = None) -> Classifier:
    """Open a classifier by its file, or by the folder of an artefact or of a run's network.

    Args:
        path: of it.
        given: for what a file of others does not say.

    Raises:
        ExportError: if there is no such file, or it is damaged.
        ConfigError: if it is no classifier, or nothing says how it reads images.
    """
    file = path / ONNX_FILE if path.is_dir() else path
    if not file.is_file():
        where = f"{path} has no {ONNX_FILE}" if path.is_dir() else f"no file {path}"
        raise ExportError(f"{where}; name an ONNX file, an artefact or RUN/finalists/NAME")
    content = read_bytes(file, ONNX_BYTES)
    reading = _reading(file, content, given or Given())
    session = open_session(content)
    if len(session.inputs) != 1:
        raise ConfigError(f"{file} has {len(session.inputs)} inputs; a classifier reads one image")
    sizes, channels = session.inputs[0].shape, reading.shape[0]
    if len(sizes) > 1 and isinstance(sizes[1], int) and sizes[1] != channels:
        raise ExportError(
            f"{file} reads inputs of the shape {list(sizes)}, and {channels} channels are said to "
            "be read; write it again with: gensynth export"
        )
    return Classifier(file, reading, session)


def _reading(file: Path, content: bytes, given: Given) -> Reading:
    folder = file.parent
    model = read_model(content)
    shape = _shape(model)
    try:
        facts = facts_of({entry.key: entry.value for entry in model.metadata_props})
    except ValueError as error:
        raise ExportError(f"the metadata of {file} is damaged: {error}") from error
    if facts.get("task") not in (None, "class"):
        raise ConfigError(
            f"{file} gives {_TOLD.get(facts['task'], 'an answer of its own')}, and only classes "
            "are read here; example_onnx.py of its artefact shows what it answers: gensynth export"
        )
    if given.mean:
        return _given(file, shape, given)
    if (folder / MANIFEST).is_file():
        return Reading.of(read_manifest(folder, WHOLE))
    if "reads" in facts and "classes" in facts:
        return Reading.of(facts)
    if (folder / CARD_FILE).is_file() and file.name == ONNX_FILE:
        return reading_of(folder)
    return _given(file, shape, given)


def _given(file: Path, shape: tuple[int | None, ...], given: Given) -> Reading:
    if len(shape) != 4:
        raise ConfigError(f"{file} reads {len(shape)} dimensions; a classifier reads images")
    channels, height, width = (size or given.size for size in shape[1:])
    if not given.mean or not given.std or channels is None or height is None or width is None:
        raise ConfigError(
            f"nothing says how {file} reads images; say it, for example --mean 0.485,0.456,0.406 "
            "--std 0.229,0.224,0.225 --size 224"
        )
    mean, std = (each * channels if len(each) == 1 else each for each in (given.mean, given.std))
    if not len(mean) == len(std) == channels:
        raise ConfigError(
            f"mean and std must have {channels} values, or one, as {file} reads {channels} "
            f"channels, got {len(given.mean)} and {len(given.std)}"
        )
    colour = "grey" if channels == 1 else given.colour
    return Reading((channels, height, width), mean, std, colour, given.classes)


def _shape(model: onnx.ModelProto) -> tuple[int | None, ...]:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if not inputs:
        raise ConfigError("a classifier reads one image, and the file has no input")
    return tuple(size.dim_value or None for size in inputs[0].type.tensor_type.shape.dim)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
