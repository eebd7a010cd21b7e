"""How a training from nothing begins: at which learning rate, and from which first weights.

torch's own first weights shrink what passes through them: after a dozen layers with ReLU and
without norms nothing is left of the image, and no learning rate teaches such a network. Where that
is found, each layer is scaled and shifted, in the order of the computation, by what it answers to a
batch, so that its answers have unit variance:

    w <- w / sd,  b <- (b - mean) / sd        of each output channel

(Salimans and Kingma, arXiv:1602.07868, section 3; Krähenbühl et al., arXiv:1511.06856).
"""

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gensynth.data.views import Views
from gensynth.graph.graph import Graph
from gensynth.network.compute import Compute
from gensynth.network.module import build, opaque_modules
from gensynth.tasks.task import Task
from gensynth.training.fit import Recipe, fit
from gensynth.training.learning_rate import RangeTest, range_test

TRIED_IMAGES = 6_000
"""For which every learning rate is tried."""

SCALED_BY = 32
"""Images by whose answers layers are scaled."""

LEAST_SD = 1e-6
"""Share of a layer's largest spread below which a channel is silent, and stays as it is."""


@dataclass(frozen=True)
class Beginning:
    """How a training is to begin.

    Attributes:
        network: with its first weights.
        recipe: at the learning rate that was found.
        test: that found it.
        is_scaled: whether the first weights are scaled ones.
    """

    network: nn.Module
    recipe: Recipe
    test: RangeTest
    is_scaled: bool

    def to_document(self) -> dict[str, Any]:
        """Return what a record of the training says of it."""
        return {"learning_rate": self.test.to_document(), "scaled_first_weights": self.is_scaled}


def begin(
    graph: Graph,
    network: nn.Module,
    views: Views,
    recipe: Recipe,
    compute: Compute,
    task: Task,
    guess: float | None,
    *,
    has_learned: bool = False,
) -> Beginning:
    """Find how a network is to be trained from its own first weights, or from scaled ones.

    Args:
        graph: of the network.
        network: with its first weights; it is not changed.
        views: the training images.
        recipe: at the largest learning rate.
        compute, task: as of the training.
        guess: loss of who guesses; None where nobody knows.
        has_learned: whether its weights are trained ones, which are not scaled.
    """
    epochs = min(recipe.epochs, TRIED_IMAGES / len(views))
    short = replace(recipe, epochs=epochs, compiled=False)

    def tested(first: nn.Module) -> RangeTest:
        def train(rate: float) -> float | None:
            copied = copy.deepcopy(first)
            tried = build(graph, copied.state_dict(), opaque=opaque_modules(graph, copied))
            return fit(tried, views, replace(short, peak_lr=rate), compute, task)

        return range_test(train, recipe.peak_lr, guess)

    test, is_scaled = tested(network), False
    if not test.has_learned and not has_learned:
        scaled = compute.place(copy.deepcopy(network))
        images = next(views.epoch(0, min(SCALED_BY, len(views)), limit=1)).images
        scale_first_weights(scaled, images)
        again = tested(scaled)
        if again.chosen.loss < test.chosen.loss:
            test, network, is_scaled = again, scaled, True
    return Beginning(network, replace(recipe, peak_lr=test.chosen.rate), test, is_scaled)


@torch.no_grad()
def scale_first_weights(network: nn.Module, images: Tensor) -> None:
    """Scale a network's convolutions and linear layers in place, by one pass of images.

    Args:
        network: with its first weights; left in evaluation mode.
        images: normalised, (batch, channels, height, width).
    """

    def scale(layer: Any, inputs: Any, answer: Tensor) -> Tensor:
        over = [dimension for dimension in range(answer.ndim) if dimension != 1]
        sd, mean = answer.std(dim=over), answer.mean(dim=over)
        sd = torch.where(sd > LEAST_SD * sd.max(), sd, torch.ones_like(sd))
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        if sd.numel() != layer.weight.shape[axis]:  # transposed in groups: channels are split
            return answer
        shape = [1] * layer.weight.ndim
        shape[axis] = -1
        layer.weight.div_(sd.reshape(shape))
        wide = [1, -1] + [1] * (answer.ndim - 2)
        if layer.bias is None:
            return answer / sd.reshape(wide)
        layer.bias.copy_((layer.bias - mean) / sd)
        return (answer - mean.reshape(wide)) / sd.reshape(wide)

    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(scale) for m in network.modules() if isinstance(m, layers)]
    try:
        network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
