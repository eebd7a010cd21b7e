# ruff: noqa: D101, D102 (TensorRT's names; the grammar is that of Python 3.6)
"""TensorRT 8.2.1's module for a board whose every network takes what a formula says.

To be installed as `tensorrt` on a simulated TX2 that has `onnx` and `onnxruntime`, which compute
the answers, beside `old_tensorrt` of the tests' fakes, whose words it takes, and `modelled_work`,
which says how long a run waits and how much power it draws.
"""

import base64
import contextlib
import ctypes
import json
import os
import time
from typing import Any

import old_tensorrt
from modelled_work import KERNELS, Draw, befall, befalls, luck_of, product, shape_of, taken, work_of
from old_tensorrt import (
    BuilderFlag,
    DataType,
    ILogger,
    LayerInformationFormat,
    NetworkDefinitionCreationFlag,
    ProfilingVerbosity,
    __version__,
)

__all__ = [
    "Builder", "BuilderFlag", "DataType", "ILogger", "LayerInformationFormat",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ProfilingVerbosity", "Runtime", "__version__",
]  # fmt: skip

_BEFALLS_RUN = 12  # after the warm-up's first runs


class _Config(old_tensorrt.Config):  # type: ignore[misc]  # a file beside it, on the board
    __slots__ = ("images",)

    def __init__(self) -> None:
        self.images = 1

    def add_optimization_profile(self, profile: Any) -> Any:
        self.images = profile.images
        return 0


class _Input:
    def __init__(self, value: Any) -> None:
        self.name = value.name
        self.shape = tuple(size or -1 for size in shape_of(value))


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
        self.luck = luck_of(content)
        self.befalls = befalls()

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
        self.shapes = [shape_of(value) for value in engine.values]
        self.given = self.answers = None  # type: Any
        self.runs = 0
        self.draw = Draw()
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
        is_due = engine.befalls and self.runs == _BEFALLS_RUN
        if is_due and befall(engine.befalls) == "failed":
            return False
        size = 4 * product(self.shapes[0])
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
            if node.op_type in KERNELS
        ]
        return json.dumps({"Layers": layers})
