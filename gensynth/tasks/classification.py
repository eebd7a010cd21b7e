"""What networks are trained to do: the table [task] of a run file.

How they are trained stands in `train`; what the prototype answers is asked there too.
"""

import torch
from torch import nn

from gensynth.config import TaskConfig
from gensynth.data.dataset import Dataset
from gensynth.errors import ConfigError
from gensynth.references import import_object
from gensynth.suggestion import did_you_mean
from gensynth.training.evaluator import Trainer
from gensynth.training.fit import HardLoss

LOSSES = ("cross_entropy",)


def read_task(config: TaskConfig, dataset: Dataset) -> tuple[HardLoss, Trainer | None]:
    """Return the loss with labels, and the user's training function if there is one.

    Raises:
        ConfigError: if the loss is unknown, the class weights are not one a class, or the
            training function is none.
    """
    if config.loss not in LOSSES:
        raise ConfigError(f"unknown loss '{config.loss}'; {did_you_mean(config.loss, LOSSES)}")
    loss: HardLoss = nn.functional.cross_entropy
    if config.class_weights is not None:
        if len(config.class_weights) != len(dataset.classes):
            raise ConfigError(
                f"class_weights in [task] must have one weight for each of "
                f"{len(dataset.classes)} classes, got {len(config.class_weights)}"
            )
        loss = _WeightedLoss(config.class_weights)
    if config.train is None:
        return loss, None
    trainer = import_object(config.train, "training function")
    if not callable(trainer):
        raise ConfigError(
            f"train in [task] must name a function of (network, views, recipe, teacher), "
            f"got '{config.train}', which is a {type(trainer).__name__}"
        )
    return loss, trainer


class _WeightedLoss:
    """Cross-entropy with one weight a class, on the device of the logits."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        self._weights = torch.tensor(weights, dtype=torch.float32)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights = self._weights.to(logits.device)
        return nn.functional.cross_entropy(logits, labels, weight=weights)
