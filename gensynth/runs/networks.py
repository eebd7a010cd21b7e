"""What is exported of a path: which networks, compared on which images.

RUN                      all finalists
RUN/finalists/NAME       one network; RUN/prototype and a distilled RUN/generated/SEED too
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gensynth.config import TaskConfig
from gensynth.data import open_dataset
from gensynth.data.dataset import Dataset
from gensynth.errors import GensynthError, RunError
from gensynth.export.metadata import Reading
from gensynth.export.precisions import CALIBRATION_IMAGES
from gensynth.export.source import Source
from gensynth.goals.card import read_card
from gensynth.goals.requirements import parse_all
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, WEIGHTS_FILE
from gensynth.network.files import load_network, read_graph
from gensynth.network.module import opaque_modules
from gensynth.outside import WEIGHTS_BYTES, read_bytes
from gensynth.progress import SILENT, Listener
from gensynth.prototypes import create
from gensynth.prototypes.plain import plain, unwrapped
from gensynth.randomness import stream
from gensynth.run_files import is_run, run_of
from gensynth.runs.folder import RunFolder
from gensynth.runs.inputs import config_of, inputs_of
from gensynth.runs.objects import NOTHING
from gensynth.runs.result import read_result
from gensynth.runs.trust import require
from gensynth.tasks import open_task
from gensynth.tasks.task import Task


@dataclass(frozen=True)
class _Images:
    """The run's data set, or why there is none."""

    dataset: Dataset | None
    task: Task
    colour: str
    why_not: str | None


def sources(path: Path, *, trust: bool = False, listener: Listener = SILENT) -> list[Source]:
    """Return the networks of a run's finalists, or one network, and what to compare them on.

    Args:
        path: of a finished run, or of a network's folder with its card.
        trust: whether code may run that only the run's folder names (`gensynth.runs.trust`).
        listener: hears why there are no images, where there are none.

    Raises:
        GensynthError: if there is no such network.
    """
    folders, run = _networks(path), run_of(path)
    if run is not None:
        RunFolder.open(run, lock=False)
        require(config_of(run), run, trust=trust)
    images = _images(run)
    if images.why_not is not None:
        listener.note(f"compared on random pixels, and no accuracy: {images.why_not}")
    return [_source(folder, run, images) for folder in folders]


def _networks(path: Path) -> list[Path]:
    """Return the folders of the networks."""
    if is_run(path):
        return [finalist.folder for finalist in read_result(path).finalists]
    if not (path / GRAPH_FILE).is_file():
        raise RunError(f"{path} is neither a run nor the folder of a network")
    if not (path / WEIGHTS_FILE).is_file():
        seed = path.name
        raise RunError(
            f"{path} has no weights; distil it first: gensynth generate {run_of(path) or 'RUN'} "
            f"--seeds {seed} --distil"
        )
    return [path]


def _images(run: Path | None) -> _Images:
    if run is None:
        why_not = "the network does not stand in a run, which names its data"
        return _Images(None, open_task(TaskConfig()), "rgb", why_not)
    config = config_of(run)
    task, colour = open_task(config.task), config.data.colour
    try:
        NOTHING.check(config)
        dataset = open_dataset(config.data, config.task.kind)
    except GensynthError as error:
        return _Images(None, task, colour, f"the data set cannot be opened: {error}")
    known = inputs_of(run)["data"]
    if dataset.search.sha256 != known["search_sha256"]:
        return _Images(None, task, colour, "the search split is not what the run began with")
    return _Images(dataset, task, colour, None)


def _source(folder: Path, run: Path | None, images: _Images) -> Source:
    network = load_network(folder, opaque=_opaque(folder, run))
    if not (folder / CARD_FILE).is_file():
        raise RunError(
            f"{folder} has no {CARD_FILE}; it says how images are normalised and what the classes "
            "are"
        )
    card = read_card(folder)
    try:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", card["name"]).strip("-")
        requirements = parse_all(entry["text"] for entry in card["requirements"])
        shape = network.graph[network.graph.inputs[0].name].shape
        reading = _reading(card["data"], shape, images.colour)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / CARD_FILE} is damaged: {error!r}") from error
    return Source(
        name=name or "network",
        network=network,
        reading=reading,
        task=images.task,
        search=None if images.dataset is None else images.dataset.search,
        why_not=images.why_not,
        files={
            file: read_bytes(folder / file, WEIGHTS_BYTES)
            for file in (GRAPH_FILE, WEIGHTS_FILE, CARD_FILE)
        },
        calibration=None if images.dataset is None else _calibration(images.dataset),
        requirements=requirements,
    )


def _opaque(folder: Path, run: Path | None) -> dict[str, nn.Module]:
    """Return the parts that only the prototype's own code computes; their weights are not used."""
    graph = read_graph(folder / GRAPH_FILE)
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
    asked = config_of(run).prototype
    made = create(
        asked.network, classes=classes, channels=channels, arguments=dict(asked.arguments)
    )
    shapes = [vertex.shape for vertex in graph.inputs]
    whole = plain(unwrapped(made, name=asked.network), shapes, name=asked.network)
    return opaque_modules(graph, whole)


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
