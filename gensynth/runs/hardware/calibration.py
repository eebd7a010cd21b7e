"""What was measured on a run's devices before it began, which calibrates its estimates.

The store goes on growing, with the run's own measurements too, so what it said at the start stands
in the run's folder: a run that is gone on with knows what it knew, and counts nothing twice.

    calibration.json    by device: its networks, and their kernels once for all that have the same
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from gensynth.atomic_files import json_bytes
from gensynth.bench.estimate.calibration import Known, known_of, read_kernels, write_kernels
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.store import Store
from gensynth.devices.run_device import RunDevice
from gensynth.errors import RunError
from gensynth.outside import Form, Natural, read_bytes
from gensynth.run_files import CALIBRATION_FILE
from gensynth.runs.folder import RunFolder

_Above0 = Annotated[float, Field(gt=0, le=1e30)]
_Variance = Annotated[float, Field(ge=0, le=100)]

Calibration = Mapping[str, Known]
"""By a device's name."""


class _Network(TypedDict):
    plan: Natural
    ms: _Above0
    kernel_ms: list[float] | None
    variance: _Variance
    watts: _Above0 | None


class _Document(TypedDict):
    plans: list[str]
    networks: dict[str, list[_Network]]


_FORM: Form[_Document] = Form(_Document)


def from_store(devices: Iterable[RunDevice], store: Store | None = None) -> Calibration:
    """Return what the user's store knows of every device that can be asked.

    Raises:
        StoreError: if it is damaged.
    """
    found = {}
    for device in devices:
        if device.device is not None:
            config = device.config
            found[device.name] = known_of(
                store or Store(), device.device, precision=config.precision,
                threads=config.threads, batch=config.batch, power_mode=config.power_mode,
            )  # fmt: skip
    return found


def keep(run: RunFolder, calibration: Calibration) -> None:
    """Write what is known into the run's folder, if there is anything."""
    plans: dict[str, int] = {}
    networks: dict[str, list[dict[str, Any]]] = {}
    for name, known in calibration.items():
        for sample, watts in zip(known.samples, known.watts, strict=True):
            plan = plans.setdefault(write_kernels(sample.kernels), len(plans))
            times = None if sample.kernel_ms is None else list(sample.kernel_ms)
            entry = {"plan": plan, "ms": sample.latency_ms, "kernel_ms": times}
            entry |= {"variance": sample.variance, "watts": watts}
            networks.setdefault(name, []).append(entry)
    if networks:
        document = {"plans": list(plans), "networks": networks}
        run.write_bytes(CALIBRATION_FILE, json_bytes(document))


def read(path: Path) -> Calibration:
    """Return what a run's folder keeps; nothing where there is no such file.

    Raises:
        RunError: if it is damaged.
    """
    file = path / CALIBRATION_FILE
    if not file.exists():
        return {}
    try:
        document = _FORM.check(json.loads(read_bytes(file)))
        plans = [read_kernels(text) for text in document["plans"]]
        return {
            name: Known(
                tuple(_sample(one, plans) for one in networks),
                tuple(one["watts"] for one in networks),
            )
            for name, networks in document["networks"].items()
        }
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise RunError(f"{file} is damaged: {error}; put it back from a copy") from error


def _sample(one: _Network, plans: list[Any]) -> Sample:
    times = one["kernel_ms"]
    return Sample(
        plans[one["plan"]], one["ms"], None, None if times is None else tuple(times),
        one["variance"],
    )  # fmt: skip
