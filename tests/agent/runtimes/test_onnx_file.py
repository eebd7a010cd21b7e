"""The reader of ONNX files that needs no onnx package, beside that package."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gensynth.devices.agent.runtimes.onnx_file import DTYPES, Input, OnnxFile, read
from gensynth.devices.agent.runtimes.onnx_precision import Operation, Weight, precision_of
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor
from tests.onnx_files.small import convolution, picking

# Files that the onnx package ships for its own tests.
SHIPPED = sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))


def as_onnx_reads(model: onnx.ModelProto) -> OnnxFile:
    """The same by the onnx package."""
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    inputs = []
    for entry in graph.input:
        kind = entry.type.tensor_type
        sizes = tuple(
            size.dim_value if size.HasField("dim_value") and size.dim_value >= 0 else None
            for size in kind.shape.dim
        )
        dtype = "unknown"
        if entry.type.HasField("tensor_type"):
            dtype = DTYPES.get(kind.elem_type, f"ONNX type {kind.elem_type}")
        inputs.append(Input(entry.name, dtype, sizes))
    nodes = [(node.name, node.op_type, tuple(node.output)) for node in graph.node]
    casts = [{a.name: a.i for a in n.attribute} if n.op_type == "Cast" else {} for n in graph.node]
    operations = [
        Operation(node.op_type, node.input, node.output, cast.get("to"))
        for node, cast in zip(graph.node, casts, strict=True)
    ]
    constants = {w.name: Weight(w.data_type, math.prod(w.dims)) for w in graph.initializer}
    for node in graph.node:
        for value in (
            a.t for a in node.attribute if node.op_type == "Constant" and a.HasField("t")
        ):
            found = Weight(value.data_type, math.prod(value.dims))
            constants.update(dict.fromkeys(node.output, found))
    half = any(entry.dtype == "float16" for entry in inputs)
    quantises = any(operator in ("QuantizeLinear", "DequantizeLinear") for _, operator, _ in nodes)
    return OnnxFile(
        tuple(nodes),  # type: ignore[arg-type]  # a named tuple equals a tuple
        tuple(entry for entry in inputs if entry.name not in weights),
        precision_of(operations, constants, half),
        quantises,
    )


def read_bytes(content: bytes) -> OnnxFile:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return read(file.name)


def outcome(content: bytes) -> str:
    try:
        read_bytes(content)
    except Fault as fault:
        return fault.status
    return "read"


@pytest.mark.skipif(len(SHIPPED) < 100, reason="needs the onnx package's own test files")
def test_every_file_of_the_onnx_package_is_read_as_that_package_reads_it() -> None:
    for path in SHIPPED:
        assert read(str(path)) == as_onnx_reads(onnx.load(path)), path


def test_the_numbers_of_types_are_onnxs() -> None:
    for number, name in DTYPES.items():
        member = {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper())
        assert TensorProto.DataType.Value(member) == number


NAMES = st.text(max_size=20)
SIZES = st.one_of(st.integers(-1, 1 << 40), st.sampled_from(["n", "height"]))


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """Graphs of any names, types and sizes; they need not make sense."""
    inputs = draw(
        st.lists(
            st.tuples(NAMES, st.sampled_from([*DTYPES, 8, 17]), st.lists(SIZES, max_size=5)),
            max_size=4,
        )
    )
    weights = draw(
        st.lists(
            st.tuples(NAMES, st.sampled_from([np.float32, np.float16, np.int64, np.int8])),
            max_size=4,
        )
    )
    operators = st.sampled_from(["Conv", "Relu", "QuantizeLinear", "DequantizeLinear", "Ω"])
    nodes = draw(st.lists(st.tuples(NAMES, operators), max_size=6))
    graph = helper.make_graph(
        [
            helper.make_node(op, ["a"], ["b"], name=name, domain=draw(NAMES), axis=3, scale=0.5)
            for name, op in nodes
        ],
        draw(NAMES),
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info("y", 1, [1])],
        [numpy_helper.from_array(np.ones((2, 3), kind), name) for name, kind in weights],
    )
    return helper.make_model(graph, doc_string=draw(NAMES))


@given(models())
def test_any_graph_is_read_as_the_onnx_package_reads_it(model: onnx.ModelProto) -> None:
    assert read_bytes(model.SerializeToString()) == as_onnx_reads(model)


@given(models(), st.data())
def test_bytes_cut_off_or_changed_are_read_or_refused_and_nothing_else(
    model: onnx.ModelProto, data: st.DataObject
) -> None:
    content = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert outcome(bytes(content[:cut])) in ("read", "build_failed")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(content: bytes) -> None:
    assert outcome(content) in ("read", "build_failed")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it has 0 graphs"),
        (b"<!DOCTYPE html>", "a field has the unknown type 4"),
        (b"\x3a\x00\x3a\x00", "it has 2 graphs"),
        (b"\x3a\xff\xff\xff\xff\x07", "a field is longer than the file"),
        (b"\x3a" + b"\xff" * 11, "a number is longer than 64 bits"),
        (b"\x3a", "index out of"),
    ],
)
def test_what_is_no_onnx_file_is_said(content: bytes, why: str) -> None:
    with pytest.raises(Fault, match=f"no ONNX file that can be run: .*{why}") as refused:
        read_bytes(content)
    assert refused.value.status == "build_failed"


def test_a_file_with_its_weights_elsewhere_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(convolution())
    onnx.save(
        model, tmp_path / "net.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    with pytest.raises(Fault, match="keeps weights in files beside it; save it as one file"):
        read(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize(
    ("content", "precision"),
    [
        (convolution(), "fp32"),
        (convolution(half=True), "fp16"),
        (convolution(quantised=True), "int8"),
        (picking(), "fp32"),
    ],
)
def test_the_precision_of_a_file_is_that_of_its_numbers(content: bytes, precision: str) -> None:
    assert read_bytes(content).precision == precision


HALF, FLOAT, BYTE = 10, 1, 3  # of TensorProto


def quantised(x: str, w: str) -> list[Operation]:
    """Two values that come back from 8 bits, as a static quantiser writes them."""
    return [
        Operation("QuantizeLinear", [x, "s"], [x + "q"]),
        Operation("DequantizeLinear", [x + "q", "s"], [x + "d"]),
        Operation("DequantizeLinear", [w, "s"], [w + "d"]),
    ]


WEIGHTS = {"w": Weight(BYTE, 900), "v": Weight(FLOAT, 100), "s": Weight(FLOAT, 1)}
ONE_OF_TWO = [
    *quantised("x", "w"),
    Operation("Conv", ["xd", "wd"], ["c"]),
    Operation("Gemm", ["c", "v"], ["y"]),
]


def test_a_file_is_named_by_what_most_of_its_weights_are_multiplied_in() -> None:
    # 900 elements in 8 bits and 100 in floating point, and the reverse.
    assert precision_of(ONE_OF_TWO, WEIGHTS, False) == "int8"
    few = {**WEIGHTS, "w": Weight(BYTE, 100), "v": Weight(FLOAT, 900)}
    assert precision_of(ONE_OF_TWO, few, False) == "fp32"
    halves = {**WEIGHTS, "w": Weight(BYTE, 100), "v": Weight(HALF, 900)}
    assert precision_of(ONE_OF_TWO, halves, False) == "fp16"


def test_weights_alone_in_eight_bits_are_multiplied_in_floating_point() -> None:
    only = [Operation("DequantizeLinear", ["w", "s"], ["wd"]), Operation("Conv", ["x", "wd"], "y")]
    assert precision_of(only, WEIGHTS, False) == "fp32"
    values_only = [*quantised("x", "w")[:2], Operation("Conv", ["xd", "v"], ["y"])]
    assert precision_of(values_only, WEIGHTS, False) == "fp32"


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("QLinearConv", ["x", "s", "z", "w", "s", "z"]),
        ("ConvInteger", ["x", "w"]),
        ("MatMulInteger", ["x", "w"]),
    ],
)
def test_products_of_integers_are_int8(operator: str, inputs: list[str]) -> None:
    assert precision_of([Operation(operator, inputs, ["y"])], WEIGHTS, False) == "int8"


def test_a_weight_is_known_behind_what_does_not_compute() -> None:
    turned = [Operation("Transpose", ["h"], ["t"]), Operation("MatMul", ["x", "t"], ["y"])]
    assert precision_of(turned, {"h": Weight(HALF, 12)}, False) == "fp16"


def test_weights_that_are_only_stored_in_half_precision_are_multiplied_in_more() -> None:
    # What halves a file's size leaves the arithmetic as it was, and the reverse.
    product = Operation("MatMul", ["x", "t"], ["y"])
    stored = [Operation("Cast", ["h"], ["t"], FLOAT), product]
    assert precision_of(stored, {"h": Weight(HALF, 12)}, False) == "fp32"
    computed = [Operation("Cast", ["f"], ["t"], HALF), product]
    assert precision_of(computed, {"f": Weight(FLOAT, 12)}, True) == "fp16"


def given_(name: str = "x", dtype: str = "float32", shape: tuple[int, ...] = (1, 3, 8, 8)) -> Any:
    return Tensor(name, dtype, shape, b"")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "the network takes 'x', got no input"),
        ([given_("y")], "the network takes 'x', got 'y'"),
        ([given_(), given_("z")], "the network takes 'x', got 'x', 'z'"),
        ([given_(dtype="float16")], "'x' takes float32 [?, 3, 8, 8], got float16 [1, 3, 8, 8]"),
        ([given_(shape=(3, 8, 8))], "'x' takes float32 [?, 3, 8, 8], got float32 [3, 8, 8]"),
        ([given_(shape=(1, 3, 8, 9))], "takes float32 [?, 3, 8, 8], got float32 [1, 3, 8, 9]"),
    ],
)
def test_other_inputs_are_refused(inputs: list[Tensor], words: str) -> None:
    with pytest.raises(Fault) as refused:
        read_bytes(convolution(batch="n")).check_inputs(inputs)
    assert refused.value.status == "build_failed"
    assert words in refused.value.message


def test_a_free_size_takes_any() -> None:
    file = read_bytes(convolution(batch="n"))
    assert file.inputs[0].is_dynamic
    file.check_inputs([given_(shape=(17, 3, 8, 8))])
