"""Parity by hand-made files and outputs, and what an export leaves on the disk."""

import copy
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from gensynth.errors import ExportError
from gensynth.export import export_network
from gensynth.export.from_torch import from_network
from gensynth.export.parity import check, check_network, compare_outputs
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


def test_a_network_whose_own_outputs_are_not_finite_is_refused() -> None:
    with pytest.raises(ExportError, match="the network's own outputs are not finite"):
        check(doubling(), REFERENCE * np.nan, IMAGES)


def test_of_several_outputs_the_largest_difference_and_the_least_likeness_count() -> None:
    # By hand: the first is off by 1 of 10, the second is exact and has another order of classes.
    wanted = [np.array([[10.0, 0.0]]), np.array([[3.0, 4.0], [3.0, 4.0]])]
    found = [np.array([[9.0, 0.0]]), np.array([[4.0, 3.0], [3.0, 4.0]])]
    for order in ([0, 1], [1, 0]):
        parity = compare_outputs(
            [found[i] for i in order], [wanted[i] for i in order], tolerance=0.5
        )
        assert parity.difference == 1.0
        assert parity.largest == 10.0
        assert parity.cosine == pytest.approx(24 / 25)
        assert parity.agreement == 0.5
    right = np.array([[10.0, 0.0]])
    for several in ([right, found[0]], [found[0], right]):
        with pytest.raises(ExportError, match="differs from the network by 1 on 1 images"):
            compare_outputs(several, [right, right])


class Subtracting(torch.nn.Module):
    """A convolution to some 1e5 and a norm that takes 1e5 from it: float32 has 7 digits."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 4)
        with torch.no_grad():
            for tensor in (self.conv.bias, self.norm.running_mean):
                assert tensor is not None
                tensor.fill_(mean)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) -> (batch, 4)."""
        values = torch.relu(self.norm(self.conv(images)))
        logits: torch.Tensor = self.head(values.mean((2, 3)))
        return logits


def subtracting(mean: float) -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    module = Subtracting(mean).eval()
    images = torch.randn(5, 3, 8, 8)
    return build(trace(module, images, name="subtracting"), module.state_dict(), {}), images


def test_a_network_is_held_to_what_float64_says_of_its_conditioning(tmp_path: Path) -> None:
    network, images = subtracting(1e5)
    parity = export_network(network.eval(), images, tmp_path / "net.onnx")
    # float32 has 2^-24 = 6e-8 of 1e5, 6e-3 of values near 1: its own float32 is as far off.
    assert parity.relative > 1e-4
    assert parity.own_error is not None
    assert parity.relative <= parity.tolerance <= 4 * parity.own_error
    assert parity.tolerance <= 2e-2
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(images.double()).numpy()
        own = network(images).double().numpy()
    assert parity.own_error == pytest.approx(np.abs(own - exact).max() / np.abs(exact).max())


def test_a_wrong_file_of_such_a_network_is_refused_all_the_same() -> None:
    network, images = subtracting(1e5)
    wrong = copy.deepcopy(network)
    with torch.no_grad():
        wrong.state_dict()["head.weight"].mul_(3.0)
    with pytest.raises(ExportError, match="for a network whose own float32 is .* from its float64"):
        check_network(from_network(wrong.eval()), network.eval(), images)


def test_a_network_that_float32_cannot_compute_is_refused() -> None:
    network, images = subtracting(1e8)
    with pytest.raises(ExportError, match=r"at most 0\.02 is allowed for a network whose own"):
        check_network(from_network(network.eval()), network.eval(), images)


def test_a_well_conditioned_network_is_allowed_nothing_for_its_own_error() -> None:
    network, images = small_network()
    wrong = copy.deepcopy(network)
    with torch.no_grad():
        next(iter(wrong.state_dict().values())).mul_(1.01)
    with pytest.raises(ExportError, match=r"at most 0\.0001 is allowed"):
        check_network(from_network(wrong.eval()), network.eval(), images)


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


def test_no_thread_of_telemetry_lives_beside_what_is_timed() -> None:
    code = (
        "import os, sys; import numpy; before = len(os.listdir('/proc/self/task')); "
        "from gensynth.export import runtime; "
        "print(len(os.listdir('/proc/self/task')) - before, os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    alone = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=alone, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "1"]
