"""Recalibration: a norm takes the direct statistics of the images that it is shown."""

import pytest
import torch
from torch import Tensor, nn

from gensynth.network.module import build
from gensynth.trace import trace
from gensynth.training.evaluator import recalibrate
from tests.training.norms import Noisy, Twice
from tests.training.quarters import batches_of, bits, prototype_of, small_resnet


def test_recalibration_on_one_batch_takes_its_mean_and_variance() -> None:
    module = small_resnet().eval()
    graph = prototype_of(module).graph
    network = build(graph, module.state_dict())
    (images,) = batches_of(1)
    recalibrate(network, [images])
    with torch.no_grad():
        value = module.conv1(images).transpose(0, 1).flatten(1)  # what the first norm reads
    own = network.state_dict()
    torch.testing.assert_close(own["bn1.running_mean"], value.mean(1))
    torch.testing.assert_close(own["bn1.running_var"], value.var(1))


def test_recalibration_is_a_weighted_mean_of_the_batches_alone() -> None:
    # By hand: batch k of n weighs 0.1 * 0.9^(n - k), made to sum to 1; nothing of before.
    module = small_resnet().eval()
    weights = module.state_dict()
    weights["bn1.running_mean"] = weights["bn1.running_var"] = torch.full((8,), 1e6)
    network = build(prototype_of(module).graph, weights)
    batches = batches_of(3)
    recalibrate(network, batches)
    with torch.no_grad():
        values = [module.conv1(images).transpose(0, 1).flatten(1) for images in batches]
    shares = torch.tensor([0.081, 0.09, 0.1]) / 0.271
    own = network.state_dict()
    mean = sum(w * v.mean(1) for w, v in zip(shares, values, strict=True))
    variance = sum(w * v.var(1) for w, v in zip(shares, values, strict=True))
    torch.testing.assert_close(own["bn1.running_mean"], mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own["bn1.running_var"], variance, rtol=1e-4, atol=1e-5)


def test_recalibration_leaves_all_but_the_statistics() -> None:
    network = build(prototype_of(small_resnet()).graph, small_resnet().state_dict())
    before = bits(network)
    recalibrate(network, batches_of(2))
    changed = {key for key, value in bits(network).items() if value != before[key]}
    assert changed == {key for key in before if "running" in key}
    assert not network.training


def test_a_norm_that_is_called_twice_takes_statistics_of_both_calls() -> None:
    # By hand, one batch: the calls weigh 0.1 * 0.9 and 0.1 of 0.19; dropout is at rest.
    module = Noisy().eval()
    network = build(trace(module, torch.zeros(1, 1, 8, 8), name="noisy"), module.state_dict())
    (images,) = batches_of(1)
    recalibrate(network, [images])
    with torch.no_grad():
        first = module.conv(images)
        normed = nn.functional.batch_norm(
            first, None, None, module.bn.weight, module.bn.bias, training=True
        )
        second = module.again(torch.relu(normed))
    means = [value.transpose(0, 1).flatten(1).mean(1) for value in (first, second)]
    expected = (0.09 * means[0] + 0.1 * means[1]) / 0.19
    torch.testing.assert_close(
        network.state_dict()["bn.running_mean"], expected, rtol=1e-4, atol=1e-5
    )


def test_a_cumulative_average_starts_anew() -> None:
    module = Noisy()
    module.bn.momentum = None  # torch: every call weighs the same
    graph = trace(module.eval(), torch.zeros(1, 1, 8, 8), name="noisy")
    network = build(graph, module.state_dict())
    batches = batches_of(2)
    recalibrate(network, batches)
    once = bits(network)
    recalibrate(network, batches)
    assert bits(network) == once


class Sorted(nn.Module):
    """A norm within a module that the vocabulary cannot say."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(6, momentum=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(self.bn(x), dim=1)[0]


def test_norms_of_modules_that_cannot_be_looked_into_are_recalibrated_too() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), Sorted(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4)
    ).eval()
    prototype = prototype_of(module)
    assert set(prototype.opaque) == {"1"}
    network = prototype.network()
    batches = batches_of(2)
    recalibrate(network, batches)
    with torch.no_grad():
        means = [module[0](images).transpose(0, 1).flatten(1).mean(1) for images in batches]
    norm = network.get_submodule("1.bn")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, (means[0] + means[1]) / 2)
    assert norm.momentum == 0.3
    assert not norm.training


def test_recalibration_needs_a_batch() -> None:
    network = build(prototype_of(small_resnet()).graph, small_resnet().state_dict())
    with pytest.raises(ValueError, match="at least one batch"):
        recalibrate(network, [])


def test_a_statistic_that_two_norms_share_is_the_mean_of_both_calls() -> None:
    # By hand, one batch: the calls weigh 0.1 * 0.9 and 0.1 of 0.19, as those of one norm do.
    network = prototype_of(Twice()).network()
    (images,), edges = batches_of(1), [("middle", "bn1"), ("pair.1", "bn2")]
    recalibrate(network, [images])
    mean = network.state_dict()["bn1.running_mean"].clone()
    read = network.train().observe(images, edges)  # each norm by the batch itself
    first, second = (read[edge].mean((0, 2, 3)) for edge in edges)
    expected = (0.09 * first + 0.1 * second) / 0.19
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-5)
