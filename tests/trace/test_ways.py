"""Networks as people write them are read whole, and computed bit for bit."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.graph.graph import Graph
from gensynth.network.module import build
from gensynth.network.shapes import check_shapes
from gensynth.space.coupling import couple
from gensynth.trace import trace


class Net(nn.Module):
    """A stem, one way to write what comes after it, and a head."""

    def __init__(self, way: Callable[["Net", Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.branches = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.instance, self.layer = nn.InstanceNorm2d(8, affine=True), nn.LayerNorm(8)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.gamma = nn.Parameter(torch.rand(8))
        self.even = nn.Conv2d(8, 8, 4, padding="same")
        self.mirror = nn.Conv2d(8, 8, 3, padding=2, padding_mode="reflect")
        self.head = nn.Linear(8, 4)
        self._way = way

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(torch.relu(self._way(self, self.stem(x))))
        answer: Tensor = self.head(x.mean((2, 3)))
        return answer


def conv_next(net: Net, x: Tensor) -> Tensor:
    y = net.layer(x.permute(0, 2, 3, 1))
    y = net.gamma * net.narrow(F.gelu(net.wide(y)))
    return x + y.permute(0, 3, 1, 2)


def tokens(net: Net, x: Tensor) -> Tensor:
    y = net.narrow(F.relu(net.wide(net.layer(x.flatten(2).transpose(1, 2)))))
    return y.transpose(1, 2).reshape(x.shape)


WAYS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "a slice of a Sequential": lambda net, x: net.branches[1:](net.branches[:1](x)),
    "a layer made in forward": lambda net, x: nn.MaxPool2d(2)(x),
    "a stack that is summed": lambda net, x: torch.stack([net.branches(x), x, 2 * x]).sum(dim=0),
    "a mean of a stack": lambda net, x: torch.mean(torch.stack([net.branches(x), x], -1), -1),
    "TensorFlow's same": lambda net, x: F.pad(x, (0, 1, 0, 1)),
    "padding by a number": lambda net, x: F.pad(x, (1, 1, 2, 0), value=0.5),
    "reflection": lambda net, x: nn.ReflectionPad2d((1, 2, 0, 3))(x),
    "replication": lambda net, x: nn.ReplicationPad2d(2)(x),
    "an even kernel": lambda net, x: net.even(x),
    "a padding mode": lambda net, x: net.mirror(x),
    "an instance norm": lambda net, x: net.instance(x),
    "ConvNeXt": conv_next,
    "tokens": tokens,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_what_people_write_is_read_whole_and_computed_bit_for_bit(way: str) -> None:
    torch.manual_seed(0)
    module, images = Net(WAYS[way]).eval(), torch.randn(2, 3, 8, 8)
    graph = trace(module, images, name="way")
    assert not [vertex.name for vertex in graph.vertices if vertex.op == "opaque"]
    again = Graph.from_json(graph.to_json())
    check_shapes(again)
    with torch.no_grad():
        found, wanted = build(again, module.state_dict()).eval()(images), module(images)
    # The layout of ConvNeXt's values in memory is another, and so is a convolution's rounding.
    assert torch.allclose(found, wanted, rtol=0, atol=1e-6 if way == "ConvNeXt" else 0)
    free = {group.name for group in couple(graph).groups}
    assert {"stem", "last"} <= free


def test_a_layer_with_weights_that_is_made_in_forward_is_refused_by_its_line() -> None:
    from gensynth.errors import TraceError

    with pytest.raises(TraceError, match="makes a Conv2d with weights each time; make it in __in"):
        trace(Net(lambda net, x: nn.Conv2d(8, 8, 1)(x)), torch.zeros(1, 3, 8, 8), name="made")
