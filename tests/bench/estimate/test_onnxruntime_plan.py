"""A plan has the kernels that ONNX Runtime itself makes of a file on this processor."""

import json
import platform
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from gensynth.bench.estimate import convolutions
from gensynth.bench.estimate.convolutions import BLOCKED, DIRECT, PLAIN
from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.bench.estimate.profile import KernelTime, match
from gensynth.bench.onnx_cost import count
from gensynth.devices.agent.runtimes.kernel_times import of_onnxruntime
from gensynth.errors import ExportError
from gensynth.export.onnx import to_onnx
from gensynth.export.runtime import convolution_block, onnxruntime
from gensynth.graph.graph import Graph
from gensynth.prototypes import create
from gensynth.space.coupling import Coupling, couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.trace import trace
from tests.networks.cropped import CROPPED
from tests.networks.further import make_any

SUBSTITUTES = ("separable", "grouped_2", "low_rank_2", "bottleneck_2", "smaller_kernel")
FAMILIES = (
    "padded_shortcut", "zero_concatenated_shortcut", "pre_activation", "bottleneck", "dense",
    "inception", "squeeze_excite", "conv_squeeze_excite", "shuffle", "unet", "pyramid", "norms",
)  # fmt: skip
# Of Focus' slices and their concatenation the runtime makes one kernel, which no plan knows.
CUT = tuple(name for name in CROPPED if name != "focus_yolo")

on_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the rules are those of x86 processors"
)


def drawn(space: Space, seed: int) -> Graph:
    """A random network of a space: arbitrary widths, or multiples of 4."""
    random = np.random.default_rng(seed)
    step = 4 if seed % 2 else 1
    widths = np.maximum(1, (space.sizes * random.uniform(0.3, 1, len(space.sizes))).astype(int))
    widths = np.minimum(space.sizes, -(-widths // step) * step)
    chosen = np.where(space.sites.allowed, random.random(space.sites.allowed.shape), -1)
    points = Points(
        widths[None],
        random.random((1, len(space.coupling.blocks))) < 0.8,
        chosen.argmax(axis=1).astype(np.int8)[None] if len(space.sites) else None,
    )
    return space.coupling.apply(
        space.selection(points, 0, [np.arange(size) for size in space.sizes])
    )


def written(graph: Graph, seed: int = 0) -> bytes:
    random = np.random.default_rng(seed)
    weights = {k: random.uniform(0.5, 1, s).astype("f") for k, s in graph.tensor_shapes.items()}
    return to_onnx(graph, weights, batch=1)


def profiled(content: bytes, folder: Path) -> list[KernelTime]:
    """What the runtime's own profile says of one run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {i.name: np.random.default_rng(0).random(i.shape, "f") for i in session.get_inputs()}
    session.run(None, feed)
    text = Path(session.end_profiling()).read_text()
    return [KernelTime.of(entry) for entry in of_onnxruntime(text, 0)]


def coupling_of(name: str) -> Coupling:
    if name in ("resnet20", "mobilenet", "shufflenet"):
        module, images = create(name, classes=10, channels=3).eval(), torch.zeros(1, 3, 32, 32)
        return couple(trace(module, images, name=name))
    network, inputs = make_any(name)
    return couple(trace(network.eval(), inputs, name=name))


@on_x86
@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "shufflenet", *FAMILIES, *CUT])
def test_a_plan_has_the_kernels_of_the_runtimes_own_profile(name: str, tmp_path: Path) -> None:
    block = convolution_block()
    space = Space(coupling_of(name), 1, SUBSTITUTES if name == "resnet20" else ())
    for seed in range(3):
        content = written(drawn(space, seed), seed)
        kernels = plan(onnx.load_from_string(content), block)
        times = profiled(content, tmp_path)
        assert len(kernels) == len(times)
        assert match(kernels, times, block) is not None  # of equal kinds and sizes, one by one


def test_what_the_kernels_multiply_is_what_the_file_multiplies() -> None:
    # `gensynth.bench.onnx_cost` counts the file's own operators, before any fusion.
    space = Space(coupling_of("resnet20"), 1, SUBSTITUTES)
    for seed in range(3):
        model = onnx.load_from_string(written(drawn(space, seed)))
        (image,) = model.graph.input
        total = sum(kernel.macs for kernel in plan(model, 16))
        assert total == count(model, {image.name: (1, 3, 32, 32)}).macs


def test_a_width_of_11_costs_a_change_of_layout_and_one_of_16_does_not() -> None:
    # docs of the runtime: with AVX-512 channels are in blocks of 16; what is read must be a
    # multiple of 4, or less than a block.
    def kinds(width: int) -> Counter[str]:
        convolution = helper.make_node
        nodes = [
            convolution("Conv", ["images", "a"], ["x"], "first", pads=[1, 1, 1, 1]),
            convolution("Conv", ["x", "b"], ["y"], "second", pads=[1, 1, 1, 1]),
        ]
        weights = [
            numpy_helper.from_array(np.ones(shape, "f"), name)
            for name, shape in (("a", (width, 3, 3, 3)), ("b", (16, width, 3, 3)))
        ]
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
            for name, channels in (("images", 3), ("y", 16))
        ]
        graph = helper.make_graph(nodes, "two", values[:1], values[1:], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        return Counter(kernel.kind for kernel in plan(model, 16))

    assert kinds(16) == {"conv direct": 1, "conv blocked": 1, "reorder out": 1}
    assert kinds(11) == {"conv direct": 2, "reorder out": 2}
    assert kinds(18) == {"conv direct": 1, "reorder out": 1, "conv plain": 1}


def test_the_layout_of_many_convolutions_is_that_of_each() -> None:
    read = np.array([3, 16, 20, 18, 64, 8, 6])
    groups = np.array([1, 1, 1, 1, 4, 8, 6])
    layouts = convolutions.layout_of(read, read, groups, 16)
    assert layouts.tolist() == [DIRECT, BLOCKED, BLOCKED, PLAIN, BLOCKED, BLOCKED, PLAIN]
    assert convolutions.layout_of(read, read, groups, None).tolist() == [PLAIN] * 7


def test_kernels_without_vertices_of_their_own_stand_under_those_that_need_them() -> None:
    content = written(coupling_of("resnet20").graph)
    names = {kernel.vertex for kernel in plan(onnx.load_from_string(content), 16)}
    assert names <= {vertex.name for vertex in coupling_of("resnet20").graph.vertices}
    assert json.dumps(sorted(names)).count("conv") > 10


def read(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 13]>' + text)


def test_a_size_that_does_not_follow_is_refused() -> None:
    model = read("g (float[1,4,6,6] x) => (int64[N,M] y) { y = NonZero (x) }")
    with pytest.raises(ExportError, match="size of 'y' does not follow from the file"):
        plan(model, 16)


def test_a_free_height_is_refused() -> None:
    model = read("g (float[N,4,H,6] x) => (float[N,4,H,6] y) { y = Relu (x) }")
    with pytest.raises(ExportError, match="size of 'x' does not follow from the file"):
        plan(model, 16)


def test_a_convolution_whose_weights_are_computed_is_a_kernel_like_any_other() -> None:
    model = read("g (float[1,4,6,6] x, float[4,4,3,3] w) => (float[1,4,4,4] y) { y = Conv (x, w) }")
    (kernel,) = plan(model, 16)
    assert kernel.kind == "conv"
    assert kernel.bytes_read == 4 * (4 * 36 + 4 * 4 * 9)


@pytest.mark.parametrize("operator", ["Conv", "Gemm", "RandomNormal"])
def test_an_entry_of_odd_shapes_is_no_kernel(operator: str) -> None:
    kernels = plan(read("g (float[1,4,6,6] x) => (float[1,4,6,6] y) { y = Relu (x) }"), 16)
    assert match(kernels, [KernelTime("n", operator, (), (), 1.0)], 16) is None
