"""A run's devices, from what its run file asks of them.

open_hardware    requirements and utility -> the devices, with what is known of each before the run
keep_tables      the device's costs as a generator sees them, into the run folder
tables_of        and back: a generator draws the same networks with them for ever, on any machine
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gensynth.bench.estimate.calibration import Known
from gensynth.config import RunConfig
from gensynth.devices.run_device import RunDevice
from gensynth.errors import ConfigError, RunError
from gensynth.goals.metrics import LATENCY
from gensynth.goals.requirements import Requirement
from gensynth.goals.utility import Utility
from gensynth.outside import read_bytes
from gensynth.run_files import DEVICE_COSTS_FILE
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware.board import Board, Estimates
from gensynth.runs.hardware.calibration import Calibration
from gensynth.runs.hardware.hardware import Hardware
from gensynth.runs.plan import devices_of
from gensynth.space.cost_model import Tabulated
from gensynth.space.space import Space


def open_hardware(
    config: RunConfig,
    requirements: Sequence[Requirement],
    utility: Utility,
    space: Space,
    known: Calibration,
) -> Hardware:
    """Return the devices of a run; empty where nothing is asked of any.

    Args:
        config, requirements, utility: of the run.
        space: of its prototype.
        known: what was measured on the devices before.

    Raises:
        ConfigError: if nothing is known of a device's kind, or a network's parts cannot be told.
    """
    boards = []
    for device, names in devices_of(config, requirements, utility).values():
        before = known.get(device.name, Known())
        first = _estimates(device).learned(before.samples, before.watts)
        boards.append(Board(device, names or (LATENCY.name,), first, first))
    opaque = [v.name for v in space.coupling.graph.vertices if v.op == "opaque"]
    if boards and opaque:
        raise ConfigError(
            f"what {opaque[0]} takes on {boards[0].device.name} cannot be estimated, since it "
            "cannot be looked into; leave the device out, and measure the networks with: "
            "gensynth bench RUN"
        )
    for board in boards:
        if board.device.config.precision == "int8" and board.device.device is not None:
            raise ConfigError(
                f"no search measures INT8 on {board.device.name}: a file in INT8 is made of a "
                "trained network; search with another precision, then: gensynth export RUN "
                f"--device {board.device.name} --precision int8, and gensynth bench of that"
            )
    return Hardware(boards, space, requirements)


def _estimates(device: RunDevice) -> Estimates:
    # Here, since a run that asks nothing of a device does not wait for what these import.
    from gensynth.bench.estimate.calibrated import estimates_of

    config = device.config
    return estimates_of(
        device.name, device.profile, precision=config.precision, batch=config.batch,
        power_mode=config.power_mode,
    )  # fmt: skip


def keep_tables(run: RunFolder, hardware: Hardware) -> None:
    """Write the costs of all devices as the generator's space has them."""
    if hardware:
        run.write_bytes(DEVICE_COSTS_FILE, _to_bytes(hardware.space))


def tables_of(path: Path, space: Space) -> Space:
    """Return a space with the costs of devices that a run folder keeps, if it keeps any.

    Raises:
        RunError: if they are damaged or of another space.
    """
    file = path / DEVICE_COSTS_FILE
    if not file.exists():
        return space
    try:
        arrays = load(read_bytes(file))
        names = bytes(arrays.pop("names")).decode().split("\n")
        sites = arrays.pop("sites")
        tables = [arrays[str(number)] for number in range(len(space.vertices))]
    except (KeyError, ValueError, OSError, SafetensorError) as error:
        raise RunError(f"the device costs in {file} are damaged: {error}") from error
    layout = space.layout
    read = space.sizes @ layout.reads + layout.read_fixed
    written = space.sizes @ layout.writes + layout.written_fixed
    fit = [
        table.ndim == 4
        and len(table) in (1, 1 + len(space.sites.substitutes))
        and table.shape[1] > r
        and table.shape[2] > w
        and table.shape[3] == len(names)
        and np.isfinite(table).all()
        for table, r, w in zip(tables, read, written, strict=True)
    ]
    if sites.shape != (len(tables),) or max(sites, default=-1) >= len(space.sites) or not all(fit):
        raise RunError(f"the device costs in {file} belong to another prototype")
    return space.with_models(Tabulated(tuple(names), tables, sites))


def _to_bytes(space: Space) -> bytes:
    models = [model for model in space.models if isinstance(model, Tabulated)]
    names = [name for model in models for name in model.names]
    arrays = {
        "names": np.frombuffer("\n".join(names).encode(), np.uint8),
        "sites": models[0].sites.astype(np.int64),
    }
    for number in range(len(space.vertices)):
        arrays[str(number)] = np.concatenate([m.tables[number] for m in models], axis=-1)
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
