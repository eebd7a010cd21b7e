"""A rate that suits: the first where it works, a smaller one where it destroys."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gensynth.data.views import Views
from gensynth.errors import PrototypeError
from gensynth.network.compute import Compute
from gensynth.network.module import Network
from gensynth.tasks.classification import Classification
from gensynth.trace import trace
from gensynth.training.beginning import begin, scale_first_weights
from gensynth.training.evaluator import score
from gensynth.training.fit import Recipe, fit
from gensynth.training.learning_rate import BRIEF_GAIN, RangeTest, below, range_test
from gensynth.training.pretrain import fit_at_one_of, train_prototype
from tests.training.quarters import evaluator_of, quarters, small_resnet

GUESS = math.log(10)


def trials_of(losses: dict[float, float], guess: float | None = GUESS) -> RangeTest:
    """Test rates from 0.1 downward that end at these losses, and at 2.3 elsewhere."""
    return range_test(lambda rate: losses.get(rate, 2.3), 0.1, guess)


def test_the_first_rate_stays_where_the_next_is_hardly_better() -> None:
    test = trials_of({0.1: 0.60, 0.03: 0.47})  # as the quickstart's prototype has it
    assert test.chosen.rate == 0.1
    assert [trial.rate for trial in test.trials] == [0.1, 0.03]


def test_short_trainings_get_the_largest_rate_that_none_beats_at_all() -> None:
    losses = {0.1: 0.60, 0.03: 0.47, 0.01: 0.46, 0.003: 0.1}
    test = range_test(losses.__getitem__, 0.1, GUESS, gain=BRIEF_GAIN)
    assert (test.chosen.rate, test.brief.rate) == (0.1, 0.03)
    assert [trial.rate for trial in test.trials] == [0.1, 0.03, 0.01]


@pytest.mark.parametrize("destroyed", [2.3027, math.nan, math.inf, 7e3])
def test_a_rate_that_destroys_makes_way_for_the_largest_that_does_not(destroyed: float) -> None:
    test = trials_of({0.1: destroyed, 0.03: destroyed, 0.01: 0.8, 0.003: 0.7})
    assert test.chosen.rate == 0.01
    assert test.learns
    json.dumps(test.to_document(), allow_nan=False)


def test_where_nothing_is_learned_every_rate_is_tried_and_none_is_called_good() -> None:
    test = trials_of(dict.fromkeys((0.1, 0.03, 0.01, 0.003, 0.001, 0.0003), 2.31))
    assert [trial.rate for trial in test.trials] == [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003]
    assert not test.learns


def test_without_a_loss_of_guessing_losses_are_held_against_each_other() -> None:
    assert trials_of({0.1: 40.0, 0.03: 39.0}, None).chosen.rate == 0.1
    assert trials_of({0.1: 40.0, 0.03: 20.0, 0.01: 19.0}, None).chosen.rate == 0.03


def test_the_loss_that_a_training_ends_at_is_of_its_last_quarter() -> None:
    # Eight steps at a rate that changes nothing: the last two batches by hand.
    evaluator = evaluator_of(small_resnet())
    network = evaluator.prototype.network().train()
    batches = [*evaluator.views.epoch(0, 16)]
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(network(b.images), b.targets) for b in batches]
    still = Recipe(epochs=1, batch=16, peak_lr=1e-12)
    loss = fit(evaluator.prototype.network(), evaluator.views, still, Compute(), evaluator.task)
    assert loss == pytest.approx(float(sum(losses[6:])) / 2, rel=1e-4)


def deep(classes: int, channels: int) -> nn.Sequential:
    """Ten convolutions without norms, through which torch's first weights let nothing pass."""
    inner = [layer for _ in range(9) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), *inner, nn.Flatten(),
        nn.Linear(8 * 64, classes),
    )  # fmt: skip


def test_scaled_first_weights_give_every_channel_unit_variance() -> None:
    torch.manual_seed(0)
    network = deep(4, 1)
    images = torch.randn(64, 1, 8, 8)
    with torch.no_grad():
        assert network(images).std(0).max() < 0.1
        scale_first_weights(network, images)
        answers = network(images)
        inner = network[:19](images)  # of the last convolution
    assert torch.allclose(answers.std(0), torch.ones(4), atol=1e-3)
    spread = inner.std(dim=(0, 2, 3))
    assert torch.allclose(spread[spread > 0], torch.ones(int((spread > 0).sum())), atol=1e-3)


@pytest.mark.slow
def test_a_deep_network_without_norms_begins_where_it_learns() -> None:
    data, compute, task = quarters(), Compute(), Classification()
    torch.manual_seed(0)
    network, views = deep(4, 1).eval(), Views(data, data.train, 0)
    graph = trace(network, torch.zeros(1, 1, 8, 8), name="deep")
    recipe = Recipe(epochs=3, batch=16, peak_lr=0.2)
    found = begin(graph, network, views, recipe, compute, task, math.log(4))
    assert found.is_scaled
    assert found.recipe == replace(recipe, peak_lr=found.test.chosen.rate)
    fit(found.network, views, replace(found.recipe, epochs=12), compute, task)
    assert score(found.network, data, data.search, compute, task).value > 0.9


def test_a_whole_training_that_is_destroyed_is_done_again_at_a_smaller_rate(tmp_path: Path) -> None:
    recipes = [Recipe(epochs=1, peak_lr=rate) for rate in (0.2, *below(0.2, 0.2))]
    ends = {0.2: math.nan, 0.06: 0.99 * GUESS, 0.02: 1.0}
    begun: list[tuple[float, bool]] = []

    def train(network: Network, recipe: Recipe, checkpoint: Path) -> float:
        begun.append((recipe.peak_lr, checkpoint.exists()))
        checkpoint.touch()
        return ends[recipe.peak_lr]

    def untrained() -> Network:
        return evaluator_of(small_resnet()).prototype.network()

    kept = tmp_path / "checkpoint.safetensors"
    _, recipe, loss = fit_at_one_of(recipes, untrained, train, kept, GUESS)
    assert (recipe.peak_lr, loss) == (0.02, 1.0)
    assert begun == [(0.2, False), (0.06, False), (0.02, False)]
    # Stopped at the third rate, it goes on from there.
    fit_at_one_of(recipes, untrained, train, kept, GUESS)
    assert begun[3:] == [(0.02, True)]


def test_a_training_that_ends_at_guessing_is_refused_with_the_way_out(tmp_path: Path) -> None:
    hot = Recipe(epochs=2, batch=32, peak_lr=1e6)
    with pytest.raises(PrototypeError, match=r"learned nothing: .* guessing loses 1\.39; give"):
        train_prototype(f"{__name__}:deep", quarters(), tmp_path, recipe=hot, compute=Compute())
