"""Artefacts of a run's networks: which networks, on which images, into which folders.

    RUN                      all finalists
    RUN/finalists/NAME       one network; RUN/prototype and a distilled RUN/generated/SEED too

The artefacts stand in RUN/artefacts/TARGET unless a folder is named. All of them are made and
checked, and their engines built where they are wanted, before the first is written.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gensynth.data import open_dataset
from gensynth.data.dataset import Dataset
from gensynth.devices.client import connect
from gensynth.devices.profiles import find_profile
from gensynth.devices.registry import LOCAL, Device, find
from gensynth.errors import ConfigError, DeviceFault, ExportError, GensynthError, RunError
from gensynth.export import artefact, engine
from gensynth.export.sensitivity import CALIBRATION_IMAGES
from gensynth.export.source import Reading, Source
from gensynth.export.targets import Target, find_target, names
from gensynth.graph import Graph
from gensynth.ledger import split_sha256
from gensynth.network import GRAPH_FILE, load_network, opaque_modules
from gensynth.prototypes import create
from gensynth.randomness import stream
from gensynth.record import RunFolder
from gensynth.requirements import parse_all
from gensynth.results import CARD_FILE, read_result
from gensynth.runfile import read
from gensynth.watch import SILENT, Watch

FOLDER = "artefacts"

TARGETS_OF = {
    "jetson-tx2": ("jetson-tx2",),
    "jetson-tx2-nx": ("jetson-tx2",),
    "jetson-nano": ("jetson-nano",),
    "jetson-xavier-nx": ("jetson-xavier",),
    "jetson-agx-xavier": ("jetson-xavier",),
    "jetson-orin-nano": ("jetson-orin-jp5", "jetson-orin-jp6"),
    "jetson-orin-nx": ("jetson-orin-jp5", "jetson-orin-jp6"),
    "jetson-agx-orin": ("jetson-orin-jp5", "jetson-orin-jp6"),
    "nvidia-gpu": ("nvidia-gpu",),
    "raspberry-pi-4": ("raspberry-pi",),
    "raspberry-pi-5": ("raspberry-pi",),
    "x86": ("x86-cpu",),
    "local": ("x86-cpu",),
}
"""What a device reads, by its profile; an Orin's hangs on its JetPack, others' is not known."""


@dataclass(frozen=True)
class Written:
    """An artefact and where it, or its ONNX file, stands."""

    artefact: artefact.Artefact
    folder: Path


@dataclass(frozen=True)
class _Images:
    """The run's data set, or why there is none."""

    dataset: Dataset | None
    colour: str
    why_not: str | None


@dataclass(frozen=True)
class Order:
    """What to write for.

    Attributes:
        target: what the files are for.
        precision: as `gensynth.export.artefact.make`.
        batch: as `gensynth.export.artefact.make`.
        device: that was named; None if only a target was.
    """

    target: Target
    precision: str
    batch: int | None
    device: Device | None


def order(
    *,
    target: str | None = None,
    device: str | None = None,
    precision: str = "fp32",
    batch: int | None = None,
) -> Order:
    """Find what is asked for, before anything is made.

    Args:
        target: its name; None for the device's, or x86-cpu without one.
        device: alias of a registered device.
        precision: as `gensynth.export.artefact.make`.
        batch: as `gensynth.export.artefact.make`.

    Raises:
        ConfigError: if there is no such target, the device's is another or is one of several,
            or the target does not have the precision.
        DeviceError: if there is no such device.
    """
    board = None if device is None else find(device)
    name = target or "x86-cpu" if board is None else _target_of(board, target)
    profile = find_target(name)
    profile.check_precision(precision)
    return Order(profile, precision, batch, board)


def export(
    path: Path,
    wanted: Order,
    *,
    trt: bool = False,
    out: Path | None = None,
    watch: Watch = SILENT,
) -> tuple[Written, ...]:
    """Write an artefact for each finalist of a run, or for one network.

    Args:
        path: of a finished run, or of a network's folder with its card.
        wanted: what for.
        trt: whether an engine is wanted. It is built on the device that was named, or on this
            machine if that is what the files are for and it has TensorRT; else there is none.
        out: the folder to hold one folder a network.
        watch: hears of the progress.

    Raises:
        GensynthError: if there is no such network, a file does not pass, or an engine cannot be
            built or computes something else; nothing is written then.
    """
    if trt and not wanted.target.tensorrt:
        raise ConfigError(
            f"{wanted.target.name} runs ONNX files by {wanted.target.runtime}; name a target with "
            "TensorRT for --trt"
        )
    made, above = _make(path, wanted, watch)
    above = above if out is None else out
    board = wanted.device
    if board is None and wanted.target.name == "nvidia-gpu" and engine.is_here():
        board = LOCAL
    if trt and board is not None:
        made = _with_engines(made, board, watch)
    written = [Written(one, above / one.name) for one in made]
    for one in written:
        artefact.write(one.artefact, one.folder)
    return tuple(written)


def export_onnx(
    path: Path, wanted: Order, *, out: Path | None = None, watch: Watch = SILENT
) -> tuple[Written, ...]:
    """Write the ONNX file of each artefact that `export` would write, as NAME.onnx and alone.

    Raises:
        GensynthError: as `export`.
    """
    made, above = _make(path, wanted, watch)
    above = above if out is None else out
    written = [Written(one, above / f"{one.name}.onnx") for one in made]
    for one in written:
        artefact.write_onnx(one.artefact, one.folder)
    return tuple(written)


def _make(path: Path, wanted: Order, watch: Watch) -> tuple[list[artefact.Artefact], Path]:
    """Return an artefact a network, and the folder to hold them."""
    made = []
    found = sources(path, watch=watch)
    for index, source in enumerate(found):
        try:
            one = artefact.make(
                source, wanted.target, precision=wanted.precision, batch=wanted.batch
            )
        except ExportError as error:
            raise ExportError(f"{source.name}: {error}") from error
        made.append(one)
        watch.progress("networks", (index + 1) / len(found), source.name)
    return made, (_run_of(path) or path) / FOLDER / wanted.target.name


def sources(path: Path, *, watch: Watch = SILENT) -> list[Source]:
    """Return the networks of a run's finalists, or one network, and what to compare them on.

    Args:
        path: of a finished run, or of a network's folder with its card.
        watch: hears why there are no images, where there are none.

    Raises:
        GensynthError: if there is no such network.
    """
    folders, run = _networks(path), _run_of(path)
    images = _images(run)
    if images.why_not is not None:
        watch.note(f"compared on random pixels, and no accuracy: {images.why_not}")
    return [_source(folder, run, images) for folder in folders]


def _with_engines(
    made: list[artefact.Artefact], board: Device, watch: Watch
) -> list[artefact.Artefact]:
    found = []
    with connect(board) as connection:
        for index, one in enumerate(made):
            try:
                built = engine.build(one, connection, board.alias)
            except ExportError as error:
                raise ExportError(f"{one.name}: {error}") from error
            except DeviceFault as fault:
                message = f"no engine of {one.name} on {board.alias}: {fault.message}"
                raise DeviceFault(fault.status, message, fault.details) from fault
            found.append(engine.with_engine(one, built))
            watch.progress("engines", (index + 1) / len(made), one.name)
    return found


def _target_of(board: Device, target: str | None) -> str:
    """Return the target of a device's files."""
    profile = find_profile(board.profile)
    known = TARGETS_OF.get(profile.name, ())
    if target is None and len(known) != 1:
        raise ConfigError(
            f"what files {board.alias} reads does not follow from its profile '{profile.name}'; "
            f"name the target beside it: --target {' or '.join(known or names())}"
        )
    if target is not None and known and target not in known and board != LOCAL:
        raise ConfigError(
            f"{board.alias} is {profile.title} and reads files for {' or '.join(known)}, "
            f"not for {target}"
        )
    return target or known[0]


def _run_of(path: Path) -> Path | None:
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
            f"{path} has no weights; distil it first: gensynth generate {_run_of(path) or 'RUN'} "
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
