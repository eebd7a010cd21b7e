"""What TensorRT documents of its parser and builder, done without a device.

Networks are parsed, refused, built and serialized; `tests/fakes/simulated_engine.py` runs them. How
a version's objects look from outside is no matter here: `tests/fakes/fake_tensorrt.py` wraps each,
and `_it` is what it wraps.
"""

import base64
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx
from google.protobuf.message import DecodeError

# What 8.x and, seen with tensorrt-rtx, the later parsers say of an unknown operator.
NO_PLUGIN = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'


@dataclass
class Machine:
    """The board below TensorRT, and what happened on it.

    Attributes:
        has_driver: without one nothing starts.
        unsupported: operators that the parser does not know.
        needs_mib: workspace without which no kernel is found.
        free_mib: a larger workspace is more than there is.
        fails: what a run reports; None where it succeeds.
        chatter: characters that a build writes beside the rest.
        size_at: bytes of device memory at an address; 0 where there is none.
        builds: flags, workspace in MiB and length of the timing cache given, of each build.
        kept: the layers of each build that compute and give FP32 only, by name.
        runs: how many there were.
        contexts: those that live.
    """

    has_driver: bool = True
    unsupported: frozenset[str] = frozenset({"HardSwish"})
    needs_mib: int = 1
    free_mib: int = 4096
    fails: str | None = None
    chatter: int = 0
    size_at: Callable[[int], int] = lambda address: 0
    builds: list[tuple[tuple[str, ...], int, int]] = field(default_factory=list)
    kept: list[list[str]] = field(default_factory=list)
    runs: int = 0
    contexts: "weakref.WeakSet[Any]" = field(default_factory=weakref.WeakSet)


@dataclass
class Kit:
    """What every simulated object needs: the version, the machine, the module, its classes."""

    version: str
    machine: Machine
    module: dict[str, Any]
    kinds: dict[str, type]

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def wrap(self, name: str, *arguments: Any) -> Any:
        kind: Any = self.kinds[name]
        return kind(*arguments, _inside=True)

    def say(self, logger: Any, severity: str, text: str) -> None:
        logger.log(getattr(self.module["ILogger"].Severity, severity), text)

    def member(self, kind: str, value: Any) -> str:
        """The name of an argument that must be a member of an enumeration."""
        if not isinstance(value, self.module[kind]):
            raise TypeError(f"incompatible function arguments: {value!r} is no {kind}")
        return str(value._spelled)


def buffer(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"incompatible function arguments: {type(value).__name__} is no buffer")
    return bytes(value)


class Started:
    """A builder or runtime: what needs a driver and a logger."""

    def __init__(self, kit: Kit, logger: Any) -> None:
        if not isinstance(logger, kit.module["ILogger"]) or not hasattr(logger, "is_made"):
            raise TypeError("ILogger.__init__() must be called when overriding __init__")
        self.kit, self.logger = kit, logger
        if not kit.machine.has_driver:
            kit.say(logger, "INTERNAL_ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")


class _Builder(Started):
    def create_network(self, flags: int) -> Any:
        allowed = {8: (1,), 10: (0, 1), 11: (0,)}[self.kit.major]
        if flags not in allowed:
            self.kit.say(self.logger, "ERROR", f"network flags must be in {allowed}, got {flags}")
            return None
        return self.kit.wrap("INetworkDefinition")

    def create_builder_config(self) -> Any:
        return self.kit.wrap("IBuilderConfig")

    def create_optimization_profile(self) -> Any:
        return self.kit.wrap("IOptimizationProfile")

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        net, asked, machine = network._it, config._it, self.kit.machine
        cache = asked.cache._it.given if asked.cache else b""
        machine.builds.append((tuple(asked.flags_set), asked.workspace >> 20, len(cache)))
        machine.kept.append([layer.name for layer in net.layers if layer.is_in_fp32])
        shapes = dict(net.shapes)
        if len(asked.profiles) > 1:
            return self._fail("an engine of several profiles has several sets of bindings")
        for profile in asked.profiles:
            shapes.update(profile._it.optimal)
        if any(-1 in shape for shape in shapes.values()):
            return self._fail("Network has dynamic or shape inputs, but no optimization profile")
        if asked.workspace < machine.needs_mib << 20:
            return self._fail("Could not find any implementation for node conv.")
        if asked.workspace > machine.free_mib << 20:
            self.kit.say(self.logger, "WARNING", "Requested amount of GPU memory is not there")
            return self._fail("Error Code 2: OutOfMemory (no further information)")
        self.kit.say(self.logger, "VERBOSE", "tactic 7 took 0.01 ms")
        for _ in range(machine.chatter // 1000):
            self.kit.say(self.logger, "WARNING", "x" * 1000)
        self.kit.say(self.logger, "INFO", "Engine generation completed in 0.1 seconds.")
        if asked.cache:
            asked.cache._it.given += b"t"
        plan = {
            "version": self.kit.version,
            "onnx": base64.b64encode(net.model).decode(),
            "flags": asked.flags_set,
            "shapes": {name: list(shape) for name, shape in shapes.items()},
            "detailed": asked.profiling_verbosity == "DETAILED",
        }
        return self.kit.wrap("IHostMemory", json.dumps(plan).encode())

    def _fail(self, text: str) -> None:
        self.kit.say(self.logger, "ERROR", text)


class _Config:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.flags_set: list[str] = []
        self.workspace = 0 if kit.version.startswith(("8.0", "8.2")) else kit.machine.free_mib << 20
        self.profiles: list[Any] = []
        self.cache: Any = None
        self._verbosity = "LAYER_NAMES_ONLY"

    def set_flag(self, flag: Any) -> None:
        self.flags_set.append(self.kit.member("BuilderFlag", flag))

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert self.kit.member("MemoryPoolType", pool) == "WORKSPACE"
        self.workspace = size

    @property
    def max_workspace_size(self) -> int:
        return self.workspace

    @max_workspace_size.setter
    def max_workspace_size(self, size: int) -> None:
        self.workspace = size

    @property
    def profiling_verbosity(self) -> str:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Any) -> None:
        self._verbosity = self.kit.member("ProfilingVerbosity", value)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized: Any) -> Any:
        content = buffer(serialized)
        if content and not content.startswith(self.kit.version.encode()):
            return None  # a cache of another version
        return self.kit.wrap("ITimingCache", content or self.kit.version.encode())

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class _TimingCache:
    def __init__(self, kit: Kit, given: bytes) -> None:
        self.kit, self.given = kit, given

    def serialize(self) -> Any:
        return self.kit.wrap("IHostMemory", self.given)


class _HostMemory:
    def __init__(self, kit: Kit, content: bytes) -> None:
        self.content = content

    def __bytes__(self) -> bytes:
        return self.content


class _Profile:
    def __init__(self, kit: Kit) -> None:
        self.optimal: dict[str, tuple[int, ...]] = {}

    def set_shape(self, name: str, low: Any, optimal: Any, high: Any) -> None:
        if not tuple(low) <= tuple(optimal) <= tuple(high) or min(optimal) < 1:
            raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
        self.optimal[name] = tuple(optimal)

    def __bool__(self) -> bool:
        return False  # isValid(), which an unfinished profile is not


class _Network:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.model = b""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.layers: list[_Layer] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Any:
        # TensorRT gives one layer under as many objects as are asked for.
        return self.kit.wrap("ILayer", self.layers[index])

    def add(self, name: str, value: str, kind: str) -> None:
        """Add a layer; one without a name of its own is called as TensorRT calls it."""
        number = len(self.layers)
        name = name or f"(Unnamed Layer* {number}) [{kind}]"
        self.layers.append(_Layer(name, value or f"{name}_output", kind))

    @property
    def num_inputs(self) -> int:
        return len(self.shapes)

    def get_input(self, index: int) -> Any:
        name = list(self.shapes)[index]
        return self.kit.wrap("ITensor", name, self.shapes[name])


@dataclass
class _Layer:
    """What a network has of a layer."""

    name: str
    value: str
    kind: str
    precision: str = ""
    given: str = ""

    @property
    def is_in_fp32(self) -> bool:
        return (self.precision, self.given) == ("FLOAT", "FLOAT")


class _OfLayer:
    num_outputs = 1

    def __init__(self, kit: Kit, layer: _Layer) -> None:
        self.kit, self.layer, self.name = kit, layer, layer.name

    def get_output(self, index: int) -> Any:
        kind = "INT32" if self.layer.kind == "Shape" else "FLOAT"
        dtype = getattr(self.kit.module["DataType"], kind)
        return self.kit.wrap("ITensor", self.layer.value, (), dtype)

    @property
    def precision(self) -> str:
        return self.layer.precision

    @precision.setter
    def precision(self, value: Any) -> None:
        assert self.layer.kind != "Shape", "whole numbers have no precision"
        self.layer.precision = self.kit.member("DataType", value)

    def set_output_type(self, index: int, dtype: Any) -> None:
        assert index == 0
        self.layer.given = self.kit.member("DataType", dtype)


class _Tensor:
    def __init__(self, kit: Kit, name: str, shape: tuple[int, ...], dtype: Any = None) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype


class _Parser:
    def __init__(self, kit: Kit, network: Any, logger: Any) -> None:
        self.kit, self.network, self.logger = kit, network._it, logger
        self.errors: list[tuple[str, str, int, str, str]] = []

    def parse(self, model: Any, path: str | None) -> bool:
        content = buffer(model)
        try:
            graph = onnx.load_from_string(content).graph
        except DecodeError:
            self.errors.append(("MODEL_DESERIALIZE_FAILED", "Failed to parse the ONNX", -1, "", ""))
            return False
        for index, node in enumerate(graph.node):
            if node.op_type in self.kit.machine.unsupported:
                self.kit.say(self.logger, "INFO", f"No importer registered for op: {node.op_type}")
                code = "UNSUPPORTED_NODE" if self.kit.major < 10 else "INVALID_NODE"
                self.errors.append((code, NO_PLUGIN, index, node.name, node.op_type))
        if self.errors:
            self.kit.say(self.logger, "ERROR", self.errors[0][1])
            return False
        for node in graph.node:
            # A Gemm is a constant, the product and a sum, as in the parser of 8.2.
            if node.op_type == "Gemm":
                self.network.add("", "", "Constant")
                self.network.add(node.name, "", "Matrix Multiply")
                self.network.add("", node.output[0], "ElementWise")
            else:
                self.network.add(node.name, node.output[0], node.op_type)
        self.network.model = content
        self.network.shapes = {
            given.name: tuple(size.dim_value or -1 for size in given.type.tensor_type.shape.dim)
            for given in graph.input
        }
        return True

    def supports_operator(self, name: str) -> bool:
        return name not in self.kit.machine.unsupported

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> Any:
        return self.kit.wrap("ParserError", *self.errors[index])


class _Error:
    def __init__(
        self, kit: Kit, code: str, text: str, index: int, name: str, operator: str
    ) -> None:
        self.code = lambda: getattr(kit.module["ErrorCode"], code)
        self.desc = lambda: text
        self.node = lambda: index
        self.node_name = lambda: name
        self.node_operator = lambda: operator


class _Logger:
    """A user derives from it; it has no behaviour of its own."""


BEHAVIOURS: dict[str, type] = {
    "ILogger": _Logger,
    "ITimingCache": _TimingCache,
    "IHostMemory": _HostMemory,
    "IOptimizationProfile": _Profile,
    "INetworkDefinition": _Network,
    "ILayer": _OfLayer,
    "ITensor": _Tensor,
    "Builder": _Builder,
    "IBuilderConfig": _Config,
    "OnnxParser": _Parser,
    "ParserError": _Error,
}
