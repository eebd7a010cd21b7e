"""Every target's file is what the target reads, and what it would misread is refused.

The tables' figures are those of onnx-tensorrt's documentation; the real parser has its say in
the tests marked `rtx`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from experiments.export import old_runtime, table
from gensynth.errors import ConfigError, ExportError
from gensynth.export.acceptance import Report, inspect
from gensynth.export.from_torch import from_network
from gensynth.export.onnx import to_onnx
from gensynth.export.targets import find_target, names
from tests.networks.families import FAMILIES
from tests.networks.single import small
from tests.onnx_files.readers import parser_errors

TX2 = find_target("jetson-tx2")
TABLE = json.loads(table.RECORD.read_text())
TENSORRT = [name for name in names() if find_target(name).tensorrt]


def written(target: str, batch: int | None = 1) -> bytes:
    graph, weights = small()
    found = find_target(target)
    return to_onnx(graph, weights, opset=found.opset, batch=batch, operators=found.operators)


def changed(change: Callable[[onnx.ModelProto], None], target: str = "jetson-tx2") -> Report:
    """The report of a good file after a change."""
    model = onnx.load_from_string(written(target))
    change(model)
    return inspect(model.SerializeToString(), find_target(target))


def only(report: Report) -> str:
    (refusal,) = report.refusals
    return str(refusal)


def single(
    op: str, *, opset: int, shape: tuple[int, ...] = (1, 4, 8, 8),
    constants: tuple[np.ndarray, ...] = (), kind: int = TensorProto.FLOAT, **attributes: Any,
) -> bytes:  # fmt: skip
    """A file of one node, as another exporter would write it."""
    held = [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(constants)]
    node = helper.make_node(op, ["images", *(t.name for t in held)], ["output"], "it", **attributes)
    graph = helper.make_graph(
        [node],
        "single",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output", kind, [None] * len(shape))],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    return model.SerializeToString()


@pytest.mark.parametrize("name", names())
def test_a_file_written_for_a_target_is_taken_and_has_its_opset(name: str) -> None:
    target, content = find_target(name), written(name)
    report = inspect(content, target)
    assert report.refusals == ()
    model = onnx.load_from_string(content)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", target.opset)]
    assert model.ir_version <= target.ir
    assert report.opset == target.opset


def test_the_tx2_is_held_to_opset_13_and_ir_7() -> None:
    # onnx-tensorrt 8.2-GA: "supports operators up to Opset 13", 129 of 165 operators; ONNX
    # 1.7 and 1.8 (opset 13) have IR 7.
    assert (TX2.opset, TX2.ir) == (13, 7)
    assert TX2.operators is not None
    assert len(TX2.operators) == 129
    absent = {"HardSwish", "LayerNormalization", "GroupNormalization", "Mish", "Gelu", "GridSample"}
    assert not absent & set(TX2.operators)


def test_later_tables_hold_all_of_the_earlier_ones() -> None:
    tables = [find_target(name).operators for name in ("jetson-tx2", "jetson-orin-jp5")]
    newest = find_target("nvidia-gpu").operators
    assert tables[0] is not None
    assert tables[1] is not None
    assert newest is not None
    assert set(tables[0]) < set(tables[1])
    assert set(tables[1]) < set(newest)


@pytest.mark.parametrize("name", names())
def test_the_operators_of_a_table_exist_in_onnx(name: str) -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    retired = {"ImageScaler", "ParametricSoftplus", "ScaledTanh", "Scatter", "Upsample"}
    coming = {"RMSNormalization", "RotaryEmbedding", "Attention", "TensorScatter"}  # opset 23, 24
    assert set(find_target(name).operators or ()) <= known | retired | coming


def test_a_file_can_serve_onnxruntime_1_10() -> None:
    # onnxruntime 1.10, the last for Python 3.6: opset 15 and IR 8 at most (its Versioning.md).
    pi = find_target("raspberry-pi")
    assert pi.opset <= 15
    assert pi.ir <= 8


@pytest.mark.slow
def test_every_opset_13_file_ran_in_onnxruntime_1_10_on_python_3_6() -> None:
    record = json.loads(old_runtime.RECORD.read_text())
    assert (record["onnxruntime"], record["python"][:4]) == ("1.10.0", "3.6.")
    expected = {f"{row} {name}" for row in table.ROWS for name in old_runtime.TARGETS}
    in_int8 = {f"{old_runtime.IN_INT8} {name} int8" for name in old_runtime.TARGETS}
    assert set(record["files"]) == expected | in_int8
    assert all(record["files"][name] <= 1e-5 for name in expected)
    assert all(record["files"][name] <= 0.1 for name in in_int8)
    assert re.fullmatch(r"sample\.png: [a-j] \(\d+\.\d%\)", record["example"])
    for row in table.ROWS:  # what is written today has no operator that did not run there
        for name in old_runtime.TARGETS:
            cell = TABLE["rows"][row][name]
            assert (cell["opset"], cell["ir"]) == (record["opset"], record["ir"])
            network, _ = table.sub_network(row)
            content = from_network(network, opset=13, operators=find_target(name).operators)
            assert {*inspect(content, find_target(name)).operators} <= {*record["operators"]}


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown target 'jetson-tx3'; did you mean 'jetson-tx2'"):
        find_target("jetson-tx3")


def test_int8_is_refused_for_the_tx2_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"no INT8 for jetson-tx2: its GPU \(sm_62\) has no INT8"):
        TX2.check_precision("int8")
    TX2.check_precision("fp16")
    with pytest.raises(ConfigError, match="unknown precision 'fp61'; did you mean 'fp16'"):
        TX2.check_precision("fp61")


@pytest.mark.parametrize("name", names())
def test_every_precision_is_offered_or_refused_with_a_reason(name: str) -> None:
    target = find_target(name)
    assert {*target.precisions, *target.lacks} == {"fp32", "fp16", "int8"}
    assert not set(target.precisions) & set(target.lacks)
    assert ("fp16" in target.precisions) == (target.fp16 in ("flag", "file"))


def test_reduce_mean_of_opset_18_is_refused() -> None:
    content = single("ReduceMean", opset=18, constants=(np.array([2, 3]),))
    message = only(inspect(content, TX2))
    assert message.startswith("it has opset 18, and files for jetson-tx2 have 13")
    assert "compute something else" in message


def test_hard_swish_is_refused_with_what_to_write_instead() -> None:
    # The opset is set back: what the operator table says must not hang on it.
    report = inspect(single("HardSwish", opset=14), TX2)
    assert [r.operator for r in report.refusals] == [None, "HardSwish"]
    assert str(report.refusals[1]) == (
        "vertex 'it' (HardSwish): TensorRT 8.2 does not have this operator; write x * "
        "HardSigmoid(x) with alpha 1/6 and beta 0.5 instead"
    )
    with pytest.raises(ExportError, match="jetson-tx2 does not take this file: it has opset 14"):
        report.require()


def test_layer_normalization_is_refused_for_tensorrt_8_5_and_taken_by_10() -> None:
    scale = np.ones(8, np.float32)
    content = single("LayerNormalization", opset=17, constants=(scale,))
    assert "ReduceMean, Sub, Pow" in only(inspect(content, find_target("jetson-orin-jp5")))
    assert inspect(content, find_target("nvidia-gpu")).refusals == ()


def test_integer_weights_are_refused() -> None:
    content = single(
        "Gemm", opset=13, shape=(1, 4), kind=TensorProto.INT64,
        constants=(np.ones((4, 2), np.int64),),
    )  # fmt: skip
    report = inspect(content, TX2)
    assert "'c0' is INT64, and TensorRT 8.2 takes FP32, FP16, INT8" in str(report.refusals[-1])


def test_integers_beyond_32_bits_are_refused() -> None:
    content = single(
        "Mul", opset=13, kind=TensorProto.INT64, constants=(np.array([2**40]),)
    )  # fmt: skip
    assert "which TensorRT clamps to 32 bits" in only(inspect(content, TX2))


def test_double_precision_is_refused() -> None:
    content = single("Mul", opset=13, kind=TensorProto.DOUBLE, constants=(np.array([2.0]),))
    first = inspect(content, TX2).refusals[0]
    assert "is FP64, and TensorRT 8.2 takes FP32" in str(first)


@pytest.mark.parametrize("name", TENSORRT)
def test_a_free_batch_is_refused_where_the_batch_is_fixed(name: str) -> None:
    report = inspect(written(name, batch=None), find_target(name))
    assert "leaves the batch free; fix it, by --batch 1" in only(report)


def test_a_free_height_is_refused_everywhere() -> None:
    def free(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    assert "leaves a size besides the batch free" in only(changed(free, "raspberry-pi"))


def test_a_nan_weight_is_refused() -> None:
    def poison(model: onnx.ModelProto) -> None:
        weight = next(t for t in model.graph.initializer if t.name == "fc.weight")
        numbers = numpy_helper.to_array(weight).copy()
        numbers[0, 0] = np.nan
        weight.CopyFrom(numpy_helper.from_array(numbers, weight.name))

    assert only(changed(poison)) == (
        "1 of 20 values of 'fc.weight' are not finite; train the network again"
    )


def test_weights_outside_the_file_are_refused() -> None:
    def move(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../secret")

    assert "lie outside the file; keep all weights within" in only(changed(move))


@pytest.mark.parametrize("name", ["../images", "/etc/passwd", "C:\\images", "a/b", "..", ""])
def test_an_input_named_like_a_path_is_refused(name: str) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = name
        for node in model.graph.node:
            node.input[:] = [name if read == "images" else read for read in node.input]

    report = changed(rename)
    assert "which is no plain name" in str(report.refusals[0])


def test_an_ir_version_above_the_targets_is_refused() -> None:
    def newer(model: onnx.ModelProto) -> None:
        model.ir_version = 8

    assert only(changed(newer)).startswith("it has IR version 8, jetson-tx2 reads up to 7")


def test_operators_of_others_are_refused() -> None:
    def foreign(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    assert "operators of the domain 'com.microsoft'" in only(changed(foreign))


def test_pooling_with_dilation_is_refused() -> None:
    content = single("MaxPool", opset=13, kernel_shape=[2, 2], dilations=[2, 2])
    assert "TensorRT's pooling has no dilation" in only(inspect(content, TX2))


def test_cubic_resizing_is_refused() -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    content = single(
        "Resize", opset=13, constants=(np.zeros(0, np.float32), scales), mode="cubic"
    )  # fmt: skip
    assert "mode 'cubic' is not supported; use one of nearest, linear" in only(
        inspect(content, TX2)
    )


def test_a_file_cut_short_is_no_onnx_file() -> None:
    with pytest.raises(ExportError, match="damaged or no ONNX file"):
        inspect(written("jetson-tx2")[:-100], TX2)
    with pytest.raises(ExportError, match="it has no operator"):
        inspect(b"", TX2)


def test_the_committed_table_has_every_family_and_target() -> None:
    rows = TABLE["rows"]
    assert set(rows) == {*table.ROWS, table.CIFAR10}
    assert set(FAMILIES) <= set(rows)
    of_runs = [row for run in TABLE["runs"].values() for row in run.values()]
    assert all(tuple(cells) == names() for cells in (*rows.values(), *of_runs))
    written = (table.HERE / "targets.md").read_text()
    assert written == table.markdown(TABLE)


def test_every_file_of_the_committed_table_has_its_targets_opset() -> None:
    of_runs = [row for run in TABLE["runs"].values() for row in run.values()]
    for cells in (*TABLE["rows"].values(), *of_runs):
        for name, found in cells.items():
            if found["verdict"] != "refused":
                assert found["opset"] == find_target(name).opset
                assert found["ir"] <= find_target(name).ir


@pytest.mark.parametrize("row", table.ROWS)
def test_the_committed_table_is_what_comes_out_today(row: str) -> None:
    network, images = table.sub_network(row)
    for name in ("jetson-tx2", "nvidia-gpu"):
        found, recorded = table.cell(network, images, find_target(name)), TABLE["rows"][row][name]
        for key in {*found} - {"relative_difference", "parser", "reason"}:
            assert json.loads(json.dumps(found[key])) == recorded[key]


@pytest.mark.slow
def test_a_runs_finalists_are_rows_of_the_table(finished: tuple[Path, str, str]) -> None:
    found = table.finalists(finished[0])
    names_of_run = json.loads((finished[0] / "result.json").read_text())["finalists"]
    assert list(found) == names_of_run
    row = {name: table.cells(*found[name]) for name in names_of_run[:1]}
    for cells in row.values():
        assert {cell["verdict"] for cell in cells.values()} == {"pass"}
    document = {**TABLE, "runs": {"toys": row}}
    assert f"| toys: {names_of_run[0]} | pass | pass |" in table.markdown(document)


def test_no_file_is_promised_for_a_tensorrt_older_than_its_table() -> None:
    for name in TENSORRT:
        target = find_target(name)
        oldest = tuple(int(part) for part in target.table.split()[1].split("."))
        for version in target.versions.values():
            digits = re.findall(r"\d+", version)
            assert tuple(map(int, digits[:2])) >= oldest, (name, version)


@pytest.mark.rtx
@pytest.mark.parametrize("name", TENSORRT)
def test_the_real_parser_takes_a_targets_file(name: str) -> None:
    assert parser_errors(written(name)) == []


@pytest.mark.rtx
@pytest.mark.parametrize("row", table.ROWS)
def test_the_real_parser_takes_every_row_of_the_table(row: str) -> None:
    network, _ = table.sub_network(row)
    for name in TENSORRT:
        target = find_target(name)
        if TABLE["rows"][row][name]["verdict"] != "refused":
            content = from_network(network, opset=target.opset, batch=1, operators=target.operators)
            assert parser_errors(content) == []


@pytest.mark.rtx
def test_the_real_parser_refuses_what_the_table_refuses() -> None:
    content = single("MaxPool", opset=13, kernel_shape=[2, 2], dilations=[2, 2])
    assert parser_errors(content)
    assert inspect(content, find_target("nvidia-gpu")).refusals
