"""What is exported of a path: which networks, compared on which images.

RUN                      all finalists
RUN/finalists/NAME       one network; RUN/prototype and a distilled RUN/generated/SEED too
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gensynth.config_file import read
from gensynth.data import open_dataset
from gensynth.data.dataset import Dataset
from gensynth.errors import GensynthError, RunError
from gensynth.export.sensitivity import CALIBRATION_IMAGES
from gensynth.export.source import Reading, Source
from gensynth.goals.ledger import split_sha256
from gensynth.goals.requirements import parse_all
from gensynth.graph.graph import Graph
from gensynth.network.module import GRAPH_FILE, load_network, opaque_modules
from gensynth.progress import SILENT, Watch
from gensynth.prototypes import create
from gensynth.randomness import stream
from gensynth.runs.folder import RunFolder
from gensynth.runs.result import CARD_FILE, read_result


@dataclass(frozen=True)
class _Images:
    """The run's data set, or why there is none."""

    dataset: Dataset | None
    colour: str
    why_not: str | None


def sources(path: Path, *, watch: Watch = SILENT) -> list[Source]:
    """Return the networks of a run's finalists, or one network, and what to compare them on.

    Args:
        path: of a finished run, or of a network's folder with its card.
        watch: hears why there are no images, where there are none.

    Raises:
        GensynthError: if there is no such network.
    """
    folders, run = _networks(path), run_of(path)
    images = _images(run)
    if images.why_not is not None:
        watch.note(f"compared on random pixels, and no accuracy: {images.why_not}")
    return [_source(folder, run, images) for folder in folders]


def run_of(path: Path) -> Path | None:
    """Return the run that a path is or is in; None for a network by itself."""
    if (path / "FORMAT").exists():
        return path
    return next((p for p in path.resolve().parents[:2] if (p / "FORMAT").exists()), None)


def _networks(path: Path) -> list[Path]:
    """Return the folders of the networks."""
    if (path / "FORMAT").exists():
        return [finalist.folder for finalist in read_result(path).finalists]
    if not (path / "graph.json").is_file():
        raise RunError(f"{path} is neither a run nor the folder of a network")
    if not (path / "weights.safetensors").is_file():
        seed = path.name
        raise RunError(
            f"{path} has no weights; distil it first: gensynth generate {run_of(path) or 'RUN'} "
            f"--seeds {seed} --distil"
        )
    return [path]


def _images(run: Path | None) -> _Images:
    if run is None:
        return _Images(None, "rgb", "the network does not stand in a run, which names its data")
    RunFolder.open(run, lock=False)
    config = read(run / "run.toml").data
    try:
        dataset = open_dataset(config)
    except GensynthError as error:
        return _Images(None, config.colour, f"the data set cannot be opened: {error}")
    known = json.loads((run / "inputs.json").read_bytes())["data"]
    if split_sha256(dataset.search) != known["search_sha256"]:
        return _Images(None, config.colour, "the search split is not what the run began with")
    return _Images(dataset, config.colour, None)


def _source(folder: Path, run: Path | None, images: _Images) -> Source:
    network = load_network(folder, opaque=_opaque(folder, run))
    card_file = folder / CARD_FILE
    try:
        card = card_file.read_bytes()
        document = json.loads(card)
        data = document["data"]
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", document["name"]).strip("-")
        requirements = parse_all(entry["text"] for entry in document["requirements"])
        reading = _reading(data, network.graph[network.graph.inputs[0].name].shape, images.colour)
    except OSError as error:
        raise RunError(
            f"{card_file} cannot be read: {error.strerror}; it says how images are normalised and "
            "what the classes are"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{card_file} is damaged: {error!r}") from error
    search = None if images.dataset is None else images.dataset.search
    return Source(
        name=name or "network",
        network=network,
        reading=reading,
        images=None if search is None else search.images,
        labels=None if search is None else search.labels,
        why_not=images.why_not,
        card=card,
        calibration=None if images.dataset is None else _calibration(images.dataset),
        requirements=requirements,
    )


def _opaque(folder: Path, run: Path | None) -> dict[str, nn.Module]:
    """Return the parts that only the prototype's own code computes; their weights are not used."""
    try:
        graph = Graph.from_json((folder / GRAPH_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # `load_network` says what is wrong
    names = [vertex.name for vertex in graph.vertices if vertex.op == "opaque"]
    if not names:
        return {}
    if run is None:
        raise RunError(
            f"{folder} has parts that only its prototype's code computes ({', '.join(names)}); "
            "export it where it stands in its run"
        )
    classes = graph[graph.outputs[0]].shape[0]
    channels = graph[graph.inputs[0].name].shape[0]
    prototype = create(read(run / "run.toml").prototype.network, classes=classes, channels=channels)
    return opaque_modules(graph, prototype)


def _calibration(dataset: Dataset) -> np.ndarray:
    """Some images of the training split, the same each time."""
    n = len(dataset.train)
    chosen = stream(0, "int8-ranges").choice(n, min(n, CALIBRATION_IMAGES), replace=False)
    return dataset.train.images[np.sort(chosen)]


def _reading(data: Mapping[str, Any], shape: tuple[int, ...], colour: str) -> Reading:
    channels, height, width = shape
    return Reading(
        (channels, height, width),
        tuple(data["mean"]),
        tuple(data["std"]),
        "grey" if channels == 1 else "bgr" if colour == "bgr" else "rgb",
        tuple(data["classes"]),
    )
