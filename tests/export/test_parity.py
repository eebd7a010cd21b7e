"""Parity by hand-made files and outputs, and what an export leaves on the disk."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from gensynth.errors import ExportError
from gensynth.export import export_network
from gensynth.export.parity import check, check_network
from gensynth.graph.graph import Selection
from gensynth.network.module import Network, build
from gensynth.prototypes.resnet import ResNet
from gensynth.space.coupling import couple
from gensynth.trace import trace
from tests.networks.families import FAMILIES, make

IMAGES = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.0]], np.float32)
REFERENCE = 2 * IMAGES


def test_a_file_that_doubles_is_equal_to_doubling() -> None:
    parity = check(doubling(), REFERENCE, IMAGES)
    assert (parity.images, parity.difference, parity.relative) == (3, 0.0, 0.0)
    assert parity.cosine == pytest.approx(1.0)
    assert parity.agreement == 1.0


def test_the_difference_is_relative_to_the_largest_output() -> None:
    # The largest reference is 8, so 1e-4 of it is 8e-4.
    reference = REFERENCE.astype(np.float64)
    reference[0, 0] += 7.9e-4
    parity = check(doubling(), reference, IMAGES)
    assert parity.difference == pytest.approx(7.9e-4)
    assert parity.relative == pytest.approx(7.9e-4 / 8)
    reference[0, 0] += 0.3e-4
    with pytest.raises(ExportError, match=r"differs from the network by 0\.00082 on 3 images"):
        check(doubling(), reference, IMAGES)


def test_cosine_and_agreement_are_those_of_the_worst_image_and_of_all() -> None:
    reference = REFERENCE.copy()
    reference[0] = [4.0, 2.0]  # the file says (2, 4): cosine 16 / 20, another argmax
    parity = check(doubling(), reference, IMAGES, tolerance=1.0)
    assert parity.cosine == pytest.approx(16 / 20)
    assert parity.agreement == pytest.approx(2 / 3)


def test_a_file_that_mixes_images_differs_from_its_network_for_one_image() -> None:
    # x - mean of the batch: the same as the network in a batch, and 0 for an image alone.
    value = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2])
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["images", "mean"], ["y"]),
    ]
    returned = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    model = helper.make_model(
        helper.make_graph(nodes, "centred", [value], [returned]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=7,
    ).SerializeToString()
    with pytest.raises(ExportError, match="differs from the network"):
        check(model, IMAGES - IMAGES.mean(axis=0), IMAGES)


def test_an_all_zero_reference_allows_no_difference() -> None:
    zeros = np.zeros((2, 2), np.float32)
    assert check(doubling(), zeros, zeros).holds
    with pytest.raises(ExportError, match="differs"):
        check(doubling(), zeros, zeros + np.float32(1e-9))


def test_a_file_of_another_shape_or_number_of_inputs_is_refused() -> None:
    with pytest.raises(ExportError, match=r"shapes \[\(3, 2\)\], the network's \[\(3, 5\)\]"):
        check(doubling(), np.zeros((3, 5)), IMAGES)
    with pytest.raises(ExportError, match=r"has the inputs \['images'\], got 2 arrays"):
        check(doubling(), REFERENCE, [IMAGES, IMAGES])
    with pytest.raises(ExportError, match="could not be run"):
        check(doubling(), REFERENCE, np.zeros((3, 7), np.float32))


def test_a_file_that_overflows_is_refused() -> None:
    images = np.array([[3e38, 1.0]], np.float32)
    with pytest.raises(ExportError, match="1 values that are not finite"):
        check(doubling(), np.array([[3e38, 2.0]]), images)


def test_what_cannot_be_compared_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        check(doubling(), REFERENCE[:0], IMAGES[:0])
    with pytest.raises(ValueError, match="not finite"):
        check(doubling(), REFERENCE * np.nan, IMAGES)


def test_a_damaged_or_absent_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "half.onnx"
    file.write_bytes(doubling()[:40])
    with pytest.raises(ExportError, match=r"half\.onnx is damaged"):
        check(file, REFERENCE, IMAGES)
    with pytest.raises(ExportError, match=r"cannot read .*none\.onnx: No such file"):
        check(tmp_path / "none.onnx", REFERENCE, IMAGES)


@pytest.mark.parametrize("batch", [1, 3, 4, 8])
def test_a_fixed_batch_is_compared_in_its_steps(batch: int) -> None:
    images = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    found = check(doubling(batch=batch), 2 * images, images)
    assert (found.images, found.difference) == (6, 0.0)


def test_a_network_keeps_the_modes_of_its_modules() -> None:
    linear, frozen = torch.nn.Linear(2, 2), torch.nn.Dropout(0.9)
    with torch.no_grad():
        linear.weight.copy_(2 * torch.eye(2))
        linear.bias.zero_()
    module = torch.nn.Sequential(frozen, linear, torch.nn.Dropout()).train()
    frozen.eval()
    assert check_network(doubling(), module, torch.from_numpy(IMAGES)).difference == 0.0
    assert [m.training for m in module.modules()] == [True, False, True, True]


def test_an_exported_network_runs_as_the_network_does(tmp_path: Path) -> None:
    network, images = small_network()
    path = tmp_path / "new" / "net.onnx"
    parity = export_network(network, images, path)
    assert parity.agreement == 1.0
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = network.eval()(images)
    assert isinstance(expected, torch.Tensor)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert [entry.name for entry in path.parent.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"with_attention"}))
def test_a_random_part_of_every_family_is_exported(family: str, tmp_path: Path) -> None:
    module, images = make(family)
    coupling = couple(trace(module, images if len(images) > 1 else images[0], name=family))
    random = np.random.default_rng(5)
    selection = Selection(
        {
            group.name: tuple(sorted(random.choice(group.size, -(-group.size // 2), replace=False)))
            for group in coupling.groups
        },
        tuple(block.name for block in coupling.blocks[:1]),
    )
    network = build(coupling.apply(selection), module.state_dict(), coupling.slices(selection))
    parity = export_network(network.eval(), images, tmp_path / "part.onnx")
    assert parity.relative <= 1e-5


def test_a_file_outside_the_tolerance_leaves_what_stood_there(tmp_path: Path) -> None:
    network, images = small_network()
    path = tmp_path / "net.onnx"
    with pytest.raises(ExportError, match="differs"):
        export_network(network, images, path, tolerance=0.0)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"before")
    with pytest.raises(ExportError, match="differs"):
        export_network(network, images, path, tolerance=0.0)
    assert path.read_bytes() == b"before"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    network, images = small_network()
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write .*net\.onnx"):
        export_network(network, images, tmp_path / "file" / "net.onnx")


def test_the_same_network_is_exported_to_the_same_file(tmp_path: Path) -> None:
    network, images = small_network()
    digests = set()
    for name in ("a.onnx", "b.onnx"):
        export_network(network, images, tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def doubling(batch: int | str = "batch") -> bytes:
    """A file that multiplies (batch, 2) by two, made without our writer."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 2])
        for name in ("images", "logits")
    ]
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    node = helper.make_node("Mul", ["images", "two"], ["logits"])
    graph = helper.make_graph([node], "doubling", values[:1], values[1:], [two])
    opset = helper.make_opsetid("", 13)
    return helper.make_model(graph, opset_imports=[opset], ir_version=7).SerializeToString()


def small_network() -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    module = ResNet(blocks=1, widths=(3, 4, 5), classes=4)
    images = torch.randn(5, 3, 8, 8)
    module(images)  # one training step's statistics
    module.eval()
    graph = trace(module, images, name="small")
    return build(graph, module.state_dict(), {}), images
