"""The files that are measured: which ones a path means, and what they are fed.

    NET.onnx            any ONNX file
    RUN                 the prototype of a finished run, then its finalists
    RUN/finalists/NAME  one network
    ARTEFACT            what `gensynth export` wrote, with its own images
    FOLDER of artefacts all of them

What each is fed is in `gensynth.bench.feed`; an artefact reads the images that came with it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypeVar

import numpy as np
from onnx import ModelProto, TensorProto
from typing_extensions import TypedDict

from gensynth.bench.feed import feed, normalise
from gensynth.bench.observed import observed_shapes
from gensynth.bench.onnx_cost import OnnxCost, count, multiplying_values, of_sizes
from gensynth.bench.structure import structure_sha256
from gensynth.errors import ConfigError, ExportError, RunError
from gensynth.export.manifest import MANIFEST, MEASURABLE, SAMPLES, read_images, read_manifest
from gensynth.export.metadata import kept_in_fp32
from gensynth.export.reading import read_model
from gensynth.goals.card import check_card
from gensynth.graph.files import CARD_FILE, ONNX_FILE
from gensynth.outside import ONNX_BYTES, FileName, Form, read_bytes
from gensynth.run_files import FINALISTS, PROTOTYPE, RESULT_FILE, is_finished, is_run
from gensynth.suggestion import did_you_mean

T = TypeVar("T")


class _Result(TypedDict):
    finalists: NotRequired[list[FileName]]


class _Card(TypedDict):
    name: NotRequired[str]
    sha256: NotRequired[dict[str, str]]


_RESULT: Form[_Result] = Form(_Result)
_CARD: Form[_Card] = Form(_Card)


@dataclass(frozen=True)
class Source:
    """A file and what is known of it besides.

    Attributes:
        name: for people.
        path: of the ONNX file.
        manifest: of the artefact that it is a part of; None for any other file.
    """

    name: str
    path: Path
    manifest: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Subject:
    """A network that is measured, with what it is fed.

    Attributes:
        name: for people; different for each of a job.
        content: the file's bytes.
        feed: an array for each input, in the file's order.
        fed_with: what these are, in words.
        batch: images of one run.
        manifest: of its artefact; None without one.
        ranked: outputs whose rows stand in the order of scores; of nearly equal ones rounding
            decides, so these values are not compared with another machine's row by row.
    """

    name: str
    content: bytes
    feed: Mapping[str, np.ndarray]
    fed_with: str
    batch: int
    manifest: Mapping[str, Any] | None = None
    ranked: frozenset[str] = frozenset()

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def model(self) -> ModelProto:
        """The file, read."""
        return ModelProto.FromString(self.content)

    @property
    def sized(self) -> ModelProto:
        """The file, its inputs of the sizes that it is fed."""
        return of_sizes(self.model, {name: array.shape for name, array in self.feed.items()})

    @cached_property
    def structure(self) -> str:
        """Of the file, weights left out."""
        return structure_sha256(self.model)

    @cached_property
    def cost(self) -> OnnxCost:
        """Parameters, and MACs of one image."""
        shapes = {name: array.shape for name, array in self.feed.items()}
        found = count(self.model, shapes)
        if found.unknown is None:
            return found
        seen = observed_shapes(self.model, self.feed, multiplying_values(self.model))
        return count(self.model, shapes, observed=seen)

    @property
    def fp32_layers(self) -> list[str]:
        """Layers that a builder keeps in FP32 whatever its flags allow.

        Its artefact says it; without one the file.

        Raises:
            ExportError: if what the file says is damaged.
        """
        if self.manifest is None:
            return kept_in_fp32(self.model)
        return list(self.manifest.get("builder_fp32_layers", []))

    @property
    def opset(self) -> int:
        """Of the standard operators."""
        return max(
            (e.version for e in self.model.opset_import if e.domain in ("", "ai.onnx")), default=0
        )

    @cached_property
    def inputs_sha256(self) -> str:
        """Of all that it is fed."""
        digest = hashlib.sha256()
        for name, array in self.feed.items():
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def find(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Return the files that paths mean, in order, each under a name of its own.

    Raises:
        ConfigError: if a path means none.
        RunError: if a run is not finished.
    """
    found = [source for path in paths for source in _sources(path)]
    files: dict[str, set[Path]] = {}
    for source in found:
        files.setdefault(source.name, set()).add(source.path.resolve())
    names = [  # a folder tells a/net.onnx from b/net.onnx
        source.name
        if len(files[source.name]) == 1
        else f"{source.path.absolute().parent.name}/{source.name}"
        for source in found
    ]
    numbered = [
        name if names[:place].count(name) == 0 else f"{name}#{names[:place].count(name) + 1}"
        for place, name in enumerate(names)
    ]
    return tuple(
        Source(name, source.path, source.manifest)
        for name, source in zip(numbered, found, strict=True)
    )


def read(
    source: Source,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
) -> Subject:
    """Read a file and make what it is fed.

    Args:
        source: from `find`.
        batch: images of one run; None for the file's own, or 1 where that is free.
        shapes: of inputs, by name, where the file leaves sizes free.
        inputs: arrays to feed, by name.

    Raises:
        ExportError: if it cannot be read.
        ConfigError: if a size is missing or not what the file takes.
    """
    try:
        content = read_bytes(source.path, ONNX_BYTES)
        model = read_model(content)
    except OSError as error:
        raise ExportError(f"cannot read {source.path}: {error.strerror}") from error
    except ExportError as error:
        raise ExportError(str(error).replace("the file", str(source.path), 1)) from error
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ConfigError(
            f"{source.name} keeps weights in other files; put them into it: onnx.save("
            f"onnx.load({str(source.path)!r}), 'whole.onnx')"
        )
    images = None
    if source.manifest is not None and not (shapes or inputs):
        images = _samples(source.path.with_name(SAMPLES), source.manifest)
    fed = feed(source.name, model, batch=batch, shapes=shapes, inputs=inputs, images=images)
    return Subject(source.name, content, fed.arrays, fed.words, fed.batch, source.manifest)


def check_names(subjects: Sequence[Subject], *given: Mapping[str, Any] | None) -> None:
    """Refuse a shape or an array for an input that no file has.

    Raises:
        ConfigError: naming it.
    """
    known = {name for subject in subjects for name in subject.feed}
    for names in given:
        for name in names or {}:
            if name not in known:
                raise ConfigError(
                    f"no network has an input '{name}'; {did_you_mean(name, sorted(known))}"
                )


def _samples(file: Path, manifest: Mapping[str, Any]) -> np.ndarray:
    """Return an artefact's own images as its network reads them."""
    return normalise(read_images(file, manifest["reads"]), manifest["reads"])


def _sources(path: Path) -> list[Source]:
    if path.is_file():
        is_ours = path.name == ONNX_FILE and any(
            path.with_name(name).is_file() for name in (MANIFEST, CARD_FILE)
        )
        return _sources(path.parent) if is_ours else [Source(path.stem, path)]
    if not path.exists():
        raise ConfigError(f"there is no {path}")
    if is_run(path):
        return _run(path)
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path, MEASURABLE)
        return [Source(manifest["name"], path / ONNX_FILE, manifest)]
    if (path / ONNX_FILE).is_file():
        return [Source(_card_name(path), path / ONNX_FILE)]
    inside = sorted(p.parent for p in path.glob(f"*/{MANIFEST}"))
    if inside:
        return [source for folder in inside for source in _sources(folder)]
    raise ConfigError(f"{path} is no ONNX file, and no folder of a run, a network or an artefact")


def _run(path: Path) -> list[Source]:
    if not is_finished(path):
        raise RunError(f"{path} has no finalists yet; go on with: gensynth synth --resume {path}")
    names = _read(_RESULT, path / RESULT_FILE).get("finalists", [])
    folders = [path / PROTOTYPE, *(path / FINALISTS / name for name in names)]
    missing = [folder for folder in folders if not (folder / ONNX_FILE).is_file()]
    if missing:
        others = " ".join(str(folder) for folder in folders if folder not in missing)
        by_name = f"; time the others by their names, gensynth bench {others}" if others else ""
        raise RunError(
            f"{missing[0]} has no ONNX file, so the run cannot be timed{by_name}; why it could not "
            f"be written says: gensynth export {path} --target x86-cpu"
        )
    return [Source(_card_name(folder), folder / ONNX_FILE) for folder in folders]


def _card_name(folder: Path) -> str:
    name = None
    if (folder / CARD_FILE).is_file():
        card = _read(_CARD, folder / CARD_FILE)
        check_card(card, folder, (ONNX_FILE,))
        name = card.get("name")
    return re.sub(r"\s+", " ", str(name or folder.absolute().name))


def _read(form: Form[T], path: Path) -> T:
    try:
        return form.read(read_bytes(path))
    except OSError as error:
        raise RunError(f"{path} is damaged: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
