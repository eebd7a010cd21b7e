"""Files and a device in, a record out: what nobody measured, and all that it rests on.

    schema           "gensynth.estimate/1"; provenance "estimate"
    device           alias, profile, title
    request          precision, batch, power_mode (nvpmodel's number, None where none is known)
    networks         one entry each: name, onnx_sha256, macs of one image, kernels of one run,
                     figures by metric (`gensynth.goals.figure`), unknown operators
    assumptions      a sentence each
    measure_with     the commands that replace the estimates by measurements
    gensynth         version

A device is one that is registered, or the name of a kind of board, which needs none.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from onnx import ModelProto

import gensynth
from gensynth.bench.estimate.board import Board, Setting
from gensynth.bench.estimate.boards import ROOFLINES
from gensynth.bench.estimate.calibrated import KNOWN_PROCESSORS, Calibrated
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.roofline import unknown
from gensynth.bench.store import Store
from gensynth.bench.subjects import Subject, check_names, find, read
from gensynth.devices import registry
from gensynth.devices.profiles import Profile, find_profile, is_profile
from gensynth.devices.registry import Device
from gensynth.errors import ConfigError, ExportError
from gensynth.goals.figure import Figure
from gensynth.suggestion import did_you_mean

SCHEMA = "gensynth.estimate/1"


class Estimator(Protocol):
    """Whoever knows what networks take on a kind of device."""

    def mode(self, setting: Setting) -> int | None:
        """Return the power mode that a setting means."""

    def file(
        self, model: ModelProto, images: int, setting: Setting, sha256: str
    ) -> tuple[tuple[Kernel, ...], dict[str, Figure]]:
        """Return the kernels of a file and its figures by metric."""

    def assumptions(self, setting: Setting, images: int) -> list[str]:
        """Return what the figures rest on, a sentence each."""


@dataclass(frozen=True)
class Kind:
    """A kind of board of which nothing was measured here."""

    board: Board

    def mode(self, setting: Setting) -> int | None:
        """Return the power mode that a setting means."""
        return self.board.mode(setting)

    def file(
        self, model: ModelProto, images: int, setting: Setting, sha256: str
    ) -> tuple[tuple[Kernel, ...], dict[str, Figure]]:
        """Return the kernels of a file and its figures by metric."""
        return self.board.file(model, images, setting)

    def assumptions(self, setting: Setting, images: int) -> list[str]:
        """Return what the figures rest on, a sentence each."""
        return self.board.assumptions(setting)


@dataclass(frozen=True)
class Place:
    """Where the networks would run.

    Attributes:
        alias: as the user names it.
        profile: of its kind.
        device: that can be asked; None where there is only such a kind.
    """

    alias: str
    profile: Profile
    device: Device | None

    @property
    def registered(self) -> bool:
        """Whether there is such a device."""
        return self.device is not None


def find_place(device: str) -> Place:
    """Return the registered device of a name, or else the kind of board.

    Raises:
        ConfigError: if there is neither.
    """
    for registered in registry.all_devices():
        if registered.alias == device:
            return Place(device, find_profile(registered.profile), registered)
    if is_profile(device):
        return Place(device, find_profile(device), None)
    near = [name for name in ROOFLINES if device in name]
    hint = f"did you mean {' or '.join(near)}?" if near else did_you_mean(device, ROOFLINES)
    raise ConfigError(f"no device and no kind of board is named '{device}'; {hint}")


def estimated(
    paths: Sequence[Path],
    *,
    device: str,
    precision: str = "fp32",
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    power_mode: int | None = None,
    threads: int = 1,
    store: Store | None = None,
) -> dict[str, Any]:
    """Return the record of what networks would take on a device.

    Args:
        paths: ONNX files, and folders of runs or artefacts.
        device: a registered device, or a kind of board.
        precision: "fp32", "fp16" or "int8".
        batch: images of one run; None for the file's own, or 1 where that is free.
        shapes: of inputs whose sizes the files leave free, by name.
        power_mode: nvpmodel's number; None for the one that is assumed.
        threads: that one operator may use, where a processor computes.
        store: whose measurements calibrate; None for the user's own.

    Raises:
        ConfigError: if nothing is known of the device, or it lacks what is asked for, or a size
            is missing.
        ExportError: if a file cannot be read, or the size of a value does not follow from it.
    """
    place = find_place(device)
    place.profile.check_precision(precision)
    if power_mode is not None:
        place.profile.check_power_mode(power_mode)
    estimator = _estimator(place, threads, store or Store())
    setting = Setting(precision, power_mode)
    subjects = [read(source, batch=batch, shapes=shapes) for source in find(paths)]
    check_names(subjects, shapes)
    return {
        "schema": SCHEMA,
        "provenance": "estimate",
        "device": {
            "alias": place.alias,
            "profile": place.profile.name,
            "title": place.profile.title,
            "registered": place.registered,
        },
        "request": {
            "precision": precision,
            "batch": subjects[0].batch,
            "power_mode": estimator.mode(setting),
        },
        "networks": [_network(subject, estimator, setting) for subject in subjects],
        "assumptions": estimator.assumptions(setting, subjects[0].batch),
        "measure_with": _commands(paths, place, precision, batch, shapes or {}, power_mode),
        "gensynth": gensynth.__version__,
    }


def _estimator(place: Place, threads: int, store: Store) -> Estimator:
    """Return who knows of a device, or of a kind of board.

    Raises:
        ConfigError: if nobody does.
    """
    if place.device is None:
        return Kind(Board(place.profile))
    found = Calibrated(place.device, place.profile, store, threads)
    is_processor = place.profile.runtimes == ("onnxruntime",)
    if not is_processor:
        Board(place.profile)  # says so if nothing is known of it
    elif place.profile.name not in KNOWN_PROCESSORS and not found.known(Setting(), 1).samples:
        raise ConfigError(
            f"no estimate for {place.alias}: its kernels are estimated from measurements alone; "
            f"measure a few networks with: gensynth bench NET.onnx --profile --device {place.alias}"
        )
    return found


def _network(subject: Subject, estimator: Estimator, setting: Setting) -> dict[str, Any]:
    try:
        kernels, figures = estimator.file(subject.sized, subject.batch, setting, subject.sha256)
    except ExportError as error:
        raise ExportError(f"{subject.name}: {error}") from error
    return {
        "name": subject.name,
        "onnx_sha256": subject.sha256,
        "macs": subject.cost.macs,
        "kernels": len(kernels),
        "figures": {metric: figure.to_document() for metric, figure in figures.items()},
        "unknown": list(unknown(kernels) or figures["latency_ms"].unknown),
    }


def _commands(
    paths: Sequence[Path],
    place: Place,
    precision: str,
    batch: int | None,
    shapes: Mapping[str, Sequence[int]],
    power_mode: int | None,
) -> list[str]:
    """Return what a person types once the board is there."""
    alias = place.alias if place.registered else place.profile.name.removeprefix("jetson-")
    words = ["gensynth", "bench", *map(str, paths), "--device", alias]
    if precision != "fp32":
        words += ["--precision", precision]
    if batch is not None:
        words += ["--batch", str(batch)]
    for name, sizes in shapes.items():
        words += ["--shape", f"{name}={','.join(map(str, sizes))}"]
    if power_mode is not None:
        words += ["--power-modes", str(power_mode)]
    if place.profile.no_energy is None and place.profile.rail is not None:
        words.append("--energy")
    adding = [] if place.registered else [f"gensynth devices add {alias} USER@ADDRESS"]
    return [*adding, shlex.join(words)]
