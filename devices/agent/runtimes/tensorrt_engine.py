"""An engine of any TensorRT from 8.0 on: its inputs and outputs, one run, its layers.

What differs between versions:

    tensors   get_binding_* by number, from 8.5 get_tensor_* by name
    shapes    set_binding_shape, from 8.5 set_input_shape
    one run   execute_v2 in all
"""

import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from gensynth.devices.agent.runtimes.tensorrt_log import Log, member_name
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor, byte_count

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
# The inspector writes "Row major linear FP16" in 8.x and "Half" in 10.x.
_PRECISIONS = (
    ("fp16", re.compile(r"FP16|Half", re.IGNORECASE)),
    ("bf16", re.compile(r"BF16|BFloat16", re.IGNORECASE)),
    ("int8", re.compile(r"INT8", re.IGNORECASE)),
    ("fp8", re.compile(r"FP8", re.IGNORECASE)),
    ("fp32", re.compile(r"FP32|Float\b", re.IGNORECASE)),
)


class Binding(NamedTuple):
    """One input or output of an engine, its sizes settled."""

    name: str
    is_input: bool
    dtype: str
    shape: Tuple[int, ...]

    @property
    def byte_count(self) -> int:
        """Bytes of it on the device."""
        return byte_count(self.dtype, self.shape)


class Executable:
    """An engine with its context and inputs of settled shapes.

    Attributes:
        bindings: inputs and outputs in the order in which `execute` takes their addresses.
    """

    def __init__(
        self, trt: Any, log: Log, runtime: Any, engine: Any, context: Any, inputs: Sequence[Tensor]
    ) -> None:
        self._trt = trt
        self._log = log
        self._runtime = runtime  # an engine must not outlive it
        self._engine = engine
        self._context = context
        self._settle({tensor.name: tensor.shape for tensor in inputs})
        self.bindings = self._bindings()

    def execute(self, addresses: List[int]) -> None:
        """Run once to the end.

        Raises:
            Fault: `oom` or `device_lost`.
        """
        if not self._context.execute_v2(addresses):
            raise Fault(
                "oom" if self._log.is_out_of_memory else "device_lost",
                "TensorRT must run the network, got an error: " + self._log.last_error,
                {"log": self._log.text()},
            )

    def layers(self) -> Optional[List[Dict[str, str]]]:
        """Return name and precision of each layer; None where TensorRT cannot tell (below 8.2)."""
        if not hasattr(self._engine, "create_engine_inspector"):
            return None
        inspector = self._engine.create_engine_inspector()
        if inspector is None:
            return None
        inspector.execution_context = self._context
        return layers_of(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def _settle(self, shapes: Dict[str, Tuple[int, ...]]) -> None:
        by_name = hasattr(self._context, "set_input_shape")
        for index, name in enumerate(self._names()):
            if name not in shapes or not self._is_input(index, name):
                continue
            if by_name:
                taken = self._context.set_input_shape(name, shapes[name])
            else:
                taken = self._context.set_binding_shape(index, shapes[name])
            if not taken:
                raise Fault(
                    "build_failed",
                    f"the engine does not take {list(shapes[name])} for input {name!r}",
                    {"log": self._log.text()},
                )

    def _bindings(self) -> List[Binding]:
        found = []
        for index, name in enumerate(self._names()):
            if hasattr(self._engine, "get_tensor_dtype"):
                dtype = member_name(self._engine.get_tensor_dtype(name))
                shape = tuple(self._context.get_tensor_shape(name))
            else:
                dtype = member_name(self._engine.get_binding_dtype(index))
                shape = tuple(self._context.get_binding_shape(index))
            if dtype not in _DTYPES or any(size < 1 for size in shape):
                raise Fault(
                    "build_failed",
                    f"tensor {name!r} is {dtype} {list(shape)}; only fixed sizes of at least 1 and "
                    f"the types {', '.join(sorted(_DTYPES))} can be measured",
                )
            found.append(Binding(name, self._is_input(index, name), _DTYPES[dtype], shape))
        return found

    def _names(self) -> List[str]:
        if hasattr(self._engine, "num_io_tensors"):
            return [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        return [self._engine.get_binding_name(i) for i in range(self._engine.num_bindings)]

    def _is_input(self, index: int, name: str) -> bool:
        if hasattr(self._engine, "get_tensor_mode"):
            return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)
        return bool(self._engine.binding_is_input(index))


def layers_of(text: str) -> Optional[List[Dict[str, str]]]:
    """Return name and precision of each layer of what an inspector or `trtexec` writes.

    The precision is that of the layer's first output; "other" for integers and the like. None
    for an engine that was built without details.
    """
    try:
        layers = json.loads(text)["Layers"]
        return [{"name": str(layer["Name"]), "precision": _precision(layer)} for layer in layers]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _precision(layer: Dict[str, Any]) -> str:
    outputs = layer.get("Outputs") or [{}]
    spelled = str(outputs[0].get("Format/Datatype", ""))
    for precision, pattern in _PRECISIONS:
        if pattern.search(spelled):
            return precision
    return "other"
