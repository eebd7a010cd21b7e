"""Every exception a user of gensynth can meet, as one tree.

    GensynthError
    ├── ConfigError         a run file, an option or a requirement that cannot be meant
    │   └── UnreachableError    no network of the space meets the cost requirements
    ├── DataError           images, labels or archives that are missing, damaged or do not fit
    ├── PrototypeError      a network or a weights file that cannot serve as a prototype
    │   └── TraceError          a module that cannot be read as a graph; names the user's line
    ├── ExportError         an ONNX file that does not compute what the network computes
    ├── DeviceError         a machine that cannot measure what was asked
    │   └── DeviceFault         the same with its status, as the device's agent or the link gave it
    ├── StoreError          a store of measurements that is damaged or of another version
    ├── RunError            a run folder that is absent, in use, damaged or of another version
    ├── Interrupted         Ctrl-C, with what is kept and how to go on; the exit code is 130
    └── LinkError           a checkout that lost its links to export, bench or devices

All of these are the user's or the world's doing, so the command line prints the
message and exits with 2. A bug of ours, or of code that calls us, is a `ValueError`
or a `TypeError` and keeps its traceback.
"""

from collections.abc import Mapping
from typing import Any


class GensynthError(Exception):
    """Something outside the program must change before the work can be done."""


class ConfigError(GensynthError):
    """A run file, an option or a requirement that cannot be meant."""


class UnreachableError(ConfigError):
    """A cost requirement below the cheapest network of the space."""


class DataError(GensynthError):
    """Images, labels or archives that are missing, damaged or do not fit."""


class PrototypeError(GensynthError):
    """A network or a weights file that cannot serve as a prototype."""


class TraceError(PrototypeError):
    """A module that cannot be read as a graph."""


class ExportError(GensynthError):
    """An ONNX file that does not compute what the network computes."""


class DeviceError(GensynthError):
    """A machine that cannot measure what was asked."""


class DeviceFault(DeviceError):
    """A machine that did not answer, or whose agent could not do what was asked.

    Attributes:
        status: a key of `gensynth.devices.agent.wire.status.STATUSES`.
        message: what must hold, what came, what to do.
        details: JSON values for a program, such as the owner of a busy board.
    """

    def __init__(self, status: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = dict(details or {})


class StoreError(GensynthError):
    """A store of measurements that is damaged or of another version."""


class RunError(GensynthError):
    """A run folder that is absent, in use, damaged or of another version."""


class Interrupted(GensynthError):
    """Work that was stopped by Ctrl-C; what is kept, and the way on, are the message."""


class LinkError(GensynthError, ImportError):
    """A checkout, or an installation from one, that lost its links to export, bench or devices."""
