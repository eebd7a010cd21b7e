"""What answers an image alone as it does among others, and what does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.errors import PrototypeError, TraceError
from gensynth.graph.graph import Graph
from gensynth.network.apart import check_images, find_mixing
from gensynth.network.files import load_network, save_network
from gensynth.network.module import build, opaque_modules
from gensynth.trace import trace


class Part(nn.Module):
    """A function that cannot be looked into."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class ReZero(nn.Module):
    """A branch that is shut until it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * torch.special.expit(x - x.mean(0, keepdim=True))


class Remembers(nn.Module):
    """A mean over all that it has seen, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.seen = 0.9 * self.seen + 0.1 * x.mean()
        return torch.special.expit(x - self.seen)


class AlwaysTraining(nn.Sequential):
    """It stays in training mode, and its norm with it."""

    def train(self, mode: bool = True) -> "AlwaysTraining":
        return super().train(True)


def around(part: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), part, nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(144, 4)
    ).eval()


def traced(module: nn.Module) -> Graph:
    return trace(module, torch.zeros(1, 3, 8, 8), name="net")


MIXERS: dict[str, nn.Module] = {
    "norm without statistics": nn.BatchNorm2d(8, track_running_stats=False),
    "norm by the function": Part(lambda x: F.batch_norm(x, None, None, training=True)),
    "norm of one value": Part(
        lambda x: x + F.batch_norm(x.mean((2, 3)), None, None, training=True)[:, :, None, None]
    ),
    "mean": Part(lambda x: x - x.mean(0, keepdim=True)),
    "faint mean": Part(lambda x: x + 1e-4 * x.mean(0, keepdim=True)),
    "mean into one faint channel": Part(
        lambda x: torch.cat([1e7 * x[:, :7], x[:, 7:].mean(0, keepdim=True).expand_as(x[:, 7:])], 1)
    ),
    "flip": Part(lambda x: x + x.flip(0)),
    "sort": Part(lambda x: torch.sort(x, dim=0)[0]),
    "cumulative sum": Part(lambda x: torch.cumsum(x, 0)),
    "roll": Part(lambda x: torch.roll(x, 1, 0)),
    "softmax": Part(lambda x: torch.softmax(x, 0)),
    "length along the batch": Part(lambda x: x / x.norm(dim=0, keepdim=True)),
    "largest of all": Part(lambda x: x / x.abs().max()),
    "first image": Part(lambda x: x - x[:1]),
    "gate that is shut": ReZero(),
    "number of images": Part(lambda x: torch.special.expit(x) / len(x)),
    "mean in one precision alone": Part(
        lambda x: x - (x @ torch.eye(8)).mean(0, keepdim=True)  # float64 has no such product
    ),
}


@pytest.mark.parametrize("kind", MIXERS)
def test_a_part_that_mixes_the_images_of_a_batch_is_refused_by_name(kind: str) -> None:
    with pytest.raises(TraceError, match=r"'1' \(.*\) does not keep the images .* apart: .*alone"):
        traced(around(MIXERS[kind]))


@pytest.mark.parametrize(
    "part",
    [
        nn.BatchNorm2d(8),
        nn.InstanceNorm2d(8),
        nn.Softplus(),
        nn.Sequential(nn.BatchNorm2d(8), nn.Dropout(), Part(torch.special.expit)),
        Part(lambda x: torch.round(50 * x) / 50),  # float32 may step over an edge
        Part(lambda x: torch.sort(x, dim=1)[0]),
        Part(lambda x: F.dropout(x, 0.5)),  # always drawn as written, read as a dropout
        Part(lambda x: (x.float() @ torch.eye(8)).to(x.dtype)),  # float32 alone
        Part(lambda x: torch.special.expit(1e4 * (x - x.roll(1, 1)))),
    ],
)
def test_what_keeps_images_apart_is_read(part: nn.Module) -> None:
    traced(around(part))


def test_a_number_of_images_that_became_a_constant_is_refused() -> None:
    # Read with a batch of 2 it is x / 2, which no image alone is answered by.
    with pytest.raises(TraceError, match="the network's own forward does not keep"):
        traced(around(Part(lambda x: x / x.shape[0])))


def test_a_norm_that_stays_in_training_mode_is_refused() -> None:
    with pytest.raises(TraceError, match="does not keep the images of a batch apart"):
        traced(around(AlwaysTraining(nn.BatchNorm2d(8))))


@pytest.mark.parametrize(
    "part", [Part(lambda x: x + torch.special.expit(torch.rand_like(x))), Remembers()]
)
def test_a_part_that_answers_each_time_otherwise_is_refused(part: nn.Module) -> None:
    with pytest.raises(TraceError, match="'1' .*the same images get another answer each time"):
        traced(around(part))


def test_an_ill_conditioned_network_is_not_taken_for_one_that_mixes() -> None:
    # A difference of nearly equal numbers: float32 leaves 1e-2 of it, float64 all.
    torch.manual_seed(0)
    part = Part(lambda x: torch.special.expit(((x @ x.mT) * 1e5).sin()))
    assert find_mixing(around(part), [(3, 8, 8)], ["1"]) is None


def test_a_loaded_network_is_checked_with_the_modules_it_is_given(tmp_path: Path) -> None:
    module = around(Part(torch.special.expit))
    graph = traced(module)
    save_network(build(graph, module.state_dict(), opaque=opaque_modules(graph, module)), tmp_path)
    load_network(tmp_path, opaque={"1": Part(torch.special.expit)})
    with pytest.raises(PrototypeError, match=r"'1' of .* cannot be used: an image gets another"):
        load_network(tmp_path, opaque={"1": Part(lambda x: torch.special.expit(x - x.mean(0)))})


def test_a_part_that_mixes_large_batches_alone_is_seen_on_them() -> None:
    class Large(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) - (x.mean() if len(x) > 100 else 0)

    network, images = nn.Sequential(Large(), nn.Linear(12, 3)), torch.rand(200, 3, 2, 2)
    check_images(network, images[:50], (0, 30), name="net")
    with pytest.raises(PrototypeError, match="net answers an image otherwise alone than among 200"):
        check_images(network, images, (0, 30), name="net")


@pytest.mark.parametrize("share", [1e-2, 1e-4])
def test_a_little_of_other_images_is_enough(share: float) -> None:
    images = torch.rand(10, 3, 2, 2)
    part = Part(lambda x: (x + share * x.mean(0, keepdim=True)).flatten(1))
    with pytest.raises(PrototypeError, match="net answers an image otherwise alone"):
        check_images(part, images, (0, 5), name="net")
