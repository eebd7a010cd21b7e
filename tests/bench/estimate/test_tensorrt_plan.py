"""The kernels of TensorRT, against counts by hand and builder logs."""

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper, parser

from gensynth.bench.estimate.boards.tensorrt_plan import plan
from gensynth.errors import ExportError
from gensynth.export.onnx import to_onnx
from gensynth.prototypes.resnet import ResNet
from gensynth.trace import trace


def model(text: str) -> ModelProto:
    """Read a file from text; values that are declared and not computed are weights."""
    found = parser.parse_model('<ir_version: 7, opset_import: ["" : 13]>' + text)
    made = {name for node in found.graph.node for name in node.output}
    for value in found.graph.value_info:
        if value.name not in made:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            kind = np.float32 if value.type.tensor_type.elem_type == 1 else np.int64
            found.graph.initializer.append(
                numpy_helper.from_array(np.ones(shape, kind), value.name)
            )
    return found


def kinds(text: str, precision: str = "fp32") -> list[str]:
    return [kernel.kind for kernel in plan(model(text), precision)]


def test_convolution_norm_sum_and_relu_are_one_kernel() -> None:
    # The guide: a scale goes into the weights, then a sum, then ReLU.
    (kernel,) = plan(
        model(
            "g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,3,3] w, float[4] s>"
            "{ a = Conv <pads = [1,1,1,1]> (x, w)  b = BatchNormalization (a, s, s, s, s)"
            "  c = Add (b, x)  y = Relu (c) }"
        ),
        "fp32",
    )
    # 144 outputs of 4 x 9 products; the sum reads x, which is read anyway; 4 bytes each.
    assert kernel.kind == "conv add"
    assert kernel.macs == 144 * 36
    assert kernel.bytes_read == 4 * (144 + 4 * 36)
    assert kernel.bytes_written == 4 * 144


def test_of_two_convolutions_the_later_takes_the_sum() -> None:
    text = (
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,3,3] v, float[4,4,1,1] w>"
        "{ a = Conv <pads = [1,1,1,1]> (x, v)  b = Conv (x, w)  c = Add (a, b)  y = Relu (c) }"
    )
    assert kinds(text) == ["conv", "conv 1x1 add"]


def test_a_value_that_others_read_too_stays_apart() -> None:
    text = (
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] z) <float[4,4,1,1] w>"
        "{ z = Conv (x, w)  y = Relu (z) }"
    )
    assert kinds(text) == ["conv 1x1", "pointwise"]


def test_only_relu_is_fused_into_a_convolution() -> None:
    # A builder's log of MobileNet: "Swap the layer type of ... from ACTIVATION to POINTWISE".
    text = (
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,1,3,3] w, float[] l, float[] h>"
        "{ a = Conv <pads = [1,1,1,1], group = 4> (x, w)  y = Clip (a, l, h) }"
    )
    assert kinds(text) == ["depthwise", "pointwise"]


def test_pointwise_operators_next_to_each_other_are_one_kernel() -> None:
    # x * sigmoid(x) + x: the kernel reads x once.
    (kernel,) = plan(
        model(
            "g (float[1,4,6,6] x) => (float[1,4,6,6] y)"
            "{ s = Sigmoid (x)  m = Mul (x, s)  y = Add (m, x) }"
        ),
        "fp32",
    )
    assert (kernel.kind, kernel.bytes_read, kernel.bytes_written) == ("pointwise", 576, 576)


def test_a_sum_with_another_shape_is_not_fused() -> None:
    text = (
        "g (float[1,4,6,6] x, float[1,4,1,1] r) => (float[1,4,6,6] y) <float[4,4,1,1] w>"
        "{ a = Conv (x, w)  y = Add (a, r) }"
    )
    assert kinds(text) == ["conv 1x1", "pointwise"]


def test_parts_of_a_concatenation_are_written_in_place() -> None:
    # The log: "Eliminating concatenation ...: retargeting"; an input must be copied.
    text = (
        "g (float[1,4,6,6] x) => (float[1,12,6,6] y) <float[4,4,1,1] v, float[4,4,3,3] w>"
        "{ a = Conv (x, v)  b = Conv <pads = [1,1,1,1]> (x, w)  y = Concat <axis = 1> (a, b, x) }"
    )
    assert kinds(text) == ["conv 1x1", "conv", "copy"]


def test_channels_that_lie_together_are_sliced_for_nothing_and_pixels_are_copied() -> None:
    # The log: "Eliminating slice ... by retargeting"; every row of a column's slice lies apart.
    text = (
        "g (float[1,4,6,6] x) => (float[1,2,6,6] y, float[1,4,6,3] z)"
        "{ y, a = Split <axis = 1> (x)  z, b = Split <axis = 3> (x) }"
    )
    assert kinds(text) == ["copy", "copy"]


def test_views_and_arithmetic_of_shapes_are_no_kernels() -> None:
    text = (
        "g (float[1,4,1,1] x) => (float[1,3] y) <float[4,3] w, int64[1] one>"
        "{ s = Shape (x)  n = Slice (s, one, one)  f = Flatten (x)  y = Gemm (f, w) }"
    )
    assert kinds(text) == ["gemm"]


def test_a_transpose_is_a_copy_unless_it_moves_nothing() -> None:
    text = (
        "g (float[1,4,6,6] x) => (float[1,6,4,6] y, float[4,1,6,6] z)"
        "{ y = Transpose <perm = [0,2,1,3]> (x)  z = Transpose <perm = [1,0,2,3]> (x) }"
    )
    assert kinds(text) == ["copy"]


def test_equal_nodes_are_computed_once() -> None:
    # The log: "After dupe layer removal".
    text = (
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] z)"
        "<float[4,4,1,1] v, float[4,4,3,3] w>"
        "{ a = Relu (x)  b = Relu (x)  y = Conv (a, v)  z = Conv <pads = [1,1,1,1]> (b, w) }"
    )
    assert kinds(text) == ["pointwise", "conv 1x1", "conv"]


def test_fp16_is_put_in_format_at_both_ends_and_halves_the_bytes() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w> { y = Conv (x, w) }"
    first, conv, last = plan(model(text), "fp16")
    assert (first.kind, first.bytes_read, first.bytes_written) == ("reformat", 576, 288)
    assert (conv.bytes_read, conv.bytes_written) == (2 * (144 + 16), 288)
    assert (last.kind, last.bytes_read, last.bytes_written) == ("reformat", 288, 576)


def test_an_unknown_operator_is_named() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,4,6,6] y) { y = Mish (x) }"
    found = parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>' + text)
    assert [kernel.kind for kernel in plan(found, "fp32")] == ["unknown: Mish"]


def test_a_size_that_does_not_follow_is_refused() -> None:
    text = (
        "g (float[1,4,6,6] x) => (float[N,M] y) { a = NonZero (x)  b = Cast <to = 1> (a)"
        " y = Relu (b) }"
    )
    with pytest.raises(ExportError, match="does not follow from the file"):
        plan(model(text), "fp32")


def test_a_free_height_is_refused() -> None:
    with pytest.raises(ExportError, match="size of 'x' does not follow"):
        plan(model("g (float[N,4,H,6] x) => (float[N,4,H,6] y) { y = Relu (x) }"), "fp32")


def test_a_view_of_unknown_size_does_not_have_the_size_of_what_it_shows() -> None:
    text = (
        "g (float[1,4,6,6] x, int64[3] s) => (float[1,4,6,6] y) { r = Reshape (x, s)"
        " y = Transpose <perm = [0, 2, 1]> (r) }"
    )
    with pytest.raises(ExportError, match="size of 'r' does not follow"):
        plan(model(text), "fp32")


def test_a_node_without_inputs_is_named() -> None:
    text = (
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y) {"
        " n = RandomNormal <shape = [1, 4, 6, 6]> () y = Add (x, n) }"
    )
    assert kinds(text) == ["unknown: RandomNormal", "pointwise"]


def test_a_batch_multiplies_the_work_and_not_the_weights() -> None:
    text = "g (float[N,4,6,6] x) => (float[N,4,6,6] y) <float[4,4,1,1] w> { y = Conv (x, w) }"
    one, four = plan(model(text), "fp32")[0], plan(model(text), "fp32", batch=4)[0]
    assert four.macs == 4 * one.macs
    assert (one.bytes_read, four.bytes_read) == (4 * (144 + 16), 4 * (4 * 144 + 16))


def test_the_kernels_of_resnet_20() -> None:
    # By hand: a stem, 9 blocks of two convolutions, 2 projections, a mean and a classifier.
    network = ResNet(blocks=3).eval()
    graph = trace(network, torch.randn(1, 3, 32, 32), name="resnet-20")
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    found = plan(ModelProto.FromString(to_onnx(graph, weights)), "fp32")
    assert len(found) == 1 + 18 + 2 + 2
    # The second of each block's takes the sum, or the projection that stands behind it.
    assert sum(kernel.kind.endswith(" add") for kernel in found) == 9
    assert sum(kernel.macs for kernel in found) == 40_813_184
