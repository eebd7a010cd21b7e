"""Artefacts of a run's networks: for which target, in which folders.

The artefacts stand in RUN/artefacts/TARGET unless a folder is named. All of them are made and
checked, and their engines built where they are wanted, before the first is written.
"""

from dataclasses import dataclass
from pathlib import Path

from gensynth.devices.client import connect
from gensynth.devices.profiles import find_profile
from gensynth.devices.registry import LOCAL, Device, find
from gensynth.errors import ConfigError, DeviceFault, ExportError
from gensynth.export import artefact, engine
from gensynth.export.targets import Target, find_target, names
from gensynth.progress import SILENT, Listener
from gensynth.run_files import run_of
from gensynth.runs.networks import sources

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
    trust: bool = False,
    listener: Listener = SILENT,
) -> tuple[Written, ...]:
    """Write an artefact for each finalist of a run, or for one network.

    Args:
        path: of a finished run, or of a network's folder with its card.
        wanted: what for.
        trt: whether an engine is wanted. It is built on the device that was named, or on this
            machine if that is what the files are for and it has TensorRT; else there is none.
        out: the folder to hold one folder a network.
        trust: whether code may run that only the run's folder names (`gensynth.runs.trust`).
        listener: hears of the progress.

    Raises:
        GensynthError: if there is no such network, a file does not pass, or an engine cannot be
            built or computes something else; nothing is written then.
    """
    if trt and not wanted.target.tensorrt:
        raise ConfigError(
            f"{wanted.target.name} runs ONNX files by {wanted.target.runtime}; name a target with "
            "TensorRT for --trt"
        )
    made, above = _make(path, wanted, listener, trust=trust)
    above = above if out is None else out
    board = wanted.device
    if board is None and wanted.target.name == "nvidia-gpu" and engine.is_here():
        board = LOCAL
    if trt and board is not None:
        made = _with_engines(made, board, listener)
    written = [Written(one, above / one.name) for one in made]
    for one in written:
        artefact.write(one.artefact, one.folder)
    return tuple(written)


def export_onnx(
    path: Path,
    wanted: Order,
    *,
    out: Path | None = None,
    trust: bool = False,
    listener: Listener = SILENT,
) -> tuple[Written, ...]:
    """Write the ONNX file of each artefact that `export` would write, as NAME.onnx and alone.

    Raises:
        GensynthError: as `export`.
    """
    made, above = _make(path, wanted, listener, trust=trust)
    above = above if out is None else out
    written = [Written(one, above / f"{one.name}.onnx") for one in made]
    for one in written:
        artefact.write_onnx(one.artefact, one.folder)
    return tuple(written)


def _make(
    path: Path, wanted: Order, listener: Listener, *, trust: bool
) -> tuple[list[artefact.Artefact], Path]:
    """Return an artefact a network, and the folder to hold them."""
    made = []
    found = sources(path, trust=trust, listener=listener)
    for index, source in enumerate(found):
        try:
            one = artefact.make(
                source, wanted.target, precision=wanted.precision, batch=wanted.batch
            )
        except ExportError as error:
            raise ExportError(f"{source.name}: {error}") from error
        made.append(one)
        listener.progress("networks", (index + 1) / len(found), source.name)
    return made, (run_of(path) or path) / FOLDER / wanted.target.name


def _with_engines(
    made: list[artefact.Artefact], board: Device, listener: Listener
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
            listener.progress("engines", (index + 1) / len(made), one.name)
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
