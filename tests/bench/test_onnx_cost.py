"""What a file costs, against counts by hand, published counts and torch's own counter."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from torch.utils.flop_counter import FlopCounterMode

from gensynth.bench.observed import observed_shapes
from gensynth.bench.onnx_cost import OnnxCost, count, multiplying_values, of_sizes, run_shapes
from gensynth.bench.structure import structure_sha256
from gensynth.export.onnx import to_onnx
from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph
from gensynth.prototypes.resnet import ResNet
from gensynth.trace import trace
from tests.networks.families import make

Images = torch.Tensor | tuple[torch.Tensor, ...]
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def counted(text: str, **shapes: tuple[int, ...]) -> OnnxCost:
    model = parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + text)
    made = {name for node in model.graph.node for name in node.output}
    for value in model.graph.value_info:  # declared and not computed: a weight
        if value.name not in made:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            zeros = np.zeros(shape, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(zeros, value.name))
    return count(model, shapes)


def test_a_grouped_convolution_by_hand() -> None:
    # 8 x 6 x 6 outputs, each the sum of 2 channels x 3 x 3; weights 8*2*3*3, biases 8.
    found = counted(
        "g (float[1,4,6,6] x) => (float[1,8,6,6] y) <float[8,2,3,3] w, float[8] b>"
        "{ y = Conv <group = 2, pads = [1,1,1,1]> (x, w, b) }",
        x=(1, 4, 6, 6),
    )
    assert found == OnnxCost(8 * 2 * 9 + 8, 8 * 36 * 2 * 9, None)


def test_a_transposed_convolution_by_hand() -> None:
    # Every one of 4 x 5 x 5 inputs is multiplied with 3 x 2 x 2 weights.
    found = counted(
        "g (float[1,4,5,5] x) => (float[1,3,10,10] y) <float[4,3,2,2] w>"
        "{ y = ConvTranspose <strides = [2,2]> (x, w) }",
        x=(1, 4, 5, 5),
    )
    assert found == OnnxCost(4 * 3 * 4, 4 * 25 * 3 * 4, None)


def test_products_by_hand() -> None:
    # Gemm with both transposed: 2 x 5 outputs of 3 products each, for a batch of 2.
    found = counted(
        "g (float[3,2] x) => (float[2,5] y) <float[5,3] w, float[5] b>"
        "{ y = Gemm <transA = 1, transB = 1> (x, w, b) }",
        x=(3, 2),
    )
    assert found.params == 20
    assert found.macs == 2 * 5 * 3 // 3  # the first input says that the batch is 3
    # Attention: two values that nobody learned, 2 heads of 4 x 4 outputs of 8 products.
    found = counted(
        "g (float[1,2,4,8] q, float[1,2,8,4] k) => (float[1,2,4,4] y) { y = MatMul (q, k) }",
        q=(1, 2, 4, 8),
        k=(1, 2, 8, 4),
    )
    assert found == OnnxCost(0, 2 * 16 * 8, None)


def test_a_batch_of_many_counts_as_one() -> None:
    text = "g (float[N,4,6,6] x) => (float[N,8,6,6] y) <float[8,4,1,1] w> { y = Conv (x, w) }"
    assert counted(text, x=(1, 4, 6, 6)) == counted(text, x=(16, 4, 6, 6))


def test_settings_and_statistics_are_no_parameters() -> None:
    # 2 x 4 of the norm are learned; mean, variance, the bounds and the 3 of a hard-swish are not.
    found = counted(
        "g (float[1,4,2,2] x) => (float[1,4,2,2] y)"
        "<float[4] s, float[4] b, float[4] m, float[4] v, float low = {0}, float high = {6},"
        " float three = {3}>"
        "{ n = BatchNormalization (x, s, b, m, v) a = Add (n, three) y = Clip (a, low, high) }",
        x=(1, 4, 2, 2),
    )
    assert found == OnnxCost(8, 0, None)


def test_a_weight_that_two_nodes_share_counts_once_and_works_twice() -> None:
    found = counted(
        "g (float[1,4] x) => (float[1,4] y) <float[4,4] w>"
        "{ t = Transpose <perm = [1,0]> (w) h = MatMul (x, t) y = MatMul (h, w) }",
        x=(1, 4),
    )
    assert found == OnnxCost(16, 32, None)


def test_what_does_not_follow_from_the_file_has_a_reason_in_place_of_a_count() -> None:
    # NonZero's size is a matter of the values.
    found = counted(
        "g (float[4,4] x) => (float[P,4] y) <float[2,4] w>"
        "{ i = NonZero (x) f = Cast <to = 1> (i) t = Transpose (f) y = MatMul (t, w) }",
        x=(4, 4),
    )
    assert found.params == 8
    assert found.macs is None
    assert found.why_not is not None
    assert "does not follow from the file" in found.why_not


def test_a_recurrent_network_is_not_counted_as_free() -> None:
    found = counted(
        "g (float[5,1,3] x) => (float[5,1,1,2] y) <float[1,8,3] w, float[1,8,2] r>"
        "{ y = LSTM <hidden_size = 2> (x, w, r) }",
        x=(5, 1, 3),
    )
    assert found == OnnxCost(40, None, "LSTM is not counted")


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        # As torchvision's page of models has them (parameters, GFLOPS of fused multiply-adds);
        # the weights of onnx's light files are ConstantOfShape nodes.
        ("vgg19", 143_667_240, 19.63),
        ("resnet50", 25_557_032, 4.09),
        ("squeezenet", 1_235_496, 0.35),
    ],
)
def test_public_files_cost_what_is_published(name: str, params: int, gmacs: float) -> None:
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    weights = {tensor.name for tensor in model.graph.initializer}
    (image,) = (value.name for value in model.graph.input if value.name not in weights)
    found = count(model, {image: (1, 3, 224, 224)})
    assert found.params == params
    assert found.macs == pytest.approx(gmacs * 1e9, abs=0.005e9)


def as_file(network: torch.nn.Module, images: Images) -> tuple[Graph, ModelProto]:
    graph = trace(network, images, name="network")
    weights = {key: value.float().numpy() for key, value in network.state_dict().items()}
    return graph, ModelProto.FromString(to_onnx(graph, weights))


def test_a_file_has_the_macs_of_its_graph() -> None:
    network = ResNet(blocks=1, widths=(8, 16, 32)).eval()
    graph, model = as_file(network, torch.zeros(2, 3, 32, 32))
    found = count(model, {model.graph.input[0].name: (1, 3, 32, 32)})
    assert found.macs == cost(graph).macs


def test_a_file_has_the_parameters_of_its_network() -> None:
    # No norms: those may become a part of the convolution before them.
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 6, 1, bias=False)]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(6 * 36, 5)).eval()
    _, model = as_file(network, torch.zeros(2, 3, 8, 8))
    found = count(model, {model.graph.input[0].name: (1, 3, 8, 8)})
    assert found.params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("family", ["unet", "shuffle", "conv_squeeze_excite"])
def test_a_file_has_the_macs_that_torchs_counter_counts(family: str) -> None:
    module, images = make(family)
    _, model = as_file(module, images)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*(image[:1] for image in images))
    names = [value.name for value in model.graph.input]
    shapes = {n: (1, *i.shape[1:]) for n, i in zip(names, images, strict=True)}
    # torch counts two operations a MAC.
    assert count(model, shapes).macs == counter.get_total_flops() // 2


def two_layers(seed: int, *, width: int = 4, prefix: str = "", clip: float = 6.0) -> ModelProto:
    rng = np.random.default_rng(seed)
    tensors = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), prefix + name)
        for name, shape in (("w", (width, 3, 1, 1)), ("v", (2, width, 1, 1)))
    ]
    low, high = (
        numpy_helper.from_array(np.array(v, np.float32), prefix + n)
        for n, v in (("l", 0), ("u", clip))
    )
    nodes = [
        helper.make_node("Conv", [prefix + "x", prefix + "w"], [prefix + "h"]),
        helper.make_node("Clip", [prefix + "h", prefix + "l", prefix + "u"], [prefix + "c"]),
        helper.make_node("Conv", [prefix + "c", prefix + "v"], [prefix + "y"]),
    ]
    values = [
        helper.make_tensor_value_info(prefix + name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 5, 5]), ("y", [1, 2, 5, 5]))
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [*tensors, low, high])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_structure_is_the_same_for_other_weights_and_other_names() -> None:
    one = structure_sha256(two_layers(0))
    assert one == structure_sha256(two_layers(1))
    assert one == structure_sha256(two_layers(0, prefix="other/"))


def test_another_width_operator_attribute_or_wiring_is_another_structure() -> None:
    plain = two_layers(0)
    others = [two_layers(0, width=5)]
    for change in ("operator", "attribute", "wiring", "input"):
        other = two_layers(0)
        if change == "operator":
            other.graph.node[1].op_type = "Max"
        elif change == "attribute":
            other.graph.node[0].attribute.append(helper.make_attribute("group", 1))
        elif change == "wiring":
            other.graph.node[2].input[0] = "h"
        else:
            other.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        others.append(other)
    digests = {structure_sha256(model) for model in [plain, *others]}
    assert len(digests) == 1 + len(others)


def test_integer_constants_belong_to_the_structure() -> None:
    def reshaped(to: list[int]) -> ModelProto:
        sizes = f"<int64[2] s = {{{to[0]}, {to[1]}}}>"
        text = f"g (float[4,6] x) => (float y) {sizes} {{ y = Reshape (x, s) }}"
        return parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + text)

    assert structure_sha256(reshaped([6, 4])) != structure_sha256(reshaped([8, 3]))


def test_parameters_within_branches_count_each_once() -> None:
    # 3 in each branch under one name, and 3 around them that both use.
    tensors = [numpy_helper.from_array(np.ones(3, np.float32), name) for name in ("w", "w")]
    shared = numpy_helper.from_array(np.ones(3, np.float32), "shared")

    def body(name: str, own: TensorProto) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Mul", ["x", "w"], [name + "h"]),
            helper.make_node("Add", [name + "h", "shared"], [name + "y"]),
        ]
        out = helper.make_tensor_value_info(name + "y", TensorProto.FLOAT, [3])
        return helper.make_graph(nodes, name, [], [out], [own])

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=body("a", tensors[0]), else_branch=body("b", tensors[1])
    )
    values = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [3]),
    ]
    graph = helper.make_graph([node], "g", values[:2], values[2:], [shared])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    assert count(model, {"c": (), "x": (3,)}) == OnnxCost(9, 0, None)


def test_a_branch_that_multiplies_has_no_count() -> None:
    def body(name: str, operator: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2])
        return helper.make_graph([helper.make_node(operator, ["x", "x"], [name])], name, [], [out])

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=body("a", "Add"), else_branch=body("b", "MatMul")
    )
    values = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("c", TensorProto.BOOL, []),
            ("x", TensorProto.FLOAT, [2, 2]),
            ("y", TensorProto.FLOAT, [2, 2]),
        )
    ]
    graph = helper.make_graph([node], "g", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = count(model, {"c": (), "x": (2, 2)})
    assert (found.macs, found.why_not) == (None, "what If runs depends on its input")


def test_sizes_that_only_a_run_shows_are_taken_from_one() -> None:
    # Three places are not zero: 3 x 4 outputs, each the sum of two products.
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        "g (float[4,4] x) => (float[P,4] y) <float[2,4] w = {1,1,1,1,1,1,1,1}>"
        "{ i = NonZero (x) f = Cast <to = 1> (i) t = Transpose (f) y = MatMul (t, w) }"
    )
    x = np.zeros((4, 4), np.float32)
    x[0, :2] = x[3, 3] = 1
    alone = count(model, {"x": (4, 4)})
    assert (alone.macs, alone.unknown) == (None, "t")
    seen = observed_shapes(model, {"x": x}, multiplying_values(model))
    assert seen["y"] == (3, 4)
    # The counter takes the first size of the first input for the batch.
    found = count(model, {"x": (1, 4)}, observed=seen)
    assert found.macs == 3 * 4 * 2


def test_a_file_that_cannot_be_run_shows_no_sizes() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Flub (x) }'
    )
    assert observed_shapes(model, {"x": np.zeros(2, np.float32)}, {"y"}) == {}


def test_constants_written_as_lists_of_numbers_are_parameters() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[1,3] y) '
        "{ b = Constant <value_floats = [1.0, 2.0, 3.0]> ()  y = Add (x, b) }"
    )
    assert count(model, {"x": (1, 3)}).params == 3


def test_a_file_of_sizes_has_those_for_its_inputs() -> None:
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[N,4,H,W] x) => (float[N,4,H,W] y)'
    model = of_sizes(parser.parse_model(text + "{ y = Relu (x) }"), {"x": (2, 4, 6, 8)})
    assert run_shapes(model, 1) == {"x": (2, 4, 6, 8), "y": (2, 4, 6, 8)}
