# ruff: noqa: UP032, PTH123 (the grammar of Python 3.6)
# ruff: noqa: D101, D102, S311 (TensorRT's names, and draws that are to be the same every time)
"""TensorRT 8.2.1's module for a board whose every network takes what a formula says.

To be installed as `tensorrt` on a simulated TX2 that has `onnx` and `onnxruntime`, which compute
the answers. A run waits as long, and draws as much power, as this says of the file:

    ms     = 0.12 + sum over kernels of 0.041 + MACs / 1.2e8 + bytes / 1.4e7, widths made even,
             times the builder's luck with this network, exp(0.03 z)
    joule  = 4.1 W ms + 11 pJ a MAC + 60 pJ a byte

Kernels are convolutions, linear layers and pools. It is written beside what gensynth believes of
boards, not after it. The watts stand in the file GENSYNTH_DRAW, where the rail looks
(`drawn_rail`).

GENSYNTH_FAULTS is a share of networks that something befalls: a run fails, the board throttles
for three seconds, or the cable is cut by whoever watches for the word. Each is a line of the
file GENSYNTH_BEFALLEN; the same lines are drawn every time.
"""

import base64
import contextlib
import ctypes
import hashlib
import json
import math
import mmap
import os
import random
import struct
import time
from typing import Any

__version__ = "8.2.1.8"

CALL_MS, LAUNCH_MS, MACS_PER_MS, BYTES_PER_MS, LUCK = 0.12, 0.041, 1.2e8, 1.4e7, 0.03
STATIC_W, JOULE_PER_MAC, JOULE_PER_BYTE = 4.1, 11e-12, 60e-12
DRAW = struct.Struct("<Qd")
_KERNELS = ("Conv", "Gemm", "MatMul", "GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean")
_THROTTLED_S = 3.0
_BEFALLS_RUN = 12  # after the warm-up's first runs


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


class _Config:
    __slots__ = ("cache", "images", "max_workspace_size", "profiling_verbosity")

    def __init__(self) -> None:
        self.images = 1

    def add_optimization_profile(self, profile: Any) -> Any:
        self.images = profile.images
        return 0

    def set_flag(self, flag: Any) -> None:
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
    def __init__(self, value: Any) -> None:
        self.name = value.name
        self.shape = tuple(size or -1 for size in _shape(value))


class _Network:
    model = None  # type: Any

    @property
    def num_inputs(self) -> Any:
        return len(self.model.graph.input)

    def get_input(self, index: Any) -> Any:
        return _Input(self.model.graph.input[index])


class _Profile:
    images = 1

    def set_shape(self, name: Any, least: Any, usual: Any, most: Any) -> None:
        self.images = usual[0]


class Builder:
    def __init__(self, logger: Any) -> None:
        assert logger.is_made
        self.logger = logger

    def create_network(self, flags: Any) -> Any:
        return _Network()

    def create_builder_config(self) -> Any:
        return _Config()

    def create_optimization_profile(self) -> Any:
        return _Profile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        for value in network.model.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = config.images
        for value in network.model.graph.output:
            value.type.tensor_type.shape.dim[0].dim_value = config.images
        content = network.model.SerializeToString()
        return json.dumps({"onnx": base64.b64encode(content).decode()}).encode()


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Any, logger: Any) -> None:
        self.network = network

    def parse(self, model: Any, path: Any = None) -> Any:
        import onnx

        self.network.model = onnx.load_from_string(model)
        return True


class Runtime:
    def __init__(self, logger: Any) -> None:
        assert logger.is_made

    def deserialize_cuda_engine(self, plan: Any) -> Any:
        return _Engine(base64.b64decode(json.loads(bytes(plan).decode())["onnx"]))


class _Engine:
    def __init__(self, content: bytes) -> None:
        import onnx
        import onnxruntime

        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
        self.model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options)
        self.values = [*model.graph.input, *model.graph.output]
        self.num_bindings = len(self.values)
        self.work = work_of(model)
        self.luck = math.exp(LUCK * random.Random(hashlib.sha256(content).digest()).gauss(0, 1))
        self.befalls = _befalls()

    def get_binding_name(self, index: Any) -> Any:
        return self.values[index].name

    def binding_is_input(self, index: Any) -> Any:
        return index < len(self.model.graph.input)

    def get_binding_dtype(self, index: Any) -> Any:
        return DataType.FLOAT

    def create_execution_context(self) -> Any:
        return _Context(self)

    def create_engine_inspector(self) -> Any:
        return _Inspector(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.shapes = [_shape(value) for value in engine.values]
        self.given = self.answers = None  # type: Any
        self.runs = 0
        self.draw = _Draw()
        # A board waits for nobody; where that is not permitted, runs are late.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def set_binding_shape(self, index: Any, shape: Any) -> Any:
        return tuple(shape) == self.shapes[index]

    def get_binding_shape(self, index: Any) -> Any:
        return self.shapes[index]

    def execute_v2(self, bindings: Any) -> Any:
        engine = self.engine
        images = self.shapes[0][0]
        ms, watts = taken(engine.work, images)
        ms *= engine.luck
        start_ns = time.perf_counter_ns()
        self.draw.write(time.monotonic_ns() + round(1.5e6 * ms) + 1000000, watts)
        self.runs += 1
        befalls = engine.befalls and self.runs == _BEFALLS_RUN
        if befalls and _befall(engine.befalls) == "failed":
            return False
        size = 4 * _product(self.shapes[0])
        given = ctypes.string_at(bindings[0], size)
        if given != self.given:
            self.given, self.answers = given, self._answers(given)
        for place, content in zip(bindings[1:], self.answers):  # noqa: B905
            ctypes.memmove(place, content, len(content))
        until_ns = start_ns + round(1e6 * ms)
        left_s = (until_ns - time.perf_counter_ns()) / 1e9
        if left_s > 0.0003:
            time.sleep(left_s - 0.0002)
        while time.perf_counter_ns() < until_ns:
            pass
        return True

    def _answers(self, given: bytes) -> Any:
        import numpy as np

        images = np.frombuffer(given, np.float32).reshape(self.shapes[0])
        name = self.engine.model.graph.input[0].name
        found = self.engine.session.run(None, {name: images})
        return [np.ascontiguousarray(one, np.float32).tobytes() for one in found]


class _Inspector:
    execution_context = None

    def __init__(self, engine: _Engine) -> None:
        self.engine = engine

    def get_engine_information(self, kind: Any) -> Any:
        layers = [
            {
                "Name": node.name or node.output[0],
                "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
            }
            for node in self.engine.model.graph.node
            if node.op_type in _KERNELS
        ]
        return json.dumps({"Layers": layers})


class _Draw:
    """The watts of what runs, for the rail to see."""

    def __init__(self) -> None:
        path = os.environ.get("GENSYNTH_DRAW")
        self._memory = None  # type: Any
        if path is not None:
            with open(path, "r+b") as file:
                self._memory = mmap.mmap(file.fileno(), DRAW.size)

    def write(self, until_ns: int, watts: float) -> None:
        if self._memory is not None:  # each number at once, since the rail looks at any moment
            content = DRAW.pack(until_ns, watts)
            self._memory[8:], self._memory[:8] = content[8:], content[:8]


def work_of(model: Any) -> Any:
    """Return (kernels, MACs, bytes) of a model for one image, widths made even."""
    shapes = {
        value.name: _shape(value)
        for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]
    }
    weights = {one.name: tuple(one.dims) for one in model.graph.initializer}
    kernels, macs, moved = 0, 0.0, 0.0
    for node in model.graph.node:
        if node.op_type not in _KERNELS:
            continue
        kernels += 1
        out, read = shapes[node.output[0]][1:], shapes[node.input[0]][1:]
        moved += 2.0 * (_product(_even(out)) + _product(_even(read)))
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            shape = _even(weights[node.input[1]][:2]) + weights[node.input[1]][2:]
            positions = _product(out[1:])
            macs += float(_product(shape)) * positions
    return kernels, macs, moved


def taken(work: Any, images: int) -> Any:
    """Return (milliseconds, watts) of a run."""
    kernels, macs, moved = work
    macs, moved = macs * images, moved * images
    ms = CALL_MS + kernels * LAUNCH_MS + macs / MACS_PER_MS + moved / BYTES_PER_MS
    joule = STATIC_W * ms / 1e3 + JOULE_PER_MAC * macs + JOULE_PER_BYTE * moved
    return ms, 1e3 * joule / ms


def _befalls() -> Any:
    """Return what is to befall the network that is loaded now; None for most."""
    share, path = float(os.environ.get("GENSYNTH_FAULTS", "0")), os.environ.get("GENSYNTH_BEFALLEN")
    if not share or path is None:
        return None
    with open(path, "a+") as file:
        file.seek(0)
        number = len(file.read().splitlines())
        drawn = random.Random(number)
        what = drawn.choice(["failed", "throttled", "cut"]) if drawn.random() < share else None
        file.write("loaded\n")
    return what


def _befall(what: str) -> str:
    with open(os.environ["GENSYNTH_BEFALLEN"] + ".done", "a") as file:
        file.write(what + "\n")
    if what == "throttled":
        root = os.environ["GENSYNTH_AGENT_ROOT"]
        with open(root + "/sys/class/thermal/cooling_device1/cur_state", "w") as state:
            state.write("1\n")
    return what


def _shape(value: Any) -> Any:
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


def _even(sizes: Any) -> Any:
    return (sizes[0] + sizes[0] % 2,) + tuple(sizes[1:])  # noqa: RUF005


def _product(sizes: Any) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
