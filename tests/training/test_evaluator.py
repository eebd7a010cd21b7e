"""Evaluating a network: direct statistics, equal bits, an interruption that leaves no trace."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gensynth.data.views import Views
from gensynth.errors import RunError
from gensynth.graph.activations import all_elements
from gensynth.graph.graph import Graph, Selection
from gensynth.network.compute import Compute
from gensynth.network.module import Network
from gensynth.prototypes.resnet import ResNet
from gensynth.tasks.classification import Classification
from gensynth.training.evaluator import Evaluator
from gensynth.training.fit import Recipe, Teacher, fit
from tests.training.norms import Noisy, Twice, averaging
from tests.training.quarters import (
    bits,
    evaluator_of,
    prototype_of,
    quarters,
    small_resnet,
)

TASK = Classification()
SELECTION = Selection({"conv1": (0, 2, 3), "stage2.0.conv1": (1, 4, 5, 6)}, ("stage1.0.add",))


def evaluate(evaluator: Evaluator, recipe: Recipe, **options: object) -> Network:
    graph = evaluator.prototype.coupling.apply(SELECTION)
    network = evaluator.inherit(graph, evaluator.prototype.weights)
    evaluator.distil(network, recipe, **options)  # type: ignore[arg-type]
    return network


def test_inheriting_takes_slices_and_fresh_statistics() -> None:
    evaluator = evaluator_of(small_resnet())
    graph = evaluator.prototype.coupling.apply(SELECTION)
    network = evaluator.inherit(graph, evaluator.prototype.weights)
    own, whole = network.state_dict(), evaluator.prototype.weights
    assert torch.equal(own["conv1.weight"], whole["conv1.weight"][[0, 2, 3]])
    expected = whole["stage2.0.conv1.weight"][[1, 4, 5, 6]][:, [0, 2, 3]]
    assert torch.equal(own["stage2.0.conv1.weight"], expected)
    assert not torch.equal(own["bn1.running_mean"], whole["bn1.running_mean"][[0, 2, 3]])


@pytest.mark.parametrize(("at_once", "batches"), [(100, 1), (32, 4), (8, 8)])
def test_where_fewer_images_fit_more_batches_calibrate(
    monkeypatch: pytest.MonkeyPatch, at_once: int, batches: int
) -> None:
    monkeypatch.setattr("gensynth.training.evaluator.images_a_pass", lambda shape, most: at_once)
    sizes = [len(images) for images in evaluator_of(small_resnet()).calibration()]  # of 128 images
    assert sizes == [at_once] * batches


def test_recalibrating_after_a_training_forgets_what_the_norms_saw_before() -> None:
    evaluator = evaluator_of(small_resnet())
    network = evaluate(evaluator, Recipe(epochs=1, batch=32, peak_lr=0.1))
    stale = network.state_dict()["bn1.running_mean"].clone()
    evaluator.recalibrate(network)
    with torch.no_grad():
        seen = [
            network.get_submodule("conv1")(images).mean((0, 2, 3))
            for images in evaluator.calibration()
        ]
    mean = torch.stack(seen).mean(0)
    assert torch.allclose(network.state_dict()["bn1.running_mean"], mean, atol=1e-5)
    assert not torch.allclose(stale, mean, atol=1e-4)


def test_distilling_twice_gives_the_same_bits() -> None:
    recipe = Recipe(epochs=2, batch=32, peak_lr=0.05)
    first = evaluate(evaluator_of(small_resnet()), recipe)
    second = evaluate(evaluator_of(small_resnet()), recipe)
    assert bits(first) == bits(second)


def test_what_another_network_did_before_does_not_matter() -> None:
    # The teacher's answers are kept, and torch's own random state is somewhere else.
    recipe = Recipe(epochs=1.5, batch=32, peak_lr=0.05)
    alone = evaluate(evaluator_of(small_resnet()), recipe)
    evaluator = evaluator_of(small_resnet())
    evaluate(evaluator, Recipe(epochs=2, batch=32, peak_lr=0.1))
    torch.rand(7)
    assert bits(evaluate(evaluator, recipe)) == bits(alone)


def test_a_step_that_memory_is_too_short_for_is_the_same_step_in_parts() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 4)
    )
    recipe = Recipe(epochs=2, batch=32, peak_lr=0.05)
    kept_bytes = 4 * all_elements(prototype_of(module).graph)
    found, sizes = [], []
    for memory_bytes in (None, 3 * 10 * kept_bytes):  # a third of it holds 10 of 32 images
        evaluator = evaluator_of(module)
        compute = Compute(memory_bytes=memory_bytes)
        network = evaluator.prototype.network()
        network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        fit(network, evaluator.views, recipe, compute, TASK, teacher=evaluator.teacher)
        found.append(network.state_dict())
    whole, parts = found
    assert sizes == [32] * 8 + [8] * 4 * 8
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor)


def test_distilling_from_another_epoch_sees_other_images() -> None:
    recipe = Recipe(epochs=1, batch=32, peak_lr=0.05)
    evaluator = evaluator_of(small_resnet())
    assert bits(evaluate(evaluator, recipe)) != bits(evaluate(evaluator, recipe, first_epoch=5))


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def stop_after(share: float) -> Callable[[float, float], None]:
    def stop(done: float, loss: float) -> None:
        if done > share:
            raise Interrupted

    return stop


@pytest.mark.parametrize("factory", [small_resnet, Noisy, averaging, Twice])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_a_training_that_was_interrupted_ends_with_the_same_bits(
    factory: Callable[[], nn.Module], share: float, tmp_path: Path
) -> None:
    # Four batches an epoch and three epochs: it stops in the first, second and third.
    data, recipe = quarters(), Recipe(epochs=3, batch=32, peak_lr=0.05)
    checkpoint = tmp_path / "training.safetensors"

    def train(checkpoint: Path | None, stop: Callable[[float, float], None] | None) -> nn.Module:
        network = factory()
        views = Views(data, data.train, seed=3)
        fit(network, views, recipe, Compute(), TASK, checkpoint=checkpoint, progress=stop)
        return network

    through = train(None, None)
    with pytest.raises(Interrupted):
        train(checkpoint, stop_after(share))
    assert checkpoint.exists() == (share > 1 / 3)
    torch.rand(3)
    resumed = train(checkpoint, None)
    trained = {k: v for k, v in bits(resumed).items() if "num_batches_tracked" not in k}
    assert trained == {k: v for k, v in bits(through).items() if k in trained}
    assert bits(train(checkpoint, None)) == bits(resumed)  # nothing is left to do


def test_training_learns_what_is_easy() -> None:
    evaluator = evaluator_of(small_resnet())
    network = evaluator.prototype.network()
    before = evaluator.score(network, evaluator.dataset.search)
    fit(network, evaluator.views, Recipe(epochs=12, batch=16, peak_lr=0.05), Compute(), TASK)
    after = evaluator.score(network, evaluator.dataset.search)
    assert after.value > max(before.value, 55 / 64)


def test_one_step_of_distillation_by_hand() -> None:
    # One batch, one step, no decay: p - rate * (1 + 0.9) * gradient, Nesterov's first step,
    # of (1 - h) T^2 KL(teacher || student) + h CE, both softened by T = 4, h = 0.25.
    data, compute = quarters(), Compute()
    views = Views(data, data.train, seed=3)
    student, teacher = small_resnet(), ResNet(blocks=1, widths=(8, 10, 12), classes=4, channels=1)
    recipe = Recipe(epochs=1, batch=128, peak_lr=0.1, weight_decay=0.0, hard_weight=0.25)
    (batch,) = views.epoch(0, 128)
    twin = small_resnet().train()
    with torch.no_grad():
        target = torch.softmax(teacher.eval()(batch.images) / 4, 1)
    logits = twin(batch.images)
    log_student = torch.log_softmax(logits / 4, 1)
    soft = 16 * (target * (target.log() - log_student)).sum(1).mean()
    hard = -torch.log_softmax(logits, 1)[torch.arange(128), batch.targets].mean()
    gradients = torch.autograd.grad(0.75 * soft + 0.25 * hard, list(twin.parameters()))
    fit(student, views, recipe, compute, TASK, teacher=Teacher(teacher, views, compute))
    for (name, trained), start, gradient in zip(
        student.named_parameters(), twin.parameters(), gradients, strict=True
    ):
        expected = start.detach() - 0.1 * 1.9 * gradient
        torch.testing.assert_close(trained.detach(), expected, rtol=1e-4, atol=1e-6, msg=name)


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    # 20 % of 10 steps up to the peak, then down to 1/8 of it: (10 - 9) / (10 - 2).
    recipe = Recipe(epochs=1, peak_lr=0.8, warmup=0.2)
    rates = [recipe.rate(step, 10) for step in range(10)]
    assert rates == pytest.approx([0.4, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_only_weights_of_several_dimensions_decay() -> None:
    data = quarters()
    views = Views(data, data.train, seed=3)
    start, decayed, free = small_resnet(), small_resnet(), small_resnet()
    one_step = Recipe(epochs=0.25, batch=32, peak_lr=0.1, weight_decay=0.1)
    fit(decayed, views, one_step, Compute(), TASK)
    fit(free, views, dataclasses.replace(one_step, weight_decay=0.0), Compute(), TASK)
    for name, whole in start.named_parameters():
        gap = free.get_parameter(name) - decayed.get_parameter(name)
        # One step: rate * (1 + 0.9) * decay * weight for kernels, nothing for the rest.
        expected = 0.1 * 1.9 * 0.1 * whole if whole.ndim > 1 else torch.zeros_like(whole)
        torch.testing.assert_close(gap, expected, rtol=1e-3, atol=1e-6)


def test_absorbing_moves_the_slice_and_nothing_else() -> None:
    evaluator = evaluator_of(small_resnet())
    weights = evaluator.prototype.weights
    network = evaluate(evaluator, Recipe(epochs=1, batch=32, peak_lr=0.05))
    moved = evaluator.absorb(weights, network, 0.25)
    before, after = weights["conv1.weight"], moved["conv1.weight"]
    tuned = network.state_dict()["conv1.weight"]
    kept = [0, 2, 3]
    torch.testing.assert_close(after[kept], 0.75 * before[kept] + 0.25 * tuned)
    assert torch.equal(after[[1, 4, 7]], before[[1, 4, 7]])
    removed = [key for key in weights if key.startswith("stage1.0.conv")]
    assert removed
    assert all(torch.equal(moved[key], weights[key]) for key in removed)


def test_absorbing_moves_a_tied_tensor_too() -> None:
    evaluator = evaluator_of(Twice())
    prototype, weights = evaluator.prototype, evaluator.prototype.weights
    network = evaluator.inherit(prototype.graph, weights)
    fit(network, evaluator.views, Recipe(epochs=1, batch=32), Compute(), TASK)
    moved = evaluator.absorb(weights, network, 1.0)
    assert not torch.equal(moved["middle.weight"], weights["middle.weight"])
    torch.testing.assert_close(moved["middle.weight"], network.state_dict()["middle.weight"])


def test_training_of_ones_own_takes_the_place_of_ours() -> None:
    evaluator = evaluator_of(small_resnet())
    seen: list[tuple[nn.Module, Recipe]] = []

    def own(network: nn.Module, views: Views, recipe: Recipe, teacher: Teacher | None) -> None:
        assert views is evaluator.views
        assert teacher is evaluator.teacher
        seen.append((network, recipe))

    mine = Evaluator(
        evaluator.prototype,
        evaluator.dataset,
        evaluator.views,
        evaluator.teacher,
        evaluator.compute,
        evaluator.task,
        trainer=own,
    )
    recipe = Recipe(epochs=1, batch=32)
    network = mine.inherit(mine.prototype.graph, mine.prototype.weights)
    before = bits(network)
    mine.distil(network, recipe)
    assert seen == [(network, recipe)]
    assert bits(network) == before


def test_a_head_that_nothing_returns_survives_a_checkpoint(tmp_path: Path) -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(2)
            self.body, self.fc, self.unused = nn.Conv2d(1, 4, 3), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.relu(self.body(x)).mean((2, 3)))

    data = quarters()
    views = Views(data, data.train, seed=3)
    checkpoint = tmp_path / "training.safetensors"
    first, second = TwoHeads(), TwoHeads()
    recipe = Recipe(epochs=1, batch=32, peak_lr=0.05)
    fit(first, views, recipe, Compute(), TASK, checkpoint=checkpoint)
    fit(second, views, recipe, Compute(), TASK, checkpoint=checkpoint)
    assert bits(first) == bits(second)
    whole, tensors = checkpoint.read_bytes(), load_file(checkpoint)
    del tensors["network.fc.bias"]
    for content in (whole[:-1], save(tensors), save(tensors, {"step": "3", "calls": "{}"})):
        checkpoint.write_bytes(content)
        with pytest.raises(RunError, match="training.safetensors is damaged.*; remove it"):
            fit(TwoHeads(), views, recipe, Compute(), TASK, checkpoint=checkpoint)


def test_a_recipe_without_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="epochs and batch must be positive, got 0 and 128"):
        Recipe(epochs=0)
    with pytest.raises(ValueError, match="got 1 and 0"):
        Recipe(epochs=1, batch=0)


def test_graphs_of_a_selection_name_it() -> None:
    graph: Graph = evaluator_of(small_resnet()).prototype.coupling.apply(SELECTION)
    assert graph.selection == SELECTION
    assert math.prod(graph["conv1"].tensors["weight"]) == 3 * 1 * 9
