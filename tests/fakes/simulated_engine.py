"""What TensorRT documents of its engines, done by ONNX's reference evaluator.

The builder's half is `tests/fakes/simulated_tensorrt.py`.
"""

import base64
import ctypes
import json
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from tests.fakes.simulated_tensorrt import Kit, Started, buffer

_TYPES = {
    "float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32", "bool": "BOOL",
    "uint8": "UINT8", "int64": "INT64",
}  # fmt: skip


class _Runtime(Started):
    def deserialize_cuda_engine(self, serialized: Any) -> Any:
        try:
            plan = json.loads(buffer(serialized))
            if plan["version"] != self.kit.version:
                raise ValueError("The engine plan file is not compatible with this version")
        except (ValueError, KeyError) as error:
            self.kit.say(self.logger, "ERROR", f"Serialization assertion failed: {error}")
            return None
        return self.kit.wrap("ICudaEngine", plan, self.logger)


class _Engine:
    def __init__(self, kit: Kit, plan: dict[str, Any], logger: Any) -> None:
        self.kit, self.plan, self.logger = kit, plan, logger
        self.model = onnx.load_from_string(base64.b64decode(plan["onnx"]))
        # The evaluator knows the quantising operators from 19 on, which compute the same.
        self.model.opset_import[0].version = max(19, self.model.opset_import[0].version)
        self.evaluator = ReferenceEvaluator(self.model)
        feed = {
            given.name: np.zeros(
                plan["shapes"][given.name],
                onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type),
            )
            for given in self.model.graph.input
        }
        names = [entry.name for entry in self.model.graph.output]
        results = dict(zip(names, self.evaluator.run(names, feed), strict=True))
        self.inputs = list(feed)
        # name -> what the file holds, what the engine takes, the shape
        self.tensors = {
            name: (value.dtype, self._taken(value.dtype), value.shape)
            for name, value in {**feed, **results}.items()
        }

    def _taken(self, dtype: Any) -> Any:
        """INT64 is INT32 for versions below 10."""
        return np.dtype("int32") if dtype == np.int64 and self.kit.major < 10 else dtype

    @property
    def num_bindings(self) -> int:
        return len(self.tensors)

    num_io_tensors = num_bindings

    def get_binding_name(self, index: int) -> str:
        return list(self.tensors)[index]

    get_tensor_name = get_binding_name

    def binding_is_input(self, index: int) -> bool:
        return self.get_binding_name(index) in self.inputs

    def get_tensor_mode(self, name: str) -> Any:
        modes: Any = self.kit.module["TensorIOMode"]
        return modes.INPUT if name in self.inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self.kit.module["DataType"], _TYPES[self.tensors[name][1].name])

    def get_binding_dtype(self, index: int) -> Any:
        return self.get_tensor_dtype(self.get_binding_name(index))

    def create_execution_context(self, strategy: Any = None) -> Any:
        context = self.kit.wrap("IExecutionContext", self)
        self.kit.machine.contexts.add(context)
        return context

    def create_engine_inspector(self) -> Any:
        return self.kit.wrap("EngineInspector", self)


class _Context:
    def __init__(self, kit: Kit, engine: _Engine) -> None:
        self.kit, self.engine = kit, engine
        self.set: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self.set[name] = tuple(shape)
        return tuple(shape) == tuple(self.engine.plan["shapes"][name])

    def set_binding_shape(self, index: int, shape: Any) -> bool:
        return self.set_input_shape(self.engine.get_binding_name(index), shape)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if set(self.set) != set(self.engine.inputs):
            return tuple(-1 for _ in self.engine.tensors[name][2])
        return tuple(self.engine.tensors[name][2])

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return self.get_tensor_shape(self.engine.get_binding_name(index))

    def execute_v2(self, bindings: Any) -> bool:
        if not isinstance(bindings, list) or not all(isinstance(at, int) for at in bindings):
            raise TypeError("incompatible function arguments: bindings is a list of addresses")
        machine, engine = self.kit.machine, self.engine
        assert len(bindings) == len(engine.tensors)
        if machine.fails is not None:
            self.kit.say(engine.logger, "ERROR", machine.fails)
            return False
        machine.runs += 1
        feed = {}
        placed = list(zip(engine.tensors.items(), bindings, strict=True))
        for (name, (dtype, taken, shape)), address in placed:
            size = taken.itemsize * int(np.prod(shape))
            assert machine.size_at(address) >= size, f"{name}: an illegal address {address:#x}"
            if name in engine.inputs:
                content = ctypes.string_at(address, size)
                feed[name] = np.frombuffer(content, taken).reshape(shape).astype(dtype)
        names = [name for name in engine.tensors if name not in engine.inputs]
        results = dict(zip(names, engine.evaluator.run(names, feed), strict=True))
        for (name, (_, taken, _)), address in placed:
            if name in results:
                content = np.ascontiguousarray(results[name].astype(taken)).tobytes()
                ctypes.memmove(address, content, len(content))
        return True


class _Inspector:
    execution_context: Any = None

    def __init__(self, kit: Kit, engine: _Engine) -> None:
        self.kit, self.engine = kit, engine

    def get_engine_information(self, kind: Any) -> str:
        assert self.kit.member("LayerInformationFormat", kind) == "JSON"
        assert self.execution_context is not None
        nodes = self.engine.model.graph.node
        if not self.engine.plan["detailed"]:
            return json.dumps({"Layers": [node.name for node in nodes], "Bindings": []})
        layers = []
        for node in nodes:
            half = "FP16" in self.engine.plan["flags"] and node.op_type == "Conv"
            spelled = f"Row major linear {'FP16' if half else 'FP32'}"
            if self.kit.major >= 10:
                spelled = "Half" if half else "Float"
            output = {"Name": node.output[0], "Dimensions": [1], "Format/Datatype": spelled}
            layers.append({"Name": node.name, "LayerType": node.op_type, "Outputs": [output]})
        return json.dumps({"Layers": layers, "Bindings": []})


ENGINE_BEHAVIOURS: dict[str, type] = {
    "Runtime": _Runtime,
    "ICudaEngine": _Engine,
    "IExecutionContext": _Context,
    "EngineInspector": _Inspector,
}
