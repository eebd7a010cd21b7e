"""ONNX Runtime on this machine's processor, with errors that a user can read.

The one place that opens a session; `gensynth.export.parity` runs files with it and
`gensynth.bench.latency` times them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from gensynth.errors import ExportError

PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class InputSpec:
    """One input of a file.

    Attributes:
        name: as the file calls it.
        shape: batch first; a size that is free is its name, or None.
        type: as ONNX Runtime spells it, such as "tensor(float)".
    """

    name: str
    shape: tuple[int | str | None, ...]
    type: str


class Session:
    """An ONNX file, ready to run.

    Args:
        session: ONNX Runtime's own.
        source: the file's name, for messages.
    """

    def __init__(self, session: Any, source: str) -> None:
        self._session = session
        self.source = source

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The file's inputs, in order."""
        return tuple(
            InputSpec(entry.name, tuple(entry.shape), entry.type)
            for entry in self._session.get_inputs()
        )

    def run(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the file's outputs.

        Raises:
            ExportError: if the runtime refuses the inputs or fails.
        """
        try:
            outputs: list[np.ndarray] = self._session.run(None, dict(feed))
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise ExportError(f"{self.source} could not be run: {_first_line(error)}") from error
        return outputs


def open_session(model: bytes | Path, *, threads: int = 1) -> Session:
    """Load an ONNX file for this processor.

    Args:
        model: the file or its bytes.
        threads: that one operator may use; operators run one after the other.

    Raises:
        ExportError: if there is no such file, or it is damaged or not for this runtime.
    """
    source = "the ONNX file" if isinstance(model, bytes) else str(model)
    if isinstance(model, bytes):
        content = model
    else:
        try:
            content = model.read_bytes()
        except OSError as error:
            raise ExportError(f"cannot read {source}: {error.strerror}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[PROVIDER])
    except Exception as error:  # as above
        raise ExportError(
            f"{source} is damaged or not for this runtime: {_first_line(error)}"
        ) from error
    return Session(session, source)


def runtime_name() -> str:
    """Return what runs the files, such as "onnxruntime 1.23.2 CPUExecutionProvider"."""
    return f"onnxruntime {version('onnxruntime')} {PROVIDER}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
