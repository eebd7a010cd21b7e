"""One class a pixel: cross-entropy, divergence, and the pixels of whole images as the score.

An image's answer is the class of one of its known pixels, taken at random: losses and
divergences are means over pixels, in nats a pixel, so they compare between images of any size.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gensynth.data.dataset import Dataset, Split
from gensynth.data.description import other_labels
from gensynth.data.views import Masks, Targets
from gensynth.errors import ConfigError, DataError, PrototypeError
from gensynth.goals.score import Resampled
from gensynth.graph.graph import Graph
from gensynth.tasks import MEASURED
from gensynth.tasks.confusion import confusion, measured
from gensynth.tasks.label_information import label_information
from gensynth.tasks.pictures import coloured, drawn_images, side_by_side
from gensynth.tasks.task import Answer, chosen_metric

EVALUATED = 4
"""Images that are evaluated at a time."""

VOID = 255
"""What stands for void in the masks of a data set that has none: no class has this number."""

READ_PIXELS = 64
"""Pixels of an image that a reader of a vertex looks at, on an even grid."""

IMAGE_LOGIT_SD = 0.3
"""Spread of the logit of a score over single images, by which certificates are planned before a
score has been measured; RefineNet on CamVid has 0.27."""


class Segmentation:
    """Images of which every pixel has a class, or is void.

    Attributes:
        program: of an artefact's examples, which writes a coloured mask.

    Args:
        class_weights: weight of each class in the loss, in label order; None weighs all alike.
        metric: of `gensynth.tasks.confusion`, which requirements and the utility read; None is
            the pixel accuracy.
    """

    program = "mask"

    def __init__(
        self,
        class_weights: tuple[float, ...] | None = None,
        metric: str | None = None,
    ) -> None:
        self.metric = chosen_metric(metric, MEASURED["segmentation"])
        self._class_weights = class_weights

    def check(self, graph: Graph, dataset: Dataset) -> None:
        """Refuse what does not give a logit a class at every pixel, and data without masks."""
        classes = len(dataset.classes)
        if (said := other_labels(dataset, "segmentation")) is not None:
            raise DataError(said)
        if classes < 2:
            raise DataError(f"{dataset.name} has one class; telling apart takes at least two")
        if self._class_weights is not None and len(self._class_weights) != classes:
            raise ConfigError(
                f"class_weights in [task] must have one weight for each of {classes} classes, got "
                f"{len(self._class_weights)}"
            )
        wanted = (classes, *dataset.shape[1:])
        shapes = [graph[output].shape for output in graph.outputs]
        if shapes != [wanted]:
            raise PrototypeError(
                f"prototype '{graph.name}' must give one logit for each of {classes} classes at "
                f"every pixel, {wanted}, got outputs of shape {', '.join(map(str, shapes))}"
                f"{_way_out(shapes, wanted)}"
            )
        for split in (dataset.train, dataset.search, dataset.test):
            if not (split.labels < classes).any():
                raise DataError(f"no pixel of the {split.name} split of {dataset.name} has a class")

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Return the cross-entropy with the masks, mean over the pixels that have a class."""
        classes = outputs.shape[1]
        known = torch.where(targets < classes, targets, -100)
        weight = None
        if self._class_weights is not None:
            weight = torch.tensor(self._class_weights, dtype=torch.float32, device=outputs.device)
        if not bool((known >= 0).any()):
            return 0.0 * outputs.sum()
        return F.cross_entropy(outputs, known, weight=weight)

    def guess(self, dataset: Dataset) -> float:
        """Return log of the number of classes; weights of classes leave it as it is."""
        return math.log(len(dataset.classes))

    def divergence(self, outputs: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
        """Return KL(softmax(teacher / T) || softmax(outputs / T)), mean over all pixels."""
        log_p = F.log_softmax(teacher / temperature, dim=1)
        log_q = F.log_softmax(outputs / temperature, dim=1)
        return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()

    def sampled_score(self, outputs: Tensor, draws: Generator) -> Tensor:
        """Return sum over pixels of log p(y|x) / sqrt(pixels), a class drawn at each.

        Draws at different pixels are independent, so the mean square of its slope is the mean
        over pixels of theirs: the Fisher information of one pixel taken at random, with the
        variance of all of them.
        """
        log_p = F.log_softmax(outputs, dim=1)
        with torch.no_grad():
            noise = torch.rand(outputs.shape, generator=draws).to(outputs.device)
            gumbel = -torch.log(-torch.log(noise.clamp(1e-20, 1 - 1e-7)))
            drawn = (log_p + gumbel).argmax(dim=1, keepdim=True)
        each = log_p.gather(1, drawn).flatten(1)
        return each.sum(dim=1) / math.sqrt(each.shape[1])

    def evaluate(self, network: Answer, split: Split) -> Resampled:
        """Return the metric of all pixels of a split, its spread by a bootstrap over images."""
        counts = []
        for images, masks in _batches(split):
            outputs = network(images)
            given = outputs.argmax(dim=1).cpu().numpy()
            counts += [
                confusion(true, found, outputs.shape[1])
                for true, found in zip(masks, given, strict=True)
            ]
        return measured(np.stack(counts), self.metric)

    def draw(
        self, networks: Mapping[str, Answer], dataset: Dataset, split: Split
    ) -> dict[str, bytes]:
        """Return a picture for each of some images: itself, the truth, the networks' classes."""
        rows = drawn_images(len(split))
        images = torch.from_numpy(split.images[rows])
        given = {
            name: network(images).argmax(dim=1).cpu().numpy() for name, network in networks.items()
        }
        return {
            f"{split.name}-{row + 1}.png": side_by_side(
                split.images[row],
                {"truth": split.labels[row]} | {name: of[i] for name, of in given.items()},
                dataset.classes,
                coloured,
            )
            for i, row in enumerate(rows)
        }

    def anticipated(self, value: float, n: int) -> Resampled:
        """Return the value with the spread that n images usually leave."""
        return Resampled(self.metric, value, IMAGE_LOGIT_SD / math.sqrt(n), n)

    def targets(self, split: Split, device: str) -> Targets:
        """Return the masks, cropped and mirrored as their images are."""
        return Masks(split, VOID, device)

    def strata(self, split: Split, rows: np.ndarray) -> np.ndarray:
        """Return of each image the class by whose share it differs most from all of them."""
        masks = split.labels[rows]
        classes = int(masks[masks < VOID].max()) + 1
        shares = np.stack([(masks == c).mean(axis=(1, 2)) for c in range(classes)], axis=1)
        usual = np.maximum(shares.mean(axis=0), 1e-6)
        kinds: np.ndarray = (shares / usual).argmax(axis=1)
        return kinds

    def margins(self, outputs: np.ndarray) -> np.ndarray:
        """Return how much larger the largest logit is than the next, mean over pixels."""
        best_two = np.partition(outputs, -2, axis=1)[:, -2:]
        margin: np.ndarray = (best_two[:, 1] - best_two[:, 0]).mean(axis=(1, 2))
        return margin

    def information(self, values: Tensor, targets: Any) -> float:
        """Return what a linear reader of the channels at a pixel finds out about its class.

        Of each image it sees an even grid of about READ_PIXELS pixels. A value without positions
        says nothing of pixels.
        """
        if values.ndim < 4:
            return 0.0
        side = math.isqrt(READ_PIXELS)
        here, there = (_grid(t.shape[-2:], side) for t in (values, targets))
        features = values[:, :, here[0][:, None], here[1]].permute(0, 2, 3, 1).flatten(0, 2)
        labels = targets[:, there[0][:, None], there[1]].flatten()
        known = labels < VOID
        if int(known.sum()) < 2:
            return 0.0
        return label_information(features[known].float(), labels[known])


def _way_out(shapes: list[tuple[int, ...]], wanted: tuple[int, ...]) -> str:
    """Return what lets a network of such outputs give the one that is wanted, if that is known."""
    if wanted in shapes:
        return (
            "; say which of them answers, by a part of the network or a key of what it returns: "
            'outputs in [prototype], such as outputs = ["out"]'
        )
    if shapes == [(1, *wanted[1:])] and wanted[0] == 2:
        return (
            "; one logit is that of the second class beside a first of 0: let it answer "
            "torch.cat([torch.zeros_like(logit), logit], 1)"
        )
    if any(len(shape) == 3 and shape[0] == wanted[0] for shape in shapes):
        return "; let it enlarge its answer to the image"
    return ""


def _grid(size: tuple[int, ...], side: int) -> tuple[Tensor, Tensor]:
    """Return rows and columns at the same shares of any height and width."""
    shares = (torch.arange(side) + 0.5) / side
    height, width = size
    return (shares * height).long(), (shares * width).long()


def _batches(split: Split) -> Iterator[tuple[Tensor, np.ndarray]]:
    for start in range(0, len(split), EVALUATED):
        rows = slice(start, start + EVALUATED)
        yield torch.from_numpy(split.images[rows]), split.labels[rows]
