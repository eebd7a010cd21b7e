"""Training a prototype from nothing, and the record of how it was done.

    python -m gensynth.training.pretrain resnet8 FOLDER

repeats the training of the prototype that ships for the quickstart, and
`gensynth synth --train-prototype` does the same within a run. The training images teach,
the search images measure, and the test images are not looked at.
"""

import hashlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from gensynth import atomic_files
from gensynth.data import fashion_mnist
from gensynth.data.dataset import Dataset
from gensynth.data.views import Views
from gensynth.environment import environment
from gensynth.errors import PrototypeError, RunError
from gensynth.goals.score import in_percent
from gensynth.network.compute import Compute, detect
from gensynth.network.module import Network, build, opaque_modules
from gensynth.prototypes import create
from gensynth.tasks.classification import Classification
from gensynth.tasks.task import Guesses, Task
from gensynth.trace import trace
from gensynth.training.beginning import begin
from gensynth.training.evaluator import Trainer, score
from gensynth.training.fit import COMPILED_FROM, Recipe, fit
from gensynth.training.learning_rate import NEAR, below, is_learning, outcome

# The recipe of the prototype that ships; 30 passes over 6,000 images.
QUICKSTART = Recipe(epochs=30, batch=128, peak_lr=0.2, weight_decay=1e-3)
LONG = Recipe(epochs=30, batch=128, peak_lr=0.2, weight_decay=5e-4, compiled=True)
RECIPES = {"fashion-mnist-subset": QUICKSTART}
"""By data set; any other is trained by `LONG`."""
FURTHER = Recipe(epochs=10, batch=128, peak_lr=0.02, weight_decay=5e-4, compiled=True)
"""From weights that are trained already, for other data than these."""


def recipe_of(
    dataset: Dataset,
    *,
    begins: bool,
    epochs: float | None = None,
    batch: int | None = None,
    peak_lr: float | None = None,
) -> Recipe:
    """Return how a prototype is trained: as suits its data, but for what is given.

    Args:
        dataset: that teaches.
        begins: whether it begins from trained weights.
        epochs, batch, peak_lr: see `Recipe`; None leaves what suits.
    """
    suited = FURTHER if begins else RECIPES.get(dataset.name, LONG)
    epochs = suited.epochs if epochs is None else epochs
    return replace(
        suited,
        epochs=epochs,
        batch=suited.batch if batch is None else batch,
        peak_lr=suited.peak_lr if peak_lr is None else peak_lr,
        compiled=suited.compiled and epochs * len(dataset.train) >= COMPILED_FROM,
    )


def train_prototype(
    name: str,
    dataset: Dataset,
    folder: Path,
    *,
    network: nn.Module | None = None,
    recipe: Recipe | None = None,
    finds_rate: bool | None = None,
    has_learned: bool = False,
    checkpoint: Path | None = None,
    seed: int = 0,
    compute: Compute | None = None,
    command: str | None = None,
    task: Task | None = None,
    trainer: Trainer | None = None,
    outputs: tuple[str, ...] = (),
    progress: Callable[[float, float], None] | None = None,
) -> nn.Module:
    """Train a prototype and leave its weights and record in a folder.

    `NAME-DATA.safetensors` holds the weights, `NAME-DATA.json` the recipe, the seed, the score
    on the search split with its two-sided 95 % interval, versions, machine and wall
    time (null after an interruption). On the same machine, versions and threads the weights
    are the same byte for byte.

    Args:
        name: a built-in prototype or module:factory.
        dataset: whose train split teaches and whose search split measures.
        folder: where the two files go, made if absent.
        network: the prototype, with the weights that its training begins from; None makes it
            anew from `name` and `seed`.
        recipe: how long and how to train; if None one that suits the data set.
        finds_rate: whether a learning rate is found that suits the network, from the recipe's
            downward, see `gensynth.training.learning_rate`, and a smaller one taken where the whole
            training is destroyed at it; None finds one if no recipe is given.
        has_learned: whether the weights that it begins from are trained ones.
        checkpoint: a file that takes the training's state after every epoch, and from which
            an interrupted training goes on; it stays.
        seed: of the first weights and of the views.
        compute: where to compute; what this machine does best if None.
        command: what a person types to repeat it, for the record.
        task: what for; to tell classes if None.
        trainer: the user's own training function in place of ours; it is given no teacher.
        progress: called with (share of steps done, mean loss of the last 50 steps).

    Returns:
        the trained network, in evaluation mode.

    Raises:
        RunError: if the files cannot be written.
        PrototypeError: if the network learns nothing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"there is no folder {folder} for the trained prototype: {error}") from error
    compute, task = compute or detect(), task or Classification()
    if network is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = create(name, classes=len(dataset.classes), channels=dataset.shape[0])
    # Trained as the rebuilt network, so that it is computed as its children will be.
    graph = trace(network.eval(), torch.zeros(1, *dataset.shape), name=name, outputs=outputs)
    resumed = checkpoint is not None and checkpoint.exists()
    start = time.perf_counter()
    targets = task.targets(dataset.train, compute.device)
    views = Views(dataset, dataset.train, seed, compute.device, targets)
    guess = task.guess(dataset) if isinstance(task, Guesses) else None
    begun: dict[str, Any] = {}
    finds_rate = recipe is None if finds_rate is None else finds_rate
    recipe = recipe or RECIPES.get(dataset.name, LONG)
    rates: tuple[float, ...] = ()
    if finds_rate:
        first = recipe.peak_lr
        beginning = begin(
            graph, network, views, recipe, compute, task, guess, has_learned=has_learned
        )
        network, recipe = beginning.network, beginning.recipe
        begun, rates = beginning.to_document(), below(recipe.peak_lr, first)
    untrained = partial(build, graph, network.state_dict(), opaque=opaque_modules(graph, network))
    if trainer is None:
        recipes = [replace(recipe, peak_lr=rate) for rate in (recipe.peak_lr, *rates)]
        fitted = partial(fit, views=views, compute=compute, task=task, progress=progress)
        rebuilt, recipe, loss = fit_at_one_of(recipes, untrained, fitted, checkpoint, guess)
        _check_learned(name, loss, guess, recipe)
    else:
        rebuilt = untrained()
        trainer(rebuilt, views, recipe, None)
    train_s = time.perf_counter() - start
    reached = score(rebuilt, dataset, dataset.search, compute, task)
    trained = rebuilt.tensors()
    network.load_state_dict(trained, strict=False)  # but for num_batches_tracked
    weights = save(trained)
    record = {
        "prototype": name,
        "command": command,
        "data": dataset.name,
        "data_source": dataset.source,
        "mean": dataset.mean,
        "std": dataset.std,
        "augmentation": asdict(dataset.augmentation),
        "seed": seed,
        "recipe": asdict(recipe),
        **begun,
        "train_images": len(dataset.train),
        "train_s": None if resumed else round(train_s, 1),
        "search": {**in_percent(reached), "interval": "two-sided 95 %"},
        "sha256": hashlib.sha256(weights).hexdigest(),
        "environment": environment(
            device=compute.device, autocast=str(compute.autocast), threads=compute.threads
        ),
    }
    stem = f"{name.replace(':', '.')}-{dataset.name.removesuffix('-subset')}"
    try:
        atomic_files.write_bytes(folder / f"{stem}.safetensors", weights)
        atomic_files.write_json(folder / f"{stem}.json", record)
    except OSError as error:
        raise RunError(f"the trained prototype could not be kept in {folder}: {error}") from error
    return network


def fit_at_one_of(
    recipes: Sequence[Recipe],
    untrained: Callable[[], Network],
    train: Callable[..., float | None],
    checkpoint: Path | None,
    guess: float | None,
) -> tuple[Network, Recipe, float | None]:
    """Train by the first recipe that does not end at guessing, else by the best of all.

    A rate that a short test found may destroy a network in a longer training. Each recipe has a
    checkpoint of its own, so that a training goes on where it was stopped; it goes with a training
    that has ended at guessing, since nothing that goes on from it would learn.
    """
    kept = [_numbered(checkpoint, number) for number in range(len(recipes))]
    first = max((n for n, file in enumerate(kept) if file and file.exists()), default=0)
    tried: list[tuple[float, Network, Recipe]] = []
    for recipe, file in zip(recipes[first:], kept[first:], strict=True):
        network = untrained()
        loss = train(network, recipe=recipe, checkpoint=file)
        if loss is None or is_learning(loss + NEAR * (guess or 0.0), guess):
            return network, recipe, loss
        tried.append((loss if math.isfinite(loss) else math.inf, network, recipe))
        if file is not None:
            file.unlink(missing_ok=True)
    loss, network, recipe = min(tried, key=lambda one: one[0])
    return network, recipe, loss


def _numbered(checkpoint: Path | None, number: int) -> Path | None:
    if checkpoint is None or number == 0:
        return checkpoint
    return checkpoint.with_stem(f"{checkpoint.stem}-{number}")


def _check_learned(name: str, loss: float | None, guess: float | None, recipe: Recipe) -> None:
    """Refuse a prototype whose training ended no better than by guessing."""
    if not is_learning(loss, guess):
        raise PrototypeError(
            f"prototype '{name}' has learned nothing: its training at learning rate "
            f"{recipe.peak_lr:g} {outcome(loss, guess)}; give it norms or other "
            "first weights, or train it yourself and name its --weights"
        )


if __name__ == "__main__":
    train_prototype(
        sys.argv[1],
        fashion_mnist.load(),
        Path(sys.argv[2]),
        command=f"python -m gensynth.training.pretrain {sys.argv[1]} FOLDER",
    )
