"""One class an image: cross-entropy, divergence of softmax distributions, and three accuracies.

top1               images whose class has the largest logit
top5               images whose class is among the five largest
smallest_recall    top1 of each class's own images, of the class where it is smallest
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gensynth.data.dataset import Dataset, Split
from gensynth.data.description import other_labels
from gensynth.data.passes import images_a_pass
from gensynth.data.views import Labels, Targets
from gensynth.errors import ConfigError, DataError, PrototypeError
from gensynth.goals.metrics import SMALLEST_RECALL, TOP5
from gensynth.goals.recall import SmallestRecall
from gensynth.goals.score import Proportion
from gensynth.graph.graph import Graph
from gensynth.tasks import MEASURED
from gensynth.tasks.label_information import label_information
from gensynth.tasks.task import Answer, chosen_metric

EVALUATED = 500
"""Images that are evaluated at a time, if they are small."""


class Classification:
    """Images of one class each.

    Attributes:
        program: of an artefact's examples, which says the class.

    Args:
        class_weights: weight of each class in the loss, in label order; None weighs all alike.
        metric: top1, top5 or smallest_recall; None is top1.
    """

    program = "class"

    def __init__(
        self, class_weights: tuple[float, ...] | None = None, metric: str | None = None
    ) -> None:
        self.metric = chosen_metric(metric, MEASURED["classification"])
        self._class_weights = class_weights
        self._test_counts: tuple[int, ...] = (1, 1)  # of the classes, until data are known

    def check(self, graph: Graph, dataset: Dataset) -> None:
        """Refuse what does not give one logit a class, and data of a single class."""
        classes = len(dataset.classes)
        if (said := other_labels(dataset, "classification")) is not None:
            raise DataError(said)
        if classes < 2:
            raise DataError(f"{dataset.name} has one class; telling apart takes at least two")
        if self._class_weights is not None and len(self._class_weights) != classes:
            raise ConfigError(
                f"class_weights in [task] must have one weight for each of {classes} classes, got "
                f"{len(self._class_weights)}"
            )
        if self.metric == TOP5.name and classes <= 5:
            raise ConfigError(
                f"{dataset.name} has {classes} classes, so that five guesses are always right; "
                "require top1"
            )
        self._test_counts = _counts(dataset.test.labels, classes)
        shapes = [graph[output].shape for output in graph.outputs]
        if shapes != [(classes,)]:
            raise PrototypeError(
                f"prototype '{graph.name}' must give one logit for each of {classes} classes, got "
                f"outputs of shape {', '.join(map(str, shapes))}"
            )

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Return the cross-entropy with the labels."""
        weights = self._class_weights
        if weights is None:
            return F.cross_entropy(outputs, targets)
        weight = torch.tensor(weights, dtype=torch.float32, device=outputs.device)
        return F.cross_entropy(outputs, targets, weight=weight)

    def guess(self, dataset: Dataset) -> float:
        """Return log of the number of classes; weights of classes leave it as it is."""
        return math.log(len(dataset.classes))

    def divergence(self, outputs: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
        """Return KL(softmax(teacher / T) || softmax(outputs / T))."""
        return F.kl_div(
            F.log_softmax(outputs / temperature, dim=1),
            F.log_softmax(teacher / temperature, dim=1),
            log_target=True,
            reduction="batchmean",
        )

    def sampled_score(self, outputs: Tensor, draws: Generator) -> Tensor:
        """Return the log-softmax at a class drawn from it."""
        log_p = F.log_softmax(outputs, dim=1)
        with torch.no_grad():
            drawn = torch.multinomial(log_p.exp().cpu(), 1, generator=draws).to(outputs.device)
        return log_p.gather(1, drawn)[:, 0]

    def evaluate(self, network: Answer, split: Split) -> Proportion | SmallestRecall:
        """Return how many images get the class of their label, or have it among the first five."""
        guesses = 5 if self.metric == TOP5.name else 1
        right = []
        for images, labels in _batches(split):
            logits = network(images)
            found = logits.topk(guesses).indices if guesses > 1 else logits.argmax(1, keepdim=True)
            right.append((found.cpu().numpy() == labels[:, None]).any(axis=1))
        hit = np.concatenate(right)
        if self.metric == SMALLEST_RECALL.name:
            classes = int(split.labels.max()) + 1
            of_class = _counts(split.labels, classes)
            return SmallestRecall(self.metric, _counts(split.labels[hit], classes), of_class)
        return Proportion.of(self.metric, hit)

    def anticipated(self, value: float, n: int) -> Proportion | SmallestRecall:
        """Return so many of n images that are right; so many of each class where each counts."""
        if self.metric == SMALLEST_RECALL.name:
            scale = n / sum(self._test_counts)
            counts = [round(scale * count) for count in self._test_counts]
            counts[-1] += n - sum(counts)
            right = tuple(round(value * count) for count in counts)
            return SmallestRecall(self.metric, right, tuple(counts))
        return Proportion(self.metric, round(value * n), n)

    def targets(self, split: Split, device: str) -> Targets:
        """Return the labels; no crop and no mirror image changes a class."""
        return Labels(split, device)

    def strata(self, split: Split, rows: np.ndarray) -> np.ndarray:
        """Return the labels."""
        labels: np.ndarray = split.labels[rows]
        return labels

    def margins(self, outputs: np.ndarray) -> np.ndarray:
        """Return how much larger the largest logit is than the next."""
        best_two = np.partition(outputs, -2, axis=1)[:, -2:]
        margin: np.ndarray = best_two[:, 1] - best_two[:, 0]
        return margin

    def information(self, values: Tensor, targets: Any) -> float:
        """Return what a linear reader of the channels' means finds out about the label."""
        pooled = values.flatten(2).mean(2) if values.ndim > 2 else values
        return label_information(pooled, targets)


def _counts(labels: np.ndarray, classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(labels, minlength=classes))


def _batches(split: Split) -> Iterator[tuple[Tensor, np.ndarray]]:
    at_once = images_a_pass(split.images.shape[1:], EVALUATED)
    for start in range(0, len(split), at_once):
        rows = slice(start, start + at_once)
        yield torch.from_numpy(split.images[rows]), split.labels[rows]
