"""A part that cannot be looked into is written by torch's exporter, in its vertex's place."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gensynth.config import PrototypeConfig
from gensynth.errors import ExportError, RunError
from gensynth.export import export_network
from gensynth.export.acceptance import inspect, vertex_of
from gensynth.export.constants import fold_constants
from gensynth.export.from_torch import from_network
from gensynth.export.onnx import to_onnx
from gensynth.export.parity import check_network
from gensynth.export.targets import find_target, names
from gensynth.export.verify import verify
from gensynth.network.module import Network, build, opaque_modules
from gensynth.runs import artefacts
from gensynth.runs.run import synth
from gensynth.trace import trace
from tests.export.sources import manifest
from tests.networks.families import conv_bn, make
from tests.networks.single import one_word
from tests.onnx_files.readers import parser_errors, run
from tests.runs import tiny


class Odd(nn.Module):
    """One operator that is not in the vocabulary."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        match self.operator:
            case "fmod":
                return torch.fmod(x, 0.7)
            case "cumsum":
                return torch.cumsum(x, 1)
        return torch.special.i0e(x)


def network_of(module: nn.Module, images: Tensor) -> Network:
    graph = trace(module.eval(), images, name="net")
    return build(graph, module.state_dict(), opaque=opaque_modules(graph, module)).eval()


def with_operator(operator: str) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    images = torch.randn(3, 3, 8, 8)
    layers = (conv_bn(3, 4), Odd(operator), nn.Conv2d(4, 5, 8), nn.Flatten())
    network = network_of(nn.Sequential(*layers), images)
    assert "opaque" in {vertex.op for vertex in network.graph.vertices}
    return network, images


def attention() -> tuple[Network, Tensor]:
    module, (images,) = make("with_attention")
    return network_of(module, images), images


@pytest.mark.parametrize("name", names())
def test_attention_is_written_for_every_target_and_computes_the_same(name: str) -> None:
    network, images = attention()
    target = find_target(name)
    batch = 1 if target.batch == "fixed" else None
    content = from_network(network, opset=target.opset, batch=batch, operators=target.operators)
    assert inspect(content, target).refusals == ()
    assert check_network(content, network, images).relative <= 1e-5


def test_its_nodes_are_named_after_the_vertex_they_compute() -> None:
    network, _ = attention()
    content = from_network(network, opset=13, batch=1)
    model = onnx.load_from_string(content)
    known = {vertex.name for vertex in network.graph.vertices}
    assert {vertex_of(node) for node in model.graph.node} <= known
    assert [n.name for n in model.graph.node if vertex_of(n) == "attention"][-1] == "attention"
    assert sum(vertex_of(node) == "attention" for node in model.graph.node) > 5
    assert content == from_network(network, opset=13, batch=1)


@pytest.mark.rtx
def test_the_real_parser_takes_attention() -> None:
    network, _ = attention()
    for name in ("jetson-tx2", "nvidia-gpu"):
        target = find_target(name)
        content = from_network(network, opset=target.opset, batch=1, operators=target.operators)
        assert parser_errors(content) == []


def test_what_the_target_lacks_is_refused_by_the_vertexs_name() -> None:
    network, images = with_operator("fmod")
    content = from_network(network, opset=13, batch=1)
    (refusal,) = inspect(content, find_target("jetson-tx2")).refusals
    assert (refusal.vertex, refusal.operator) == ("1", "Mod")
    assert check_network(content, network, images).relative <= 1e-5


def test_a_shape_that_is_fixed_is_worked_out_once() -> None:
    # x.reshape(x.shape[0], -1, x.shape[3]) as torch's exporter writes it for a fixed shape.
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "three"], ["width"]),
        helper.make_node("Unsqueeze", ["width", "axes"], ["last"]),
        helper.make_node("Concat", ["one", "minus", "last"], ["size"], axis=0),
        helper.make_node("Reshape", ["x", "size"], ["y"]),
    ]
    held = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in (("three", 3), ("axes", [0]), ("one", [1]), ("minus", [-1]))
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 5])
    returned = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "shapes", [given], [returned], held),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    folded = onnx.load_from_string(fold_constants(model.SerializeToString()))
    assert [node.op_type for node in folded.graph.node] == ["Reshape"]
    (size,) = folded.graph.initializer
    assert numpy_helper.to_array(size).tolist() == [1, -1, 5]
    del model.graph.input[0].type.tensor_type.shape.dim[3]
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_param = "width"
    free = onnx.load_from_string(fold_constants(model.SerializeToString()))
    assert [node.op_type for node in free.graph.node] == [node.op_type for node in nodes]


def test_what_torchs_exporter_cannot_write_is_refused_with_its_words(
    capfd: pytest.CaptureFixture[str],
) -> None:
    network, _ = with_operator("i0e")
    with pytest.raises(ExportError, match=r"vertex '1' is opaque .*i0e.* cannot write it at opset"):
        from_network(network)
    assert capfd.readouterr() == ("", "")


def test_the_graph_that_torchs_exporter_gives_up_on_is_not_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    # At a failure within a traced function torch prints the graph on stdout.
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))
    network = network_of(nn.Sequential(layer, nn.Conv2d(4, 2, 6)), torch.randn(2, 3, 8, 8))
    with pytest.raises(ExportError, match="vertex '0' is opaque"):
        from_network(network)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_a_part_between_two_others_runs_at_any_batch(batch: int | None, tmp_path: Path) -> None:
    network, images = with_operator("cumsum")
    assert export_network(network, images, tmp_path / "net.onnx", batch=batch).relative <= 1e-5


def test_a_part_takes_the_place_of_its_vertex() -> None:
    # 2 x + 1, with a constant as a node and a scalar, and the value read on the way too.
    two = helper.make_node(
        "Constant", [], ["two"], value=helper.make_tensor("t", TensorProto.FLOAT, [], [2.0])
    )
    nodes = [
        two,
        helper.make_node("Mul", ["x0", "two"], ["y"], "odd name"),
        helper.make_node("Add", ["y", "one"], ["z"]),
    ]
    given = helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["batch", 3])
    returned = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 3])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    part = helper.make_model(
        helper.make_graph(nodes, "part", [given], [returned], [one]),
        opset_imports=[helper.make_opsetid("", 13)],
    ).SerializeToString()
    content = to_onnx(one_word("opaque", {}, {}, (3,), (3,)), {}, parts={"word": part})
    x = torch.randn(2, 3)
    assert (torch.from_numpy(run(content, x)) - (2 * x + 1)).abs().max() < 1e-6


def test_a_part_that_branches_is_refused() -> None:
    branch = helper.make_graph([], "empty", [], [])
    node = helper.make_node("If", ["x0"], ["y"], then_branch=branch, else_branch=branch)
    value = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [3])
    part = helper.make_model(helper.make_graph([node], "part", [value], [])).SerializeToString()
    with pytest.raises(ExportError, match=r"'word' is opaque, and branches or loops .* \(If\)"):
        to_onnx(one_word("opaque", {}, {}, (3,), (3,)), {}, parts={"word": part})


@pytest.mark.slow
def test_the_networks_of_a_run_with_such_a_part_are_exported(tmp_path: Path) -> None:
    prototype = PrototypeConfig(
        network="tests.runs.tiny:odd", weights=tiny.trained(tmp_path, tiny.odd)
    )
    result = synth(tiny.config(tmp_path, tmp_path / "run", prototype=prototype))
    tx2 = artefacts.order(target="jetson-tx2")
    written = artefacts.export(result.path, tx2, out=tmp_path / "out")
    assert len(written) == len(result.finalists)
    for one in written:
        found = manifest(one.folder)
        assert found["opaque"] == ["odd"]
        assert found["parity"]["relative"] <= 1e-4
        assert found["accuracy"]["after"] == found["accuracy"]["before"]
        verify(one.folder)
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in result.finalists[0].folder.iterdir():
        (alone / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RunError, match=r"only its prototype's code computes \(odd\)"):
        artefacts.export(alone, tx2, out=tmp_path / "out")
