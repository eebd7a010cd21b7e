"""Jobs for a device's agent: small ONNX networks, and the specifications that ask for them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Errand:
    """A job and what it needs.

    Attributes:
        spec: as `gensynth.devices.agent.wire.spec` has it.
        blobs: content by sha256.
    """

    spec: dict[str, Any]
    blobs: dict[str, bytes] = field(repr=False)


def errand(
    name: str,
    network: bytes,
    inputs: Mapping[str, Array] | None = None,
    *,
    network_id: str = "net",
    limits: Mapping[str, float] | None = None,
    **changes: Any,
) -> Errand:
    """A job that measures one network a little with ONNX Runtime.

    Args:
        name: the job's id.
        limits: those that differ from a minute each.
        changes: other fields of the specification.
    """
    given, blobs = [], {sha256(network): network}
    for tensor, array in (inputs or {}).items():
        content = np.ascontiguousarray(array).tobytes()
        blobs[sha256(content)] = content
        given.append(
            {
                "name": tensor,
                "dtype": str(array.dtype),
                "shape": list(array.shape),
                "blob": sha256(content),
            }
        )
    # A busy machine may take its time to be steady.
    warmup = {"min_s": 0.02, "block_s": 0.01, "agree_pct": 100.0, "cap_s": 60.0}
    spec: dict[str, Any] = {
        "id": name,
        "networks": [
            {"id": network_id, "onnx": sha256(network), "inputs": given, "fp32_layers": []}
        ],
        "precision": "fp32",
        "runtimes": ["onnxruntime"],
        "threads": 1,
        "build_only": False,
        "workspace_mib": 64,
        "timing": {"warmup": warmup, "rounds": 2, "runs": 5, "min_round_s": 0.0},
        "reference": None,
        "energy": None,
        "clocks": None,
        "limits": {"build_s": 60.0, "run_s": 60.0, "lease_s": 60.0} | dict(limits or {}),
    }
    return Errand(spec | changes, blobs)


def sha256(content: bytes) -> str:
    """The name of a blob."""
    return hashlib.sha256(content).hexdigest()


def good(name: str, **changes: Any) -> Errand:
    """Double eight numbers."""
    weight = numpy_helper.from_array(np.full((1, 8), 2, np.float32), "w")
    network = _network([helper.make_node("Mul", ["x", "w"], ["y"])], (1, 8), [weight])
    return errand(name, network, {"x": np.arange(8, dtype=np.float32)[None]}, **changes)


def not_a_number(name: str) -> Errand:
    """Take the logarithm of a negative number, the third of four."""
    network = _network([helper.make_node("Log", ["x"], ["y"])], (1, 4))
    return errand(name, network, {"x": np.array([[1, 2, -1, 4]], np.float32)})


def endless(name: str, **changes: Any) -> Errand:
    """A loop that adds for ages, in a runtime that does not listen to signals meanwhile."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Add", ["sum", "x"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 4]),
        ],
    )
    turns = numpy_helper.from_array(np.array(2**62, np.int64), "turns")
    loop = helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)
    return errand(
        name, _network([loop], (1, 4), [turns]), {"x": np.ones((1, 4), np.float32)}, **changes
    )


def huge(name: str) -> Errand:
    """The mean of a square of x and its transpose that takes 16 GiB."""
    nodes = [
        helper.make_node("Reshape", ["x", "column"], ["c"]),
        helper.make_node("Mul", ["x", "c"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["y"], axes=[0]),
    ]
    side = 1 << 16
    column = numpy_helper.from_array(np.array([side, 1], np.int64), "column")
    network = _network(nodes, (1, side), [column])
    return errand(name, network, {"x": np.ones((1, side), np.float32)})


def unknown_operator(name: str) -> Errand:
    """An operator of nobody's domain."""
    network = _network([helper.make_node("Guess", ["x"], ["y"], domain="nobody")], (1, 4))
    return errand(name, network, {"x": np.ones((1, 4), np.float32)})


def _network(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, int],
    constants: list[onnx.TensorProto] | None = None,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        constants or [],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("nobody", 1)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=7
    ).SerializeToString()
    return content
