"""Restrictions of a table's operators: a file that breaks one is refused, another is taken."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gensynth.export.acceptance import inspect
from gensynth.export.restrictions import CHECKS
from gensynth.export.targets import find_target, names

TX2 = find_target("jetson-tx2")
TENSORRT = [name for name in names() if find_target(name).tensorrt]


def of_node(
    op: str, inputs: dict[str, Any], *, held: dict[str, np.ndarray] | None = None,
    outputs: int = 1, opset: int = 13, **attributes: Any,
) -> bytes:  # fmt: skip
    """A file of one node: inputs are shapes, by default FP32, or (type, shape)."""
    stored = [numpy_helper.from_array(array, name) for name, array in (held or {}).items()]
    kinds = {
        name: kind if kind and isinstance(kind[0], str) else ("FLOAT", kind)
        for name, kind in inputs.items()
    }
    given = [
        helper.make_tensor_value_info(name, TensorProto.DataType.Value(kind), shape)
        for name, (kind, shape) in kinds.items()
    ]
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, [*inputs, *(held or {})], names, "it", **attributes)
    graph = helper.make_graph([node], "single", given, [], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value for value in inferred.graph.value_info}
    model.graph.output.extend(known.get(n, onnx.ValueInfoProto(name=n)) for n in names)
    return model.SerializeToString()


def gru(*activations: str, direction: str = "bidirectional") -> bytes:
    directions = 2 if direction == "bidirectional" else 1
    held = {
        "w": np.ones((directions, 12, 3), np.float32), "r": np.ones((directions, 12, 4), np.float32)
    }  # fmt: skip
    return of_node(
        "GRU", {"x": (5, 1, 3)}, held=held, hidden_size=4, direction=direction,
        activations=list(activations),
    )  # fmt: skip


def times(equation: str, *shapes: tuple[int, ...]) -> bytes:
    return of_node("Einsum", {f"x{i}": s for i, s in enumerate(shapes)}, equation=equation)


def counting(kind: str) -> bytes:
    dtype = np.float32 if kind == "FLOAT" else np.int32
    held = {"limit": np.array(5, dtype), "delta": np.array(1, dtype)}
    return of_node("Range", {"start": (kind, ())}, held=held)


LENGTHS = {"lengths": np.array([2], np.int64)}

BROKEN = {
    "Einsum with an ellipsis": (times("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)), "ellipsis"),
    "Einsum of a diagonal": (times("ii->i", (3, 3)), "'ii' repeats an index"),
    "Einsum that broadcasts": (times("ij,jk->ik", (3, 1), (4, 5)), "'j' has several sizes"),
    "GRU": (gru("Sigmoid", "Tanh", "Tanh", "Tanh"), "two directions have different activations"),
    "Range": (counting("FLOAT"), "its floating-point 'start' is computed"),
    "RandomUniform": (of_node("RandomUniform", {}, shape=[2], seed=1.0), "ignores its seed"),
    "ReverseSequence": (
        of_node("ReverseSequence", {"x": (4, "n", 3)}, held=LENGTHS, time_axis=0, batch_axis=1),
        "a size of its input does not follow",
    ),
    "NonMaxSuppression": (
        of_node("NonMaxSuppression", {"boxes": (1, 9, 4), "scores": (1, 2, 9)},
                held={"most": np.array([3], np.int64)}),
        "pads what it finds",
    ),
    "TopK": (of_node("TopK", {"x": (1, 9), "k": ("INT64", (1,))}, outputs=2), "its K 'k' is"),
    "CumSum": (of_node("CumSum", {"x": (1, 9), "axis": ("INT32", ())}), "its axis 'axis' is"),
    "QuantizeLinear": (  # without a zero point ONNX rounds to UINT8, TensorRT to INT8
        of_node("QuantizeLinear", {"x": (1, 9)}, held={"s": np.array(1, np.float32)}), "are UINT8",
    ),
}  # fmt: skip
KEPT = {
    "Einsum": times("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    "Einsum of one": times("ij->ji", (3, 4)),
    "GRU of the same": gru("Sigmoid", "Tanh", "sigmoid", "tanh"),
    "GRU forward": gru("Sigmoid", "Tanh", direction="forward"),
    "Range of computed integers": counting("INT32"),
    "ReverseSequence": of_node(
        "ReverseSequence", {"x": (4, 1, 3)}, held=LENGTHS, time_axis=0, batch_axis=1
    ),
    "TopK": of_node("TopK", {"x": (1, 9)}, held={"k": np.array([2], np.int64)}, outputs=2),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_restriction_is_refused_with_the_operator(what: str) -> None:
    content, said = BROKEN[what]
    reasons = [str(r) for r in inspect(content, TX2).refusals if r.vertex == "it"]
    assert len(reasons) == 1
    assert f"vertex 'it' ({what.split()[0]}): " in reasons[0]
    assert said in reasons[0]


@pytest.mark.parametrize("what", KEPT)
def test_an_operator_within_its_restrictions_is_taken(what: str) -> None:
    assert [str(r) for r in inspect(KEPT[what], TX2).refusals] == []


@pytest.mark.parametrize("name", TENSORRT)
def test_every_restriction_of_a_table_is_checked(name: str) -> None:
    # A file that branches is refused whole, so that nothing of `If` is left to check.
    restricted = {op for op, one in (find_target(name).operators or {}).items() if one.restrictions}
    assert restricted - {"If"} <= CHECKS.keys()
