# ruff: noqa: UP032 (the grammar of Python 3.6)
"""TensorRT 8.2.1's module for a board of Python 3.6 without packages: it knows Mul by two alone.

To be installed as `tensorrt` on a simulated TX2. What 8.2 has, and that calls of anything else
fail, is the matter of `fake_tensorrt.py`; this one is for the board's own Python and libcudart.
"""

import ctypes
import json
import struct
from typing import Any

__version__ = "8.2.1.8"


def _enumeration(kind: str, *names: str) -> Any:
    made: Any = type(
        kind, (), {"__int__": lambda self: self.number, "__str__": lambda self: self.text}
    )
    for number, name in enumerate(names):
        member = made()
        member.number, member.text = number, "{}.{}".format(kind, name)
        setattr(made, name, member)
    return made


BuilderFlag = _enumeration("BuilderFlag", "FP16", "INT8")
NetworkDefinitionCreationFlag = _enumeration("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH")
ProfilingVerbosity = _enumeration("ProfilingVerbosity", "LAYER_NAMES_ONLY", "DETAILED")
LayerInformationFormat = _enumeration("LayerInformationFormat", "ONELINE", "JSON")
DataType = _enumeration("DataType", "FLOAT", "HALF")
_Severity = _enumeration("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


class ILogger:
    VERBOSE = _Severity.VERBOSE

    def __init__(self) -> None:
        self.is_made = True


class Config:
    __slots__ = ("cache", "flags", "max_workspace_size", "profiling_verbosity")

    def set_flag(self, flag: Any) -> Any:
        assert flag is BuilderFlag.FP16

    def create_timing_cache(self, content: Any) -> Any:
        return _Cache()

    def set_timing_cache(self, cache: Any, ignore_mismatch: Any) -> Any:
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class _Cache:
    def serialize(self) -> Any:
        return b"cache"


class _Input:
    name, shape = "x", (1, 8)


class _Network:
    num_inputs = 1

    def get_input(self, index: Any) -> Any:
        return _Input()


class Builder:
    def __init__(self, logger: Any) -> None:
        assert logger.is_made
        self.logger = logger

    def create_network(self, flags: Any) -> Any:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
        return _Network()

    def create_builder_config(self) -> Any:
        return Config()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        assert config.max_workspace_size == 64 << 20
        self.logger.log(_Severity.INFO, "built by Python 3.6")
        return b"a plan of 8.2.1"


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Any, logger: Any) -> None:
        pass

    def parse(self, model: Any, path: Any = None) -> Any:
        return b"Mul" in model


class Runtime:
    def __init__(self, logger: Any) -> None:
        assert logger.is_made

    def deserialize_cuda_engine(self, plan: Any) -> Any:
        return _Engine() if plan == b"a plan of 8.2.1" else None


class _Engine:
    num_bindings = 2

    def get_binding_name(self, index: Any) -> Any:
        return "xy"[index]

    def binding_is_input(self, index: Any) -> Any:
        return index == 0

    def get_binding_dtype(self, index: Any) -> Any:
        return DataType.FLOAT

    def create_execution_context(self) -> Any:
        return _Context()

    def create_engine_inspector(self) -> Any:
        return _Inspector()


class _Context:
    def set_binding_shape(self, index: Any, shape: Any) -> Any:
        return tuple(shape) == (1, 8)

    def get_binding_shape(self, index: Any) -> Any:
        return (1, 8)

    def execute_v2(self, bindings: Any) -> Any:
        given, result = bindings
        numbers = struct.unpack("<8f", ctypes.string_at(given, 32))
        ctypes.memmove(result, struct.pack("<8f", *(2 * number for number in numbers)), 32)
        return True


class _Inspector:
    execution_context = None

    def get_engine_information(self, kind: Any) -> Any:
        output = {"Name": "y", "Format/Datatype": "Row major linear FP16 format"}
        return json.dumps({"Layers": [{"Name": "mul", "Outputs": [output]}]})
