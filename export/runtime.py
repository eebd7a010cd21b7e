"""ONNX Runtime on this machine's processor, with errors that a user can read.

The one place that opens a session; `gensynth.export.parity` runs files with it and
`gensynth.bench.latency` times them.
"""

import importlib
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gensynth.errors import ExportError
from gensynth.outside import ELEMENTS, ONNX_BYTES, read_bytes, within

PROVIDER = "CPUExecutionProvider"
Rounding = Literal["as_written", "in_kernels"]
"""How a file's pairs QuantizeLinear, DequantizeLinear are computed.

    "as_written"    each value is rounded to 8 bits where its pair stands and the rest is computed
                    in FP32: what the file says, on every processor, and what TensorRT computes to
                    within the rounding of a sum
    "in_kernels"    ONNX Runtime's own INT8 kernels, as its targets compute: on an x86 processor
                    without VNNI these add pairs of 8-bit products in 16 bits, which saturate
"""
_FATAL_ONLY = 4
"""An error is raised as well; the log would bring names of the file to the terminal as they are."""


def _onnxruntime() -> Any:
    """Return ONNX Runtime without telemetry.

    From 1.32 it queues events (a hashed device id, the path of Python, the processor), and a thread
    of it lives while networks are timed. It looks at this variable when it is imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    module = importlib.import_module("onnxruntime")
    module.disable_telemetry_events()
    return module


onnxruntime = _onnxruntime()


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


def open_session(
    model: bytes | Path, *, threads: int = 1, rounding: Rounding = "in_kernels"
) -> Session:
    """Load an ONNX file for this processor.

    Args:
        model: the file or its bytes.
        threads: that one operator may use; operators run one after the other.
        rounding: how an INT8 file is computed; other files are the same either way.

    Raises:
        ExportError: if there is no such file, it is damaged or not for this runtime, or one run of
            it reads more than fits in memory.
    """
    source = "the ONNX file" if isinstance(model, bytes) else str(model)
    if isinstance(model, bytes):
        content = model
    else:
        try:
            content = read_bytes(model, ONNX_BYTES)
        except OSError as error:
            raise ExportError(f"cannot read {source}: {error.strerror}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    if rounding == "as_written":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[PROVIDER])
    except Exception as error:  # as above
        raise ExportError(
            f"{source} is damaged or not for this runtime: {_first_line(error)}"
        ) from error
    found = Session(session, source)
    for spec in found.inputs:
        sizes = [size for size in spec.shape if isinstance(size, int)]
        try:
            within(math.prod(sizes), ELEMENTS, f"the values that {source} reads at once")
        except ValueError as error:
            raise ExportError(str(error)) from error
    return found


@cache
def convolution_block() -> int | None:
    """Return how many channels this processor's convolutions are computed in at once.

    The runtime is asked: it pads the one output of a convolution to a block when it prepares the
    file (its layout NCHWc; 16 with AVX-512, 8 with AVX2). None if it pads nothing, on processors
    for which it has no such layout.
    """
    weight = numpy_helper.from_array(np.ones((1, 16, 3, 3), np.float32), "weight")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("images", 16), ("answer", 1))
    ]
    node = helper.make_node("Conv", ["images", "weight"], ["answer"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "block", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY  # it warns that its file suits this machine alone
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        options.optimized_model_filepath = str(prepared)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[PROVIDER])
        (padded,) = onnx.load(prepared).graph.initializer
    outputs = int(padded.dims[0])
    return outputs if outputs > 1 else None


def runtime_name() -> str:
    """Return what runs the files, such as "onnxruntime 1.23.2 CPUExecutionProvider"."""
    return f"onnxruntime {version('onnxruntime')} {PROVIDER}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
