"""Small ONNX files for tests of runtimes, and what a job says of them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gensynth.devices.agent.runtimes.networks import Network, open_network
from gensynth.devices.agent.wire.spool import Spool

SHAPE = (1, 3, 8, 8)
Array = np.ndarray[Any, Any]


def convolution(
    activation: str = "Relu",
    *,
    batch: int | str = 1,
    scale: float = 1.0,
    half: bool = False,
    quantised: bool = False,
) -> bytes:
    """A convolution, an activation and a global mean: x (batch, 3, 8, 8) -> y (batch, 4, 1, 1)."""
    dtype = np.float16 if half else np.float32
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((scale * random.normal(size=(4, 3, 3, 3))).astype(dtype), "w"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="stem/conv", pads=[1, 1, 1, 1]),
        helper.make_node(activation, ["c"], ["a"], name="stem/act"),
        helper.make_node("GlobalAveragePool", ["a"], ["y"], name="pool"),
    ]
    if quantised:
        weights += [
            numpy_helper.from_array(np.array(0.05, np.float32), "step"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
        weights[0] = numpy_helper.from_array(
            (30 * scale * random.normal(size=(4, 3, 3, 3))).astype(np.int8), "w"
        )
        nodes[0].input[:] = ["xd", "wd"]
        nodes[:0] = [
            helper.make_node("DequantizeLinear", ["w", "step", "zero"], ["wd"], name="w/dq"),
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"], name="q"),
            helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"], name="dq"),
        ]
    return _file(
        nodes, {"x": (kind, [batch, *SHAPE[1:]])}, {"y": (kind, [batch, 4, 1, 1])}, weights
    )


def picking() -> bytes:
    """Rows of a table by their numbers: i (2,) int64 -> y (2, 3)."""
    table = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "table")
    node = helper.make_node("Gather", ["table", "i"], ["y"], name="pick")
    return _file(
        [node], {"i": (TensorProto.INT64, [2])}, {"y": (TensorProto.FLOAT, [2, 3])}, [table]
    )


def sum_of_two() -> bytes:
    """Two inputs of any batch: a, b (batch, 4) -> y (batch, 4)."""
    kind = (TensorProto.FLOAT, ["n", 4])
    node = helper.make_node("Add", ["a", "b"], ["y"], name="add")
    return _file([node], {"a": kind, "b": kind}, {"y": kind}, [])


def products() -> bytes:
    """Y = relu(3 x) 2, by two Gemm with a relu between them; x is (1, 4)."""
    held = [
        numpy_helper.from_array(factor * np.eye(4, dtype=np.float32), name)
        for factor, name in ((3, "three"), (2, "two"))
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "three"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "act"),
        helper.make_node("Gemm", ["b", "two"], ["y"], "second"),
    ]
    kind = (TensorProto.FLOAT, (1, 4))
    return _file(nodes, {"x": kind}, {"y": kind}, held)


def quotient() -> bytes:
    """Every number by zero: x (1, 3, 8, 8) -> y of no finite number."""
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zero"], name="sub"),
        helper.make_node("Div", ["x", "zero"], ["y"], name="div"),
    ]
    kind = (TensorProto.FLOAT, list(SHAPE))
    return _file(nodes, {"x": kind}, {"y": kind}, [])


def endless() -> bytes:
    """More numbers than any memory holds: x (1, 3, 8, 8) -> y (2 ** 45,)."""
    size = numpy_helper.from_array(np.array([1 << 45], np.int64), "size")
    one = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0, name="mean"),
        helper.make_node("Add", ["mean", "zero"], ["m"], name="add"),
        helper.make_node("Expand", ["m", "size"], ["y"], name="expand"),
    ]
    given = {"x": (TensorProto.FLOAT, list(SHAPE))}
    return _file(nodes, given, {"y": (TensorProto.FLOAT, [1 << 45])}, [size, one])


def spelling() -> bytes:
    """The numbers as words, which no runtime of a board measures: x (1, 3, 8, 8) -> y."""
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING, name="spell")
    words = {"y": (TensorProto.STRING, list(SHAPE))}
    return _file([node], {"x": (TensorProto.FLOAT, list(SHAPE))}, words, [])


def image(shape: tuple[int, ...] = SHAPE, dtype: str = "float32") -> Array:
    """An input of normal numbers."""
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def blob(spool: Spool, content: bytes) -> str:
    """Put a blob into a spool as a host does, and return its hash."""
    sha256 = hashlib.sha256(content).hexdigest()
    Path(spool.blob_path(sha256)).write_bytes(content)
    return sha256


def entry(spool: Spool, content: bytes, name: str = "net", **inputs: Array) -> dict[str, Any]:
    """A network of a job's specification, its blobs in the spool."""
    return {
        "id": name,
        "onnx": blob(spool, content),
        "inputs": [
            {
                "name": key,
                "dtype": str(value.dtype),
                "shape": list(value.shape),
                "blob": blob(spool, value.tobytes()),
            }
            for key, value in inputs.items()
        ],
        "fp32_layers": [],
    }


def network(spool: Spool, content: bytes, name: str = "net", **inputs: Array) -> Network:
    """A network as a runtime takes it."""
    return open_network(entry(spool, content, name, **inputs), spool)


def _file(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Any]],
    outputs: Mapping[str, tuple[int, Any]],
    weights: list[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        weights,
    )
    opset = 14 if any(node.op_type == "HardSwish" for node in nodes) else 13
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    return model.SerializeToString()
