# ruff: noqa: UP032, PTH123 (the grammar of Python 3.6)
"""TensorRT 8.2's module as the example of an artefact calls it, for any Python from 3.6 on.

To be installed as `tensorrt`. Its engine answers with the first bytes of the SHA-256 of the file
that it was built from, one a class, whatever the image: which network answers is seen. What a
build was told is a line of the file that GENSYNTH_BUILDS names; GENSYNTH_TENSORRT is its version.
"""

import ctypes
import hashlib
import json
import os
import struct
from typing import Any

__version__ = os.environ.get("GENSYNTH_TENSORRT", "8.2.1.8")
CLASSES = 5


class DataType:
    FLOAT, HALF, INT32 = range(3)


class BuilderFlag:
    FP16, INT8, OBEY_PRECISION_CONSTRAINTS = "FP16", "INT8", "OBEY"


class NetworkDefinitionCreationFlag:
    EXPLICIT_BATCH = 0


class Logger:
    WARNING = 2

    def __init__(self, level: Any) -> None:
        assert level == self.WARNING


class _Value:
    def __init__(self, dtype: int) -> None:
        self.dtype = dtype


class _Layer:
    num_outputs = 1

    def __init__(self, name: str, dtype: int = DataType.FLOAT) -> None:
        self.name, self.dtype = name, dtype
        self.precision = self.given = None  # type: Any

    def get_output(self, index: int) -> Any:
        return _Value(self.dtype)

    def set_output_type(self, index: int, dtype: int) -> None:
        self.given = dtype


class _Network:
    """A convolution, a mean by a shape's size, and a linear layer, as TensorRT names them."""

    def __init__(self) -> None:
        self.content = b""
        self.layers = [
            _Layer("conv"),
            _Layer("act"),
            _Layer("(Unnamed Layer* 2) [Shape]", DataType.INT32),
            _Layer("mean"),
            _Layer("(Unnamed Layer* 4) [Constant]"),
            _Layer("fc"),
            _Layer("(Unnamed Layer* 6) [ElementWise]"),
        ]
        self.num_layers = len(self.layers)

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class _Config:
    def __init__(self) -> None:
        self.flags = []  # type: Any
        self.max_workspace_size = 0

    def set_flag(self, flag: Any) -> None:
        self.flags.append(flag)


class Builder:
    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, Logger)

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << NetworkDefinitionCreationFlag.EXPLICIT_BATCH
        return _Network()

    def create_builder_config(self) -> Any:
        return _Config()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        assert config.max_workspace_size == 256 << 20
        full = (DataType.FLOAT, DataType.FLOAT)
        kept = [layer.name for layer in network.layers if (layer.precision, layer.given) == full]
        with open(os.environ["GENSYNTH_BUILDS"], "a") as file:
            file.write(json.dumps([config.flags, kept]) + "\n")
        return b"plan" + hashlib.sha256(network.content).digest()


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Any, logger: Any) -> None:
        self.network = network

    def parse(self, content: bytes) -> bool:
        self.network.content = content
        return True


class Runtime:
    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, Logger)

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        return _Engine(plan[4:]) if plan[:4] == b"plan" else None


class _Engine:
    def __init__(self, digest: bytes) -> None:
        self.digest = digest

    def create_execution_context(self) -> Any:
        return self

    def execute_v2(self, places: Any) -> bool:
        scores = struct.pack("<{}f".format(CLASSES), *self.digest[:CLASSES])
        ctypes.memmove(places[1], scores, len(scores))
        return True
