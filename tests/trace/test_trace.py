from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.errors import PrototypeError, TraceError
from gensynth.graph.graph import Graph
from gensynth.network.module import build, opaque_modules
from gensynth.prototypes.resnet import resnet20
from gensynth.trace import trace
from tests.networks.families import FAMILIES, Shuffle, conv_bn, make

IMAGES = torch.randn(3, 8, 6, 6, generator=torch.Generator().manual_seed(1))


class Around(nn.Module):
    """A function of one value between a convolution and the output."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


def rebuilt_equals(module: nn.Module, *images: Tensor) -> Graph:
    """Trace and rebuild a network; its outputs must be the module's, bit for bit."""
    module.eval()
    graph = trace(module, images, name="network")
    network = build(graph, module.state_dict(), opaque=opaque_modules(graph, module)).eval()
    with torch.no_grad():
        wanted, got = module(*images), network(*images)
    wanted = tuple(wanted.values()) if isinstance(wanted, dict) else wanted
    wanted, got = (x if isinstance(x, tuple) else (x,) for x in (wanted, got))
    assert len(wanted) == len(got)
    for a, b in zip(wanted, got, strict=True):
        assert torch.equal(a, b)
    for x, name in zip(got, graph.outputs, strict=True):
        assert graph[name].shape == tuple(x.shape[1:])
    return graph


@pytest.mark.parametrize("family", FAMILIES)
def test_rebuilding_the_unchanged_graph_gives_the_same_bits(family: str) -> None:
    module, images = make(family)
    rebuilt_equals(module, *images)


def test_resnet20_has_the_vertices_its_code_has() -> None:
    # He et al.: 19 convolutions of 3x3 and a linear layer; here 2 projections beside them.
    graph = rebuilt_equals(resnet20(), torch.randn(2, 3, 32, 32))
    count = {op: sum(v.op == op for v in graph.vertices) for op in ("conv", "add", "relu")}
    assert count == {"conv": 21, "add": 9, "relu": 19}
    assert graph["stage1.0.add"].inputs == ("stage1.0.bn2", "relu")
    assert graph["stage2.0.conv1"].shape == (32, 16, 16)
    assert graph.outputs == ("fc",)


FUNCTIONS: dict[str, list[Callable[[Tensor], Tensor]]] = {
    "relu": [F.relu, torch.relu, torch.relu_, lambda x: x.relu(), lambda x: F.relu(input=x)],
    "relu6": [F.relu6, lambda x: x.clamp(0, 6), lambda x: F.hardtanh(x, 0, 6)],
    "leaky_relu": [lambda x: F.leaky_relu(x, 0.2)],
    "elu": [lambda x: F.elu(x, alpha=0.5)],
    "sigmoid": [torch.sigmoid, F.sigmoid, lambda x: x.sigmoid()],
    "hard_sigmoid": [F.hardsigmoid],
    "hard_swish": [F.hardswish],
    "silu": [F.silu],
    "gelu": [F.gelu, lambda x: F.gelu(x, approximate="tanh")],
    "tanh": [torch.tanh, lambda x: x.tanh_()],
    "softmax": [lambda x: F.softmax(x, 1), lambda x: x.softmax(dim=-3)],
    "dropout": [lambda x: F.dropout(x, 0.3, training=False)],
    "add": [lambda x: x + x, lambda x: torch.add(x, x), lambda x: x.add_(x)],
    "mul": [lambda x: x * x, lambda x: x.mul(x)],
    "add_constant": [lambda x: x + 1, lambda x: 0.5 + x, lambda x: x - 0.3],
    "mul_constant": [lambda x: 3 * x, lambda x: x / 4, lambda x: -x],
    "concat": [lambda x: torch.cat([x, x], 1), lambda x: torch.cat((x, x), dim=-3)],
    "slice": [
        lambda x: x[:, 2:5],
        lambda x: x.narrow(1, 2, 3),
        lambda x: torch.split(x, [2, 6], dim=1)[1],
        lambda x: torch.chunk(x, 4, 1)[2],
    ],
    "shuffle": [
        lambda x: Shuffle.shuffle(x, 4),
        lambda x: x.reshape(-1, 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
        lambda x: torch.unflatten(x, 1, (2, 4)).permute(0, 2, 1, 3, 4).flatten(1, 2),
        nn.ChannelShuffle(4),
    ],
    "pad_channels": [
        lambda x: F.pad(x, (0, 0, 0, 0, 1, 3)),
        lambda x: torch.cat([torch.zeros_like(x), x], 1),
        lambda x: torch.cat([x, x.new_zeros(x.size(0), 2, *x.shape[2:])], 1),
    ],
    "subsample": [lambda x: x[:, :, ::2, ::3], lambda x: x[..., ::2, 0:6:2]],
    "max_pool": [
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.max_pool2d(x, (2, 3), dilation=2, ceil_mode=True),
        lambda x: F.adaptive_max_pool2d(x, 1),
    ],
    "avg_pool": [
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, padding=1, count_include_pad=False, ceil_mode=True),
    ],
    "adaptive_avg_pool": [
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.adaptive_avg_pool2d(x, (None, 2)),
    ],
    "mean": [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean([-1, -2], keepdim=True),
        lambda x: torch.mean(x, dim=(2, 3)),
        lambda x: x.view(x.size(0), x.size(1), -1).mean(2),
    ],
    "resize": [
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(x, size=(9, 7), mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
    ],
    "flatten": [
        lambda x: x.flatten(1),
        lambda x: torch.flatten(x, start_dim=1),
        lambda x: x.view(x.shape[0], -1),
        lambda x: x.reshape(len(x), 8 * 6 * 6),
    ],
}


@pytest.mark.parametrize(
    ("op", "function"), [(op, function) for op, forms in FUNCTIONS.items() for function in forms]
)
def test_every_way_to_write_an_operator_is_read(
    op: str, function: Callable[[Tensor], Tensor]
) -> None:
    graph = rebuilt_equals(Around(function), IMAGES)
    assert graph[graph.outputs[0]].op == op


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.contiguous(),
        lambda x: x.view(x.shape),
        nn.Sequential(nn.Identity(), nn.Sequential()),
        lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    ],
)
def test_what_changes_nothing_leaves_no_vertex(function: Callable[[Tensor], Tensor]) -> None:
    graph = rebuilt_equals(Around(function), IMAGES)
    assert [vertex.name for vertex in graph.vertices] == ["x", "conv"]


def test_the_inverse_of_a_constant_is_within_the_last_bit() -> None:
    module = Around(lambda x: x / 3)
    graph = trace(module, IMAGES, name="thirds")
    network = build(graph, module.state_dict())
    torch.testing.assert_close(network(IMAGES), module(IMAGES), rtol=2e-7, atol=0)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        shortcut, kept = x, x.clone()
        x = self.relu(x)
        return x + 2 * shortcut + 4 * kept


def test_an_in_place_operation_changes_the_value_for_everyone_who_holds_it() -> None:
    # torch is the evidence: the shortcut is the rectified value there, the clone is not.
    graph = rebuilt_equals(InPlace(), IMAGES)
    readers = [graph[name].inputs for name in ("mul_constant", "mul_constant.2")]
    assert readers == [("relu",), ("conv",)]


class PatchedView(Around):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        half = x[:, :4]
        x += 1
        return torch.cat([half, x], 1)


def test_a_view_of_a_value_that_changes_is_refused() -> None:
    with pytest.raises(TraceError, match=r"test_trace.py:\d+: an in-place operation"):
        trace(PatchedView(F.relu), IMAGES, name="patched")


class Normalised(nn.Conv2d):
    """Someone's own layer, which calls the function with its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


def test_a_layer_that_calls_the_function_is_no_mystery() -> None:
    graph = rebuilt_equals(nn.Sequential(Normalised(8, 4, 3), nn.ReLU()), IMAGES)
    assert [vertex.op for vertex in graph.vertices] == ["input", "conv", "relu"]
    assert set(graph.tensor_shapes) == {"0.weight", "0.bias"}


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Standardised(8, 8, 3), "the weight is computed"),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), "padding_mode 'circular'"),
        (nn.CircularPad2d(1), "CircularPad2d is not in the vocabulary"),
        (nn.LPPool2d(2, 3), "LPPool2d is not in the vocabulary"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3)), "ParametrizedConv2d"),
    ],
)
def test_a_part_without_a_word_is_opaque_and_says_why(layer: nn.Module, reason: str) -> None:
    graph = rebuilt_equals(nn.Sequential(conv_bn(8, 8), layer, nn.ReLU()), IMAGES)
    opaque = [vertex for vertex in graph.vertices if vertex.op == "opaque"]
    assert [vertex.name for vertex in opaque] == ["1"]
    assert reason in opaque[0].attributes["reason"]


def test_attention_is_opaque_and_its_parameters_are_counted() -> None:
    module, images = make("with_attention")
    graph = rebuilt_equals(module, *images)
    assert graph["attention"].tensors == {"qkv.weight": (24, 8, 1, 1), "qkv.bias": (24,)}
    assert "families.py:" in graph["attention"].attributes["reason"]


def test_an_unknown_function_in_the_networks_own_forward_names_its_line() -> None:
    module = Around(lambda x: torch.fft.fft2(x).real)
    with pytest.raises(TraceError, match=r"test_trace.py:\d+: fft_fft2 is not in the vocabulary"):
        trace(module, IMAGES, name="fourier")


class Decides(Around):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.mean() > 0:
            return x
        return -x


class Reads(Around):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * x.max().item()


@pytest.mark.parametrize("network", [Decides, Reads])
def test_a_decision_on_values_names_its_line(network: type[Around]) -> None:
    with pytest.raises(TraceError, match=r"test_trace.py:\d+: .*depends on the values"):
        trace(network(F.relu), IMAGES, name="decides")


def test_a_network_of_nothing_but_opaque_parts_is_refused() -> None:
    with pytest.raises(TraceError, match="depends on the values"):
        trace(nn.Sequential(Decides(F.relu)), IMAGES, name="wrapped")


def test_an_example_that_does_not_fit_names_the_layer_and_the_shapes() -> None:
    with pytest.raises(PrototypeError, match=r"'conv1'.*\(2, 1, 32, 32\)"):
        trace(resnet20(), torch.zeros(1, 1, 32, 32), name="grey")


def test_a_wrong_number_of_inputs_is_refused() -> None:
    module, (image, depth) = make("several_inputs_and_outputs")
    with pytest.raises(PrototypeError, match="takes an input 'depth'"):
        trace(module, image, name="one")
    mask = torch.ones(1, 1, 16, 16)
    with pytest.raises(PrototypeError, match="takes 3 inputs, the example has 4"):
        trace(module, (image, depth, mask, mask), name="four")


def test_tracing_leaves_the_module_as_it_was() -> None:
    module = resnet20().train()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    trace(module, torch.zeros(1, 3, 32, 32), name="resnet20")
    after = module.state_dict()
    assert module.training
    assert not hasattr(module, "_tensor_constant0")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_same_module_gives_the_same_bytes() -> None:
    texts = {trace(make("shuffle")[0], make("shuffle")[1], name="s").to_json() for _ in range(2)}
    assert len(texts) == 1


def test_a_module_called_twice_is_two_vertices_on_one_weight() -> None:
    module, images = make("shared_module")
    graph = rebuilt_equals(module, *images)
    assert graph["again"].module == graph["again.2"].module == "again"


def test_a_network_may_have_several_inputs_and_outputs() -> None:
    module, images = make("several_inputs_and_outputs")
    graph = rebuilt_equals(module, *images)
    assert [vertex.name for vertex in graph.inputs] == ["image", "depth"]
    assert graph.outputs == ("a.fc", "b")
