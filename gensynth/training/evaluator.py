"""What a graph is worth: inherit the shared weights, distil, score on a split.

`inherit`, `distil` and `score` are the three steps of every evaluation: within a cycle,
for a finalist, and in the experiments. Given the same graph, weights, recipe and epochs the
result is the same, so a resumed run repeats nothing and changes nothing.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gensynth.config import TaskConfig
from gensynth.data.dataset import Dataset, Split
from gensynth.data.passes import images_a_pass
from gensynth.data.views import Views, normaliser
from gensynth.errors import ConfigError
from gensynth.goals.score import Score
from gensynth.graph.graph import Graph
from gensynth.network.apart import check_images
from gensynth.network.compute import Compute
from gensynth.network.module import Network, build
from gensynth.network.outputs import Outputs
from gensynth.references import import_object
from gensynth.space.prototype import Prototype
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.tasks.classification import EVALUATED
from gensynth.tasks.task import Answer, Guesses, Task
from gensynth.training import fit
from gensynth.training.fit import Recipe, Teacher
from gensynth.training.substitute_weights import FITTED_IMAGES, fit_all

CALIBRATION_IMAGES = 256
CALIBRATION_BATCHES = 2
"""Training batches from which a network's norms take their statistics."""
MOST_CALIBRATION_BATCHES = 8
"""Where memory holds fewer images at once, and more batches make up for it."""

SINGLE = 8
"""Images that a network is asked for one by one."""

STATISTICS = ("running_mean", "running_var")

Trainer = Callable[[nn.Module, Views, Recipe, Teacher | None], None]
"""One's own training in place of ours: (network, views, recipe, teacher) trains in place.

The teacher is the prototype, and None where it is the prototype that is trained."""


@dataclass(frozen=True)
class Evaluator:
    """All that evaluating networks of one prototype needs.

    Attributes:
        prototype: whose slices the networks are, and their teacher.
        dataset: its splits.
        views: what training sees of the train split.
        teacher: the prototype's answers to these views.
        compute: device, precision, compilation.
        task: what they are trained and scored for.
        trainer: the user's own training function, or None for ours.
    """

    prototype: Prototype
    dataset: Dataset
    views: Views
    teacher: Teacher
    compute: Compute
    task: Task
    trainer: Trainer | None = None

    def calibration(self) -> list[Tensor]:
        """Return the batches of training images from which a network is calibrated."""
        count = min(images_a_pass(self.dataset.shape, CALIBRATION_IMAGES), len(self.views))
        batches = min(CALIBRATION_BATCHES * CALIBRATION_IMAGES // count, MOST_CALIBRATION_BATCHES)
        return [b.images for b in self.views.epoch(0, count, limit=batches)]

    def recalibrate(self, network: Network) -> None:
        """Give a network's norms the statistics that its weights have now.

        The running ones of a short training are still of weights that it had some steps ago: a
        network that is right 80 times of 100 may be right 16 times with them.
        """
        recalibrate(network, self.calibration())

    def inherit(self, graph: Graph, weights: Mapping[str, Tensor]) -> Network:
        """Return a graph's network on slices of the shared weights, its norms recalibrated.

        A substitute's weights are fitted to what the same network answers with all its
        convolutions dense, on the images that recalibrate it.
        """
        images = self.calibration()
        chosen = graph.selection.substitutes
        substitutes = {site: name for site, name in chosen.items() if name in SUBSTITUTES}
        if substitutes:
            others = {site: name for site, name in chosen.items() if name not in SUBSTITUTES}
            selection = replace(graph.selection, substitutes=others)
            dense = self._cut(self.prototype.coupling.apply(selection), weights)
            recalibrate(dense, images)
            weights = {**weights, **fit_all(dense, images[0][:FITTED_IMAGES], substitutes, graph)}
        network = self._cut(graph, weights)
        recalibrate(network, images)
        return network

    def _cut(self, graph: Graph, weights: Mapping[str, Tensor]) -> Network:
        slices = self.prototype.coupling.slices(graph.selection)
        network = build(graph, weights, slices, opaque=self.prototype.opaque)
        self.compute.place(network)
        return network

    def distil(
        self,
        network: Network,
        recipe: Recipe,
        *,
        first_epoch: int = 0,
        checkpoint: Path | None = None,
        progress: Callable[[float, float], None] | None = None,
    ) -> float | None:
        """Train a network in place with the prototype as its teacher.

        Returns:
            the loss that it ends at, see `gensynth.training.fit.fit`; None where the trainer is the
            user's own, which says nothing of it.
        """
        if self.trainer is not None:
            self.trainer(network, self.views, recipe, self.teacher)
            return None
        return fit.fit(
            network,
            self.views,
            recipe,
            self.compute,
            self.task,
            teacher=self.teacher,
            first_epoch=first_epoch,
            checkpoint=checkpoint,
            progress=progress,
        )

    @functools.cached_property
    def guess(self) -> float | None:
        """The loss of who guesses; None where the task does not know it."""
        return self.task.guess(self.dataset) if isinstance(self.task, Guesses) else None

    def absorb(
        self, weights: Mapping[str, Tensor], network: Network, share: float
    ) -> dict[str, Tensor]:
        """Return shared weights moved toward a network's fine-tuned ones, where it has any.

            W[slice] += share * (W_network - W[slice])

        (Reptile: Nichol, Achiam and Schulman, arXiv:1803.02999).
        """
        moved = dict(weights)
        if share == 0:
            return moved
        owned = network.state_dict(keep_vars=True)
        for key, indices in self.prototype.coupling.slices(network.graph.selection).items():
            parameter = owned[key]
            if not isinstance(parameter, nn.Parameter):
                continue
            whole = weights[key].clone()
            axes = [
                torch.arange(size) if index is None else torch.from_numpy(index)
                for size, index in zip(whole.shape, indices, strict=True)
            ]
            grid = torch.meshgrid(*axes, indexing="ij")
            whole[grid] += share * (parameter.detach().cpu() - whole[grid])
            moved[key] = whole
        return moved

    def score(self, network: nn.Module, split: Split) -> Score:
        """Return a network's score on a split."""
        return score(network, self.dataset, split, self.compute, self.task)

    def check_apart(self, network: nn.Module, name: str) -> None:
        """Refuse a network that answers an image alone otherwise than in a batch as it is scored.

        Some images of the search split are looked at, in float32; none of the test split need be.

        Raises:
            PrototypeError: if an answer differs; it has the network's name.
        """
        device = self.compute.device
        self.compute.place(network).eval()
        count = images_a_pass(self.dataset.shape, EVALUATED)
        images = torch.from_numpy(self.dataset.search.images[:count]).to(device)
        rows = sorted({len(images) * part // SINGLE for part in range(SINGLE)})
        check_images(network, normaliser(self.dataset, device)(images), rows, name=name)


def open_trainer(config: TaskConfig) -> Trainer | None:
    """Return the user's own training function, if the run file names one.

    Raises:
        ConfigError: if what it names is no function.
    """
    if config.train is None:
        return None
    trainer = import_object(config.train, "training function")
    if not callable(trainer):
        raise ConfigError(
            f"train in [task] must name a function of (network, views, recipe, teacher), "
            f"got '{config.train}', which is a {type(trainer).__name__}"
        )
    return trainer


def score(
    network: nn.Module, dataset: Dataset, split: Split, compute: Compute, task: Task
) -> Score:
    """Return a network's score on a split of a data set; it is left in evaluation mode."""
    return task.evaluate(answerer(network, dataset, compute), split)


def answerer(network: nn.Module, dataset: Dataset, compute: Compute) -> Answer:
    """Return what a network answers to a data set's images; it is left in evaluation mode."""
    compute.place(network).eval()
    normalise = normaliser(dataset, compute.device)

    @torch.no_grad()
    def answer(images: Tensor) -> Outputs:
        with compute.precision():
            outputs: Outputs = network(normalise(images.to(compute.device)))
        return outputs

    return answer


def recalibrate(network: Network, batches: Iterable[Tensor]) -> None:
    """Give every batch norm the statistics of its own inputs, forgetting the old ones.

    Running statistics start at zero and decay by (1 - momentum) a call; dividing by
    1 - (1 - momentum)^calls at the end makes them a weighted mean of the batches alone.
    Everything else is in evaluation mode meanwhile: dropout would change the statistics.

    Args:
        network: left in evaluation mode.
        batches: normalised images, (batch, channels, height, width) each.
    """
    owned: dict[str, Any] = network.state_dict(keep_vars=True)
    norms = [vertex for vertex in network.graph.vertices if vertex.op == "batch_norm"]
    layers: list[Any] = [network.layer_of(vertex.name) for vertex in norms]
    network.eval()
    for vertex, layer in zip(norms, layers, strict=True):
        for tensor in STATISTICS:
            owned[vertex.tensor_key(tensor)].zero_()
        layer.train()
        if vertex.attributes["momentum"] is None:  # a cumulative average starts anew
            layer.num_batches_tracked.zero_()
    inner = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module not in layers
    ]
    own_momenta = [norm.momentum for norm in inner]
    for norm in inner:  # within opaque modules: torch's own cumulative average
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None
    count = 0
    with torch.no_grad():
        for images in batches:
            network(images)
            count += 1
    network.eval()
    if count == 0:
        raise ValueError("recalibration needs at least one batch")
    for norm, momentum in zip(inner, own_momenta, strict=True):
        norm.momentum = momentum
    for tensor in STATISTICS:
        calls = Counter(vertex.tensor_key(tensor) for vertex in norms)
        momenta = {v.tensor_key(tensor): v.attributes["momentum"] for v in norms}
        for key, momentum in momenta.items():
            share = 1.0 if momentum is None else 1 - (1 - momentum) ** (count * calls[key])
            owned[key].div_(share)
